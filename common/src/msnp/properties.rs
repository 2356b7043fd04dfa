//! `PRP`, `SBP`, `REA` and `BPR`: names and properties (§6.11, §6.12).

use bytes::Bytes;
use uuid::Uuid;

use super::dialect::{Dialect, SyncShape};
use super::frame::{Command, TrId};
use super::line::Line;
use super::{ParseError, Token};
use crate::model::{ContactId, Passport, PassportError, Properties, Property};

/// What a property request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `MFN`: the friendly name, a property from MSNP10.
    Name,
    /// One of the others.
    Property(Property),
}

impl Subject {
    /// Reads the three letters; nothing if the dialect has no such property.
    #[must_use]
    pub fn from_code(dialect: &Dialect, code: &str) -> Option<Self> {
        let named = matches!(dialect.sync, SyncShape::Tagged);
        match code {
            "MFN" => named.then_some(Self::Name),
            _ => Property::from_code(code).filter(|property| has(dialect, *property)).map(Self::Property),
        }
    }
}

/// Whether the dialect knows the property.
fn has(dialect: &Dialect, property: Property) -> bool {
    match property {
        Property::HasBlog => dialect.blogs,
        Property::DirectDevice => matches!(dialect.sync, SyncShape::Tagged),
        _ => dialect.properties,
    }
}

/// A request about names and properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyRequest {
    /// `PRP t TYPE [value]`: of the client's own user. No value clears, and so does an empty one; a name has to have one.
    Own {
        /// Its transaction id.
        trid: TrId,
        /// What; nothing if the dialect has no such property.
        subject: Option<Subject>,
        /// The three letters, as they were sent.
        code: Token,
        /// The value, as it was sent.
        value: Option<Token>,
    },
    /// `REA t H N`: the name of the client's own user or of a contact, up to MSNP9.
    Rename {
        /// Its transaction id.
        trid: TrId,
        /// Whose, as it was sent.
        handle: Token,
        /// Whose.
        passport: Result<Passport, PassportError>,
        /// The name, as it was sent.
        name: Token,
    },
    /// `SBP t K TYPE value [x]`: of a contact, from MSNP10.
    OfContact {
        /// Its transaction id.
        trid: TrId,
        /// Whose, as it was sent.
        contact: Token,
        /// Whose; nothing if it is no GUID.
        id: Option<ContactId>,
        /// What; nothing if the dialect has no such property.
        subject: Option<Subject>,
        /// The three letters, as they were sent.
        code: Token,
        /// The value and what may follow it, as they were sent.
        values: Vec<Token>,
    },
}

impl PropertyRequest {
    /// Reads a request about names and properties; nothing if the verb is another.
    ///
    /// # Errors
    /// [`ParseError`] when an argument is missing.
    pub fn parse(command: &Command, dialect: &Dialect) -> Result<Option<Self>, ParseError> {
        let token = |index| command.token(index).ok_or(ParseError::ArgumentCount);
        let subject = |code: &Token| Subject::from_code(dialect, code.as_str());
        let request = match &command.verb().0 {
            b"PRP" => {
                let code = token(1)?;
                let value = command.token(2).filter(|value| !value.is_empty());
                Self::Own { trid: command.trid()?, subject: subject(&code), code, value }
            }
            b"REA" => {
                let handle = token(1)?;
                let passport = Passport::parse(handle.as_str());
                Self::Rename { trid: command.trid()?, handle, passport, name: token(2)? }
            }
            b"SBP" => {
                let (contact, code) = (token(1)?, token(2)?);
                let id = Uuid::try_parse(contact.as_str()).ok().map(ContactId);
                let values = (3..command.len()).filter_map(|index| command.token(index)).collect();
                Self::OfContact { trid: command.trid()?, contact, id, subject: subject(&code), code, values }
            }
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

/// `PRP t [v] TYPE [value]`
#[must_use]
pub fn own_set(dialect: &Dialect, trid: TrId, version: u64, code: &Token, value: Option<&Token>) -> Bytes {
    let line = Line::new("PRP").arg(trid).maybe(dialect.list_versions.then_some(version));
    line.arg(code).maybe(value).end()
}

/// `REA t v H N`
#[must_use]
pub fn renamed(dialect: &Dialect, trid: TrId, version: u64, handle: &Token, name: &Token) -> Bytes {
    let line = Line::new("REA").arg(trid).maybe(dialect.list_versions.then_some(version));
    line.arg(handle).arg(name).end()
}

/// `SBP t K TYPE value [x]`
#[must_use]
pub fn contact_set(trid: TrId, contact: &Token, code: &Token, values: &[Token]) -> Bytes {
    let line = Line::new("SBP").arg(trid).arg(contact).arg(code);
    values.iter().filter(|value| !value.is_empty()).fold(line, Line::arg).end()
}

/// `BPR v H TYPE [value]`, from MSNP10 `BPR H TYPE [value]`: a contact's property has changed. `version` is that
/// of the reader's own list. Nothing where the dialect has no such property.
#[must_use]
pub fn changed(dialect: &Dialect, version: u64, who: &Passport, property: Property, value: &str) -> Option<Bytes> {
    has(dialect, property).then(|| {
        let line = Line::new("BPR").maybe(dialect.list_versions.then_some(version)).arg(who).arg(property.code());
        valued(line, value).end()
    })
}

fn valued(line: Line, value: &str) -> Line {
    if value.is_empty() { line } else { line.text(value) }
}

/// The properties of a contact that are told with its forward entry, with their values: all four of dialects 5–7
/// (§6.5); later those that are set.
fn of_contact<'a>(dialect: &'a Dialect, properties: &'a Properties) -> impl Iterator<Item = (Property, &'a str)> {
    let all = matches!(dialect.sync, SyncShape::ListByList);
    let known = Property::kept_by_contacts().filter(|property| has(dialect, *property));
    known.filter_map(move |property| {
        let set = properties.get(&property).map(String::as_str);
        Some((property, set.or(all.then_some(default_value(property)))?))
    })
}

/// The `BPR` lines behind a new forward entry, in the form of a change (`CLIENTS` 18). Nothing for MSNP8 and 9,
/// whose clients expect none there.
#[must_use]
pub fn told_of_new_contact(dialect: &Dialect, version: u64, who: &Passport, properties: &Properties) -> Vec<u8> {
    if matches!(dialect.sync, SyncShape::Merged) {
        return Vec::new();
    }
    let told = of_contact(dialect, properties);
    told.filter_map(|(property, value)| changed(dialect, version, who, property, value)).flatten().collect()
}

/// The `BPR` lines behind the `LST` line of a forward entry in SYN. From MSNP8 they don't say whose: the line before
/// does (§6.5).
#[must_use]
pub fn told_in_sync(dialect: &Dialect, version: u64, who: &Passport, properties: &Properties) -> Vec<u8> {
    if matches!(dialect.sync, SyncShape::ListByList) {
        return told_of_new_contact(dialect, version, who, properties);
    }
    let told = of_contact(dialect, properties);
    told.flat_map(|(property, value)| valued(Line::new("BPR").arg(property.code()), value).end()).collect()
}

/// The properties of the client's own user that SYN sends, with their values (§6.5): all five to dialects 5–7,
/// those that are set to 8–9; from MSNP10 the switches always and the rest when set.
pub fn own_in_sync<'a>(
    dialect: &'a Dialect,
    properties: &'a Properties,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    Property::ALL.into_iter().filter(|(property, _)| has(dialect, *property)).filter_map(|(property, code)| {
        let set = properties.get(&property).map(String::as_str);
        let always = match dialect.sync {
            SyncShape::ListByList => Some(default_value(property)),
            SyncShape::Merged => None,
            SyncShape::Tagged => Some(default_value(property)).filter(|value| !value.is_empty()),
        };
        Some((code, set.or(always)?))
    })
}

/// What a property is while it is not set.
fn default_value(property: Property) -> &'static str {
    match property {
        Property::HomePhone | Property::WorkPhone | Property::MobilePhone | Property::HasBlog => "",
        Property::MobilePaging | Property::MobileEnabled => "N",
        Property::DirectDevice => "0",
    }
}

/// A `PRP` line within SYN. An empty value is left out, not written as an empty argument.
pub(super) fn own_line(line: Line, code: &str, value: &str) -> Bytes {
    valued(line.arg(code), value).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::dialect::Number;
    use crate::msnp::token::testing::command;

    const K: &str = "9b8a7c6d-0000-4000-8000-00000000aaaa";

    #[track_caller]
    fn check(dialect: &Dialect, line: &str, reply: &str) {
        use PropertyRequest::{OfContact, Own, Rename};
        let written = match PropertyRequest::parse(&command(line), dialect).unwrap().unwrap() {
            Own { trid, code, value, .. } => own_set(dialect, trid, 13, &code, value.as_ref()),
            Rename { trid, handle, name, .. } => renamed(dialect, trid, 13, &handle, &name),
            OfContact { trid, contact, code, values, .. } => contact_set(trid, &contact, &code, &values),
        };
        assert_eq!(written, format!("{reply}\r\n"));
    }

    #[test]
    fn echoes() {
        for dialect in [&Dialect::MSNP7, &Dialect::MSNP8] {
            check(dialect, "PRP 8 PHM 555%200199", "PRP 8 13 PHM 555%200199");
            check(dialect, "PRP 8 PHM", "PRP 8 13 PHM");
            check(dialect, "PRP 8 PHM ", "PRP 8 13 PHM");
            check(dialect, "REA 11 Alice@x.org Alice%20A.", "REA 11 13 Alice@x.org Alice%20A.");
        }
        let new = &Dialect::MSNP11;
        check(new, "PRP 19 MFN Alice%20A", "PRP 19 MFN Alice%20A");
        check(new, "PRP 19 MOB Y", "PRP 19 MOB Y");
        check(new, &format!("SBP 15 {K} MFN Erin%20E"), &format!("SBP 15 {K} MFN Erin%20E"));
        check(new, &format!("SBP 15 {K} HSB 1 0"), &format!("SBP 15 {K} HSB 1 0"));
    }

    #[test]
    fn subjects_by_dialect() {
        let old = Subject::from_code(&Dialect::MSNP8, "MFN");
        assert_eq!(old, None);
        assert_eq!(Subject::from_code(&Dialect::MSNP11, "MFN"), Some(Subject::Name));
        assert_eq!(Subject::from_code(&Dialect::MSNP7, "WWE"), None);
        assert_eq!(Subject::from_code(&Dialect::MSNP11, "XXX"), None);
        let since = |code| {
            let oldest = Dialect::ALL.iter().rev().position(|dialect| Subject::from_code(dialect, code).is_some());
            let rest = Dialect::ALL.iter().rev().skip(oldest.unwrap());
            assert!(rest.clone().all(|dialect| Subject::from_code(dialect, code).is_some()), "{code}");
            rest.clone().next().unwrap().number
        };
        assert_eq!(["PHH", "MOB", "WWE", "MFN", "HSB"].map(since), [5, 5, 10, 10, 11].map(Number));
    }

    #[test]
    fn missing_arguments() {
        for line in ["PRP 1", "REA 1 a@b", "SBP 1 k"] {
            let parsed = PropertyRequest::parse(&command(line), &Dialect::MSNP11);
            assert_eq!(parsed, Err(ParseError::ArgumentCount), "{line}");
        }
    }

    #[test]
    fn changes() {
        let bob = Passport::parse("bob@example.com").unwrap();
        let changed = |dialect, property, value| changed(dialect, 9, &bob, property, value);
        let home = Property::HomePhone;
        assert_eq!(changed(&Dialect::MSNP7, home, "5 5").unwrap(), "BPR 9 bob@example.com PHH 5%205\r\n");
        assert_eq!(changed(&Dialect::MSNP8, home, "").unwrap(), "BPR 9 bob@example.com PHH\r\n");
        assert_eq!(changed(&Dialect::MSNP11, home, "5").unwrap(), "BPR bob@example.com PHH 5\r\n");
        for dialect in [&Dialect::MSNP8, &Dialect::MSNP10] {
            assert_eq!(changed(dialect, Property::HasBlog, "1"), None);
        }
        assert_eq!(changed(&Dialect::MSNP4, home, "5"), None);
        assert_eq!(changed(&Dialect::MSNP5, home, "5").unwrap(), "BPR 9 bob@example.com PHH 5\r\n");
        assert_eq!(changed(&Dialect::MSNP10, home, "5").unwrap(), "BPR bob@example.com PHH 5\r\n");
        assert_eq!(changed(&Dialect::MSNP11, Property::HasBlog, "1").unwrap(), "BPR bob@example.com HSB 1\r\n");
    }

    #[test]
    fn properties_of_contacts() {
        let bob = Passport::parse("bob@example.com").unwrap();
        let set: Properties = Property::ALL.into_iter().map(|(property, code)| (property, code.into())).collect();
        let (none, one) = (Properties::new(), Properties::from([(Property::WorkPhone, "5 5".into())]));
        let check = |dialect, set, lines: &[&str], in_sync: &[&str]| {
            let written = |lines: &[&str]| lines.iter().map(|line| format!("BPR {line}\r\n")).collect::<String>();
            let told = told_of_new_contact(dialect, 9, &bob, set);
            assert_eq!(String::from_utf8(told).unwrap(), written(lines));
            let told = told_in_sync(dialect, 9, &bob, set);
            assert_eq!(String::from_utf8(told).unwrap(), written(in_sync));
        };
        let b = "bob@example.com";
        let [home, work] = [format!("9 {b} PHH PHH"), format!("9 {b} PHW PHW")];
        let [mobile, paging] = [format!("9 {b} PHM PHM"), format!("9 {b} MOB MOB")];
        let old = [&home[..], &work, &mobile, &paging];
        check(&Dialect::MSNP7, &set, &old, &old);
        let [home, work] = [format!("9 {b} PHH"), format!("9 {b} PHW 5%205")];
        let [mobile, paging] = [format!("9 {b} PHM"), format!("9 {b} MOB N")];
        let old = [&home[..], &work, &mobile, &paging];
        check(&Dialect::MSNP7, &one, &old, &old);
        check(&Dialect::MSNP8, &set, &[], &["PHH PHH", "PHW PHW", "PHM PHM", "MOB MOB"]);
        check(&Dialect::MSNP8, &one, &[], &["PHW 5%205"]);
        let in_sync = ["PHH PHH", "PHW PHW", "PHM PHM", "MOB MOB", "HSB HSB"];
        let new = in_sync.map(|line| format!("{b} {line}"));
        check(&Dialect::MSNP11, &set, &new.each_ref().map(|line| &line[..]), &in_sync);
        check(&Dialect::MSNP11, &one, &["bob@example.com PHW 5%205"], &["PHW 5%205"]);
        for dialect in [&Dialect::MSNP8, &Dialect::MSNP9, &Dialect::MSNP10, &Dialect::MSNP11] {
            check(dialect, &none, &[], &[]);
        }
        for dialect in [&Dialect::MSNP2, &Dialect::MSNP4] {
            check(dialect, &set, &[], &[]);
        }
        check(&Dialect::MSNP5, &one, &old, &old);
        check(&Dialect::MSNP10, &set, &new.each_ref().map(|line| &line[..])[..4], &in_sync[..4]);
    }

    #[test]
    fn own_properties_in_sync() {
        let set: Properties = [(Property::HomePhone, "1".into()), (Property::MobilePaging, "Y".into())].into();
        let told = |dialect, set| own_in_sync(dialect, set).map(|(c, v)| format!("{c}={v}")).collect::<Vec<_>>();
        let none = Properties::new();
        assert_eq!(told(&Dialect::MSNP7, &none), ["PHH=", "PHW=", "PHM=", "MOB=N", "MBE=N"]);
        assert_eq!(told(&Dialect::MSNP7, &set), ["PHH=1", "PHW=", "PHM=", "MOB=Y", "MBE=N"]);
        assert!(told(&Dialect::MSNP8, &none).is_empty());
        assert_eq!(told(&Dialect::MSNP8, &set), ["PHH=1", "MOB=Y"]);
        assert!(told(&Dialect::MSNP4, &set).is_empty());
        assert_eq!(told(&Dialect::MSNP5, &none), told(&Dialect::MSNP7, &none));
        assert_eq!(told(&Dialect::MSNP9, &set), ["PHH=1", "MOB=Y"]);
        assert_eq!(told(&Dialect::MSNP10, &none), ["MOB=N", "MBE=N", "WWE=0"]);
        assert_eq!(told(&Dialect::MSNP11, &none), ["MOB=N", "MBE=N", "WWE=0"]);
        assert_eq!(told(&Dialect::MSNP11, &set), ["PHH=1", "MOB=Y", "MBE=N", "WWE=0"]);
    }
}
