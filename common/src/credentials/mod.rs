//! Passwords: argon2id for all, a sealed copy for those who sign in by MD5, and a guard against guessing.

mod arenas;
mod guard;
mod hasher;
mod line;
mod refusal;
mod sealing;

pub use guard::{Attempt, AttemptGuard};
pub use hasher::{Busy, PasswordHasher};
pub use line::Asker;
pub use refusal::{Refusal, RefusalLog, until_even};
pub use sealing::{SealingKey, SealingKeyError};
