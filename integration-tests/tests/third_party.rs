//! A client that nobody here wrote signs in and chats through the real binaries.

#[path = "third_party/driver.rs"]
mod driver;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cli::OrderDesk;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::{Plan, World};
use tokio::process::Command;
use tokio::time::timeout;

/// The whole conversation takes a few seconds; a client that spins is killed after so long.
const DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_of_another_maker_meet() -> Result<()> {
    let world = World::start(Plan::default()).await?;
    let names = ["alice", "bob", "carol", "dave"].map(str::to_owned);
    // Carol is alice's contact already, and dave has added alice, who has not answered.
    let made = accounts::create(world.config(), &names, &[(0, 2), (3, 0)]).await?;
    let dispatch = world.process("dispatch-1")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("DRIVE_DISPATCH", dispatch.address("clients")?.to_string())
        .env("DRIVE_NEXUS", format!("http://{}/rdr/pprdr.asp", dispatch.address("http")?))
        .env("DRIVE_ALICE", made[0].as_str())
        .env("DRIVE_BOB", made[1].as_str())
        .env("DRIVE_CAROL", made[2].as_str())
        .env("DRIVE_DAVE", made[3].as_str())
        .env("DRIVE_ADMIN", world.orders()?.admin.to_string())
        .env("DRIVE_SECRETS", world.orders()?.secrets)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let status = timeout(DEADLINE, child.wait()).await;
    let outcome = status.context("the clients took too long").and_then(|status| Ok(status?));
    match outcome {
        Ok(status) if status.success() => world.shut_down().await,
        outcome => anyhow::bail!("{outcome:?}\n{}", world.logs()),
    }
}

/// Started by the test above, which tells it where to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other test starts it"]
async fn in_a_process_of_its_own() -> Result<()> {
    let told = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    let dispatch: std::net::SocketAddr = told("DRIVE_DISPATCH")?.parse()?;
    ensure!(dispatch.ip().is_loopback(), "tests stay on this machine");
    driver::drive(driver::Deployment {
        dispatch: (dispatch.ip().to_string(), dispatch.port()),
        nexus: told("DRIVE_NEXUS")?,
        alice: told("DRIVE_ALICE")?,
        bob: told("DRIVE_BOB")?,
        carol: told("DRIVE_CAROL")?,
        dave: told("DRIVE_DAVE")?,
        password: PASSWORD.to_owned(),
        orders: OrderDesk { admin: told("DRIVE_ADMIN")?.parse()?, secrets: told("DRIVE_SECRETS")?.into() },
    })
    .await;
    Ok(())
}
