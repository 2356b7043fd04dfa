//! Two clients of the crate `msnp11-sdk`, which nobody here wrote, talk to each other through a running deployment.
//!
//! Runs in a process of its own: the crate reads 1,664 bytes at a time, and may spin for ever on a payload's head
//! that its read cuts. The parent gives it a deadline.

use std::time::Duration;

use cli::OrderDesk;
use common::cluster::{Audience, Instruction, Order};
use common::model::{Bulletin, BulletinText};
use msnp11_sdk::{Client, Event, MsnpList, MsnpStatus, PersonalMessage, PlainText, Switchboard};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

/// What the parent says of the deployment.
pub(crate) struct Deployment {
    /// The dispatch server's host and port.
    pub(crate) dispatch: (String, u16),
    /// The nexus' address.
    pub(crate) nexus: String,
    /// Two passports that are no contacts yet.
    pub(crate) alice: String,
    /// The other.
    pub(crate) bob: String,
    /// A contact of alice's.
    pub(crate) carol: String,
    /// Somebody who has added alice.
    pub(crate) dave: String,
    /// The password of both.
    pub(crate) password: String,
    /// Where operators give orders.
    pub(crate) orders: OrderDesk,
}

/// Below 800 bytes: a larger one's packets meet the crate's way of reading.
const PICTURE: &[u8] = &[0x5a; 600];
/// How long each single thing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A signed-in client and what it was told.
struct Person {
    client: Client,
    events: UnboundedReceiver<Event>,
}

impl Person {
    async fn sign_in(deployment: &Deployment, who: &str) -> Self {
        let (host, port) = &deployment.dispatch;
        let first = connect(host, *port).await;
        let redirect = login(&first, deployment, who, &deployment.password).await;
        let Ok(Event::RedirectedTo { server, port }) = redirect else {
            panic!("{who}: dispatch did not redirect")
        };
        let client = connect(&server, port).await;
        let (sender, events) = unbounded_channel();
        client.add_event_handler_closure(move |event| {
            // The receiver is gone only at the end of the test.
            let _ = sender.send(event);
            async {}
        });
        let signed_in = login(&client, deployment, who, &deployment.password).await;
        assert!(matches!(signed_in, Ok(Event::Authenticated)), "{who}: not signed in");
        Self { client, events }
    }

    async fn expect<T>(&mut self, what: &str, matches: impl Fn(&Event) -> Option<T>) -> T {
        next_event(&mut self.events, what, matches).await
    }
}

async fn next_event<T>(
    events: &mut UnboundedReceiver<Event>,
    what: &str,
    matches: impl Fn(&Event) -> Option<T>,
) -> T {
    let mut passed = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("the connection goes on");
            if let Some(found) = matches(&event) {
                return found;
            }
            passed.push(name_of(&event));
        }
    });
    match found.await {
        Ok(found) => {
            println!("seen: {what}");
            found
        }
        Err(_) => panic!("never seen: {what}; seen instead: {passed:?}"),
    }
}

fn name_of(event: &Event) -> String {
    match event {
        Event::SessionAnswered(_) => "SessionAnswered".to_owned(),
        event => format!("{event:?}"),
    }
}

async fn connect(host: &str, port: u16) -> Client {
    within("connect", Client::new(host, port)).await.unwrap_or_else(|error| panic!("connect: {error:?}"))
}

async fn login(
    client: &Client,
    deployment: &Deployment,
    who: &str,
    password: &str,
) -> Result<Event, msnp11_sdk::SdkError> {
    within("login", client.login(who.to_owned(), password, &deployment.nexus, "msnmsgr", "7.0.0777")).await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}

/// Everything the issue of the third-party client names, in the order in which two people would do it.
pub(crate) async fn drive(deployment: Deployment) {
    wrong_password(&deployment).await;
    let mut alice = Person::sign_in(&deployment, &deployment.alice).await;
    let mut bob = Person::sign_in(&deployment, &deployment.bob).await;
    lists(&deployment, &mut alice).await;
    become_contacts(&deployment, &mut alice, &mut bob).await;
    let picture = presence(&deployment, &mut alice, &mut bob).await;
    chat(&deployment, &mut alice, &mut bob, &picture).await;
    block(&deployment, &mut alice, &mut bob).await;
    operators(&deployment, &mut alice).await;
    within("sign out", alice.client.disconnect()).await.expect("alice signs out");
    within("sign out", bob.client.disconnect()).await.expect("bob signs out");
}

/// `CLIENTS` 24. The crate does not know that `NOT` has a payload, and must not lose its place by it.
async fn operators(deployment: &Deployment, alice: &mut Person) {
    let text = BulletinText::parse("<Back> at 5 & \"later\"").expect("a text");
    for bulletin in [Bulletin::Text { number: 1, text }, Bulletin::ShutDown { minutes: 5 }] {
        let to = Audience::Principal(deployment.alice.parse().expect("a passport"));
        let order = Order { id: Uuid::new_v4(), to, what: Instruction::Show(bulletin) };
        let given = deployment.orders.give(&order).await;
        given.unwrap_or_else(|failure| panic!("operators are not heard: {failure}"));
    }
    let matches = |event: &Event| match event {
        Event::ServerMaintenanceScheduled { time_remaining } => Some(*time_remaining),
        _ => None,
    };
    assert_eq!(alice.expect("word that the service goes down", matches).await, 5);
}

async fn wrong_password(deployment: &Deployment) {
    let (host, port) = &deployment.dispatch;
    let first = connect(host, *port).await;
    let Ok(Event::RedirectedTo { server, port }) = login(&first, deployment, &deployment.alice, "x").await else {
        panic!("dispatch did not redirect")
    };
    let client = connect(&server, port).await;
    let outcome = login(&client, deployment, &deployment.alice, "wrong").await;
    assert!(outcome.is_err(), "a wrong password signed in");
    println!("seen: a wrong password refused");
}

async fn lists(deployment: &Deployment, alice: &mut Person) {
    alice.expect("alice's GTC", |event| matches!(event, Event::Gtc(_)).then_some(())).await;
    alice.expect("alice's BLP", |event| matches!(event, Event::Blp(_)).then_some(())).await;
    alice.expect("alice's own name", |event| matches!(event, Event::DisplayName(_)).then_some(())).await;
    // By SYN: a contact on her lists, and one who waits for her answer.
    let lists = alice
        .expect("alice's contact carol", |event| match event {
            Event::ContactInForwardList { email, display_name, guid, lists, groups }
                if *email == deployment.carol =>
            {
                (display_name == email && guid.len() == 36 && groups.is_empty()).then(|| lists.clone())
            }
            _ => None,
        })
        .await;
    assert_eq!(lists, [MsnpList::ForwardList, MsnpList::AllowList]);
    let lists = alice
        .expect("dave's request", |event| match event {
            Event::Contact { email, display_name, lists } if *email == deployment.dave => {
                (display_name == email).then(|| lists.clone())
            }
            _ => None,
        })
        .await;
    assert_eq!(lists, [MsnpList::PendingList]);
}

async fn become_contacts(deployment: &Deployment, alice: &mut Person, bob: &mut Person) {
    for (person, other) in [(&mut *alice, &deployment.bob), (&mut *bob, &deployment.alice)] {
        let added = within("add", person.client.add_contact(other, other, MsnpList::ForwardList)).await;
        assert!(matches!(added, Ok(Event::ContactInForwardList { .. })), "{other} not added: {added:?}");
        let allowed = within("allow", person.client.add_contact(other, other, MsnpList::AllowList)).await;
        assert!(allowed.is_ok(), "{other} not allowed: {allowed:?}");
    }
    let by = deployment.alice.clone();
    bob.expect("bob is told that alice added him", |event| match event {
        Event::AddedBy { email, .. } if *email == by => Some(()),
        _ => None,
    })
    .await;
}

/// Returns the MSNObject of alice's picture, as bob was shown it.
async fn presence(deployment: &Deployment, alice: &mut Person, bob: &mut Person) -> String {
    within("picture", alice.client.set_display_picture(PICTURE.to_vec())).await.expect("alice has a picture");
    within("CHG", alice.client.set_presence(MsnpStatus::Online)).await.expect("alice is online");
    within("CHG", bob.client.set_presence(MsnpStatus::Busy)).await.expect("bob is busy");
    let who = deployment.bob.clone();
    alice
        .expect("alice sees bob come", |event| match event {
            Event::PresenceUpdate { email, presence, .. } if *email == who => {
                (presence.status == MsnpStatus::Busy).then_some(())
            }
            _ => None,
        })
        .await;
    let who = deployment.alice.clone();
    let object = bob
        .expect("bob sees alice and her picture", |event| match event {
            Event::InitialPresenceUpdate { email, presence, .. }
            | Event::PresenceUpdate { email, presence, .. }
                if *email == who =>
            {
                presence.msn_object_string.clone()
            }
            _ => None,
        })
        .await;
    let said = PersonalMessage { psm: "in <Wonderland> & back".to_owned(), current_media: String::new() };
    within("UUX", alice.client.set_personal_message(&said)).await.expect("alice has a personal message");
    let who = deployment.alice.clone();
    bob.expect("bob reads alice's personal message", |event| match event {
        Event::PersonalMessageUpdate { email, personal_message } if *email == who => {
            (*personal_message == said).then_some(())
        }
        _ => None,
    })
    .await;
    within("CHG", bob.client.set_presence(MsnpStatus::Online)).await.expect("bob is online");
    let who = deployment.bob.clone();
    alice
        .expect("alice sees bob change", |event| match event {
            Event::PresenceUpdate { email, presence, .. } if *email == who => {
                (presence.status == MsnpStatus::Online).then_some(())
            }
            _ => None,
        })
        .await;
    object
}

async fn chat(deployment: &Deployment, alice: &mut Person, bob: &mut Person, picture: &str) {
    let at_alice = within("open a chat", alice.client.create_session(&deployment.bob)).await.expect("a session");
    let mut heard_by_alice = listen(&at_alice);
    let at_bob = bob
        .expect("bob answers", |event| match event {
            Event::SessionAnswered(switchboard) => Some(switchboard.clone()),
            _ => None,
        })
        .await;
    let mut heard_by_bob = listen(&at_bob);
    next_event(&mut heard_by_alice, "bob joins", |event| {
        matches!(event, Event::ParticipantInSwitchboard { .. }).then_some(())
    })
    .await;

    within("typing", at_alice.send_typing_user(&deployment.alice)).await.expect("typing");
    next_event(&mut heard_by_bob, "bob sees alice type", |event| {
        matches!(event, Event::TypingNotification { .. }).then_some(())
    })
    .await;
    for (from, to, text) in [
        (&at_alice, &mut heard_by_bob, "Curiouser and curiouser!"),
        (&*at_bob, &mut heard_by_alice, "Why is a raven like a writing-desk? ☃"),
    ] {
        let message = PlainText {
            bold: true,
            italic: false,
            underline: false,
            strikethrough: false,
            color: "ff0000".to_owned(),
            text: text.to_owned(),
        };
        // Returns only at the ACK.
        within("text with ACK", from.send_text_message(&message)).await.expect("acknowledged");
        next_event(to, text, |event| match event {
            Event::TextMessage { message, .. } => (message.text == text).then_some(()),
            _ => None,
        })
        .await;
    }
    within("nudge", at_bob.send_nudge()).await.expect("nudged");
    next_event(&mut heard_by_alice, "alice is nudged", |event| matches!(event, Event::Nudge { .. }).then_some(()))
        .await;
    display_picture(deployment, picture, &at_bob, &mut heard_by_bob).await;

    within("leave", at_bob.disconnect()).await.expect("bob leaves");
    next_event(&mut heard_by_alice, "alice sees bob leave", |event| {
        matches!(event, Event::ParticipantLeftSwitchboard { .. }).then_some(())
    })
    .await;
    within("leave", at_alice.disconnect()).await.expect("alice leaves");
}

/// Bob asks for the picture that alice's object names; it goes by P2P payloads with ack type D.
async fn display_picture(
    deployment: &Deployment,
    object: &str,
    at_bob: &Switchboard,
    heard_by_bob: &mut UnboundedReceiver<Event>,
) {
    within("picture", at_bob.request_contact_display_picture(&deployment.alice, object)).await.expect("a picture");
    next_event(heard_by_bob, "bob has alice's picture", |event| match event {
        Event::DisplayPicture { data, .. } => (data == PICTURE).then_some(()),
        _ => None,
    })
    .await;
}

fn listen(switchboard: &Switchboard) -> UnboundedReceiver<Event> {
    let (sender, events) = unbounded_channel();
    switchboard.add_event_handler_closure(move |event| {
        let _ = sender.send(event);
        async {}
    });
    events
}

async fn block(deployment: &Deployment, alice: &mut Person, bob: &mut Person) {
    within("block", bob.client.block_contact(&deployment.alice)).await.expect("blocked");
    let who = deployment.bob.clone();
    alice
        .expect("alice sees bob go", |event| match event {
            Event::ContactOffline { email } if *email == who => Some(()),
            _ => None,
        })
        .await;
    let refused = within("open a chat", alice.client.create_session(&deployment.bob)).await;
    assert!(refused.is_err(), "a blocked contact could ring");
    within("unblock", bob.client.unblock_contact(&deployment.alice)).await.expect("unblocked");
    let who = deployment.bob.clone();
    alice
        .expect("alice sees bob again", |event| match event {
            Event::PresenceUpdate { email, .. } if *email == who => Some(()),
            _ => None,
        })
        .await;
}
