//! Guessed passwords, at both doors: MD5 at a notification server, HTTP at dispatch.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use integration_tests::Process;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::{closes, one_of_each, people, play, soon};

/// Where passwords are asked for.
#[derive(Debug, Clone, Copy)]
enum Door {
    Md5(SocketAddr),
    Http(SocketAddr),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_is_shut_out_and_the_owner_is_not() -> Result<()> {
    play(one_of_each(&["accounts.wrong_passwords=3"]), async |world| {
        // All doors count together, so that each has people of its own.
        let [alice, bob, carol, dave] = people(world, ["alice", "bob", "carol", "dave"], &[]).await?;
        for (process, by, people) in [
            ("notification-1", "md5", [alice, bob, "nobody@example.com".into()]),
            ("dispatch-1", "http", [carol, dave, "nobody.else@example.com".into()]),
        ] {
            let process = world.process(process)?;
            let door = match by {
                "md5" => Door::Md5(process.address("clients")?),
                _ => Door::Http(process.address("http")?),
            };
            guess(door, &people).await.with_context(|| format!("{door:?}"))?;
            operators_see(process, by, &people).await.with_context(|| format!("{door:?}"))?;
        }
        Ok(())
    })
    .await
}

/// Each refusal is counted by its reason, and said with the passport and the address; no password is, right or wrong.
async fn operators_see(process: &Process, by: &str, [alice, _, nobody]: &[String; 3]) -> Result<()> {
    let (_, metrics) = process.get("/metrics").await?;
    for (reason, count) in [("wrong_password", 4), ("no_account", 3), ("too_many_wrong", 4)] {
        let name = format!("monarch_{}_refused_sign_ins_total{{by=\"{by}\",reason=\"{reason}\"}}", process.tier());
        ensure!(metrics.contains(&format!("\n{name} {count}\n")), "not {count} of {name}: {metrics}");
    }
    let log = process.log();
    for (reason, who, from) in [
        ("wrong_password", alice.as_str(), "127.0.0.2"),
        ("too_many_wrong", alice.as_str(), "127.0.0.4"),
        ("no_account", nobody.as_str(), "127.0.0.2"),
    ] {
        let said = format!("who={who} from={from} by=\"{by}\" reason=\"{reason}\"");
        ensure!(log.lines().any(|line| line.contains("sign-in refused") && line.contains(&said)), "{said}: {log}");
    }
    for password in [PASSWORD, "letmein", "mistyped"] {
        ensure!(!log.contains(password), "the log has a password");
    }
    Ok(())
}

async fn guess(door: Door, [alice, bob, nobody]: &[String; 3]) -> Result<()> {
    let (home, guesser, travelling) = ("127.0.0.1", "127.0.0.2", "127.0.0.3");
    ensure!(door.knock(home, alice, PASSWORD).await?.is_none(), "the right password at home");
    let wrong = door.knock(guesser, alice, "letmein1").await?.context("a wrong password is let in")?;
    ensure!(door.knock(guesser, alice, "letmein2").await?.as_ref() == Some(&wrong));
    ensure!(door.knock(travelling, alice, PASSWORD).await?.is_none(), "two wrong ones shut nobody out");
    ensure!(door.knock(guesser, alice, "letmein3").await?.as_ref() == Some(&wrong));

    // From now on a right one is like a wrong one for strangers, and for nobody else.
    let other = "127.0.0.4";
    for stranger in [guesser, other] {
        let refused = door.knock(stranger, alice, PASSWORD).await?.context("a stranger is let in after three")?;
        ensure!(refused == wrong, "it tells that the password is right: {refused:?}, {wrong:?}");
    }
    for known in [home, travelling] {
        ensure!(door.knock(known, alice, PASSWORD).await?.is_none(), "the owner is shut out at {known}");
    }
    ensure!(door.knock(home, alice, "mistyped").await?.as_ref() == Some(&wrong));
    ensure!(door.knock(other, bob, PASSWORD).await?.is_none(), "other accounts have nothing to do with it");

    // An account that nobody has looks the same, before and after.
    for turn in 0..5 {
        let refused = door.knock(guesser, nobody, PASSWORD).await?;
        ensure!(refused.as_ref() == Some(&wrong), "turn {turn}: {refused:?}, not {wrong:?}");
    }
    Ok(())
}

impl Door {
    /// Tries a password from one of this machine's addresses. Returns the refusal, if it is one.
    async fn knock(self, from: &str, passport: &str, password: &str) -> Result<Option<String>> {
        let from: IpAddr = from.parse()?;
        match self {
            Self::Md5(addr) => {
                let mut client = Client::connect_from(from, addr).await?;
                let answer = soon(client.authenticate(passport, password)).await?;
                if answer.token(2) == "OK" {
                    return Ok(None);
                }
                ensure!(answer.verb() == "911", "{:?}", answer.tokens);
                ensure!(closes(&mut client).await?.is_empty(), "911 is the last that is said");
                Ok(Some(answer.tokens.join(" ")))
            }
            Self::Http(addr) => {
                let answer = soon(log_in(from, addr, passport, password)).await?;
                if answer.starts_with("HTTP/1.1 200 ") {
                    ensure!(answer.contains("from-PP='t="), "no ticket: {answer}");
                    return Ok(None);
                }
                ensure!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
                // The clock has nothing to do with it.
                let is_clock = |line: &&str| line.to_ascii_lowercase().starts_with("date:");
                Ok(Some(answer.lines().filter(|line| !is_clock(line)).collect::<Vec<_>>().join("\n")))
            }
        }
    }
}

/// Passport 1.4, as MSN Messenger 6 asks.
async fn log_in(from: IpAddr, addr: SocketAddr, passport: &str, password: &str) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(addr).await?;
    let passport = passport.replace('@', "%40");
    let request = format!(
        "GET /login2.srf?lc=1033 HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nAuthorization: Passport1.4 \
         OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,sign-in={passport},pwd={password},lc=1033,id=507\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
