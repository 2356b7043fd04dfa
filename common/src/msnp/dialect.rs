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
    /// `INF`, then `USR … CTP` with the password as it is: MSNP2, and only where the operator lets it.
    ClearText,
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
            Self::ClearText => "CTP",
            Self::Md5 => "MD5",
            Self::Tweener => "TWN",
        }
    }

    /// Reads the word of `USR`; nothing for a scheme that the suite does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::ClearText, Self::Md5, Self::Tweener].into_iter().find(|scheme| scheme.as_str() == word)
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
    /// It may send its password in the clear instead, where the operator lets it (2).
    pub clear_text: bool,
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
    /// `URL` carries a site id (3 and later).
    pub site_id: bool,
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
    /// The initial mail notification is XML (11 and later).
    pub mail_data: bool,
    /// There are notifications, `NOT` (5 and later).
    pub notifications: bool,
    /// There is the property `HSB`, whether somebody has a blog (11 and later).
    pub blogs: bool,
    /// Phones may be contacts (11 and later); elsewhere those that are kept are not shown.
    pub phone_contacts: bool,
    /// `GTC` or `BLP` without a change is 218 (2–9); later dialects hang on that and get the echo.
    pub unchanged_is_error: bool,
    /// The pending list is shown (10 and later; elsewhere its entries are on the reverse list only).
    pub pending_list: bool,
    /// `OUT MIG` and `OUT TOU` are known (10 and later).
    pub out_for_the_account: bool,
    /// `OUT RCT` is known: the client comes back after so many minutes (11 and later).
    pub out_for_a_while: bool,
    /// The address's own and the port's line in the profile (8 and later).
    pub client_address_in_profile: bool,
    /// The full profile (3 and later).
    pub full_profile: bool,
    /// The user's own name in the profile (11 and later).
    pub name_in_profile: bool,
    /// `IRO` and `JOI` carry the capability number, `LST` the network id (12).
    pub network_ids: bool,
}

impl Dialect {
    /// MSN Messenger 1.0: one sign-in, one list after another.
    pub const MSNP2: Self = Self {
        number: Number(2),
        sign_in: SignInScheme::Md5,
        clear_text: true,
        sync: SyncShape::ListByList,
        roster_ids: RosterIds::Numbers,
        list_versions: true,
        groups: false,
        properties: false,
        name_in_ok: true,
        ok_bits: 0,
        transfer_tail: TransferTail::None,
        site_id: false,
        challenge: None,
        capabilities: false,
        objects: false,
        ping_interval: false,
        personal_message: false,
        mail_data: false,
        notifications: false,
        blogs: false,
        phone_contacts: false,
        unchanged_is_error: true,
        pending_list: false,
        out_for_the_account: false,
        out_for_a_while: false,
        client_address_in_profile: false,
        full_profile: false,
        name_in_profile: false,
        network_ids: false,
    };

    /// MSN Messenger 2.0: the full profile; passwords no more in the clear.
    pub const MSNP3: Self = Self {
        number: Number(3),
        clear_text: false,
        transfer_tail: TransferTail::Zero,
        site_id: true,
        full_profile: true,
        ..Self::MSNP2
    };

    /// MSN Messenger 2.2: differs in what clients send only.
    pub const MSNP4: Self = Self { number: Number(4), ..Self::MSNP3 };

    /// MSN Messenger 3: phones, notifications.
    pub const MSNP5: Self = Self { number: Number(5), properties: true, notifications: true, ..Self::MSNP4 };

    /// MSN Messenger 3.6: challenges.
    pub const MSNP6: Self =
        Self { number: Number(6), ok_bits: 1, challenge: Some(ChallengeKind::Plain), ..Self::MSNP5 };

    /// MSN Messenger 4.5: contact groups.
    pub const MSNP7: Self =
        Self { number: Number(7), groups: true, transfer_tail: TransferTail::ZeroAndHere, ..Self::MSNP6 };

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

    /// MSN Messenger 6.0: display pictures.
    pub const MSNP9: Self = Self { number: Number(9), objects: true, ping_interval: true, ..Self::MSNP8 };

    /// MSN Messenger 6.1: GUIDs, names as properties, the pending list.
    pub const MSNP10: Self = Self {
        number: Number(10),
        sync: SyncShape::Tagged,
        roster_ids: RosterIds::Guids,
        list_versions: false,
        name_in_ok: false,
        unchanged_is_error: false,
        pending_list: true,
        out_for_the_account: true,
        ..Self::MSNP9
    };

    /// MSN Messenger 7.0: personal messages, phone contacts, the mixed challenge.
    pub const MSNP11: Self = Self {
        number: Number(11),
        challenge: Some(ChallengeKind::Mixed),
        personal_message: true,
        mail_data: true,
        blogs: true,
        phone_contacts: true,
        out_for_a_while: true,
        name_in_profile: true,
        ..Self::MSNP10
    };

    /// MSN Messenger 7.5: network ids, capability numbers in conversations.
    pub const MSNP12: Self = Self { number: Number(12), network_ids: true, ..Self::MSNP11 };

    /// All that the suite speaks, the newest first.
    pub const ALL: &[&Self] = &[
        &Self::MSNP12,
        &Self::MSNP11,
        &Self::MSNP10,
        &Self::MSNP9,
        &Self::MSNP8,
        &Self::MSNP7,
        &Self::MSNP6,
        &Self::MSNP5,
        &Self::MSNP4,
        &Self::MSNP3,
        &Self::MSNP2,
    ];

    /// The ways to sign in, the usual one first. `clear_text`: the operator lets passwords come in the clear.
    pub fn schemes(&self, clear_text: bool) -> impl Iterator<Item = SignInScheme> {
        let clear_text = (self.clear_text && clear_text).then_some(SignInScheme::ClearText);
        std::iter::once(self.sign_in).chain(clear_text)
    }

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
        assert_eq!(chosen("MSNP2 MSNP12 MSNP13"), Some(12));
        assert_eq!(chosen("MSNP99 CVR0 MSNP é MSNPx"), None);
    }

    #[test]
    fn passwords_come_in_the_clear_in_msnp2_only_and_only_if_wanted() {
        let schemes =
            |dialect: &Dialect, wanted| dialect.schemes(wanted).map(SignInScheme::as_str).collect::<Vec<_>>();
        for dialect in Dialect::ALL {
            let usual = if dialect.number < Number(8) { "MD5" } else { "TWN" };
            assert_eq!(schemes(dialect, false), [usual]);
            let all: &[_] = if dialect.number == Number(2) { &["MD5", "CTP"] } else { &[usual] };
            assert_eq!(schemes(dialect, true), all);
        }
        assert_eq!(SignInScheme::from_word("CTP"), Some(SignInScheme::ClearText));
        assert_eq!(SignInScheme::from_word("SSO"), None);
    }

    /// The matrix of §3, where a difference is a yes or a no: the first dialect that has it.
    #[test]
    fn what_began_when() {
        let since = |has: fn(&Dialect) -> bool| {
            let with: Vec<_> = Dialect::ALL.iter().rev().filter(|dialect| has(dialect)).collect();
            let (first, last) = (with[0].number.0, with[with.len() - 1].number.0);
            assert_eq!(with.len(), usize::from(last - first) + 1, "with a gap");
            (first, last)
        };
        for ((first, last), what) in [
            (since(|d| d.full_profile), (3, 12)),
            (since(|d| d.site_id), (3, 12)),
            (since(|d| d.transfer_tail == TransferTail::Zero), (3, 6)),
            (since(|d| d.properties), (5, 12)),
            (since(|d| d.notifications), (5, 12)),
            (since(|d| d.challenge == Some(ChallengeKind::Plain)), (6, 10)),
            (since(|d| d.ok_bits == 1), (6, 7)),
            (since(|d| d.groups), (7, 12)),
            (since(|d| d.sync == SyncShape::ListByList), (2, 7)),
            (since(|d| d.capabilities), (8, 12)),
            (since(|d| d.client_address_in_profile), (8, 12)),
            (since(|d| d.sync == SyncShape::Merged), (8, 9)),
            (since(|d| d.objects), (9, 12)),
            (since(|d| d.ping_interval), (9, 12)),
            (since(|d| d.list_versions), (2, 9)),
            (since(|d| d.unchanged_is_error), (2, 9)),
            (since(|d| d.name_in_ok), (2, 9)),
            (since(|d| d.roster_ids == RosterIds::Guids), (10, 12)),
            (since(|d| d.pending_list), (10, 12)),
            (since(|d| d.out_for_the_account), (10, 12)),
            (since(|d| d.out_for_a_while), (11, 12)),
            (since(|d| d.personal_message), (11, 12)),
            (since(|d| d.mail_data), (11, 12)),
            (since(|d| d.blogs), (11, 12)),
            (since(|d| d.phone_contacts), (11, 12)),
            (since(|d| d.name_in_profile), (11, 12)),
            (since(|d| d.network_ids), (12, 12)),
        ] {
            assert_eq!((first, last), what);
        }
    }

    #[test]
    fn the_newest_comes_first() {
        assert!(Dialect::ALL.is_sorted_by(|a, b| a.number > b.number));
    }
}
