//! A password in the clear, where the operator lets MSNP2 clients send it (protocol reference §5.3).

use anyhow::{Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;

use crate::{closes, one_of_each, people, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msnp2_may_sign_in_in_the_clear_where_the_operator_wants_it() -> Result<()> {
    play(one_of_each(&["accounts.clear_text=true"]), async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let dispatch = world.process("dispatch-1")?.address("clients")?;
        let notification = world.process("notification-1")?.address("clients")?;

        let mut client = Client::connect(dispatch).await?;
        client.request("VER", "MSNP2 CVR0").await?;
        let offered = client.request("INF", "").await?;
        ensure!(offered.tokens == ["INF", "2", "MD5", "CTP"], "{offered:?}");
        let there = client.request("USR", &format!("CTP I {alice}")).await?;
        ensure!(there.tokens == ["XFR", "3", "NS", &notification.to_string()], "{there:?}");

        for (password, right) in [(PASSWORD, true), ("a-guess", false)] {
            let mut client = Client::connect(notification).await?;
            client.request("VER", "MSNP2 CVR0").await?;
            client.request("INF", "").await?;
            let asked = client.request("USR", &format!("CTP I {alice}")).await?;
            ensure!(asked.tokens == ["USR", "3", "CTP", "S"], "{asked:?}");
            let answer = client.request("USR", &format!("CTP S {password}")).await?;
            if right {
                ensure!(answer.tokens.starts_with(&["USR", "4", "OK", &alice].map(str::to_owned)), "{answer:?}");
            } else {
                ensure!(answer.tokens == ["911", "4"], "{answer:?}");
                ensure!(closes(&mut client).await?.is_empty());
            }
        }

        // Later dialects never had it.
        let mut client = Client::connect(notification).await?;
        client.request("VER", "MSNP3 CVR0").await?;
        let offered = client.request("INF", "").await?;
        ensure!(offered.tokens == ["INF", "2", "MD5"], "{offered:?}");
        client.send("USR", &format!("CTP I {alice}")).await?;
        ensure!(closes(&mut client).await?.is_empty());
        Ok(())
    })
    .await
}
