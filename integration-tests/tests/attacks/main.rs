//! What attackers may try, and what their victims notice of it: one module for each attack.

mod crowd;
mod edits;
mod rings;
mod stage;
