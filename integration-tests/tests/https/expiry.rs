//! A certificate that ends soon, or has ended: operators are told by `/readyz`, a metric and the log, until another one is there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::clock::wall;
use integration_tests::{Plan, World};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::time::{Instant, sleep};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
/// The files are looked at every half minute.
const LOOKED_AT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_of_a_certificate_that_ends() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (file, key_file) = (directory.path().join("server.crt"), directory.path().join("server.key"));
    let key = KeyPair::generate()?;
    std::fs::write(&key_file, key.serialize_pem())?;
    std::fs::set_permissions(&key_file, Permissions::from_mode(0o600))?;
    let now = wall().as_secs();
    let (soon, over, good) = (now + 3 * DAY + HOUR, now - DAY, now + 90 * DAY);
    write(&file, &key, soon)?;
    let settings = [("certificate", &file), ("key", &key_file)];
    let settings = settings.map(|(name, path)| format!("dispatch.https.{name}={}", path.display())).to_vec();
    let mut world = World::start(Plan { notification: 1, settings, ..Plan::default() }).await?;
    let played = async {
        told(&world, soon, "warning: the certificate expires in 3 days, on ").await?;
        ensure!(warnings(&world)? == ["expires in 3 days"], "{:?}", warnings(&world)?);

        // At SIGHUP at once.
        write(&file, &key, over)?;
        world.process("dispatch-1")?.hang_up()?;
        told(&world, over, "warning: the certificate has expired on ").await?;
        ensure!(warnings(&world)? == ["expires in 3 days", "has expired"], "{:?}", warnings(&world)?);

        // It starts with it all the same: those who sign in without TLS need it.
        world.stop("dispatch-1").await?;
        world.restart("dispatch-1").await?;
        world.ready().await?;
        told(&world, over, "warning: the certificate has expired on ").await?;

        // By itself.
        write(&file, &key, good)?;
        told(&world, good, "ok").await?;
        let all = ["expires in 3 days", "has expired", "has expired"];
        ensure!(warnings(&world)? == all, "{:?}", warnings(&world)?);
        Ok(())
    };
    let played: Result<()> = played.await;
    played.with_context(|| world.logs())?;
    world.shut_down().await
}

/// A certificate that is good until then, in seconds since 1970.
fn write(file: &Path, key: &KeyPair, end: u64) -> Result<()> {
    let mut parameters = CertificateParams::new(vec!["nexus.example.com".to_owned()])?;
    parameters.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
    parameters.not_before = parameters.not_after - Duration::from_secs(365 * DAY);
    Ok(std::fs::write(file, parameters.self_signed(key)?.pem())?)
}

/// Waits until `/readyz` says that of the certificate and the metric names its end; the node is ready all the same.
async fn told(world: &World, end: u64, said: &str) -> Result<()> {
    let dispatch = world.process("dispatch-1")?;
    let (line, metric) = (
        format!("\ncertificate: {said}"),
        format!("\nmonarch_dispatch_certificate_end_timestamp_seconds {end}\n"),
    );
    let deadline = Instant::now() + LOOKED_AT;
    loop {
        let ((status, readyz), (_, metrics)) = (dispatch.get("/readyz").await?, dispatch.get("/metrics").await?);
        if status == 200 && format!("\n{readyz}").contains(&line) && metrics.contains(&metric) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{line} and {metric} are not told: {status} {readyz}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the log has warned of the certificate, in order.
fn warnings(world: &World) -> Result<Vec<&'static str>> {
    let log = world.process("dispatch-1")?.log();
    // What `/readyz` says stands in the log, too, while the node is not ready.
    let warned = log.lines().filter(|line| line.contains("WARN dispatch::http::tls::expiry"));
    let known = |line: &str| ["expires in 3 days", "has expired"].into_iter().find(|known| line.contains(known));
    Ok(warned.map(|line| known(line).unwrap_or("something else")).collect())
}
