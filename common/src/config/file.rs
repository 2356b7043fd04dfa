//! Reading a configuration file, with the line of every value.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::problem::{Origin, Problem};
use super::settings::{self, Setting};

/// The largest file that is read, in bytes.
const MAX_LEN: u64 = 1024 * 1024;

/// A value that a file sets.
pub(super) struct FileValue {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Reads a file: the values that fit, and what is wrong with the others.
pub(super) fn read(path: &Path) -> (Vec<FileValue>, Vec<Problem>) {
    match read_text(path) {
        Ok(text) => parse(path, &text),
        Err(error) => {
            (Vec::new(), vec![Problem::new(Origin::File(path.into(), 0), None, format!("can't be read: {error}"))])
        }
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let len = std::fs::metadata(path)?.len();
    if len > MAX_LEN {
        return Err(std::io::Error::other(format!("it has {len} bytes, more than {MAX_LEN}")));
    }
    std::fs::read_to_string(path)
}

fn parse(path: &Path, text: &str) -> (Vec<FileValue>, Vec<Problem>) {
    let parsed = DeTable::parse(text).and_then(|places| Ok((places, toml::from_str::<Table>(text)?)));
    let mut reader = Reader { path, text, values: Vec::new(), problems: Vec::new() };
    match parsed {
        Ok((places, values)) => reader.section("", places.get_ref(), &values),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            // The parser's messages have several lines now and then; a problem has one.
            let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ");
            reader.problem(start, None, format!("not TOML: {message}"));
        }
    }
    reader.problems.sort_by_key(|problem| match problem.origin {
        Origin::File(_, line) => line,
        _ => 0,
    });
    (reader.values, reader.problems)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    values: Vec<FileValue>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Walks a section in both forms at once: one knows the places, the other has plain values.
    fn section(&mut self, section: &str, places: &DeTable<'_>, values: &Table) {
        for (name, place) in places {
            let start = name.span().start;
            let name: &str = name.get_ref();
            let Some(value) = values.get(name) else { continue };
            let key = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            if let Some(setting) = settings::find(&key) {
                self.setting(setting, start, value);
            } else if settings::names_in(&key).is_empty() {
                self.unknown(section, key, start);
            } else {
                self.subsection(&key, start, place, value);
            }
        }
    }

    fn subsection(&mut self, key: &str, start: usize, place: &Spanned<DeValue<'_>>, value: &Value) {
        match (place.get_ref(), value) {
            (DeValue::Table(places), Value::Table(values)) => self.section(key, places, values),
            _ => self.problem(start, Some(key.to_owned()), format!("expected a section, [{key}]")),
        }
    }

    fn setting(&mut self, setting: &'static Setting, start: usize, value: &Value) {
        if setting.kind.accepts(value) {
            let origin = self.origin(start);
            self.values.push(FileValue { setting, value: value.clone(), origin });
        } else {
            let message = format!("expected {}, found {}", setting.kind.expected(), shown(value));
            self.problem(start, Some(setting.key.to_owned()), message);
        }
    }

    fn unknown(&mut self, section: &str, key: String, start: usize) {
        let known = settings::names_in(section).join(", ");
        let message = match section {
            "" => format!("no such section; there are {known}"),
            section => format!("no such key; [{section}] has {known}"),
        };
        self.problem(start, Some(key), message);
    }

    fn problem(&mut self, start: usize, key: Option<String>, message: String) {
        let origin = self.origin(start);
        self.problems.push(Problem::new(origin, key, message));
    }

    fn origin(&self, start: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(start);
        Origin::File(self.path.into(), 1 + before.filter(|byte| **byte == b'\n').count())
    }
}

/// A value in an error message, cut where it gets long.
fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a section".into(),
        Value::Array(_) => "an array".into(),
        other => other.to_string().chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (_, problems) = parse(Path::new("monarch.toml"), text);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_come_with_their_lines() {
        let (values, problems) =
            parse(Path::new("m.toml"), "[log]\n\nfilter = 'warn'\n[notification.node]\nid = 'n'\n");
        assert_eq!(problems, []);
        let found: Vec<_> = values.iter().map(|v| (v.setting.key, v.origin.to_string())).collect();
        assert_eq!(found, [("log.filter", "m.toml:3".into()), ("notification.node.id", "m.toml:5".into())]);
    }

    #[test]
    fn problems_name_line_and_key() {
        check(
            "[notification]\n\ncapacity = 'many'\n",
            &["monarch.toml:3: notification.capacity: expected a whole number of sessions from 1 to 1000000000, \
               found \"many\""],
        );
        check(
            "[notification]\ncapacity = 0",
            &["monarch.toml:2: notification.capacity: expected a whole number of \
               sessions from 1 to 1000000000, found 0"],
        );
        check(
            "[store]\nkinds = 1\npath = 3",
            &[
                "monarch.toml:2: store.kinds: no such key; [store] has kind, path, scylla",
                "monarch.toml:3: store.path: expected a path, found 3",
            ],
        );
        check(
            "[disptach]\nlisten = ''",
            &[
                "monarch.toml:1: disptach: no such section; there are log, cluster, store, proxies, accounts, limits, rates, \
                 dispatch, notification, switchboard",
            ],
        );
        check("log = 'debug'", &["monarch.toml:1: log: expected a section, [log]"]);
        check("[log.filter]\nx = 1", &["monarch.toml:1: log.filter: expected a text, found a section"]);
    }

    #[test]
    fn a_file_that_is_no_toml_says_where() {
        let (_, problems) = parse(Path::new("m.toml"), "[log]\nfilter =\n");
        assert_eq!(problems.len(), 1);
        let problem = problems[0].to_string();
        assert!(problem.starts_with("m.toml:2: not TOML: ") && !problem.contains('\n'), "{problem}");
        let (_, problems) = parse(Path::new("m.toml"), "[log]\nfilter = 'a'\nfilter = 'b'\n");
        assert!(problems[0].to_string().starts_with("m.toml:3: not TOML: "), "{problems:?}");
    }
}
