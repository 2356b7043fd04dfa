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

#[cfg(test)]
mod tests {
    use common::cluster::Keyring;
    use common::config::load;
    use common::config::{Given, Sources};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An admin address that says so to one order.
    async fn desk(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            // The first connection only looks whether somebody listens.
            drop(listener.accept().await.unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut order = [0; 4096];
            let _ = stream.read(&mut order).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        addr
    }

    fn nobody() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// What comes of it with these admin addresses of the three tiers.
    async fn ended(dir: &std::path::Path, store: &str, admins: [SocketAddr; 3]) -> Result<String, (u8, String)> {
        let given = |key: &str, value: String| Given { flag: "--set".into(), key: key.into(), value };
        let mut all = vec![
            given("store.kind", store.into()),
            given("store.path", dir.display().to_string()),
            given("cluster.secrets", dir.join("secrets").display().to_string()),
        ];
        let tiers = ["notification", "switchboard", "dispatch"].map(|tier| format!("{tier}.node.admin"));
        all.extend(tiers.iter().zip(admins).map(|(key, admin)| given(key, admin.to_string())));
        let config = load(&Sources { given: all, ..Sources::default() }).unwrap().config;
        let (who, claim) = (Passport::parse("alice@example.com").unwrap(), ClaimId(uuid::Uuid::nil()));
        let ended = end(&who, claim, Edition(7), None, &config).await;
        ended.map_err(|failure| (failure.code(), failure.to_string()))
    }

    const DONE: &str = "HTTP/1.1 200 OK\r\n\r\nalice@example.com is signed out\n";

    #[tokio::test]
    async fn whichever_node_answers_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        Keyring::create(&dir.path().join("secrets")).unwrap();
        let signed_out = Ok("alice@example.com is signed out".to_owned());
        let (gone, waits) = (nobody(), "HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(ended(dir.path(), "sqlite", [desk(DONE).await, gone, gone]).await, signed_out);
        // The notification server has just died; the next has not begun to take orders.
        assert_eq!(ended(dir.path(), "sqlite", [gone, desk(waits).await, desk(DONE).await]).await, signed_out);
        assert_eq!(ended(dir.path(), "sqlite", [desk("").await, gone, desk(DONE).await]).await, signed_out);
    }

    #[tokio::test]
    async fn what_could_not_be_ended_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let gone = nobody();
        let nothing = "no server of this deployment runs: there was nothing of alice@example.com to end";
        assert_eq!(ended(dir.path(), "sqlite", [desk(DONE).await; 3]).await.as_deref(), Ok(nothing), "no secrets");
        Keyring::create(&dir.path().join("secrets")).unwrap();
        assert_eq!(ended(dir.path(), "sqlite", [gone; 3]).await.as_deref(), Ok(nothing));
        let silent = "HTTP/1.1 409 Conflict\r\n\r\nno answer from: ns-2\n";
        for (store, admins, code, why) in [
            ("scylla", [gone; 3], 3, "no server listens"),
            ("sqlite", [desk("").await, gone, gone], 3, "no Monarch node"),
            ("sqlite", [desk(silent).await, gone, gone], 1, "no answer from: ns-2."),
        ] {
            let (found, said) = ended(dir.path(), store, admins).await.unwrap_err();
            assert!(
                found == code && said.starts_with("the password is changed") && said.contains(why),
                "{found} {said}"
            );
        }
    }
}
