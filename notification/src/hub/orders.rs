//! What operators order, handed to the sessions that it is for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::cluster::{Audience, Instruction, Told};
use common::model::{Bulletin, Passport};
use common::net::{Full, Sender};

use super::{Entry, Hub, Item, lock};

/// What many are told is told to so many at a time, with a pause in between: 10,000 sessions a second.
const AT_A_TIME: u64 = 50;
/// See [`AT_A_TIME`].
const BREATH: Duration = Duration::from_millis(5);

impl Hub {
    /// See [`common::cluster::Deliver::carry_out`].
    pub(super) async fn hand_out(&self, to: &Audience, what: &Instruction) -> Told {
        if let (Audience::Node(_), Instruction::SignOut(why), Some(gate)) = (to, what, self.gate.get()) {
            gate.close(*why).await;
        }
        // A session that was ended, and whose client is back before all others were told, is not meant again.
        let next_id = self.next_id.load(Ordering::Relaxed);
        let meant = |entry: &&Entry| entry.id < next_id;
        let mut told = Told::default();
        if let Audience::Principal(who) = to {
            let shard = self.shard(who);
            shard
                .get(who)
                .into_iter()
                .flatten()
                .filter(meant)
                .for_each(|entry| hand(&entry.sender, what, &mut told));
            return told;
        }
        let mut batch = 0;
        for shard in &self.shards {
            let senders: Vec<_> =
                lock(shard).values().flatten().filter(meant).map(|entry| entry.sender.clone()).collect();
            for sender in senders {
                hand(&sender, what, &mut told);
                batch += 1;
                if batch == AT_A_TIME {
                    batch = 0;
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        told
    }
}

/// Puts an order into a session's mailbox, and counts it.
fn hand(sender: &Sender<Item>, what: &Instruction, told: &mut Told) {
    let sent = match what {
        Instruction::Show(bulletin) => sender.send(Item::Bulletin(bulletin.clone()), cost(bulletin)),
        // There is always room for the end.
        Instruction::SignOut(why) => sender.send(Item::SignOut(*why), 0),
        // For the cluster, which says so by `Deliver::void`.
        Instruction::NewPassword { .. } => return,
    };
    match sent {
        Ok(()) => told.sessions += 1,
        Err(Full::Overflow) => told.overrun += 1,
        // It is ending anyway.
        Err(Full::Closed) => {}
    }
}

/// About the bytes that a bulletin holds while it waits.
fn cost(bulletin: &Bulletin) -> usize {
    let text = match bulletin {
        Bulletin::Text { text, .. } => text.as_str().len(),
        Bulletin::ShutDown { .. } => 0,
    };
    size_of::<Item>() + Passport::MAX_LEN + text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::cluster::Deliver;
    use common::model::{Endpoint, SignOut};

    use super::super::Access;
    use super::*;

    fn who(number: u64) -> Passport {
        Passport::parse(&format!("{number}@example.com")).unwrap()
    }

    fn shut_down() -> Instruction {
        Instruction::Show(Bulletin::ShutDown { minutes: 5 })
    }

    fn told(sessions: u64, overrun: u64) -> Told {
        Told { sessions, overrun }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_reaches_all_but_not_all_at_once() {
        let hub = Arc::new(Hub::new());
        let mut sessions: Vec<_> =
            (0..1000).map(|number| hub.enter(&who(number), Endpoint::SOLE, Access::SOME)).collect();
        let gone = sessions.split_off(990);
        drop(gone.into_iter().map(|(place, _)| place).collect::<Vec<_>>());
        let began = tokio::time::Instant::now();
        assert_eq!(hub.carry_out(&Audience::Everybody, &shut_down()).await, told(990, 0));
        assert!(began.elapsed() >= Duration::from_millis(95), "{:?}", began.elapsed());
        for (_, mailbox) in &mut sessions {
            assert!(matches!(mailbox.now(), Some(Item::Bulletin(Bulletin::ShutDown { minutes: 5 }))));
            assert!(mailbox.now().is_none());
        }
    }

    #[tokio::test]
    async fn an_order_for_one_reaches_nobody_else() {
        let hub = Arc::new(Hub::new());
        let [(_first, mut one), (_second, mut other)] =
            [1, 2].map(|number| hub.enter(&who(number), Endpoint::SOLE, Access::SOME));
        let order = Instruction::SignOut(SignOut::Migrated);
        assert_eq!(hub.carry_out(&Audience::Principal(who(1)), &order).await, told(1, 0));
        assert_eq!(hub.carry_out(&Audience::Principal(who(3)), &order).await, told(0, 0));
        assert!(matches!(one.now(), Some(Item::SignOut(SignOut::Migrated))));
        assert!(one.now().is_none() && other.now().is_none());
    }

    /// A client that is signed out comes back at once: while others are still told, it is left alone.
    #[tokio::test(start_paused = true)]
    async fn who_comes_while_others_are_told_is_not_meant() {
        let hub = Arc::new(Hub::new());
        let _before: Vec<_> =
            (0..200).map(|number| hub.enter(&who(number), Endpoint::SOLE, Access::SOME)).collect();
        let telling = Arc::clone(&hub);
        let order = Instruction::SignOut(SignOut::ShutDown);
        let telling = tokio::spawn(async move { telling.carry_out(&Audience::Everybody, &order).await });
        // It has told the first fifty.
        tokio::time::sleep(BREATH / 2).await;
        let mut after: Vec<_> =
            (200..400).map(|number| hub.enter(&who(number), Endpoint::SOLE, Access::SOME)).collect();
        assert_eq!(telling.await.unwrap(), told(200, 0));
        assert!(after.iter_mut().all(|(_, mailbox)| mailbox.now().is_none()));
    }

    #[tokio::test]
    async fn a_session_without_room_is_counted_apart_but_can_always_be_ended() {
        let hub = Arc::new(Hub::new());
        let fill = async |number| {
            let (place, mailbox) = hub.enter(&who(number), Endpoint::SOLE, Access::SOME);
            let each = cost(&Bulletin::ShutDown { minutes: 5 });
            for _ in 0..super::super::MAILBOX_BUDGET / each {
                let to = Audience::Principal(who(number));
                assert_eq!(hub.carry_out(&to, &shut_down()).await, told(1, 0));
            }
            (place, mailbox)
        };
        let (_place, mut ended) = fill(1).await;
        let order = Instruction::SignOut(SignOut::ShutDown);
        assert_eq!(hub.carry_out(&Audience::Principal(who(1)), &order).await, told(1, 0));
        let _full = fill(2).await;
        let to = Audience::Principal(who(2));
        assert_eq!(hub.carry_out(&to, &shut_down()).await, told(0, 1));
        assert_eq!(hub.carry_out(&to, &shut_down()).await, told(0, 0), "it is as good as gone");
        let mut last = None;
        while let Some(item) = ended.now() {
            last = Some(item);
        }
        assert!(matches!(last, Some(Item::SignOut(SignOut::ShutDown))));
    }
}
