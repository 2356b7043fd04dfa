//! The fuzz corpus, and mutations of it, against whole sessions: whatever a participant sends, its task ends in order, and
//! the conversation goes on without it.

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

use std::sync::Arc;

use mutate::{Dice, seeds};

use crate::session;
use crate::testing::{World, stranger, wire};

/// Mutations of each seed.
const MUTATIONS: usize = 60;

async fn play(world: &World, input: &[u8]) {
    let Some(([start, _], bytes)) = input.split_first_chunk() else { return };
    let (id, bob) = world.open("bob").await;
    let (client, transport) = wire();
    let serving =
        tokio::spawn(session::serve(Arc::clone(&world.board), transport, stranger(), tokio::time::Instant::now()));
    if start % 2 == 1 {
        client.say(&world.answer("mallory", id));
    }
    client.send(bytes);
    client.close();
    let served = serving.await;
    assert!(served.is_ok(), "{served:?}: {}", input.escape_ascii());
    bob.say("CAL 900 nobody\n");
    bob.hears_at_last(b"208 900\r\n").await;
    bob.close();
}

#[tokio::test(start_paused = true)]
async fn whatever_a_client_sends_the_conversation_stands_it() {
    let (world, seeds, mut dice) = (World::new(), seeds("switchboard"), Dice(2));
    for seed in &seeds {
        play(&world, seed).await;
        for _ in 0..MUTATIONS {
            play(&world, &dice.mutate(seed, &seeds)).await;
        }
    }
}
