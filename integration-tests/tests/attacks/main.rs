//! What attackers may try, and what their victims notice of it: one module for each attack.

mod crowd;
mod disk_filler;
mod edits;
mod guessing;
mod hash_line;
mod hash_memory;
mod log_filler;
mod many_networks;
mod names;
mod one_count;
mod proxies;
mod replays;
mod rings;
mod stage;
mod strangers;
mod web;
