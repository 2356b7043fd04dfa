//! `PRP`, `REA` and `SBP`: names and properties (§6.11, §6.12).

use common::model::{Limits, Passport, PhoneNumber, Property, Settings};
use common::msnp::properties::{self, PropertyRequest, Subject};
use common::msnp::{ErrorCode, Token, TrId};
use common::store::Edit;

use super::{Effect, Owner, Plan, Refused, Touches, phones, texts};

pub(super) fn plan(owner: &Owner<'_>, request: &PropertyRequest) -> Result<Plan, Refused> {
    match request {
        PropertyRequest::Own { trid, subject, code, value } => own(owner, *trid, *subject, code, value.as_ref()),
        PropertyRequest::Rename { trid, handle, passport, name } => {
            let malformed = || match PhoneNumber::parse(handle.as_str()) {
                Some(_) => ErrorCode::InvalidRename,
                None => ErrorCode::InvalidParameter,
            };
            let passport = passport.as_ref().map_err(|_| Refused::Code(malformed(), *trid))?;
            rename(owner, *trid, handle, passport, name)
        }
        PropertyRequest::OfContact { trid, contact, id, subject, code, values } => {
            let refuse = |code| Refused::Code(code, *trid);
            let found = id.and_then(|id| owner.roster.contact_by_id(id));
            let is_phone = id.is_some_and(|id| phones::by_id(owner, id).is_some());
            if found.is_none() && !is_phone {
                return Err(refuse(ErrorCode::NotOnList));
            }
            let edits = match subject.ok_or(refuse(ErrorCode::InvalidParameter))? {
                Subject::Name => {
                    let found = found.ok_or(refuse(ErrorCode::InvalidRename))?;
                    let name = values.first().ok_or(refuse(ErrorCode::InvalidParameter))?;
                    let name = texts::friendly_name(name, owner.limits).map_err(refuse)?;
                    name_contact(owner, &found.passport, name)
                }
                // What a client notes about a contact's phones is its own business: the contact's account says
                // what they are. Clients only wait for the echo.
                Subject::Property(_) => Vec::new(),
            };
            let reply = properties::contact_set(*trid, contact, code, values);
            Ok(owner.accept(Touches::Lists, reply, edits, Vec::new()))
        }
    }
}

/// `PRP`: of the owner.
fn own(
    owner: &Owner<'_>,
    trid: TrId,
    subject: Option<Subject>,
    code: &Token,
    value: Option<&Token>,
) -> Result<Plan, Refused> {
    let refuse = |code| Refused::Code(code, trid);
    let (edits, effects) = match subject.ok_or(refuse(ErrorCode::InvalidParameter))? {
        Subject::Name => {
            let name = value.ok_or(refuse(ErrorCode::InvalidFriendlyName))?;
            name_owner(owner, texts::friendly_name(name, owner.limits).map_err(refuse)?)
        }
        Subject::Property(property) => {
            let value = value.map(|value| read(property, value, owner.limits).map_err(refuse)).transpose()?;
            let value = value.filter(|value| !value.is_empty());
            if owner.roster.settings.properties.get(&property) == value.as_ref() {
                (Vec::new(), Vec::new())
            } else {
                let told = Effect::PropertyChanged(property, value.clone().unwrap_or_default());
                (set_property(owner, property, value), vec![told])
            }
        }
    };
    let version = if edits.is_empty() { owner.version() } else { owner.next_version() };
    let reply = properties::own_set(owner.dialect, trid, version, code, value);
    Ok(owner.accept(Touches::Settings, reply, edits, effects))
}

/// The owner's own cell, and the copies of those who may see it.
fn set_property(owner: &Owner<'_>, property: Property, value: Option<String>) -> Vec<Edit> {
    let watchers = owner.roster.watchers(owner.passport).filter(|_| property.is_kept_by_contacts());
    let copies = watchers.map(|watcher| Edit::PropertyAtContact {
        contact: watcher.clone(),
        property,
        value: value.clone(),
    });
    let mut edits: Vec<_> = copies.collect();
    edits.push(Edit::Property(property, value));
    edits
}

/// The name, and if wanted the properties that contacts keep, as they stand at a contact.
pub(crate) fn copies_at<'a>(
    own: &'a Settings,
    contact: &'a Passport,
    with_properties: bool,
) -> impl Iterator<Item = Edit> + use<'a> {
    let name = Edit::NameAtContact { contact: contact.clone(), name: own.friendly_name.clone() };
    let properties = Property::kept_by_contacts().filter(move |_| with_properties);
    let properties = properties.map(|property| Edit::PropertyAtContact {
        contact: contact.clone(),
        property,
        value: own.properties.get(&property).cloned(),
    });
    std::iter::once(name).chain(properties)
}

/// Reads a property's value: free text for phones, one of a few words for the switches.
fn read(property: Property, token: &Token, limits: &Limits) -> Result<String, ErrorCode> {
    let words: &[&str] = match property {
        Property::HomePhone | Property::WorkPhone | Property::MobilePhone => return texts::phone(token, limits),
        Property::MobilePaging | Property::MobileEnabled => &["Y", "N"],
        Property::DirectDevice => &["0", "1", "2"],
        Property::HasBlog => &["0", "1"],
    };
    let word = words.iter().find(|word| **word == token.as_str());
    word.map(|word| (*word).to_owned()).ok_or(ErrorCode::InvalidParameter)
}

/// `REA`: of the owner or of a contact.
fn rename(
    owner: &Owner<'_>,
    trid: TrId,
    handle: &Token,
    passport: &Passport,
    token: &Token,
) -> Result<Plan, Refused> {
    let refuse = |code| Refused::Code(code, trid);
    let name = texts::friendly_name(token, owner.limits).map_err(refuse)?;
    let (touches, edits, effects) = if passport == owner.passport {
        let (edits, effects) = name_owner(owner, name);
        (Touches::Settings, edits, effects)
    } else if owner.roster.contacts.contains_key(passport) {
        (Touches::Lists, name_contact(owner, passport, name), Vec::new())
    } else {
        return Err(refuse(ErrorCode::NotOnList));
    };
    let version = if edits.is_empty() { owner.version() } else { owner.next_version() };
    let reply = properties::renamed(owner.dialect, trid, version, handle, token);
    Ok(owner.accept(touches, reply, edits, effects))
}

/// The name it has already costs no write: clients repeat it (`CLIENTS` 20).
fn name_owner(owner: &Owner<'_>, name: String) -> (Vec<Edit>, Vec<Effect>) {
    if owner.roster.settings.friendly_name == name {
        return (Vec::new(), Vec::new());
    }
    (vec![Edit::FriendlyName(name)], vec![Effect::NameChanged])
}

/// Some clients say by themselves what a contact calls itself now (`CLIENTS` 20): that is no choice of the owner's.
fn name_contact(owner: &Owner<'_>, contact: &Passport, name: String) -> Vec<Edit> {
    let contact = contact.clone();
    match owner.roster.contacts.get(&contact) {
        Some(known) if known.name == name => Vec::new(),
        _ if owner.present_name == Some(&name) => {
            let no_choice = Edit::Name { contact: contact.clone(), name: String::new() };
            vec![no_choice, Edit::ContactName { contact, name }]
        }
        _ => vec![Edit::Name { contact, name }],
    }
}
