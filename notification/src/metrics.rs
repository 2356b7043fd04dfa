//! What operators see of this tier on `/metrics`.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use common::credentials::Refusal;
use common::msnp::verbs::TABLE;
use common::msnp::{Service, Verb};
use common::telemetry::Registry;
use common::telemetry::metric::counter::Counter;
use common::telemetry::metric::family::Family;
use common::telemetry::metric::gauge::Gauge;

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];

/// What is bounded by `[rates]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Status and personal message.
    Status,
    /// The own name.
    Name,
    /// Names given to contacts.
    ContactName,
    /// Edits of lists, groups, properties and privacy.
    List,
    /// Conversations opened.
    Chat,
    /// Rings of one caller.
    Ring,
    /// Sign-ins of one account.
    SignIn,
}

impl Limited {
    /// The word in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Name => "name",
            Self::ContactName => "contact_name",
            Self::List => "list",
            Self::Chat => "chat",
            Self::Ring => "ring",
            Self::SignIn => "sign_in",
        }
    }
}

/// The counters of this process. Labels come from fixed sets.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Clients connected.
    pub(crate) connections: Gauge,
    /// Connections closed at once because there were too many.
    pub(crate) turned_away: Counter,
    /// Of these, signed in.
    pub(crate) sessions: Gauge,
    /// Notices handed to sessions.
    pub(crate) notices_in: Counter,
    /// Notices that sessions sent.
    pub(crate) notices_out: Counter,
    /// Comparisons of what this node shows with what nodes, itself included, have to be seen.
    pub(crate) comparisons: Counter,
    /// Principals who were asked how they look since somebody may have been shown wrong.
    pub(crate) repair_questions: Counter,
    /// Times that a client's commands had to wait since they came too fast.
    pub(crate) waits: Counter,
    /// How long the oldest note of a last appearance waits to be written, in seconds.
    pub(crate) last_active_age: Gauge<f64, AtomicU64>,
    sign_ins: Family<Label, Counter>,
    refused_sign_ins: Family<Labels, Counter>,
    closes: Family<Label, Counter>,
    rate_refusals: Family<Label, Counter>,
    /// Looked up once per command, so not through the family and its lock.
    commands: HashMap<Verb, Counter>,
    unknown_commands: Counter,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("notification");
        let commands = Family::<Label, Counter>::default();
        let verbs = TABLE.iter().filter(|row| row.service == Service::Notification).map(|row| row.verb);
        let by_verb = |verb: Verb| {
            // The table is static, so its verbs live as long as labels must; they are few.
            let name = TABLE.iter().find(|row| row.verb == verb).map_or("other", |row| row.verb.as_str());
            commands.get_or_create_owned(&[("verb", name)])
        };
        let metrics = Self {
            connections: Gauge::default(),
            turned_away: Counter::default(),
            sessions: Gauge::default(),
            notices_in: Counter::default(),
            notices_out: Counter::default(),
            comparisons: Counter::default(),
            repair_questions: Counter::default(),
            waits: Counter::default(),
            last_active_age: Gauge::default(),
            sign_ins: Family::default(),
            refused_sign_ins: Family::default(),
            closes: Family::default(),
            rate_refusals: Family::default(),
            commands: verbs.map(|verb| (verb, by_verb(verb))).collect(),
            unknown_commands: commands.get_or_create_owned(&[("verb", "other")]),
        };
        registry.register("connections", "Clients connected", metrics.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections closed because their address had as many as it may, a proxy wrote no header, or they had not signed in and gave way to others",
            metrics.turned_away.clone(),
        );
        registry.register("sessions", "Clients signed in", metrics.sessions.clone());
        registry.register("notices_in", "Notices handed to sessions", metrics.notices_in.clone());
        registry.register("notices_out", "Notices that sessions sent", metrics.notices_out.clone());
        let compared = "Comparisons of what is shown with what nodes have to be seen";
        registry.register("comparisons", compared, metrics.comparisons.clone());
        let asked = "Principals asked how they look, since somebody may have been shown wrong";
        registry.register("repair_questions", asked, metrics.repair_questions.clone());
        let waits = "Times that a client's commands had to wait since they came too fast ([rates])";
        registry.register("waits", waits, metrics.waits.clone());
        let age = metrics.last_active_age.clone();
        registry.register("last_active_age_seconds", "Of the oldest last appearance to be written", age);
        registry.register("sign_ins", "Attempts to sign in, by result", metrics.sign_ins.clone());
        let refused = metrics.refused_sign_ins.clone();
        registry.register("refused_sign_ins", "Proofs refused, by MD5, clear text or ticket, by reason", refused);
        registry.register("closes", "Connections that ended, by reason", metrics.closes.clone());
        let refusals = "Requests refused since they came too often ([rates]), by kind";
        registry.register("rate_refusals", refusals, metrics.rate_refusals.clone());
        registry.register("commands", "Commands of clients, by verb", commands);
        metrics
    }

    /// Counts a command.
    pub(crate) fn command(&self, verb: Verb) {
        self.commands.get(&verb).unwrap_or(&self.unknown_commands).inc();
    }

    /// Counts an attempt to sign in.
    pub(crate) fn sign_in(&self, result: &'static str) {
        self.sign_ins.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a proof that was refused.
    pub(crate) fn refused_sign_in(&self, by: &'static str, why: Refusal) {
        self.refused_sign_ins.get_or_create(&[("by", by), ("reason", why.label())]).inc();
    }

    /// Counts a request that was refused since it came too often.
    pub(crate) fn rate_refusal(&self, kind: Limited) {
        self.rate_refusals.get_or_create(&[("kind", kind.label())]).inc();
    }

    /// Counts the end of a connection.
    pub(crate) fn close(&self, reason: &'static str) {
        self.closes.get_or_create(&[("reason", reason)]).inc();
    }
}

/// Counts something while it lives.
pub(crate) struct Counted {
    gauge: Gauge,
}

impl Counted {
    /// One more.
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
