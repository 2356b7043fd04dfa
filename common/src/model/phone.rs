//! Phone contacts: numbers on a principal's lists. Nobody is behind them whom the service could reach.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{ContactId, GroupId, Lists};

/// The handle of a phone contact: `tel:` and a global number, `tel:+15550100` (protocol reference §6.10, RFC 3966).
///
/// Kept without the separators that are there for the eye only. Never a [`Passport`](super::Passport), which holds no
/// colon, so that one table can be keyed by both. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(Arc<str>);

impl PhoneNumber {
    /// The most digits a number may have (E.164).
    pub const MAX_DIGITS: usize = 15;

    /// Reads a handle as a client writes it; nothing if it is no phone's.
    #[must_use]
    pub fn parse(handle: &str) -> Option<Self> {
        const SCHEME: &str = "tel:";
        let scheme = handle.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))?;
        let number = handle[scheme.len()..].strip_prefix('+')?;
        if !number.bytes().all(|b| b.is_ascii_digit() || b"-.()".contains(&b)) {
            return None;
        }
        let digits = number.bytes().filter(u8::is_ascii_digit);
        let fits = (1..=Self::MAX_DIGITS).contains(&digits.clone().count());
        fits.then(|| Self(format!("{SCHEME}+{}", digits.map(char::from).collect::<String>()).into()))
    }

    /// The handle, in its one form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A phone on at least one list of the owner. All of it is the owner's: there is no other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneContact {
    /// Which phone.
    pub number: PhoneNumber,
    /// The id by which clients name it: always [`ContactId::of_phone`] the owner's claim and the number.
    pub id: ContactId,
    /// The lists it is on: the forward list, the allow list or both.
    pub lists: Lists,
    /// The name that the owner's client gave it, decoded; empty if it gave none.
    pub name: String,
    /// The groups it is in; none unless it is on the forward list.
    pub groups: BTreeSet<GroupId>,
}

impl PhoneContact {
    /// The name to show: never empty, so that it is always a token of its own.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { self.number.as_str() } else { &self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Passport;

    #[test]
    fn a_number_has_one_form() {
        for handle in ["tel:+15550100", "TEL:+1-555-0100", "tel:+1(555)01.00"] {
            assert_eq!(PhoneNumber::parse(handle).unwrap().as_str(), "tel:+15550100", "{handle}");
        }
        let longest = format!("tel:+{}", "9".repeat(15));
        assert_eq!(PhoneNumber::parse(&longest).unwrap().as_str(), longest);
    }

    #[test]
    fn other_handles_are_none() {
        let too_long = format!("tel:+{}", "9".repeat(16));
        for handle in [
            "",
            "tel:",
            "tel:+",
            "tel:+-",
            "tel:15550100",
            "+15550100",
            "tel:+1555x",
            "tel:+1 555",
            "tel:+1%20555",
            "tel:++1",
            "tel:+1;ext=5",
            "tel:+\u{661}",
            "té:+1",
            "bob@example.com",
            &too_long,
        ] {
            assert_eq!(PhoneNumber::parse(handle), None, "{handle:?}");
        }
    }

    #[test]
    fn no_handle_is_of_a_phone_and_a_principal() {
        assert!(Passport::parse("tel:+15550100").is_err());
        assert!(Passport::parse("tel:+15550100@example.com").is_err());
        assert_eq!(PhoneNumber::parse("tel:+15550100@example.com"), None);
    }
}
