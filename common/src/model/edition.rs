//! Which of an account's credentials.

use serde::{Deserialize, Serialize};

/// Which of an account's credentials: the lowest bits of their epoch, one more at each change, whatever it starts at. The rest of an
/// epoch is random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edition(pub u16);

impl Edition {
    /// Of the credentials with that epoch.
    #[must_use]
    pub fn of(epoch: u64) -> Self {
        Self((epoch & u64::from(u16::MAX)) as u16)
    }

    /// Whether these credentials were replaced by those, or by others before those. It counts round: right while the two are less than
    /// 32,768 changes apart.
    #[must_use]
    pub fn precedes(self, later: Self) -> bool {
        let changes = later.0.wrapping_sub(self.0);
        changes != 0 && changes < 1 << 15
    }

    /// The epoch of credentials that replace those of epoch `before`.
    #[must_use]
    pub fn next_epoch(before: u64, random: u64) -> u64 {
        let next = Self::of(before).0.wrapping_add(1);
        random & !u64::from(u16::MAX) | u64::from(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_credentials_follow_earlier_ones() {
        for first in [0_u64, 7, 0xfffe, u64::MAX] {
            let second = Edition::next_epoch(first, 0x1234_5678_9abc_def0);
            assert_eq!(second >> 16, 0x1234_5678_9abc);
            let third = Edition::next_epoch(second, u64::MAX);
            let [first, second, third] = [first, second, third].map(Edition::of);
            assert!(first.precedes(second) && second.precedes(third) && first.precedes(third));
            assert!(!second.precedes(first) && !third.precedes(first) && !first.precedes(first));
        }
    }
}
