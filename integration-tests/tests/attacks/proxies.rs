//! Clients behind a proxy that is known: counted apart, shut out apart, and believed nothing that they write themselves.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::Client;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::stage::play;
use crate::web;

/// What `proxies.networks` has, and an address there.
const LISTED: &str = "proxies.networks=127.9.0.0/16,::1";
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 9, 0, 1));
/// Somebody else on the same machine.
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 66));

/// All ports expect a PROXY header.
const HEADERS: [&str; 4] = [
    "dispatch.proxy_protocol=true",
    "dispatch.http.proxy_protocol=true",
    "notification.proxy_protocol=true",
    "switchboard.proxy_protocol=true",
];
const TIERS: [&str; 3] = ["dispatch-1", "notification-1", "switchboard-1"];
/// Hashes that cost next to nothing.
const CHEAP: &str = "accounts.argon2_memory_kib=8";
const PATIENCE: Duration = Duration::from_secs(10);

/// Version 1.
fn text(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let here = if client.contains(':') { "2001:db8::ffff" } else { "203.0.113.9" };
    format!("PROXY {family} {client} {here} 4711 1863\r\n").into_bytes()
}

/// Version 2, with something behind the addresses.
fn binary(client: &str) -> Result<Vec<u8>> {
    let (kind, addresses) = match client.parse()? {
        IpAddr::V4(client) => (0x11, [client.octets(), [203, 0, 113, 9]].concat()),
        IpAddr::V6(client) => (0x21, [client.octets(), [7; 16]].concat()),
    };
    let rest = [&addresses[..], &4711_u16.to_be_bytes(), &1863_u16.to_be_bytes(), b"\x04\x00\x02ab"].concat();
    let length = u16::try_from(rest.len())?.to_be_bytes();
    Ok([b"\r\n\r\n\0\r\nQUIT\n\x21", &[kind][..], &length, &rest].concat())
}

/// LOCAL of version 2.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A connection that begins so.
async fn come(world: &World, tier: &str, from: IpAddr, bytes: &[u8]) -> Result<Client> {
    let mut client = Client::connect_from(from, world.process(tier)?.address("clients")?).await?;
    client.raw(bytes).await?;
    Ok(client)
}

/// Whether the connection is served; if not, it is closed without a word.
async fn is_served(client: &mut Client, tier: &str) -> Result<bool> {
    let said = if tier == "switchboard-1" { ("USR", "who@example.com forged") } else { ("VER", "MSNP7 CVR0") };
    let answer = async {
        client.send(said.0, said.1).await?;
        client.receive().await
    };
    Ok(timeout(PATIENCE, answer).await.with_context(|| format!("{tier} is silent"))?.is_ok())
}

/// Connections of that client, which say nothing, until one more is refused, and again: a place may be that of one that has just gone.
async fn fill(world: &World, tier: &str, header: &[u8], held: &mut Vec<Client>) -> Result<()> {
    let (deadline, mut refused) = (Instant::now() + PATIENCE, 0);
    while refused < 3 {
        if is_served(&mut come(world, tier, PROXY, header).await?, tier).await? {
            held.push(come(world, tier, PROXY, header).await?);
            refused = 0;
        } else {
            refused += 1;
        }
        ensure!(Instant::now() < deadline, "{tier}: one too many is let in");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_behind_one_proxy_are_counted_apart() -> Result<()> {
    let limits = [
        "dispatch.connections_per_address=2",
        "notification.connections_per_address=2",
        "switchboard.connections_per_address=2",
    ];
    play(&[&[LISTED][..], &HEADERS, &limits].concat(), async |world| {
        for tier in TIERS {
            let mut held = Vec::new();
            // Those of one network count together, in whatever form its address comes.
            for (client, same) in
                [(binary("192.0.2.1")?, text("::ffff:192.0.2.1")), (text("2001:db8::1"), binary("2001:db8::2")?)]
            {
                fill(world, tier, &client, &mut held).await?;
                ensure!(
                    !is_served(&mut come(world, tier, PROXY, &same).await?, tier).await?,
                    "{tier}: counted apart"
                );
            }
            // Others have their own places, many more than one address, and so has the proxy itself.
            for last in 2..20 {
                let header = if last % 2 == 0 {
                    text(&format!("192.0.2.{last}"))
                } else {
                    binary(&format!("2001:db8:{last}::1"))?
                };
                let mut other = come(world, tier, PROXY, &header).await?;
                ensure!(is_served(&mut other, tier).await?, "{tier}: {last} is not let in");
                held.push(other);
            }
            for own in [LOCAL, b"PROXY UNKNOWN\r\n"] {
                ensure!(is_served(&mut come(world, tier, PROXY, own).await?, tier).await?, "{tier}: {own:?}");
            }
            let mut direct = come(world, tier, STRANGER, b"").await?;
            ensure!(is_served(&mut direct, tier).await?, "{tier}: without a proxy");
        }
        Ok(())
    })
    .await
}

/// Whether a password is taken at a client's address behind the proxy: by HTTP, or by MD5.
async fn knock(world: &World, door: usize, from: &str, who: &str, password: &str) -> Result<bool> {
    if door == 0 {
        let http = world.process("dispatch-1")?.address("http")?;
        return Ok(web::passed_on(PROXY, http, &binary(from)?, "", [who, password]).await? == 200);
    }
    let mut client = come(world, "notification-1", PROXY, &text(from)).await?;
    Ok(client.authenticate(who, password).await?.token(2) == "OK")
}

/// Before, all who come by one proxy were one network: whoever guessed there shut out everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_behind_the_proxy_shuts_out_his_own_network_only() -> Result<()> {
    let bounds = ["accounts.wrong_passwords_per_address=10"];
    play(&[&[LISTED, CHEAP][..], &HEADERS, &bounds].concat(), async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[]).await?;
        let rounds = [
            (alice, "192.0.2.1", "192.0.2.2", "198.51.100.66"),
            (carol, "2001:db8:a::1", "2001:db8:b::1", "2001:db8:c::66"),
        ];
        for (owner, home, other, guesser) in rounds {
            for door in 0..2 {
                ensure!(knock(world, door, home, &owner, PASSWORD).await?, "door {door}: at home");
            }
            for door in 0..2 {
                for number in 0..20 {
                    let guess = knock(world, door, guesser, &owner, &format!("guess{number}")).await?;
                    ensure!(!guess, "door {door}: guess {number}");
                }
                ensure!(!knock(world, door, guesser, &owner, PASSWORD).await?, "the 21st guess is looked at");
                ensure!(!knock(world, door, guesser, &bob, PASSWORD).await?, "he guesses elsewhere");
                ensure!(
                    knock(world, door, home, &owner, PASSWORD).await?,
                    "door {door}: the owner is shut out at home"
                );
                ensure!(knock(world, door, other, &bob, PASSWORD).await?, "door {door}: bob is shut out");
            }
        }
        let log: String = world.processes().iter().map(integration_tests::Process::log).collect();
        ensure!(log.contains("from=198.51.100.66") && log.contains("from=2001:db8:c::66"), "no client in the log");
        ensure!(!log.contains(&PROXY.to_string()), "the proxy stands for its clients in the log");
        Ok(())
    })
    .await
}

/// What contacts see of a client whose connection a proxy has closed, perhaps with all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_behind_the_proxy_has_the_long_grace() -> Result<()> {
    let graces = ["notification.grace_secs=4", "notification.close_grace_secs=0"];
    play(&[&[LISTED][..], &HEADERS, &graces].concat(), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let mut at_bob =
            Client::sign_in(world.process("notification-1")?.address("clients")?, &bob, PASSWORD).await?;
        for (from, by, least) in [("192.0.2.1", PROXY, Duration::from_secs(3)), ("", STRANGER, Duration::ZERO)] {
            let header = if from.is_empty() { Vec::new() } else { binary(from)? };
            let mut at_alice = come(world, "notification-1", by, &header).await?;
            ensure!(at_alice.authenticate(&alice, PASSWORD).await?.token(2) == "OK");
            at_alice.request("CHG", "NLN").await?;
            timeout(PATIENCE, at_bob.expect("NLN")).await??;
            let closed = Instant::now();
            at_alice.close().await?;
            timeout(PATIENCE, at_bob.expect("FLN")).await??;
            let unseen = closed.elapsed();
            println!("closed by {by}: seen after {unseen:?}");
            ensure!(unseen >= least && unseen < least + Duration::from_secs(3), "{by}: seen after {unseen:?}");
        }
        let log = world.process("notification-1")?.log();
        ensure!(
            log.contains("peer=192.0.2.1:4711 dialect=MSNP7 passport=alice"),
            "not the client's address: {log}"
        );
        Ok(())
    })
    .await
}

/// Nobody is believed who is not listed, and who is listed must say whose connection it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_header_is_nonsense_and_a_missing_one_is_said() -> Result<()> {
    play(&[&[LISTED][..], &HEADERS].concat(), async |world| {
        for tier in TIERS {
            for header in [text("192.0.2.1"), binary("192.0.2.1")?, binary("2001:db8::1")?, LOCAL.to_vec()] {
                let mut stranger = come(world, tier, STRANGER, &header).await?;
                ensure!(!is_served(&mut stranger, tier).await?, "{tier} believes a stranger: {header:?}");
                // Neither is a client that writes one behind that of the proxy.
                let twice = [text("192.0.2.1"), header].concat();
                let mut client = come(world, tier, PROXY, &twice).await?;
                ensure!(!is_served(&mut client, tier).await?, "{tier} believes a client: {twice:?}");
            }
            let long = [&LOCAL[..14], b"\xff\xff"].concat();
            for bytes in [&b"VER 1 MSNP7 CVR0\r\n"[..], b"PROXY TCP4 192.0.2.1\r\n", &long] {
                let mut proxy = come(world, tier, PROXY, bytes).await?;
                ensure!(!is_served(&mut proxy, tier).await?, "{tier} takes a proxy without a header: {bytes:?}");
            }
            // Silence holds up nobody.
            let _silent = come(world, tier, PROXY, b"").await?;
            ensure!(is_served(&mut come(world, tier, PROXY, &binary("192.0.2.1")?).await?, tier).await?);
            let log = world.process(tier)?.log();
            for why in ["has no PROXY header", "PROXY header is broken", "PROXY header is too long"] {
                ensure!(log.matches(why).count() == 1, "{tier}: {why}\n{log}");
            }
            ensure!(log.contains("what=a PROXY header"), "{tier}: a stranger's header is not said\n{log}");
        }
        let http = world.process("dispatch-1")?.address("http")?;
        for (by, before) in [(STRANGER, text("192.0.2.1")), (STRANGER, binary("192.0.2.1")?)] {
            let status = web::passed_on(by, http, &before, "", ["who@example.com", PASSWORD]).await?;
            ensure!(status == 400, "{status}");
        }
        ensure!(web::passed_on(PROXY, http, b"", "", ["who@example.com", PASSWORD]).await.is_err(), "no header");
        Ok(())
    })
    .await
}

/// What the README's own proxy does: it speaks TLS and HTTP, and writes a line into the request's head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_the_request_counts_if_a_proxy_has_written_it() -> Result<()> {
    for header in ["x-forwarded-for", "forwarded"] {
        let forwarded = format!("dispatch.http.forwarded={header}");
        play(&[LISTED, CHEAP, &forwarded], async |world| {
            let [alice] = people(world, ["alice"], &[]).await?;
            let http = world.process("dispatch-1")?.address("http")?;
            lines(http, &alice, header).await
        })
        .await?;
    }
    Ok(())
}

async fn lines(http: SocketAddr, alice: &str, header: &str) -> Result<()> {
    let said = |address: &str| match header {
        "forwarded" if address.contains(':') => format!("Forwarded: for=\"[{address}]:4711\";proto=https\r\n"),
        "forwarded" => format!("Forwarded: for={address};proto=https\r\n"),
        _ => format!("X-Forwarded-For: {address}\r\n"),
    };
    let log_in = async |by, lines: &str, password| web::passed_on(by, http, b"", lines, [alice, password]).await;
    let rounds = [("192.0.2.1", "198.51.100.66"), ("2001:db8:a::1", "2001:db8:c::66")];
    for (home, _) in rounds {
        ensure!(log_in(PROXY, &said(home), PASSWORD).await? == 200, "at home");
    }
    for (home, guesser) in rounds {
        for _ in 0..110 {
            ensure!(log_in(PROXY, &said(guesser), "guess").await? == 401);
        }
        // He writes that he is at home; the proxy writes where he is behind that.
        let forged = said(home) + &said(guesser);
        ensure!(log_in(PROXY, &forged, PASSWORD).await? == 401, "a client's own line is believed");
        let passed_on = forged.clone() + &said("127.9.3.3");
        ensure!(log_in(PROXY, &passed_on, PASSWORD).await? == 401, "behind two proxies");
        ensure!(log_in(PROXY, &(said(home) + &said("127.9.3.3")), PASSWORD).await? == 200, "behind two proxies");
        ensure!(log_in(STRANGER, &said(home), PASSWORD).await? == 401, "a stranger is believed");
        ensure!(log_in(PROXY, &said(home), PASSWORD).await? == 200, "the owner is shut out at home");
    }
    Ok(())
}
