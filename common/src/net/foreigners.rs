//! Who has come to the wrong port is said in the log, and not for each.

use std::net::SocketAddr;

use crate::msnp::Foreign;
use crate::telemetry::Seldom;

/// The lines of one port where only MSNP is spoken: each kind has its own, so that scanners of one kind leave the others to be seen.
struct Lines {
    tls: Seldom,
    http: Seldom,
    proxy: Seldom,
}

/// A program has one such port.
static LINES: Lines = Lines::new();

impl Lines {
    const fn new() -> Self {
        Self { tls: Seldom::usual(), http: Seldom::usual(), proxy: Seldom::usual() }
    }

    /// If a line may be written: how many of that kind were left out since the last one.
    fn permits(&self, what: Foreign) -> Option<u64> {
        let of_its_kind = match what {
            Foreign::Tls => &self.tls,
            Foreign::Http => &self.http,
            Foreign::Proxy => &self.proxy,
        };
        of_its_kind.permits()
    }
}

/// Says what somebody has sent to a port where only MSNP is spoken.
pub(super) fn note(peer: SocketAddr, what: Foreign) {
    if let Some(others) = LINES.permits(what) {
        tracing::warn!(
            %peer,
            %what,
            others,
            "closed: this port speaks MSNP only, without TLS or HTTP, and takes a PROXY header from proxies.networks only, \
             where it has proxy_protocol; `others` of this kind came since the last such line"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_kind_never_hides_another() {
        let lines = Lines::new();
        let said = |what| (0..1000).filter(|_| lines.permits(what).is_some()).count();
        assert_eq!([Foreign::Tls, Foreign::Http, Foreign::Proxy].map(said), [20; 3]);
    }
}
