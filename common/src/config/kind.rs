//! What kind of value a setting takes: read from a text, checked in a file, explained to whoever got it wrong.

use std::net::SocketAddr;

use toml::Value;

/// The kind of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; a relative one counts from the working directory.
    Path,
    /// An IP address and a port. Host names are not looked up: what is bound or told to clients must be certain.
    Address,
    /// A whole number within bounds, both included.
    Number {
        /// The smallest value.
        least: u64,
        /// The greatest value.
        most: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// True or false.
    Switch,
    /// Several texts: an array in a file, separated by commas elsewhere.
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The placeholder in `--help`.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Path => "PATH",
            Self::Address => "IP:PORT",
            Self::Number { .. } => "N",
            Self::Switch => "true|false",
            Self::Texts => "TEXT,…",
            Self::Choice(_) => "WORD",
        }
    }

    /// What is expected, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Address => "an IP address with a port, such as 127.0.0.1:1863".into(),
            Self::Number { least, most, unit } => format!("a whole number of {unit} from {least} to {most}"),
            Self::Switch => "true or false".into(),
            Self::Texts => "texts".into(),
            Self::Choice(words) => words.join(" or "),
        }
    }

    /// Reads a value as it stands in the environment or on the command line.
    pub(super) fn read(self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Number { .. } => Value::Integer(text.trim().parse().ok()?),
            Self::Switch => Value::Boolean(text.trim().parse().ok()?),
            Self::Texts => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            Self::Address | Self::Choice(_) => Value::String(text.trim().to_owned()),
            Self::Text | Self::Path => Value::String(text.to_owned()),
        };
        self.accepts(&value).then_some(value)
    }

    /// Whether a value of a file is of this kind.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text | Self::Path, Value::String(text)) => !text.is_empty(),
            (Self::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::Number { least, most, .. }, Value::Integer(number)) => {
                u64::try_from(*number).is_ok_and(|number| (least..=most).contains(&number))
            }
            (Self::Texts, Value::Array(items)) => items.iter().all(Value::is_str),
            (Self::Choice(words), Value::String(text)) => words.contains(&text.as_str()),
            (Self::Switch, Value::Boolean(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Kind = Kind::Number { least: 1, most: 120, unit: "seconds" };

    #[test]
    fn reads_what_fits() {
        assert_eq!(SMALL.read("120"), Some(Value::Integer(120)));
        assert_eq!(Kind::Switch.read("true"), Some(Value::Boolean(true)));
        assert_eq!(Kind::Address.read("[::1]:0"), Some(Value::String("[::1]:0".into())));
        assert_eq!(Kind::Texts.read("a, b,"), Some(Value::Array(vec!["a".into(), "b".into()])));
        assert_eq!(Kind::Texts.read(""), Some(Value::Array(Vec::new())));
        assert_eq!(Kind::Choice(&["text", "json"]).read("json"), Some(Value::String("json".into())));
    }

    #[test]
    fn refuses_what_does_not() {
        for (kind, text) in [
            (SMALL, "0"),
            (SMALL, "121"),
            (SMALL, "-1"),
            (SMALL, "1.5"),
            (SMALL, "99999999999999999999"),
            (Kind::Switch, "yes"),
            (Kind::Address, "localhost:1863"),
            (Kind::Address, "127.0.0.1"),
            (Kind::Choice(&["text", "json"]), "xml"),
            (Kind::Path, ""),
        ] {
            assert_eq!(kind.read(text), None, "{kind:?} {text:?}");
        }
        assert!(!SMALL.accepts(&Value::String("5".into())));
        assert!(!Kind::Texts.accepts(&Value::Array(vec![Value::Integer(1)])));
    }
}
