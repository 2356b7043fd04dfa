//! What operators see of this tier.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[cfg(test)]
use common::credentials::Refusal;
use common::telemetry::Registry;

use crate::http::SignInOutcome;

/// The counters of a dispatch process. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    /// Client connections that are open.
    pub(crate) connections: Gauge,
    /// Connections of clients, by MSNP, HTTP and HTTPS, that were closed at once because there were too many.
    pub(crate) turned_away: Counter,
    /// When the certificate ends, in seconds since 1970; 0 without one.
    pub(crate) certificate_end: Gauge,
    /// Assignments in which a notification server was passed over that had what it admits in a second.
    pub(crate) passed_over: Counter,
    ends: Family<Ended, Counter>,
    sign_ins: Family<Outcome, Counter>,
    refusals: Family<Refused, Counter>,
    dns: Family<Code, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    by: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

impl Metrics {
    /// Counters that `registry` shows.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        let registry = registry.sub_registry_with_prefix("dispatch");
        registry.register("connections", "Client connections that are open", all.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections of clients closed because there were too many, a proxy wrote no header, or (MSNP) they gave way to others; MSNP, HTTP, HTTPS",
            all.turned_away.clone(),
        );
        registry.register(
            "sign_ins_passed_over",
            "Sign-ins sent to another notification server, since a less loaded one had what it admits in a second",
            all.passed_over.clone(),
        );
        registry.register(
            "certificate_end_timestamp_seconds",
            "When the first certificate of the chain in use expires, in seconds since 1970",
            all.certificate_end.clone(),
        );
        registry.register("connections_ended", "Client connections that ended, by how", all.ends.clone());
        registry.register("http_sign_ins", "Sign-ins over HTTP and HTTPS, by result", all.sign_ins.clone());
        registry.register(
            "refused_sign_ins",
            "Passwords refused, by HTTP or SOAP, by reason",
            all.refusals.clone(),
        );
        registry.register("dns_answers", "DNS answers, by response code", all.dns.clone());
        all
    }

    /// A client connection ended: `redirected`, `none_alive` (601) and so on.
    pub(crate) fn ended(&self, by: &'static str) {
        self.ends.get_or_create(&Ended { by }).inc();
    }

    /// A sign-in over HTTP or HTTPS was answered.
    pub(crate) fn signed_in(&self, result: &'static str) {
        self.sign_ins.get_or_create(&Outcome { result }).inc();
    }

    /// An attempt to sign in by HTTP or SOAP was checked.
    pub(crate) fn checked(&self, by: &'static str, outcome: &SignInOutcome) {
        self.signed_in(outcome.label());
        if let SignInOutcome::Wrong(why) = outcome {
            self.refusals.get_or_create(&Refused { by, reason: why.label() }).inc();
        }
    }

    /// A DNS query was answered.
    pub(crate) fn dns_answer(&self, code: &'static str) {
        self.dns.get_or_create(&Code { code }).inc();
    }

    #[cfg(test)]
    pub(crate) fn refusals(&self, by: &'static str, why: Refusal) -> u64 {
        self.refusals.get_or_create(&Refused { by, reason: why.label() }).get()
    }

    #[cfg(test)]
    pub(crate) fn sign_ins(&self, result: &'static str) -> u64 {
        self.sign_ins.get_or_create(&Outcome { result }).get()
    }

    #[cfg(test)]
    pub(crate) fn ends(&self, by: &'static str) -> u64 {
        self.ends.get_or_create(&Ended { by }).get()
    }
}
