//! The facts of `docs/protocol/CLIENTS.md`, and the tests whose names say which one they are for: a scenario
//! `clients-13-….txt` or a Rust test `clients_13_…`; `clients-http-…` and `clients-soap-…` for the other lists.

use std::collections::BTreeMap;

use anyhow::Context;

/// The numbered lists of the document, and what the names of their tests begin with.
const LISTS: [(&str, &str); 3] = [
    ("## Every dialect", "clients-"),
    ("## Passport 1.4 over HTTP", "clients-http-"),
    ("## SOAP", "clients-soap-"),
];

/// Facts that no test of a server can show.
const UNTESTED: &[(&str, &str)] =
    &[("clients-http-7", "names that an operator's DNS gives, not something that a server does")];

/// One fact.
pub(super) struct Fact {
    /// What the names of its tests begin with: `clients-13`.
    pub(super) key: String,
    /// How it begins.
    pub(super) text: String,
}

/// All of them.
pub(super) fn facts() -> anyhow::Result<Vec<Fact>> {
    let text = include_str!("../../../docs/protocol/CLIENTS.md");
    let mut facts = Vec::new();
    for (heading, key) in LISTS {
        let (_, list) = text.split_once(heading).with_context(|| format!("no {heading:?} in CLIENTS.md"))?;
        let list = list.split("\n## ").next().unwrap_or_default();
        facts.extend(list.lines().filter_map(|line| {
            let (number, text) = line.split_once(". ")?;
            let number: u8 = number.parse().ok()?;
            // Two digits, so that names are in order, where there are that many.
            let width = if key == LISTS[0].1 { 2 } else { 1 };
            Some(Fact { key: format!("{key}{number:0width$}"), text: beginning(text) })
        }));
    }
    Ok(facts)
}

/// The first words of a line, without what would be read as markup in a table.
fn beginning(line: &str) -> String {
    const MOST: usize = 100;
    let line = line.replace("**", "").replace('|', "\\|");
    let end = line.char_indices().nth(MOST).map(|(at, _)| at);
    let Some(end) = end else { return line };
    let cut = line[..end].rfind(' ').unwrap_or(end);
    // A code span that was cut in two is closed.
    let close = if line[..cut].matches('`').count() % 2 == 1 { "`" } else { "" };
    format!("{}{close} …", &line[..cut])
}

impl Fact {
    /// The tests for it: scenarios that were played, and Rust tests.
    pub(super) fn tests<'a>(
        &self,
        played: impl Iterator<Item = &'a str>,
        known: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let scenario = format!("{}-", self.key);
        let test = scenario.replace('-', "_");
        let scenarios = played.filter(|name| name.starts_with(&scenario)).map(|name| format!("`{name}`"));
        let tests = known.iter().filter(|(name, _)| name.starts_with(&test));
        scenarios.chain(tests.map(|(name, file)| format!("`{name}` in `{file}`"))).collect()
    }

    /// Why there is none.
    pub(super) fn why_untested(&self) -> Option<&'static str> {
        UNTESTED.iter().find(|(key, _)| *key == self.key).map(|(_, why)| *why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_its_facts() {
        let facts = facts().unwrap();
        let keys: Vec<&str> = facts.iter().map(|fact| &*fact.key).collect();
        assert_eq!((facts.len(), keys[0], keys[31], keys[32]), (43, "clients-01", "clients-32", "clients-http-1"));
        assert!(facts[0].text.starts_with("`VER` must echo `CVR0`"), "{}", facts[0].text);
    }

    #[test]
    fn names_say_which_fact() {
        let fact = |key: &str| Fact { key: key.to_owned(), text: String::new() };
        let played = || ["clients-01-x", "clients-13-y", "clients-http-1-z"].into_iter();
        let known = [("clients_13_w".to_owned(), "a.rs".to_owned())].into();
        assert_eq!(fact("clients-01").tests(played(), &known), ["`clients-01-x`"]);
        assert_eq!(fact("clients-13").tests(played(), &known), ["`clients-13-y`", "`clients_13_w` in `a.rs`"]);
        assert_eq!(fact("clients-http-1").tests(played(), &known), ["`clients-http-1-z`"]);
        assert!(fact("clients-02").tests(played(), &known).is_empty());
    }
}
