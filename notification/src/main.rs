//! notification
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the sessions that use it come with their own change")
)]
mod roster;

fn main() {}
