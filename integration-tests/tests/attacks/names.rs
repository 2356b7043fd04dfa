//! Whether the time that a refusal takes tells which names have accounts. A measurement and no test of every run: timings depend
//! on what else the machine does.
//!
//! ```text
//! cargo test --workspace --test attacks -- --ignored --nocapture --test-threads=1 names::
//! ```

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use common::msnp::challenge::md5_answer;
use integration_tests::accounts;
use integration_tests::client::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::stage::play;
use crate::web;

/// Names that have an account, and as many that have none.
const NAMES: usize = 40;
/// Attempts at each kind of name, and at so many at once: a refusal takes a quarter of a second.
const EACH: usize = 600;
const LINES: usize = 4;
/// Attempts that come before, so that caches are filled.
const FIRST: usize = 20;

/// A way to sign in.
#[derive(Debug, Clone, Copy)]
enum Door {
    Md5,
    Http,
    Soap,
}

#[tokio::test]
#[ignore = "a measurement, of two minutes"]
async fn a_refusal_by_md5_takes_as_long_for_any_name() -> Result<()> {
    measure(Door::Md5).await
}

#[tokio::test]
#[ignore = "a measurement, of two minutes"]
async fn a_refusal_by_http_takes_as_long_for_any_name() -> Result<()> {
    measure(Door::Http).await
}

#[tokio::test]
#[ignore = "a measurement, of two minutes"]
async fn a_refusal_by_soap_takes_as_long_for_any_name() -> Result<()> {
    measure(Door::Soap).await
}

/// The area under the curve of a guess by time: 0.5 if the time says nothing of the name, 1 if it says all. As long as refusals left
/// when they were ready it was 0.60 by MD5, 0.55 by HTTP and 0.60 by SOAP, with hashes that cost half a millisecond; at multiples of
/// 50 ms by the timer alone it was 0.52 by MD5.
async fn measure(door: Door) -> Result<()> {
    let settings =
        ["log.filter=warn", "accounts.wrong_passwords=60000", "accounts.wrong_passwords_per_address=60000"];
    play(&settings, async |world| {
        let known: Vec<_> = (0..NAMES).map(|number| format!("known{number:02}")).collect();
        accounts::create(world.config(), &known, &[]).await?;
        let invented: Vec<_> = (0..NAMES).map(|number| format!("nobod{number:02}")).collect();
        let at = match door {
            Door::Md5 => world.process("notification-1")?.address("clients")?,
            Door::Http | Door::Soap => world.process("dispatch-1")?.address("http")?,
        };
        for name in known.iter().zip(&invented).flat_map(|(known, invented)| [known, invented]).take(FIRST) {
            door.refusal(at, name).await?;
        }
        let (known, invented) = (Arc::<[String]>::from(known), Arc::<[String]>::from(invented));
        let mut lines = JoinSet::new();
        for _ in 0..LINES {
            lines.spawn(compare(door, at, [Arc::clone(&known), Arc::clone(&invented)]));
        }
        let mut times = [Vec::new(), Vec::new()];
        while let Some(line) = lines.join_next().await {
            for (times, more) in times.iter_mut().zip(line??) {
                times.extend(more);
            }
        }
        let area = area(&times[0], &times[1]);
        // What chance alone makes of it.
        let deviation = ((2 * EACH + 1) as f64 / (12.0 * (EACH * EACH) as f64)).sqrt();
        let [known, invented] = times.map(quarters);
        println!(
            "{door:?}: AUC {area:.3} ± {deviation:.3} with {EACH} of each kind; quarters: known {known:?}, invented {invented:?}"
        );
        ensure!((area - 0.5).abs() < 0.05 + 2.0 * deviation, "the time tells who has an account: AUC {area:.3}");
        Ok(())
    })
    .await
}

/// How long refusals take for each kind of names, one after the other.
async fn compare(door: Door, at: SocketAddr, names: [Arc<[String]>; 2]) -> Result<[Vec<Duration>; 2]> {
    let (mut times, order) = ([Vec::new(), Vec::new()], RandomState::new());
    for number in 0..EACH / LINES {
        // Nothing else than the name may tell the two apart, as a turn in which one always comes second would.
        let first = (order.hash_one(number) & 1) as usize;
        for kind in [first, 1 - first] {
            let name = &names[kind][number % NAMES];
            times[kind].push(door.refusal(at, name).await?);
        }
    }
    Ok(times)
}

impl Door {
    /// How long a wrong password takes to be refused.
    async fn refusal(self, at: SocketAddr, name: &str) -> Result<Duration> {
        let (here, passport) = (([127, 0, 0, 1]).into(), format!("{name}@example.com"));
        match self {
            Self::Md5 => {
                let mut client = Client::connect(at).await?;
                client.request("VER", "MSNP7 CVR0").await?;
                client.request("INF", "").await?;
                let salt = client.request("USR", &format!("MD5 I {passport}")).await?.token(4).to_owned();
                let answer = md5_answer(&salt, "guess");
                let begun = Instant::now();
                let answer = client.request("USR", &format!("MD5 S {answer}")).await?;
                let took = begun.elapsed();
                ensure!(answer.verb() == "911", "{:?}", answer.tokens);
                Ok(took)
            }
            Self::Http => {
                let (answer, took) = web::timed(here, at, &web::request(&passport, "guess", "")).await?;
                ensure!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
                Ok(took)
            }
            Self::Soap => {
                let (answer, took) = web::timed(here, at, &web::soap_request(&passport, "guess")).await?;
                ensure!(answer.contains("FailedAuthentication"), "{answer}");
                Ok(took)
            }
        }
    }
}

/// How probable it is that one of the first takes longer than one of the others; half of those that take as long.
fn area(first: &[Duration], others: &[Duration]) -> f64 {
    let mut others = others.to_vec();
    others.sort_unstable();
    let wins = first.iter().map(|time| {
        let (less, no_more) =
            (others.partition_point(|other| other < time), others.partition_point(|other| other <= time));
        (less + no_more) as f64 / 2.0
    });
    wins.sum::<f64>() / (first.len() * others.len()) as f64
}

/// What a quarter, half and three quarters of them do not exceed.
fn quarters(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [1, 2, 3].map(|quarter| times.get(times.len() * quarter / 4).copied().unwrap_or_default())
}

#[test]
fn the_area_is_that_under_the_curve() {
    let of = |millis: &[u64]| millis.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
    for (first, others, expected) in [
        (&[3, 4][..], &[1, 2][..], 1.0),
        (&[1, 2], &[3, 4], 0.0),
        (&[1, 2], &[1, 2], 0.5),
        (&[2, 9], &[1, 2, 3, 4], 0.6875),
    ] {
        assert!((area(&of(first), &of(others)) - expected).abs() < 1e-9, "{first:?} {others:?}");
    }
}
