//! Version 4 of the tables: names under which contacts were added are their own.
//!
//! Until then such a name counted as one that the owner had chosen. Where it is what the contact calls itself it follows the contact
//! from now on.

use futures_util::TryStreamExt;
use scylla::statement::unprepared::Statement;
use scylla::value::CqlValue;

use super::Migration;
use crate::store::Result;
use crate::store::cql::errors::{corrupt, unavailable};

/// Rows between two looks at the lease.
const AT_A_TIME: usize = 500;

/// A row with a name that its owner's client gave, and when that was written.
type Given = (String, String, Option<String>, Option<String>, Option<i64>);

impl Migration<'_> {
    /// Goes through all rosters. May be repeated: a row that is done is not touched again. Returns how many names were freed.
    pub(super) async fn free_names(&self) -> Result<usize> {
        let keyspace = &self.config.keyspace;
        let all = format!("SELECT owner, contact, label, own_name, WRITETIME(label) FROM {keyspace}.roster");
        let free = idempotent(format!(
            "UPDATE {keyspace}.roster USING TIMESTAMP ? SET label = '', own_name = ? WHERE owner = ? AND contact = ?"
        ));
        let rows = self.session.query_iter(idempotent(all), ()).await.map_err(unavailable)?;
        let mut rows = rows.rows_stream::<Given>().map_err(corrupt)?;
        let (mut seen, mut freed) = (0_usize, 0);
        while let Some((owner, contact, label, own_name, written)) = rows.try_next().await.map_err(unavailable)? {
            seen += 1;
            if seen.is_multiple_of(AT_A_TIME) {
                self.hold_lease().await?;
            }
            let (Some(label), Some(written)) = (label.filter(|label| !label.is_empty()), written) else {
                continue;
            };
            let is_its_own =
                own_name.as_ref() == Some(&label) || self.present_name(&contact).await?.as_ref() == Some(&label);
            if is_its_own {
                // Whatever anybody has written since is later.
                let written = CqlValue::BigInt(written + 1);
                let values = [written, CqlValue::Text(label), CqlValue::Text(owner), CqlValue::Text(contact)];
                self.ask(&free, &values).await?;
                freed += 1;
            }
        }
        Ok(freed)
    }

    /// What an account calls itself, if there is one.
    async fn present_name(&self, who: &str) -> Result<Option<String>> {
        let settings = format!("SELECT friendly_name FROM {}.settings WHERE owner = ?", self.config.keyspace);
        let set = self.name(settings, who).await?;
        if set.is_some() {
            return Ok(set);
        }
        let accounts = self.config.accounts_keyspace();
        self.name(format!("SELECT first_name FROM {accounts}.accounts WHERE passport = ?"), who).await
    }

    async fn name(&self, cql: String, who: &str) -> Result<Option<String>> {
        let answer = self.ask(&idempotent(cql), &[CqlValue::Text(who.to_owned())]).await?;
        let rows = answer.into_rows_result().map_err(corrupt)?;
        let row = rows.maybe_first_row::<(Option<String>,)>().map_err(corrupt)?;
        Ok(row.and_then(|(name,)| name))
    }
}

fn idempotent(cql: String) -> Statement {
    let mut statement = Statement::new(cql);
    statement.set_is_idempotent(true);
    statement
}
