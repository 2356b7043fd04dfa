//! What an owner has set. Plain cells in a table of their own: the accounts' rows are only for transactions.

use std::collections::BTreeMap;

use super::accounts::Kept;
use super::db::Db;
use super::errors::strange;
use crate::model::{AddPrompt, Passport, Properties, Property, Settings, StrangerPolicy};
use crate::store::Result;
use crate::store::account::{add_prompt_from, strangers_from};

type SettingsRow = (
    Option<String>,
    Option<i8>,
    Option<i8>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<BTreeMap<String, String>>,
    Option<i64>,
);

/// The cells; what nobody has set is as the account was created.
#[derive(Default)]
pub(super) struct Set {
    friendly_name: Option<String>,
    strangers: Option<StrangerPolicy>,
    add_prompt: Option<AddPrompt>,
    list_version: Option<u64>,
    lists_changed: Option<u64>,
    settings_changed: Option<u64>,
    reverse_digest: Option<u64>,
    properties: Properties,
}

pub(super) async fn read(db: &Db, owner: &Passport) -> Result<Set> {
    let row = db.row::<SettingsRow>(&db.statements.settings, (owner.as_str(),)).await?;
    let Some(row) = row else { return Ok(Set::default()) };
    let (friendly_name, strangers, add_prompt, version, lists, settings, digest, properties, stamp) = row;
    // The owner's next session may be on a node whose clock is behind this one's: its edits must hold all the same.
    db.stamps.seen(owner, stamp);
    let number = |number: Option<i64>| number.map(i64::cast_unsigned);
    Ok(Set {
        friendly_name,
        strangers: parsed(strangers, "strangers", strangers_from)?,
        add_prompt: parsed(add_prompt, "add_prompt", add_prompt_from)?,
        list_version: number(version),
        lists_changed: number(lists),
        settings_changed: number(settings),
        reverse_digest: number(digest),
        properties: known(properties.unwrap_or_default(), "settings.properties")?,
    })
}

fn parsed<T>(code: Option<i8>, column: &str, read: impl Fn(u8) -> Option<T>) -> Result<Option<T>> {
    let read = |code: i8| u8::try_from(code).ok().and_then(&read).ok_or_else(|| strange(column));
    code.map(read).transpose()
}

/// Properties by their letters on the wire.
pub(super) fn known(cells: BTreeMap<String, String>, column: &str) -> Result<Properties> {
    let one = |(code, value): (String, String)| {
        Property::from_code(&code).map(|property| (property, value)).ok_or_else(|| strange(column))
    };
    cells.into_iter().map(one).collect()
}

impl Set {
    /// The settings of an account.
    pub(super) fn over(self, account: &Kept) -> Settings {
        Settings {
            friendly_name: self.friendly_name.unwrap_or_else(|| account.first_name.clone()),
            strangers: self.strangers.unwrap_or(StrangerPolicy::Allow),
            add_prompt: self.add_prompt.unwrap_or(AddPrompt::Ask),
            properties: self.properties,
            list_version: self.list_version.unwrap_or(1),
            lists_changed: self.lists_changed.unwrap_or(account.created),
            settings_changed: self.settings_changed.unwrap_or(account.created),
            reverse_digest: self.reverse_digest.unwrap_or_default(),
        }
    }
}
