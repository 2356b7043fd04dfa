//! Who has a name: asked before a node takes one, and again when it hears of somebody else who has it.
//!
//! A node that starts again elsewhere, its old self not yet known as dead, must start; a second node of one name must not. What tells
//! the two apart is that the second's namesake still answers where it is said to be.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::datagram::Kind;
use super::gossip::Post;
use super::node::{Node, Role};
use super::wire::{decode, encode};
use crate::model::{Generation, NodeId};

/// A question is asked again after so long.
const AGAIN: Duration = Duration::from_millis(200);
/// So long seeds have to answer, also for their names to be looked up.
const SEEDS: Duration = Duration::from_secs(1);
/// Once one has answered the others have so long.
const REST: Duration = Duration::from_millis(300);
/// Who has not answered after so long is not there.
const NAMESAKE: Duration = Duration::from_millis(1500);
/// As many answers may be waited for.
const MOST: usize = 1000;

/// A node that lives, as another one or itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Namesake {
    pub(super) node: NodeId,
    pub(super) generation: Generation,
    /// Where it gossips.
    pub(super) gossip: SocketAddr,
    /// Where clients reach it.
    pub(super) client: SocketAddr,
    /// Its tier.
    role: u8,
}

impl Namesake {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            node: node.id.clone(),
            generation: node.generation,
            gossip: node.gossip_addr,
            client: node.client_addr,
            role: node.role as u8,
        }
    }

    /// Its tier, in a word.
    pub(super) fn role(&self) -> &'static str {
        let all = [Role::Dispatch, Role::Notification, Role::Switchboard];
        all.into_iter().find(|role| *role as u8 == self.role).map_or("node", Role::as_str)
    }
}

#[derive(Serialize, Deserialize)]
struct Question {
    number: u64,
    who: NodeId,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    number: u64,
    /// Nothing: nobody who lives has that name.
    who: Option<Namesake>,
}

type Names = Box<dyn Fn(&NodeId) -> Option<Namesake> + Send + Sync>;

/// The questions on their way, and what others' are answered from.
#[derive(Default)]
pub(super) struct Inquiries {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Option<Namesake>>>>,
    names: OnceLock<Names>,
}

impl Inquiries {
    /// From now on questions are answered.
    pub(super) fn answer_from(&self, names: impl Fn(&NodeId) -> Option<Namesake> + Send + Sync + 'static) {
        let _ = self.names.set(Box::new(names));
    }

    /// The answer to a question, if this node answers already.
    pub(super) fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let Question { number, who } = decode(question)?;
        let names = self.names.get()?;
        encode(&Answer { number, who: names(&who) })
    }

    /// An answer has come.
    pub(super) fn told(&self, answer: &[u8]) {
        let Some(Answer { number, who }) = decode(answer) else { return };
        if let Some(waiting) = self.lock().remove(&number) {
            // Whoever asked may have given up.
            let _ = waiting.send(who);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Option<Namesake>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    /// Asks a node who has a name. Nothing if it does not answer in time.
    async fn ask(&self, to: SocketAddr, who: &NodeId, patience: Duration) -> Option<Option<Namesake>> {
        let number = getrandom::u64().ok()?;
        let question = encode(&Question { number, who: who.clone() })?;
        let (answer, mut wait) = oneshot::channel();
        {
            let mut waiting = self.inquiries.lock();
            waiting.retain(|_, answer| !answer.is_closed());
            if waiting.len() >= MOST {
                return None;
            }
            waiting.insert(number, answer);
        }
        let asking = async {
            loop {
                self.send(to, Kind::Ask, &question).await;
                tokio::select! {
                    answer = &mut wait => return answer.ok(),
                    () = sleep(AGAIN) => {}
                }
            }
        };
        timeout(patience, asking).await.ok().flatten()
    }

    /// Whether a node of that name answers at an address, and says that it is there itself.
    pub(super) async fn answers_as(&self, at: SocketAddr, who: &NodeId) -> Option<Namesake> {
        self.ask(at, who, NAMESAKE)
            .await
            .flatten()
            .filter(|namesake| namesake.gossip == at && namesake.node == *who)
    }

    /// Another living node of the name that this one is to have. Needs somebody who receives meanwhile.
    pub(super) async fn namesake(&self, who: &NodeId, seeds: &[String]) -> Option<Namesake> {
        let mut told: Vec<Namesake> = Vec::new();
        let asking = async {
            let mut asked: FuturesUnordered<_> =
                self.resolved(seeds).await.into_iter().map(|seed| self.ask(seed, who, SEEDS)).collect();
            let mut rest = SEEDS;
            while let Ok(Some(answer)) = timeout(rest, asked.next()).await {
                if let Some(answer) = answer {
                    told.extend(answer);
                    rest = REST;
                }
            }
        };
        let _ = timeout(SEEDS, asking).await;
        told.retain(|namesake| namesake.gossip != self.me && namesake.node == *who);
        told.dedup();
        let mut confronted: FuturesUnordered<_> =
            told.iter().map(|namesake| self.answers_as(namesake.gossip, who)).collect();
        while let Some(answer) = confronted.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Where seeds are, without the own address.
    pub(super) async fn resolved(&self, seeds: &[String]) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for seed in seeds {
            match seed.parse() {
                Ok(addr) => found.push(addr),
                Err(_) => found.extend(tokio::net::lookup_host(seed).await.into_iter().flatten()),
            }
        }
        found.retain(|addr| *addr != self.me);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What is said of another node that lives and has the name of this one, a node of tier `role`.
pub(super) fn in_use(namesake: &Namesake, role: Role) -> String {
    let Namesake { node, gossip, client, .. } = namesake;
    format!(
        "a living {} node has the name {node} already: it gossips at {gossip}, its clients come to {client}; give this one a name of \
         its own ({}.node.id, --node-id)",
        namesake.role(),
        role.as_str()
    )
}

/// Answers questions with the nodes of a view.
pub(super) fn from_view(view: &super::View, who: &NodeId) -> Option<Namesake> {
    view.node(who).map(Namesake::of)
}
