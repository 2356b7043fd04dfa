//! How many: contacts, groups, connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;

use crate::operators::metric;
use crate::{SILENCE, closes, is_silent, one_of_each, people, play, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_full() -> Result<()> {
    play(one_of_each(&["limits.forward_list=2", "limits.groups=1"]), async |world| {
        let [alice, bob, carol, dave] = people(world, ["alice", "bob", "carol", "dave"], &[]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        for (verb, arguments, answer) in [
            ("ADD", format!("FL {bob} Bob"), "ADD"),
            ("ADD", format!("FL {carol} Carol"), "ADD"),
            ("ADD", format!("FL {dave} Dave"), "210"),
            // The other lists have bounds of their own.
            ("ADD", format!("AL {dave} Dave"), "ADD"),
            ("REM", format!("FL {bob}"), "REM"),
            ("ADD", format!("FL {dave} Dave"), "ADD"),
            ("ADD", format!("FL {bob} Bob"), "210"),
            ("ADG", "Friends 0".to_owned(), "ADG"),
            ("ADG", "Work 0".to_owned(), "223"),
            ("REG", "1 Work 0".to_owned(), "REG"),
            ("RMG", "1".to_owned(), "RMG"),
            ("ADG", "Friends 0".to_owned(), "ADG"),
        ] {
            let answered = at_alice.request(verb, &arguments).await?;
            ensure!(answered.verb() == answer, "{verb} {arguments}: {:?}", answered.tokens);
            ensure!(!answer.starts_with('2') || answered.tokens.len() == 2, "{:?}", answered.tokens);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_too_many_connections() -> Result<()> {
    let plan = one_of_each(&[
        "dispatch.connections_per_address=2",
        "dispatch.http.connections_per_address=2",
        "notification.connections_per_address=2",
        "switchboard.connections_per_address=2",
    ]);
    play(plan, async |world| {
        for (process, name) in
            [("dispatch-1", "clients"), ("notification-1", "clients"), ("switchboard-1", "clients")]
        {
            let addr = world.process(process)?.address(name)?;
            two_and_no_more(addr).await.with_context(|| format!("{process}, {name}"))?;
            // Operators see it, in the log and as a number.
            let process = world.process(process)?;
            let counted =
                metric(process, &format!("monarch_{}_connections_turned_away_total", process.tier())).await?;
            ensure!(
                counted >= 1 && process.tail().contains("connection turned away"),
                "{counted}: {}",
                process.tail()
            );
        }
        let http = world.process("dispatch-1")?.address("http")?;
        the_oldest_without_a_request_goes(http).await.context("dispatch-1, http")
    })
    .await
}

/// Over HTTP somebody may ask with many connections of which most say nothing: the one that has waited longest gives up its place.
async fn the_oldest_without_a_request_goes(addr: SocketAddr) -> Result<()> {
    let here: IpAddr = "127.0.0.1".parse()?;
    let mut first = Client::connect_from(here, addr).await?;
    let mut second = Client::connect_from(here, addr).await?;
    let mut third = Client::connect_from(here, addr).await?;
    let closed = tokio::time::timeout(Duration::from_secs(5), closes(&mut first)).await;
    ensure!(closed.context("the first is not closed")??.is_empty(), "it is told nothing");
    ensure!(is_silent(&mut second, SILENCE).await && is_silent(&mut third, SILENCE).await, "two are too many");
    Ok(())
}

async fn two_and_no_more(addr: SocketAddr) -> Result<()> {
    let (here, elsewhere): (IpAddr, IpAddr) = ("127.0.0.1".parse()?, "127.0.0.2".parse()?);
    let mut first = Client::connect_from(here, addr).await?;
    let mut second = Client::connect_from(here, addr).await?;
    let mut third = Client::connect_from(here, addr).await?;
    let closed = tokio::time::timeout(Duration::from_secs(5), closes(&mut third)).await;
    ensure!(closed.context("the third is not closed")??.is_empty(), "it is told nothing");
    let mut stranger = Client::connect_from(elsewhere, addr).await?;
    ensure!(is_silent(&mut first, SILENCE).await && is_silent(&mut second, SILENCE).await, "two are too many");
    ensure!(is_silent(&mut stranger, SILENCE).await, "another address is shut out");
    drop(second);
    until("there is room again", async || {
        let mut next = Client::connect_from(here, addr).await?;
        Ok(is_silent(&mut next, SILENCE).await)
    })
    .await
}
