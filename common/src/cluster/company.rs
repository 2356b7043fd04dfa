//! Whether a node that hears of no other is alone.
//!
//! Gossip can't tell: its seeds may be dead, or be named wrongly, or share no secret with it. The hearts that beat in the store do.

use super::Cluster;
use super::membership::ROUND;
use crate::telemetry::Condition;

/// Seeds that have not answered after so many rounds are said to be silent.
const LONELY: u32 = 6;
/// The others have heard what a node says of itself after so many rounds.
const TOLD: u32 = 3;

/// Whether other nodes live, as far as the store shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Company {
    /// The store has not said anything yet.
    #[default]
    Unknown,
    /// Some may live: they were not watched for long enough.
    Unsure,
    /// No other one lives.
    Nobody,
    /// These do, in words.
    Living(String),
}

impl Company {
    /// Whether a node that hears of nobody has to wait.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Unsure | Self::Living(_))
    }
}

impl Cluster {
    /// Tells when this node serves: it has *joined* (gossip has had its first rounds, about 2 s after the start; if none of the seeds
    /// answers 5 s, and not [while others live](Company)) and, a notification node, *settled*: every other one has told it of its
    /// sessions, and hears of those here. Before, it may not know of other nodes: a miss is
    /// [`Outcome::Unknown`](super::Outcome::Unknown) and nobody is called offline. The condition holds 1.5 s later: by then the others have heard
    /// that they may send clients here. It is one of [`Readiness::require_told`](crate::telemetry::Readiness::require_told).
    pub fn tell_joined(&self, condition: Condition) {
        let (mut serves, cluster) = (self.membership.serves(), self.clone());
        tokio::spawn(async move {
            let mut said = String::new();
            let served = loop {
                tokio::select! {
                    served = serves.wait_for(|serves| *serves) => break served.is_ok(),
                    () = tokio::time::sleep(ROUND * LONELY) => cluster.tell_why_alone(&condition, &mut said),
                }
            };
            if served {
                tokio::time::sleep(ROUND * TOLD).await;
                condition.met();
            }
        });
    }

    /// Says so if no other node has been heard; in the log where that is not what was `said` last.
    fn tell_why_alone(&self, condition: &Condition, said: &mut String) {
        if !self.is_alone() || self.seeds.is_empty() {
            return;
        }
        let why = self.post.refusal().map_or(String::new(), |why| format!(": {why}"));
        let company = match self.membership.company() {
            Company::Living(who) => format!("; others live, by their heartbeats in the store: {who}"),
            Company::Unsure => "; whether others live their heartbeats in the store will show".to_owned(),
            Company::Unknown | Company::Nobody => String::new(),
        };
        let silent = format!("none of the seeds answers ({}){why}{company}", self.seeds.join(", "));
        if *said != silent {
            tracing::warn!("{silent}");
            said.clone_from(&silent);
        }
        condition.missing(silent);
    }

    /// Whether this node hears of no other at this moment.
    #[must_use]
    pub(crate) fn is_alone(&self) -> bool {
        self.view().all().count() <= 1
    }

    /// Whether this node has joined, for good.
    #[must_use]
    pub(crate) fn has_joined(&self) -> bool {
        *self.membership.joined().borrow()
    }

    /// Takes in what the store shows.
    pub(crate) fn see_company(&self, company: Company) {
        self.membership.see_company(company);
    }
}
