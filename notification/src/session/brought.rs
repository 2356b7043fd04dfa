//! How often each kept message was brought in a session.

use std::collections::HashMap;

use uuid::Uuid;

/// How often each kept message was brought in a session. Here, since a session may be served by one switchboard after the other.
#[derive(Debug, Default)]
pub(super) struct Brought(HashMap<Uuid, u8>);

impl Brought {
    /// A client that takes a message and never shows that it has read it would get it for ever.
    const TIMES: u8 = 3;
    /// Beyond so many those are forgotten that were brought once, as nearly all are.
    const MOST: usize = 2048;

    /// Notes that these are brought once more. False, and nothing is noted, if one of them was brought as often as may be.
    pub(super) fn once_more(&mut self, messages: &[Uuid]) -> bool {
        if self.0.len() + messages.len() > Self::MOST {
            self.0.retain(|message, times| *times > 1 || messages.contains(message));
        }
        let is_spent = |message| self.0.get(message).is_some_and(|times| *times >= Self::TIMES);
        if messages.iter().any(is_spent) || self.0.len() + messages.len() > Self::MOST {
            return false;
        }
        for message in messages {
            *self.0.entry(*message).or_default() += 1;
        }
        true
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
        for number in 0..100_000 {
            assert!(brought.once_more(&ids(number * 10..number * 10 + 10)), "{number}");
            assert!(brought.0.len() <= Brought::MOST);
        }
        // A client that shows of nothing that it has read it.
        let mut brought = Brought::default();
        let twice = |number: u128| ids(number * 10..number * 10 + 10);
        let taken = (0..1000).filter(|number| (0..2).all(|_| brought.once_more(&twice(*number)))).count();
        assert!(taken < 1000 && brought.0.len() <= Brought::MOST);
    }
}
