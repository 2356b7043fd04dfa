//! SIGHUP ends nothing: what can be read again is read again.

use anyhow::{Context, Result, ensure};
use cli::OrderDesk;
use common::cluster::{Audience, Instruction, Keyring, Order};
use common::model::Bulletin;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use uuid::Uuid;

use crate::{one_of_each, people, play, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_log_filter_are_read_again_and_nobody_is_disconnected() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut client = Client::sign_in(notification, &alice, PASSWORD).await?;

        // A second secret, added last on all nodes, as README says.
        let secrets = world.config().cluster.secrets.clone();
        let new = world.directory().join("new.secrets");
        Keyring::create(&new)?;
        let both = format!("{}\n{}", std::fs::read_to_string(&secrets)?, std::fs::read_to_string(&new)?);
        std::fs::write(&secrets, both)?;
        let file = world.directory().join("monarch.toml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains("filter = \"info\""), "{text}");
        let text = text.replace("filter = \"info\"", "filter = \"info,common=debug\"");
        std::fs::write(&file, text.replace("argon2_passes = 1", "argon2_passes = 2"))?;
        for process in world.processes() {
            process.hang_up()?;
        }
        for process in world.processes() {
            until(&format!("{} has read again", process.name()), async || {
                let log = process.log();
                let read = log.lines().find(|line| line.contains("SIGHUP: read again"));
                let Some(read) = read else { return Ok(false) };
                ensure!(read.contains("log filter") && read.contains("cluster secrets"), "{read}");
                Ok(log.lines().any(|line| line.contains("SIGHUP: these keys") && line.contains("argon2_passes")))
            })
            .await?;
        }
        // An order that is sealed with the new secret alone is genuine now, and what it does is logged as the filter says.
        let admin = world.process("notification-1")?.address("admin")?;
        let desk = OrderDesk { admin, secrets: new };
        let what = Instruction::Show(Bulletin::ShutDown { minutes: 5 });
        let order = Order { id: Uuid::new_v4(), to: Audience::Everybody, what };
        desk.give(&order).await.context("an order sealed with the new secret")?;
        let heard = crate::soon(client.receive()).await?;
        ensure!(heard.verb() == "NOT" || heard.verb() == "MSG", "{:?}", heard.tokens);

        // What can't be used is said, and what was there before stays.
        std::fs::write(&secrets, "nonsense\n")?;
        let dispatch = world.process("dispatch-1")?;
        dispatch.hang_up()?;
        until("it says what is wrong", async || {
            let log = dispatch.log();
            Ok(log
                .lines()
                .any(|line| line.contains("what was there before stays") && line.contains("cluster secrets")))
        })
        .await?;
        ensure!(dispatch.get("/healthz").await?.0 == 200);
        Ok(())
    })
    .await
}
