//! The five lists of a principal (protocol reference §7).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum List {
    /// `FL`: people I see.
    Forward = 1,
    /// `AL`: people who may see and contact me.
    Allow = 2,
    /// `BL`: people who may not.
    Block = 4,
    /// `RL`: people who have me on their forward list; the server's to keep.
    Reverse = 8,
    /// `PL`: reverse entries that I have not answered (MSNP10 and later).
    Pending = 16,
}

impl List {
    /// All lists, in the order in which SYN of the old dialects sends them.
    pub const ALL: [Self; 5] = [Self::Forward, Self::Allow, Self::Block, Self::Reverse, Self::Pending];

    /// The two letters on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Forward => "FL",
            Self::Allow => "AL",
            Self::Block => "BL",
            Self::Reverse => "RL",
            Self::Pending => "PL",
        }
    }

    /// Reads the two letters.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.code() == code)
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A set of lists, as the bits of the wire: 1 FL, 2 AL, 4 BL, 8 RL, 16 PL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lists(u8);

impl Lists {
    /// On no list.
    pub const NONE: Self = Self(0);

    /// The sum of the bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether `list` is among them.
    #[must_use]
    pub fn contains(self, list: List) -> bool {
        self.0 & list as u8 != 0
    }

    /// These and `list`.
    #[must_use]
    pub fn with(self, list: List) -> Self {
        Self(self.0 | list as u8)
    }

    /// These but `list`.
    #[must_use]
    pub fn without(self, list: List) -> Self {
        Self(self.0 & !(list as u8))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(List::ALL.into_iter().filter(|list| self.contains(*list))).finish()
    }
}

impl FromIterator<List> for Lists {
    fn from_iter<I: IntoIterator<Item = List>>(lists: I) -> Self {
        lists.into_iter().fold(Self::NONE, Self::with)
    }
}
