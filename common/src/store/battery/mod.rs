//! The tests that every store must pass.
//!
//! [`store_battery!`](crate::store_battery) makes one test of each check. A check opens the store once or several
//! times, as several processes would, uses passports and channels of its own, and so may run beside others on the
//! same data.

mod accounts;
mod cursor;
mod durability;
mod heartbeats;
mod history;
mod inbox;
mod networks;
mod participations;
mod roster;
mod world;

use async_trait::async_trait;

pub use accounts::*;
pub use cursor::*;
pub use durability::*;
pub use heartbeats::*;
pub use history::*;
pub use inbox::*;
pub use networks::*;
pub use participations::*;
pub use roster::*;

use super::SharedStore;

/// Where a check gets its stores from: each opening is one more process on the same data, or the same one again.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens the store.
    async fn open(&self) -> SharedStore;
}

/// One `#[tokio::test]` for each check of the [battery](crate::store::battery), on what the expression, a
/// [`Source`](crate::store::battery::Source), makes.
#[macro_export]
macro_rules! store_battery {
    ($source:expr) => {
        $crate::store_battery! { $source =>
            claims_have_one_winner
            an_own_claim_repeated_changes_nothing
            an_account_holds_what_it_was_given
            credentials_change_only_for_the_claim
            an_account_that_is_removed_leaves_nothing_to_the_next
            accounts_are_listed_in_pages
            the_last_sign_in_stays
            known_networks_are_kept_with_the_account

            a_stranger_has_no_roster
            each_list_is_a_cell_of_its_own
            a_forward_entry_shows_on_the_other_side
            two_may_add_each_other_at_once
            one_may_add_oneself
            names_follow_the_rule
            contacts_have_properties
            groups_are_put_renamed_and_removed
            phones_are_contacts
            leaving_the_forward_list_leaves_all_groups
            settings_are_kept
            copies_are_owed_until_they_are_written
            repeated_edits_change_nothing
            edits_come_all_or_none
            large_rosters_are_whole

            messages_come_back_byte_for_byte
            appending_twice_is_appending_once
            history_is_in_the_order_of_ids
            history_is_read_back_from_the_end
            channels_do_not_mix
            the_earliest_membership_stays
            the_last_message_read_moves_forwards

            late_messages_come_on_a_later_page
            pages_are_exact_under_concurrent_writers
            a_cursor_of_nothing_is_a_place
            cursors_stay_small
            pages_are_bounded_in_bytes
            strange_cursors_are_refused

            a_use_makes_a_row_once
            cursors_move
            a_closed_participation_is_removed_at_last
            what_is_not_recorded_is_passed_over

            an_inbox_is_read_in_the_order_of_putting
            an_inbox_is_read_page_by_page
            a_watermark_moves_forwards
            inboxes_are_bounded_and_end_by_themselves
            a_cursor_behind_a_message_reads_on_from_there

            hearts_beat
            hearts_are_listed

            every_opening_is_the_same_store
            everything_outlasts_a_restart
            a_write_happens_though_nobody_waits
        }
    };
    ($source:expr => $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::store::battery::$check(&$source).await;
        }
    )*};
}

#[cfg(test)]
mod tests {
    /// A check that nobody lists would never run.
    #[test]
    fn every_check_is_listed() {
        let sources = [
            include_str!("accounts.rs"),
            include_str!("cursor.rs"),
            include_str!("durability.rs"),
            include_str!("heartbeats.rs"),
            include_str!("history.rs"),
            include_str!("inbox.rs"),
            include_str!("networks.rs"),
            include_str!("participations.rs"),
            include_str!("roster.rs"),
        ];
        let listed = include_str!("mod.rs");
        let mut count = 0;
        for line in sources.iter().flat_map(|source| source.lines()) {
            let Some((name, _)) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('(')) else {
                continue;
            };
            count += 1;
            assert!(listed.lines().any(|line| line.trim() == name), "{name}");
        }
        assert!(count > 30, "{count}");
    }
}
