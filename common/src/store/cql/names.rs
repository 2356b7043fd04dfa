//! All accounts in the order of their names. The servers keep partitions in no order; so the names are in a few, each
//! in order, and readers merge them.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use scylla::statement::bound::BoundStatement;

use super::db::{Db, bind};
use super::errors::strange;
use crate::model::Passport;
use crate::store::Result;

/// Partitions; with ten million accounts each has about 40 MB.
const SHARDS: i32 = 16;

/// A walk through all names.
pub(super) struct Names(Vec<Shard>);

struct Shard {
    number: i32,
    /// Read, and not given yet.
    names: VecDeque<String>,
    /// The last that was read.
    after: String,
    ended: bool,
}

impl Names {
    /// Starts behind a name, or at the first.
    pub(super) fn after(after: Option<&Passport>) -> Self {
        let after = after.map_or("", Passport::as_str);
        let shard = |number| Shard { number, names: VecDeque::new(), after: after.to_owned(), ended: false };
        Self((0..SHARDS).map(shard).collect())
    }

    /// The write that lists a name.
    pub(super) fn entry(db: &Db, who: &Passport, stamp: i64) -> Result<BoundStatement> {
        bind(&db.statements.name_account, &(stamp, shard(who), who.as_str()))
    }

    /// The write that lists a name no more.
    pub(super) fn removal(db: &Db, who: &Passport, stamp: i64) -> Result<BoundStatement> {
        bind(&db.statements.unname_account, &(stamp, shard(who), who.as_str()))
    }

    /// The next `count` names; fewer only at the end.
    pub(super) async fn next(&mut self, db: &Db, count: usize) -> Result<Vec<Passport>> {
        let mut names = Vec::new();
        while names.len() < count {
            // Nothing is certain of the order before every shard has shown its next.
            let each = count / 8 + 2;
            try_join_all(self.0.iter_mut().map(|shard| shard.fill(db, each))).await?;
            let first = self.0.iter_mut().filter(|shard| !shard.names.is_empty());
            let Some(name) = first.min_by(|a, b| a.names.cmp(&b.names)).and_then(|shard| shard.names.pop_front())
            else {
                break;
            };
            names.push(Passport::parse(&name).map_err(|_| strange("account_names.passport"))?);
        }
        Ok(names)
    }
}

impl Shard {
    async fn fill(&mut self, db: &Db, count: usize) -> Result<()> {
        if self.ended || !self.names.is_empty() {
            return Ok(());
        }
        let limit = i32::try_from(count).unwrap_or(i32::MAX);
        let values = (self.number, &self.after, limit);
        let rows: Vec<(String,)> = db.rows(&db.statements.account_names, values).await?;
        self.ended = rows.len() < count;
        self.names.extend(rows.into_iter().map(|(name,)| name));
        if let Some(last) = self.names.back() {
            self.after.clone_from(last);
        }
        Ok(())
    }
}

/// FNV-1a; part of the stored form, so it stays as it is.
fn shard(who: &Passport) -> i32 {
    let hash = who
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash % SHARDS.cast_unsigned()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_shards() {
        let at = |name: &str| shard(&Passport::parse(name).unwrap());
        let names = ["alice@example.com", "bob@example.com", "carol@example.com"];
        assert_eq!(names.map(at), names.map(at));
        let mut counts = [0; SHARDS as usize];
        for n in 0..16_000 {
            counts[at(&format!("user{n}@example.com")) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (700..1300).contains(count)), "{counts:?}");
    }
}
