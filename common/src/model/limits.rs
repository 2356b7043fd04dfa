//! Bounds on everything that users can make grow (protocol reference §11). All configurable.

use serde::{Deserialize, Serialize};

/// What a principal may store and send. Lengths are in bytes, of the encoded form where it says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Contacts on the forward list; one more is 210.
    pub forward_list: usize,
    /// Entries on the allow list.
    pub allow_list: usize,
    /// Entries on the block list.
    pub block_list: usize,
    /// Entries on the reverse list; adding somebody whose list is full is 210 for the adder.
    pub reverse_list: usize,
    /// Groups, without group 0; one more is 223.
    pub groups: usize,
    /// A group's name, encoded; longer is 229.
    pub group_name: usize,
    /// A friendly name, in characters; more are 201.
    pub friendly_name_chars: usize,
    /// A friendly name, encoded; longer is 201.
    pub friendly_name: usize,
    /// The payload of `UUX`, at most 4096; longer is 201.
    pub personal_message: usize,
    /// A phone number, encoded; longer is 201.
    pub phone: usize,
    /// An MSNObject, encoded; longer is 201.
    pub object: usize,
    /// The payload of a switchboard `MSG`; longer closes the connection.
    pub message: usize,
    /// Members of one conversation; one more is 712.
    pub participants: usize,
    /// Failing `CAL`s in a row that are answered; one more is 713.
    pub failed_calls: u32,
    /// KiB of messages that are kept of an account in a day (UTC) by one switchboard; 0: no bound. More are delivered and not
    /// kept, and NAKed.
    pub stored_kib_per_day: u64,
    /// MiB that must be free on the disk of the store's files, or a twentieth of it, if that is less; 0: none. With less
    /// nothing is kept of what is said, and it is NAKed.
    pub free_disk_mib: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            forward_list: 1000,
            allow_list: 1500,
            block_list: 1200,
            reverse_list: 1000,
            groups: 30,
            group_name: 61,
            friendly_name_chars: 129,
            friendly_name: 387,
            personal_message: 4096,
            phone: 95,
            object: 2048,
            message: 1664,
            participants: 50,
            failed_calls: 5,
            stored_kib_per_day: 64 * 1024,
            free_disk_mib: 256,
        }
    }
}
