//! temp
mod balance;
mod clients;
mod dns;
mod door;
mod metrics;
mod session;
#[cfg(test)]
mod testing;
fn main() {}
