//! Two people who talk, for tests that look at what becomes of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::model::Passport;
use integration_tests::World;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::{self, Client};
use tokio::time::timeout;

/// How long anything may take while nothing is amiss.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two who are signed in, on different notification servers, and their conversation.
pub(crate) struct Chat {
    alice: Client,
    bob: Client,
    alice_is_called: String,
    pub(crate) at_alice: Client,
    at_bob: Client,
}

impl Chat {
    /// Signs both in and opens the conversation, at the first attempt.
    pub(crate) async fn open(world: &World, alice: &Passport, bob: &Passport) -> Result<Self> {
        let (mut at_first, mut at_second) = (sign_in(world, 1, alice).await?, sign_in(world, 2, bob).await?);
        let opening = client::open_chat((&mut at_first, alice.as_str()), (&mut at_second, bob.as_str()));
        let (at_alice, at_bob) = within(PATIENCE, opening).await.context("opening a conversation")?;
        Ok(Self { alice: at_first, bob: at_second, alice_is_called: alice.to_string(), at_alice, at_bob })
    }

    /// Sends a text; returns its transaction id.
    pub(crate) async fn alice_says(&mut self, ack: &str, text: &str) -> Result<u32> {
        self.at_alice.message(ack, &client::text(text)).await
    }

    /// Waits for the next message, which must be this one.
    pub(crate) async fn bob_hears(&mut self, text: &str) -> Result<()> {
        let heard = self.at_bob.expect("MSG").await?;
        ensure!(heard.payload == client::text(text), "{heard:?}");
        Ok(())
    }

    /// Says something that must be heard and acknowledged; returns it.
    pub(crate) async fn acknowledged(&mut self, text: &str) -> Result<String> {
        let trid = self.alice_says("A", text).await?.to_string();
        within(PATIENCE, self.bob_hears(text)).await?;
        let answer = within(PATIENCE, self.at_alice.receive()).await?;
        ensure!(answer.verb() == "ACK" && answer.token(1) == trid, "{:?} for {text:?}", answer.tokens);
        Ok(text.to_owned())
    }

    /// Alice changes her status, and bob sees it.
    pub(crate) async fn alice_is(&mut self, status: &str) -> Result<()> {
        self.alice.request("CHG", status).await?;
        loop {
            let seen = self.bob.expect("NLN").await?;
            if seen.token(1) == status && seen.token(2) == self.alice_is_called {
                return Ok(());
            }
        }
    }
}

/// Signs in at a notification server, by its number.
pub(crate) async fn sign_in(world: &World, server: usize, who: &Passport) -> Result<Client> {
    let address = world.process(&format!("notification-{server}"))?.address("clients")?;
    within(PATIENCE, Client::sign_in(address, who.as_str(), PASSWORD)).await
}

/// What comes within a time; otherwise an error.
pub(crate) async fn within<T>(time: Duration, what: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(time, what).await.with_context(|| format!("not within {time:?}"))?
}
