#![no_main]

#[path = "../src/entry.rs"]
mod entry;

use common::msnp::Service;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    entry::client(Service::Notification, input);
});
