//! All live conversations of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::cluster::Void;
use common::model::{ChannelId, ConversationId, ParticipationId};

use crate::conversation::{Conversation, Greeting, NotJoined, Participant, Rules};
use crate::metrics::Metrics;
use crate::push::Farewell;

/// The registry of live conversations.
pub(crate) struct Conversations {
    live: Mutex<Live>,
    rules: Rules,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Live {
    conversations: HashMap<ConversationId, Arc<Conversation>>,
    closed: bool,
}

/// Why no conversation can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// There is one of that id. A caller's cookie names a new one, and never joins.
    Exists,
    /// The process ends.
    Closed,
    /// The system has no randomness.
    NoRandomness,
}

impl Conversations {
    pub(crate) fn new(rules: Rules, metrics: Arc<Metrics>) -> Self {
        Self { live: Mutex::default(), rules, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a conversation with its first participant. `own_channel` is for what is said while more than two are
    /// there.
    pub(crate) fn open(
        &self,
        id: ConversationId,
        own_channel: ChannelId,
        caller: Participant,
        greeting: Greeting,
    ) -> Result<Arc<Conversation>, NotOpened> {
        let session = session_number().map_err(|_| NotOpened::NoRandomness)?;
        let conversation = Arc::new(Conversation::new(id, session, own_channel, self.rules));
        let mut live = self.lock();
        if live.closed {
            return Err(NotOpened::Closed);
        }
        if live.conversations.contains_key(&id) {
            return Err(NotOpened::Exists);
        }
        // Nobody else knows it yet, so this can't fail.
        let _ = conversation.join(caller, greeting);
        live.conversations.insert(id, Arc::clone(&conversation));
        drop(live);
        self.metrics.conversations.inc();
        self.metrics.participants.inc();
        Ok(conversation)
    }

    /// The live conversation of that id.
    pub(crate) fn find(&self, id: ConversationId) -> Option<Arc<Conversation>> {
        self.lock().conversations.get(&id).cloned()
    }

    /// Lets somebody into a conversation.
    pub(crate) fn join(
        &self,
        conversation: &Conversation,
        newcomer: Participant,
        greeting: Greeting,
    ) -> Result<(), NotJoined> {
        conversation.join(newcomer, greeting)?;
        self.metrics.participants.inc();
        Ok(())
    }

    /// Takes somebody out of a conversation, and the conversation out of the registry with its last participant.
    /// Call it once for each participation that has joined.
    pub(crate) fn leave(&self, conversation: &Conversation, who: ParticipationId) {
        self.metrics.participants.dec();
        if conversation.leave(who) {
            self.forget(conversation);
        }
    }

    fn forget(&self, conversation: &Conversation) {
        if self.lock().conversations.remove(&conversation.id).is_some() {
            self.metrics.conversations.dec();
        }
    }

    /// Ends the conversations that were quiet for `looks` calls of this; 0: none.
    pub(crate) fn end_quiet(&self, looks: u64) {
        let mut quiet = Vec::new();
        for conversation in self.lock().conversations.values() {
            if conversation.look() >= looks && looks > 0 {
                quiet.push(Arc::clone(conversation));
            }
        }
        for conversation in quiet {
            tracing::debug!(conversation = %conversation.id, "ended: nothing was said for long");
            conversation.end(Farewell::Idle);
            self.forget(&conversation);
        }
    }

    /// Ends the participations of whoever has come by cookies that are void, and says how many.
    pub(crate) fn expel(&self, void: &Void) -> u64 {
        let all: Vec<_> = self.lock().conversations.values().map(Arc::clone).collect();
        let mut count = 0;
        for conversation in all {
            let (expelled, ended) = conversation.expel(void);
            count += expelled;
            if ended {
                self.forget(&conversation);
            }
        }
        count
    }

    /// Opens no more, and ends all.
    pub(crate) fn close(&self) {
        let mut live = self.lock();
        live.closed = true;
        let all = std::mem::take(&mut live.conversations);
        drop(live);
        for conversation in all.values() {
            conversation.end(Farewell::Shutdown);
            self.metrics.conversations.dec();
        }
    }

    /// Live participants.
    pub(crate) fn participants(&self) -> u64 {
        u64::try_from(self.metrics.participants.get()).unwrap_or_default()
    }
}

/// How often [`Conversations::end_quiet`] is to be called.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// The smallest number of a conversation: aMSN matches shorter ones against its transaction ids (CLIENTS 22).
const LEAST_SESSION: u32 = 100_000;

/// From 100,000 to below 2³¹. The bias of the remainder is below one in a million, and nothing hangs on it.
fn session_number() -> Result<u32, getrandom::Error> {
    Ok(LEAST_SESSION + getrandom::u32()? % ((1 << 31) - LEAST_SESSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_07_session_numbers_fit_an_int() {
        for _ in 0..1000 {
            assert!(session_number().unwrap() < 1 << 31);
        }
    }

    #[test]
    fn clients_22_session_numbers_are_large() {
        for _ in 0..1000 {
            assert!(session_number().unwrap() >= 100_000);
        }
    }
}
