//! The dialects as data: what differs between them, asked once at `VER` (protocol reference §3).

use std::fmt;

/// A dialect's number: 7 for MSNP7. Only this module and the table of verbs compare numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(pub u8);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MSNP{}", self.0)
    }
}

/// How a client proves who it is (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInScheme {
    /// `INF`, then `USR … MD5`.
    Md5,
    /// `CVR`, then `USR … TWN` with a Passport ticket.
    Tweener,
}

impl SignInScheme {
    /// The word in `INF` and `USR`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Tweener => "TWN",
        }
    }
}

/// The shape of the answer to `SYN` (§6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncShape {
    /// A block of `LST` lines for each list, with the transaction id and the version on every line (2–7).
    ListByList,
    /// One `LST` for each contact with its list bits, numbers for groups (8–9).
    Merged,
    /// One `LST` for each contact with `N=` `F=` `C=`, GUIDs for groups, timestamps for versions (10–12).
    Tagged,
}

/// How contacts and groups are named in edits (§6.9–6.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterIds {
    /// `ADD` and `REM` by handle, groups by number.
    Numbers,
    /// `ADC` and `REM` by contact GUID on the forward list, groups by GUID.
    Guids,
}

/// The tail of `XFR … NS` (§6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferTail {
    /// Nothing.
    None,
    /// `0`
    Zero,
    /// `0` and the address of the server that answers.
    ZeroAndHere,
}

/// The arithmetic of the answer to `CHL` (§8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// MD5 of challenge and key.
    Plain,
    /// The 64-bit arithmetic of MSNP11 on top of it.
    Mixed,
}

/// What the suite needs to know about a dialect. One constant each; a session holds a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Its number.
    pub number: Number,
    /// How the client signs in.
    pub sign_in: SignInScheme,
    /// The answer to `SYN`.
    pub sync: SyncShape,
    /// How edits name contacts and groups.
    pub roster_ids: RosterIds,
    /// Replies to edits carry the list version (2–9).
    pub list_versions: bool,
    /// There are groups (7 and later).
    pub groups: bool,
    /// There are `PRP` and `BPR` (5 and later).
    pub properties: bool,
    /// `USR … OK` carries the friendly name (2–9).
    pub name_in_ok: bool,
    /// How many constant bits end `USR … OK`: *verified* from 6, *restricted* from 8.
    pub ok_bits: u8,
    /// The tail of `XFR … NS`.
    pub transfer_tail: TransferTail,
    /// The challenges, if there are any (6 and later).
    pub challenge: Option<ChallengeKind>,
    /// `CHG`, `ILN` and `NLN` carry the capability number (8 and later).
    pub capabilities: bool,
    /// They carry an MSNObject too (9 and later).
    pub objects: bool,
    /// `QNG` says when to ping next (9 and later); otherwise the client need not ping at all.
    pub ping_interval: bool,
    /// There are `UUX`, `UBX` and `SBS` (11 and later).
    pub personal_message: bool,
    /// `GTC` or `BLP` without a change is 218 (2–9); later dialects hang on that and get the echo.
    pub unchanged_is_error: bool,
    /// The pending list is shown (10 and later; elsewhere its entries are on the reverse list only).
    pub pending_list: bool,
    /// The address's own and the port's line in the profile (8 and later).
    pub client_address_in_profile: bool,
    /// The full profile (3 and later).
    pub full_profile: bool,
    /// `IRO` and `JOI` carry the capability number, `LST` the network id (12).
    pub network_ids: bool,
}

impl Dialect {
    /// MSN Messenger 4.5: contact groups.
    pub const MSNP7: Self = Self {
        number: Number(7),
        sign_in: SignInScheme::Md5,
        sync: SyncShape::ListByList,
        roster_ids: RosterIds::Numbers,
        list_versions: true,
        groups: true,
        properties: true,
        name_in_ok: true,
        ok_bits: 1,
        transfer_tail: TransferTail::ZeroAndHere,
        challenge: Some(ChallengeKind::Plain),
        capabilities: false,
        objects: false,
        ping_interval: false,
        personal_message: false,
        unchanged_is_error: true,
        pending_list: false,
        client_address_in_profile: false,
        full_profile: true,
        network_ids: false,
    };

    /// MSN Messenger 5.0: Passport sign-in, merged lists, capability numbers.
    pub const MSNP8: Self = Self {
        number: Number(8),
        sign_in: SignInScheme::Tweener,
        sync: SyncShape::Merged,
        ok_bits: 2,
        capabilities: true,
        client_address_in_profile: true,
        ..Self::MSNP7
    };

    /// MSN Messenger 7.0: GUIDs, personal messages, the mixed challenge.
    pub const MSNP11: Self = Self {
        number: Number(11),
        sync: SyncShape::Tagged,
        roster_ids: RosterIds::Guids,
        list_versions: false,
        name_in_ok: false,
        challenge: Some(ChallengeKind::Mixed),
        objects: true,
        ping_interval: true,
        personal_message: true,
        unchanged_is_error: false,
        pending_list: true,
        ..Self::MSNP8
    };

    /// All that the suite speaks, the newest first.
    pub const ALL: &[&Self] = &[&Self::MSNP11, &Self::MSNP8, &Self::MSNP7];

    /// The dialect of that name, in whatever case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let number = name.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("MSNP"))?;
        let number = name[number.len()..].parse().ok()?;
        Self::by_number(Number(number))
    }

    /// The dialect of that number.
    #[must_use]
    pub fn by_number(number: Number) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.number == number)
    }

    /// The newest dialect among those offered. What nobody knows is ignored (§5.1).
    pub fn negotiate<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<&'static Self> {
        offered.into_iter().filter_map(Self::by_name).max_by_key(|dialect| dialect.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_dialect_is_chosen() {
        let chosen = |offer: &str| Dialect::negotiate(offer.split(' ')).map(|dialect| dialect.number.0);
        assert_eq!(chosen("MSNP7 CVR0"), Some(7));
        assert_eq!(chosen("msnp8 MSNP11 MSNP7 CVR0"), Some(11));
        assert_eq!(chosen("MSNP99 CVR0 MSNP é MSNPx"), None);
    }

    #[test]
    fn the_newest_comes_first() {
        assert!(Dialect::ALL.is_sorted_by(|a, b| a.number > b.number));
    }
}
