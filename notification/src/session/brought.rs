//! How often each kept message was brought in a session.

use std::collections::HashMap;

use uuid::Uuid;

/// How often each kept message was brought in a session. Here, since a session may be served by one switchboard after the other.
#[derive(Debug, Default)]
pub(super) struct Brought(HashMap<Uuid, Times>);

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    brought: u8,
    /// It was delivered without doubt, and comes again only if that could not be written.
    delivered: bool,
}

impl Brought {
    /// A client that takes a message and never shows that it has read it would get it for ever.
    const TIMES: u8 = 3;
    /// Beyond so many those are forgotten that were delivered. With none left nothing more is brought in this session: what is not
    /// counted would come again and again.
    const MOST: usize = 2048;

    /// Notes that these are brought once more. False, and nothing is noted, if one of them was brought as often as may be, or there
    /// is no room to count them.
    pub(super) fn once_more(&mut self, messages: &[Uuid]) -> bool {
        let is_spent = |message| self.0.get(message).is_some_and(|times| times.brought >= Self::TIMES);
        if messages.iter().any(is_spent) {
            return false;
        }
        let new = messages.iter().filter(|message| !self.0.contains_key(message)).count();
        if self.0.len() + new > Self::MOST {
            self.0.retain(|message, times| !times.delivered || messages.contains(message));
        }
        if self.0.len() + new > Self::MOST {
            return false;
        }
        for message in messages {
            self.0.entry(*message).or_default().brought += 1;
        }
        true
    }

    /// These were delivered.
    pub(super) fn delivered(&mut self, messages: &[Uuid]) {
        for message in messages {
            if let Some(times) = self.0.get_mut(message) {
                times.delivered = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
        range.map(Uuid::from_u128).collect()
    }

    #[test]
    fn none_is_brought_more_than_three_times() {
        let mut brought = Brought::default();
        assert!(brought.once_more(&ids(0..10)));
        assert!(brought.once_more(&ids(5..15)));
        assert!(brought.once_more(&ids(9..20)));
        assert!(!brought.once_more(&ids(9..30)), "one of them");
        assert!(brought.once_more(&ids(10..30)), "the others were not counted for that");
    }

    #[test]
    fn it_is_bounded_and_what_goes_well_goes_on() {
        let mut brought = Brought::default();
        for number in 0..10_000 {
            let ten = ids(number * 10..number * 10 + 10);
            assert!(brought.once_more(&ten), "{number}");
            assert!(brought.0.len() <= Brought::MOST);
            brought.delivered(&ten);
        }
        brought.delivered(&ids(1 << 90..(1 << 90) + 10));
        assert!(brought.0.len() <= Brought::MOST, "of what it never heard of it knows nothing");
    }

    /// However much was kept, and though the client never shows that it has read anything.
    #[test]
    fn nothing_is_brought_for_ever() {
        let (mut brought, mut count) = (Brought::default(), 0);
        for _ in 0..100 {
            for number in 0..300 {
                count += usize::from(brought.once_more(&ids(number * 10..number * 10 + 10)));
            }
        }
        assert_eq!(count, 3 * (Brought::MOST / 10));
        assert!(brought.0.len() <= Brought::MOST);
    }
}
