//! The seeds of a target, and changes of them that are always the same: for tests without a fuzzer.

use std::path::Path;

/// The corpus of a target. For tests of the workspace's own crates, which lie beside `fuzz`.
///
/// # Panics
/// When it can't be read.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A generator of numbers that are always the same (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// A few changes: bytes turned, taken out, doubled, replaced by what matters on this wire, or taken from another seed.
    pub(crate) fn mutate(&mut self, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        const TOKENS: &[&[u8]] = &[
            b"\r\n",
            b"\n",
            b" ",
            b"  ",
            b"0",
            b"4294967295",
            b"4294967296",
            b"%",
            b"%00",
            b"%0D%0A",
            b"\xff",
            b"\xc3\xa4",
            b"-1",
            b"N=",
            b"C=",
            b"FL",
            b"RL",
            b"PL",
            b"99999999999999999999",
        ];
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let until = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..until)),
                2 => {
                    let doubled = bytes[at..until].to_vec();
                    bytes.splice(at..at, doubled);
                }
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    bytes.splice(at..until, token.iter().copied());
                }
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => bytes.insert(at, self.below(256) as u8),
            }
        }
        bytes
    }
}
