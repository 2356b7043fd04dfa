//! Names that follow although a node is lost.

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;

use crate::{one_of_each, people, play, soon, until};

async fn sign_in(world: &World, who: &str) -> Result<Client> {
    soon(Client::sign_in(world.process("notification-1")?.address("clients")?, who, PASSWORD)).await
}

async fn signs_out(mut client: Client) -> Result<()> {
    client.raw(b"OUT\r\n").await?;
    soon(client.rest()).await.map(drop)
}

/// Under which name the list of somebody shows its only contact, which is away.
async fn name_at(world: &World, who: &str) -> Result<String> {
    let mut client = sign_in(world, who).await?;
    client.send("SYN", "0").await?;
    let contact = soon(client.expect("LST")).await?;
    // LST trid FL version number count passport name groups
    let name = contact.tokens.get(7).context("no contact")?.clone();
    signs_out(client).await?;
    Ok(name)
}

/// Copies at contacts are written some seconds behind the change; the node dies before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_follows_though_its_node_is_killed() -> Result<()> {
    play(one_of_each(&["rates.sign_in_burst=10000"]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(1, 0)]).await?;
        ensure!(name_at(world, &bob).await? == alice);
        let mut at_alice = sign_in(world, &alice).await?;
        let renamed = soon(at_alice.request("REA", &format!("{alice} New%20name"))).await?;
        ensure!(renamed.verb() == "REA", "{:?}", renamed.tokens);
        world.kill("notification-1").await?;
        world.restart("notification-1").await?;
        world.ready().await?;
        ensure!(name_at(world, &bob).await? == alice, "written before it was killed: this shows nothing");
        // She only comes and goes.
        let at_alice = sign_in(world, &alice).await?;
        signs_out(at_alice).await?;
        until("bob sees the new name", async || Ok(name_at(world, &bob).await? == "New%20name")).await
    })
    .await
}
