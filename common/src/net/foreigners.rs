//! Who has come to the wrong port is said in the log, and not for each.

use std::net::SocketAddr;
use std::time::Duration;

use crate::msnp::Foreign;
use crate::telemetry::Seldom;

static LINES: Seldom = Seldom::one_in(Duration::from_secs(10));

/// Says what somebody has sent to a port where only MSNP is spoken.
pub(super) fn note(peer: SocketAddr, what: Foreign) {
    if let Some(others) = LINES.permits() {
        tracing::warn!(
            %peer,
            %what,
            others,
            "closed: this port speaks MSNP only, without TLS or HTTP, and takes a PROXY header from proxies.networks only, \
             where it has proxy_protocol; `others` came since the last such line"
        );
    }
}
