//! What operators see of conversations.

use std::sync::atomic::{AtomicI64, AtomicU64};

use common::msnp::switchboard::AckType;
use common::store::MessageKind;
use common::telemetry::Registry;
use common::telemetry::metric::counter::Counter;
use common::telemetry::metric::family::Family;
use common::telemetry::metric::gauge::Gauge;
use common::telemetry::metric::histogram::Histogram;
use prometheus_client::encoding::EncodeLabelSet;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    kind: &'static str,
    ack: &'static str,
    result: &'static str,
}

/// What became of a message, as far as its sender was promised to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As the sender wished; told if its ack type tells success.
    Succeeded,
    /// Not certain, or nobody was there; told if its ack type tells failure.
    Failed,
}

const KINDS: usize = 4;
const FATES: usize = 2;

/// The counters of this process. Those of the message path are looked up once.
pub(crate) struct Metrics {
    /// Live conversations.
    pub(crate) conversations: Gauge<i64, AtomicI64>,
    /// Live participants, in all conversations.
    pub(crate) participants: Gauge<i64, AtomicI64>,
    /// Bytes of `MSG` commands put into listeners' queues.
    pub(crate) relayed_bytes: Counter,
    /// `USR` and `ANS` that were refused.
    pub(crate) refused: Counter,
    /// Calls refused since they came too often.
    pub(crate) calls_too_often: Counter,
    /// Calls refused since too many before them had failed in a row.
    pub(crate) calls_after_failures: Counter,
    /// Connections closed at once because there were too many.
    pub(crate) turned_away: Counter,
    /// Connections closed since they could not keep up.
    pub(crate) overflows: Counter,
    /// Messages that waited until the others had read.
    pub(crate) waits_for_others: Counter,
    /// Messages that waited since their senders had said too much.
    pub(crate) waits_for_rate: Counter,
    /// Messages that were not kept since of their senders too much was kept today.
    pub(crate) not_kept_quota: Counter,
    /// Messages that were not kept since too little of the disk is free.
    pub(crate) not_kept_disk: Counter,
    /// Free bytes of the disk of the store's files.
    pub(crate) free_disk: Gauge<i64, AtomicI64>,
    /// Messages on their way into the store.
    pub(crate) pending_messages: Gauge<i64, AtomicI64>,
    /// What they count against the bound, in bytes.
    pub(crate) pending_bytes: Gauge<i64, AtomicI64>,
    /// Seconds that the oldest of them has waited.
    pub(crate) pending_age: Gauge<f64, AtomicU64>,
    /// How long the oldest live cursor waits to be written, in seconds.
    pub(crate) cursors_age: Gauge<f64, AtomicU64>,
    /// Seconds from the making of a message's id to the store's answer.
    pub(crate) append_seconds: Histogram,
    /// Kept messages that were delivered.
    pub(crate) kept_delivered: Counter,
    messages: Vec<Counter>,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let family = Family::<MessageLabels, Counter>::default();
        let messages = (0..KINDS * AckType::ALL.len() * FATES)
            .map(|index| {
                let kind = ["other", "text", "ink", "nudge"][index / FATES / AckType::ALL.len()];
                let ack = AckType::ALL[index / FATES % AckType::ALL.len()].code();
                let result = ["succeeded", "failed"][index % FATES];
                family.get_or_create_owned(&MessageLabels { kind, ack, result })
            })
            .collect();
        let buckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        let rate_refusals = Family::<[(&str, &str); 1], Counter>::default();
        let waits = Family::<[(&str, &str); 1], Counter>::default();
        let not_kept = Family::<[(&str, &str); 1], Counter>::default();
        let metrics = Self {
            conversations: Gauge::default(),
            participants: Gauge::default(),
            relayed_bytes: Counter::default(),
            refused: Counter::default(),
            calls_too_often: rate_refusals.get_or_create_owned(&[("kind", "call")]),
            calls_after_failures: rate_refusals.get_or_create_owned(&[("kind", "failing_call")]),
            turned_away: Counter::default(),
            overflows: Counter::default(),
            waits_for_others: waits.get_or_create_owned(&[("for", "others")]),
            waits_for_rate: waits.get_or_create_owned(&[("for", "rate")]),
            not_kept_quota: not_kept.get_or_create_owned(&[("why", "quota")]),
            not_kept_disk: not_kept.get_or_create_owned(&[("why", "disk")]),
            free_disk: Gauge::default(),
            pending_messages: Gauge::default(),
            pending_bytes: Gauge::default(),
            pending_age: Gauge::default(),
            cursors_age: Gauge::default(),
            append_seconds: Histogram::new(buckets),
            kept_delivered: Counter::default(),
            messages,
        };
        let part = registry.sub_registry_with_prefix("switchboard");
        part.register("conversations", "Live conversations", metrics.conversations.clone());
        part.register("participants", "Live participants", metrics.participants.clone());
        part.register("messages", "Messages by kind, ack type and result", family);
        part.register("relayed_bytes", "Bytes of MSG put into queues", metrics.relayed_bytes.clone());
        part.register("refused", "USR and ANS that were refused", metrics.refused.clone());
        let refusals = "Requests refused since they came too often ([rates], or failing ones in a row), by kind";
        part.register("rate_refusals", refusals, rate_refusals);
        part.register(
            "connections_turned_away",
            "Connections closed because their address had as many as it may, a proxy wrote no header, or they had not joined and gave way to others",
            metrics.turned_away.clone(),
        );
        part.register("overflows", "Connections that could not keep up", metrics.overflows.clone());
        part.register("waits", "Messages that waited: until the others had read, or for their rate", waits);
        part.register("not_kept", "Messages that were not kept and NAKed, by why", not_kept);
        part.register("free_disk_bytes", "Free on the disk of the store's files", metrics.free_disk.clone());
        part.register("history_pending_messages", "Waiting for the store", metrics.pending_messages.clone());
        part.register("history_pending_bytes", "Waiting for the store", metrics.pending_bytes.clone());
        part.register("history_pending_age_seconds", "Of the oldest that waits", metrics.pending_age.clone());
        part.register(
            "cursors_age_seconds",
            "Of the oldest live cursor to be written",
            metrics.cursors_age.clone(),
        );
        part.register("kept_delivered", "Kept messages that were delivered", metrics.kept_delivered.clone());
        part.register("history_append_seconds", "Until durable", metrics.append_seconds.clone());
        metrics
    }

    /// Counts a message.
    pub(crate) fn message(&self, kind: Option<MessageKind>, ack: AckType, fate: Fate) {
        let kind = kind.map_or(0, |kind| kind as usize);
        let index = (kind * AckType::ALL.len() + ack as usize) * FATES + fate as usize;
        if let Some(counter) = self.messages.get(index) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_own_counter() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.message(Some(MessageKind::Nudge), AckType::Success, Fate::Failed);
        metrics.message(None, AckType::Never, Fate::Succeeded);
        metrics.message(Some(MessageKind::Text), AckType::Always, Fate::Succeeded);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"switchboard_messages_total{kind="nudge",ack="S",result="failed"} 1"#,
            r#"switchboard_messages_total{kind="other",ack="U",result="succeeded"} 1"#,
            r#"switchboard_messages_total{kind="text",ack="A",result="succeeded"} 1"#,
            r#"switchboard_messages_total{kind="text",ack="A",result="failed"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
