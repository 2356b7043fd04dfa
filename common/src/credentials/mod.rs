//! Passwords: argon2id for all, a sealed copy for those who sign in by MD5, and a guard against guessing.

mod arenas;
mod guard;
mod hasher;
mod sealing;

pub use guard::AttemptGuard;
pub use hasher::{Busy, PasswordHasher};
pub use sealing::{SealingKey, SealingKeyError};
