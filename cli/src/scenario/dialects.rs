//! Words that stand for one dialect or a range of them: `MSNP8`, `MSNP8..`, `..MSNP7`, `MSNP8..MSNP10`.

use std::ops::RangeInclusive;

use common::msnp::Dialect;
use common::msnp::dialect::Number;

/// A word behind `for dialect in` or `is`, or in a mark like `[MSNP8..]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// This text; behind `is` it need not be a dialect.
    Exactly(String),
    /// Dialects from the one to the other, both included.
    Range(RangeInclusive<Number>),
}

impl Choice {
    /// What stands behind `is`: any text, or a range.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let Some((from, to)) = word.split_once("..") else { return Ok(Self::Exactly(word.to_owned())) };
        let bound = |name: &str, open: u8| match name {
            "" => Ok(Number(open)),
            name => number(name).ok_or_else(|| format!("{word}: {name} is no dialect")),
        };
        let (from, to) = (bound(from, 0)?, bound(to, u8::MAX)?);
        if from > to { Err(format!("{word} holds no dialect")) } else { Ok(Self::Range(from..=to)) }
    }

    /// What stands in a mark: a dialect, or a range. Anything else would be a line that is never played.
    pub(super) fn in_mark(word: &str) -> Result<Self, String> {
        match Self::parse(word)? {
            Self::Exactly(name) if number(&name).is_none() => Err(format!("{name} is no dialect")),
            choice => Ok(choice),
        }
    }

    /// Whether a value is that text or in that range.
    pub(super) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exactly(text) => text == value,
            Self::Range(range) => number(value).is_some_and(|number| range.contains(&number)),
        }
    }

    /// The dialects in which a file is played: of a range those that the suite speaks, the oldest first.
    pub(super) fn dialects(&self) -> Vec<String> {
        match self {
            Self::Exactly(name) => vec![name.clone()],
            Self::Range(range) => {
                let spoken = Dialect::ALL.iter().rev().map(|dialect| dialect.number);
                spoken.filter(|number| range.contains(number)).map(|number| number.to_string()).collect()
            }
        }
    }
}

/// The number of a dialect of that name, spoken by the suite or not.
fn number(name: &str) -> Option<Number> {
    name.strip_prefix("MSNP")?.parse().ok().map(Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_both_ends() {
        let fits = |word: &str| -> Vec<u8> {
            let choice = Choice::parse(word).unwrap();
            (6..=12).filter(|number| choice.fits(&format!("MSNP{number}"))).collect()
        };
        assert_eq!(fits("MSNP8"), [8]);
        assert_eq!(fits("MSNP10.."), [10, 11, 12]);
        assert_eq!(fits("..MSNP7"), [6, 7]);
        assert_eq!(fits("MSNP8..MSNP9"), [8, 9]);
        assert_eq!(fits("away"), [0_u8; 0]);
        assert!(!Choice::parse("..MSNP7").unwrap().fits("away"));
        assert!(Choice::parse("away").unwrap().fits("away"));
    }

    #[test]
    fn a_file_is_played_in_those_that_the_suite_speaks() {
        let played = |word: &str| Choice::in_mark(word).unwrap().dialects();
        let all: Vec<String> = Dialect::ALL.iter().rev().map(|dialect| dialect.number.to_string()).collect();
        assert_eq!(played("MSNP2.."), all);
        assert_eq!(played("..MSNP7").last().map(String::as_str), Some("MSNP7"));
        assert_eq!(played("MSNP8"), ["MSNP8"]);
        assert!(played("MSNP99..").is_empty());
    }

    #[test]
    fn what_is_no_dialect_is_refused() {
        for word in ["MSN7..", "..x", "MSNP9..MSNP8", "MSNP300.."] {
            assert!(Choice::parse(word).is_err(), "{word}");
        }
        assert!(Choice::in_mark("MNSP8").is_err());
    }
}
