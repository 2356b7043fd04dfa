//! What is shown after nodes were paused or killed: nothing stays wrong, and nobody is asked to do anything for it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

/// Everything is right so long after the last fault.
const REPAIRED: Duration = Duration::from_secs(30);
/// Four of these at each node.
const PEOPLE: usize = 12;
const NODES: [&str; 3] = ["notification-1", "notification-2", "notification-3"];

/// Somebody who is signed in, and what its client shows.
struct There {
    client: Client,
    status: &'static str,
    shown: BTreeMap<String, String>,
}

/// People who all have each other on their lists.
struct Town {
    world: World,
    people: Vec<String>,
    there: BTreeMap<usize, There>,
}

impl Town {
    async fn build() -> Result<Self> {
        let settings = ["notification.challenge_interval_secs=0", "notification.grace_secs=3"];
        let settings = settings.map(str::to_owned).into();
        let world =
            World::start(Plan { notification: NODES.len(), switchboard: 1, settings, ..Plan::default() }).await?;
        let names: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}")).collect();
        let pairs = (0..PEOPLE).flat_map(|one| (0..PEOPLE).map(move |other| (one, other)));
        let pairs: Vec<_> = pairs.filter(|(one, other)| one != other).collect();
        let made = accounts::create(world.config(), &names, &pairs).await?;
        let people = made.iter().map(|passport| passport.as_str().to_owned()).collect();
        let mut town = Self { world, people, there: BTreeMap::new() };
        for who in 0..PEOPLE {
            town.comes(who, NODES[who % 3]).await?;
        }
        town.becomes_right("in the beginning").await?;
        Ok(town)
    }

    async fn comes(&mut self, who: usize, node: &str) -> Result<()> {
        let address = self.world.process(node)?.address("clients")?;
        let mut client = Client::connect(address).await?;
        let ok = client.authenticate(&self.people[who], PASSWORD).await?;
        ensure!(ok.token(2) == "OK", "{:?}", ok.tokens);
        client.send("CHG", "NLN").await?;
        self.there.insert(who, There { client, status: "NLN", shown: BTreeMap::new() });
        Ok(())
    }

    async fn looks(&mut self, who: usize, status: &'static str) -> Result<()> {
        let there = self.there.get_mut(&who).context("away")?;
        there.client.send("CHG", status).await?;
        there.status = status;
        Ok(())
    }

    async fn goes(&mut self, who: usize) -> Result<()> {
        let mut there = self.there.remove(&who).context("away")?;
        there.client.raw(b"OUT\r\n").await?;
        timeout(REPAIRED, there.client.rest()).await?.map(drop)
    }

    /// What clients show wrong at this moment.
    async fn wrong(&mut self) -> Result<Vec<String>> {
        for there in self.there.values_mut() {
            while let Ok(received) = timeout(Duration::from_millis(10), there.client.receive()).await {
                let received = received?;
                match received.verb() {
                    "NLN" => drop(there.shown.insert(received.token(2).to_owned(), received.token(1).to_owned())),
                    "ILN" => drop(there.shown.insert(received.token(3).to_owned(), received.token(2).to_owned())),
                    "FLN" => drop(there.shown.remove(received.token(1))),
                    _ => {}
                }
            }
        }
        let mut wrong = Vec::new();
        for (watcher, there) in &self.there {
            for (who, passport) in self.people.iter().enumerate().filter(|(who, _)| who != watcher) {
                let status = self.there.get(&who).map(|there| there.status);
                let shown = there.shown.get(passport).map(String::as_str);
                if status != shown {
                    wrong.push(format!("p{watcher} sees {shown:?} for p{who}, who is {status:?}"));
                }
            }
        }
        Ok(wrong)
    }

    async fn becomes_right(&mut self, when: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let wrong = self.wrong().await?;
            if wrong.is_empty() {
                eprintln!("{when}: all is right after {:?}", began.elapsed());
                return Ok(());
            }
            ensure!(began.elapsed() < REPAIRED, "{when}: {} are wrong: {}", wrong.len(), wrong.join("; "));
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn signal(&self, node: &str, signal: Signal) -> Result<()> {
        let id = self.world.process(node)?.id().context("it does not run")?.try_into()?;
        Ok(kill_process(Pid::from_raw(id).context("no process id")?, signal)?)
    }

    /// While a node is paused for so long, some at the others come, go and change.
    async fn pauses(&mut self, node: &str, how_long: Duration) -> Result<()> {
        self.signal(node, Signal::STOP)?;
        let resumes = Instant::now() + how_long;
        let acts = async {
            sleep(how_long / 4).await;
            self.looks(0, if self.there[&0].status == "AWY" { "BSY" } else { "AWY" }).await?;
            self.looks(2, if self.there[&2].status == "PHN" { "LUN" } else { "PHN" }).await?;
            for who in [3, 5] {
                if self.there.contains_key(&who) {
                    self.goes(who).await?;
                } else {
                    // Owners that are paused may hold it up.
                    self.comes(who, NODES[who % 3]).await?;
                }
            }
            anyhow::Ok(())
        };
        let acted = timeout(REPAIRED, acts).await.context("they can't act")?;
        sleep(resumes.saturating_duration_since(Instant::now())).await;
        self.signal(node, Signal::CONT)?;
        acted?;
        self.becomes_right(&format!("after a pause of {how_long:?}")).await
    }
}

async fn play(story: impl AsyncFnOnce(&mut Town) -> Result<()>) -> Result<()> {
    let mut town = Town::build().await?;
    let played = story(&mut town).await;
    played.map_err(|error| anyhow!("{error:#}\n{}", town.world.logs()))?;
    town.world.shut_down().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_wrong_after_a_node_was_paused() -> Result<()> {
    play(async |town| {
        for secs in [3, 5, 8, 11] {
            town.pauses("notification-2", Duration::from_secs(secs)).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_wrong_after_a_node_was_killed_and_its_users_are_back_at_once() -> Result<()> {
    play(async |town| {
        town.world.kill("notification-2").await?;
        let theirs: Vec<usize> = (0..PEOPLE).filter(|who| who % 3 == 1).collect();
        // The last one stays away: it is seen to go.
        let (last, back) = theirs.split_last().context("nobody")?;
        town.there.remove(last);
        for who in back {
            town.comes(*who, NODES[if who % 2 == 0 { 0 } else { 2 }]).await?;
            town.looks(who - 1, "BSY").await?;
        }
        town.becomes_right("after a crash").await?;
        town.world.restart("notification-2").await?;
        town.looks(0, "AWY").await?;
        town.comes(*last, "notification-2").await?;
        town.becomes_right("after the node is back").await
    })
    .await
}
