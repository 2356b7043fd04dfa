//! Ending what an old password has opened, at the servers that run.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use common::cluster::{Audience, Instruction, Order};
use common::config::{Config, StoreKind};
use common::model::{ClaimId, Edition, Passport};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::orders::{self, OrderDesk};
use crate::up::Running;
use crate::{Failure, terminal::harmless};

/// Nobody listens where a connection is refused at once.
const KNOCK: Duration = Duration::from_secs(1);

/// Ends the sessions and conversations of an account that were opened by credentials before these, and returns what is to be said. The
/// password is changed by then, whatever comes of this.
pub(crate) async fn end(
    who: &Passport,
    claim: ClaimId,
    edition: Edition,
    node: Option<SocketAddr>,
    config: &Config,
) -> Result<String, Failure> {
    let what = Instruction::NewPassword { claim, edition };
    let order = Order { id: orders::random()?, to: Audience::Principal(who.clone()), what };
    let mut desk = OrderDesk::configured(config);
    // On SQLite all servers are on this machine, and none starts without the secrets.
    let is_here = config.store.kind == StoreKind::Sqlite && node.is_none();
    let mut why = Failure::Unreachable("no server listens at the admin addresses that are configured".into());
    let mut somebody_listens = false;
    if !is_here || desk.secrets.exists() {
        for admin in node.map_or_else(|| admin_addresses(config), |node| vec![node]) {
            if nobody_listens(admin).await {
                continue;
            }
            (desk.admin, somebody_listens) = (admin, true);
            match desk.give(&order).await {
                Ok(said) => return Ok(harmless(said.trim_end())),
                // It takes no orders, or does not answer: another one may.
                Err(failure @ Failure::Unreachable(_)) => why = failure,
                Err(failure) => return Err(unfinished(who, &failure)),
            }
        }
    }
    if is_here && !somebody_listens {
        return Ok(format!("no server of this deployment runs: there was nothing of {who} to end"));
    }
    Err(unfinished(who, &why))
}

/// The same failure, with what it means.
fn unfinished(who: &Passport, failure: &Failure) -> Failure {
    let text = format!(
        "the password is changed, but what the old one has opened may go on: {failure}. Once the servers answer, \
         `monarch user password {who}` again ends it"
    );
    match failure {
        Failure::Unreachable(_) => Failure::Unreachable(text),
        Failure::Usage(_) | Failure::Config(_) => Failure::Usage(text),
        Failure::Failed(_) => Failure::failed(text),
    }
}

/// Where orders are taken: any node passes them on. Notification servers come first, since others know of those that live only.
fn admin_addresses(config: &Config) -> Vec<SocketAddr> {
    let running = Running::on(&config.store.path).map(|running| running.admins()).unwrap_or_default();
    let configured = [&config.notification.node, &config.switchboard.node, &config.dispatch.node];
    let configured = configured.map(|node| node.admin);
    running.into_iter().chain(configured.into_iter().filter(|admin| admin.port() != 0)).collect()
}

async fn nobody_listens(admin: SocketAddr) -> bool {
    match timeout(KNOCK, TcpStream::connect(admin)).await {
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        _ => false,
    }
}
