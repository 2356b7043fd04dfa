//! How long the certificate is still good, and who is told when that is not long.

use std::time::Duration;

use common::telemetry::Condition;
use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::metrics::Metrics;

const DAY: u64 = 24 * 60 * 60;
/// From so long before its end on operators are told.
const NOTICE: u64 = 14 * DAY;

/// Until when all certificates of a chain are good, in seconds since 1970. Nothing if none says so in a way that can be read.
pub(super) fn end(certified: &CertifiedKey) -> Option<u64> {
    let end = |der: &[u8]| -> Option<Duration> {
        let certificate = Certificate::from_der(der).ok()?;
        Some(certificate.tbs_certificate().validity().not_after.to_unix_duration())
    };
    certified.cert.iter().filter_map(|der| end(der)).min().map(|end| end.as_secs())
}

/// What there is to say at `now`; nothing as long as there is time.
pub(super) fn remark(end: u64, now: u64) -> Option<String> {
    let date = i64::try_from(end).ok().and_then(|end| Timestamp::from_second(end).ok())?;
    match end.checked_sub(now) {
        None => Some(format!("the certificate has expired on {date}")),
        Some(left) if left < NOTICE => {
            let days = left / DAY;
            Some(format!("the certificate expires in {days} days, on {date}"))
        }
        Some(_) => None,
    }
}

/// Tells operators: a line of `/readyz`, a metric, and a line in the log each day.
pub(crate) struct Teller {
    condition: Condition,
    metrics: Metrics,
    /// When the log was told last, and of which end.
    told: Option<(u64, u64)>,
}

impl Teller {
    /// Nothing was told yet.
    pub(crate) fn new(condition: Condition, metrics: Metrics) -> Self {
        Self { condition, metrics, told: None }
    }

    /// Tells what there is to say at `now` of a certificate that ends then. True if it was a line in the log.
    pub(super) fn tell(&mut self, end: Option<u64>, now: u64) -> bool {
        let Some(end) = end else { return false };
        self.metrics.certificate_end.set(end.try_into().unwrap_or(i64::MAX));
        let Some(remark) = remark(end, now) else {
            self.condition.met();
            self.told = None;
            return false;
        };
        let is_due = self.told.is_none_or(|(at, of)| of != end || now >= at.saturating_add(DAY));
        if is_due {
            tracing::warn!("{remark}; clients will refuse it: put another in its place");
            self.told = Some((now, end));
        }
        self.condition.missing(remark);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use common::telemetry::Readiness;

    use super::*;

    #[test]
    fn operators_are_told_each_day_from_a_fortnight_before() {
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        let mut teller = Teller::new(readiness.note("certificate"), metrics.clone());
        let end = 1_800_000_000;
        assert!(!teller.tell(Some(end), end - 15 * DAY));
        assert_eq!(
            (readiness.report().as_str(), metrics.certificate_end.get()),
            ("certificate: ok\n", 1_800_000_000)
        );
        assert!(teller.tell(Some(end), end - 13 * DAY));
        let line = "certificate: warning: the certificate expires in 13 days, on 2027-01-15T08:00:00Z\n";
        assert_eq!(readiness.report(), line);
        assert!(!teller.tell(Some(end), end - 13 * DAY + 30), "once a day");
        assert!(teller.tell(Some(end), end - 12 * DAY));
        assert!(teller.tell(Some(end + DAY), end - 12 * DAY + 30), "of another one at once");
        assert!(teller.tell(Some(end), end + 1) && readiness.report().contains("has expired on 2027-01-15"));
        assert!(readiness.is_ready(), "nobody waits for it");
        teller.tell(Some(end + 400 * DAY), end + 60);
        assert_eq!(readiness.report(), "certificate: ok\n");
        assert!(!teller.tell(None, end));
    }
}
