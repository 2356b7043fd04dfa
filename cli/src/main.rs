//! monarch
fn main() {}
