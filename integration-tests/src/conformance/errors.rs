//! The numeric errors that the servers know.

use anyhow::Context;

/// An error that no scenario can show on servers as they are configured and healthy, and the Rust test that does.
pub(super) const BY_TESTS: &[(&str, &str)] = &[
    ("210", "a_list_that_is_full"),
    ("226", "a_populated_group_is_kept_by_setting_only"),
    ("280", "a_tier_of_which_no_node_is_alive"),
    ("501", "an_edit_that_has_happened_after_all_is_told_and_synced"),
    ("600", "nobody_is_signed_in_by_a_node_that_has_not_settled"),
    ("601", "a_tier_of_which_no_node_is_alive"),
    ("712", "a_full_conversation_takes_nobody_in"),
];

/// Errors that nothing shows, and why.
pub(super) const UNSHOWN: &[(&str, &str)] = &[
    ("500", "for a switchboard without randomness: no test takes that away"),
    ("604", "for an XFR cookie that comes while a switchboard stops: a moment that no test can hold"),
    ("715", "for an edit while another is in doubt: see the tests of `notification` with a store that fails"),
];

/// The numbers and meanings of all errors: the variants of `ErrorCode`, with the first line of their documentation.
pub(super) fn all() -> anyhow::Result<Vec<(String, String)>> {
    parse(include_str!("../../../common/src/msnp/error_code.rs")).context("the table of errors")
}

fn parse(source: &str) -> Option<Vec<(String, String)>> {
    let (_, variants) = source.split_once("pub enum ErrorCode {")?;
    let (variants, _) = variants.split_once("\n}")?;
    let mut meaning = String::new();
    let mut found = Vec::new();
    for line in variants.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning =
                if meaning.is_empty() { text.trim().to_owned() } else { format!("{meaning} {}", text.trim()) };
        } else if let Some((_, number)) = line.split_once(" = ") {
            found.push((number.trim_end_matches(',').to_owned(), std::mem::take(&mut meaning)));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_found() {
        let all = all().unwrap();
        assert!(all.len() >= 30, "{all:?}");
        assert!(all.contains(&("219".to_owned(), "On the opposite list.".to_owned())), "{all:?}");
    }
}
