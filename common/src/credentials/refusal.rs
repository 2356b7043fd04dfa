//! Why somebody was not signed in: for operators, never for the client.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::model::Passport;
use crate::telemetry::Seldom;

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The account has another password.
    WrongPassword,
    /// There is no such account.
    NoAccount,
    /// Too many wrong ones came before: it was not looked at.
    TooMany,
    /// The account has no password for MD5 sign-in.
    NoMd5Password,
    /// This node has no key for the passwords of MD5 sign-in.
    Md5KeyMissing,
    /// The account's password for MD5 sign-in is sealed with a key that this node doesn't have.
    Md5KeyOther,
    /// A ticket that is none of this deployment's, or another's.
    TicketNotGenuine,
    /// A ticket that has expired.
    TicketExpired,
    /// A ticket that has expired by the clock of this node, which is off.
    Clock,
    /// A ticket from before the password was changed.
    TicketOutdated,
}

impl Refusal {
    /// The word in metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::NoAccount => "no_account",
            Self::TooMany => "too_many_wrong",
            Self::NoMd5Password => "no_md5_password",
            Self::Md5KeyMissing => "md5_key_missing",
            Self::Md5KeyOther => "md5_key_other",
            Self::TicketNotGenuine => "ticket_not_genuine",
            Self::TicketExpired => "ticket_expired",
            Self::Clock => "clock",
            Self::TicketOutdated => "ticket_outdated",
        }
    }
}

/// Refused passwords are answered at multiples of so long, and up to as much later.
const EVEN: Duration = Duration::from_millis(50);

/// Waits until the refusal may leave of an attempt that came then. Whether there is such an account makes microseconds, which who
/// asks often enough could tell. A timer alone does not hide them: it wakes a whole number of milliseconds after it was set. Among
/// fifty that chance adds they are lost.
pub async fn until_even(came: Instant) {
    let chance = getrandom::u64().unwrap_or_default() % u64::try_from(EVEN.as_nanos()).unwrap_or(u64::MAX);
    sleep_until(came + evened(came.elapsed()) + Duration::from_nanos(chance)).await;
}

fn evened(took: Duration) -> Duration {
    let whole = u32::try_from(took.as_nanos() / EVEN.as_nanos()).unwrap_or(u32::MAX);
    EVEN.saturating_mul(whole.saturating_add(1))
}

/// Tells the log of refusals, a bounded number of lines.
#[derive(Debug, Default)]
pub struct RefusalLog(Seldom);

impl RefusalLog {
    /// Somebody was refused who signed in by `by`.
    pub fn tell(&self, by: &'static str, who: &Passport, from: IpAddr, why: Refusal) {
        if let Some(left_out) = self.0.permits() {
            let reason = why.label();
            tracing::info!(%who, %from, by, reason, left_out, "sign-in refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_leave_at_even_times_and_some_chance_later() {
        let ms = Duration::from_millis;
        let mut chances = BTreeSet::new();
        for (took, leaves) in [(0, 50), (1, 50), (49, 50), (50, 100), (120, 150)].repeat(20) {
            let came = Instant::now();
            tokio::time::advance(ms(took)).await;
            until_even(came).await;
            let chance = came.elapsed().checked_sub(ms(leaves)).unwrap();
            assert!(chance <= EVEN, "{took}: {chance:?}");
            chances.insert(chance.as_millis());
        }
        assert!(chances.len() > 10, "{chances:?}");
        assert!(evened(Duration::MAX) > Duration::from_secs(3600));
    }
}
