//! The page, and what it shows to be missing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cli::scenario::{Direction, Shown};
use common::msnp::dialect::Number;
use common::msnp::verbs::Service;

use super::checklist::Point;
use super::clients::Fact;
use super::coverage::Coverage;
use super::open::Open;
use super::{WRITE, cells, checklist, errors};

const HEAD: &str = "# Conformance

Generated from a playing of every scenario in `scenarios/`; don't edit it. `cargo test --workspace --test scenarios`
fails when it is not current, and writes it with ";

const LEGEND: &str = "
A command counts as shown when a scenario itself sends it and it is granted, or expects it and gets it, in a playing that
went as written. What the macros of the prelude do doesn't count, nor what is passed over, nor a command that ended the
connection or was answered with an error, but for those whose answer is an error by definition.

● shown · ○ open, see below · empty: the dialect has no such command. The column “–” is a connection on which `VER` has
found no dialect. On switchboards the dialect is the one in which the participant is signed in.
";

/// The page of what was shown, and a line for everything that is missing.
pub(super) fn render(
    coverage: &Coverage,
    known: &BTreeMap<String, String>,
    facts: &[Fact],
    open: &[Open],
) -> (String, Vec<String>) {
    let text = format!("{HEAD}`{WRITE}=write` in the environment.\n{LEGEND}");
    let mut page = Page { text, problems: Vec::new(), coverage, known, open };
    let all = cells::all();
    for service in [Service::Dispatch, Service::Notification, Service::Switchboard] {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let of = |cell: &&Shown| (cell.service, cell.direction) == (service, direction);
            page.commands(service, direction, &all.iter().filter(of).collect());
        }
    }
    page.open_cells(&all);
    page.unknown_cells(&all);
    page.errors();
    page.points("checklist (§15)", checklist::POINTS);
    page.points("transcripts (§13)", checklist::TRANSCRIPTS);
    page.client_facts(facts);
    (page.text, page.problems)
}

/// The page as it grows.
struct Page<'a> {
    text: String,
    problems: Vec<String>,
    coverage: &'a Coverage,
    /// The Rust tests by name, with their files.
    known: &'a BTreeMap<String, String>,
    open: &'a [Open],
}

impl Page<'_> {
    /// A table of the commands that go one way, and the scenarios of each.
    fn commands(&mut self, service: Service, direction: Direction, cells: &BTreeSet<&Shown>) {
        let mut columns: Vec<Option<Number>> = cells::dialects().into_iter().map(Some).collect();
        if cells.iter().any(|cell| cell.dialect.is_none()) {
            columns.push(None);
        }
        let heads: Vec<String> = columns.iter().map(|dialect| column(*dialect)).collect();
        _ = write!(self.text, "\n## {}\n\n| MSNP | {} |\n", way(service, direction), heads.join(" | "));
        _ = writeln!(self.text, "|---{}|", "|:-:".repeat(columns.len()));
        let words: BTreeSet<&str> = cells.iter().map(|cell| cell.word.as_str()).collect();
        let mut lists = String::new();
        for word in words {
            let mut marks = Vec::new();
            let mut by_dialect = Vec::new();
            for dialect in &columns {
                let Some(cell) = cells.iter().find(|cell| cell.word == word && cell.dialect == *dialect) else {
                    marks.push("");
                    continue;
                };
                let shown = self.coverage.of(cell);
                marks.push(if shown.is_some() { "●" } else { "○" });
                by_dialect.extend(shown.map(|scenarios| (*dialect, scenarios)));
                if shown.is_none() && !self.open.iter().any(|open| open.holds(cell)) {
                    let (title, refused) =
                        (title(service, direction, word), if cell.refused { " refused" } else { "" });
                    self.problems.push(format!("nothing shows {title}{refused} in {}", column(*dialect)));
                }
            }
            _ = writeln!(self.text, "| {word} | {} |", marks.join(" | "));
            scenarios_of(&mut lists, word, &by_dialect);
        }
        _ = write!(self.text, "\n| | MSNP | scenarios |\n|---|---|---|\n{lists}");
    }

    /// What is open, and still open.
    fn open_cells(&mut self, all: &BTreeSet<Shown>) {
        _ = write!(self.text, "\n## Open\n\n| | why |\n|---|---|\n");
        for open in self.open {
            _ = writeln!(self.text, "| {} | {} |", open.title(), open.why);
            let mut held = all.iter().filter(|cell| open.holds(cell)).peekable();
            if held.peek().is_none() {
                self.problems.push(format!("{} is open, and no cell", open.title()));
            }
            if let Some(cell) = held.find(|cell| self.coverage.of(cell).is_some()) {
                let dialect = column(cell.dialect);
                self.problems.push(format!("{} is shown in {dialect}: take it out of `open.rs`", open.title()));
            }
        }
    }

    /// What is shown though the reference's tables have it not: a table that is wrong, or a server.
    fn unknown_cells(&mut self, all: &BTreeSet<Shown>) {
        let is_error = |cell: &Shown| cell.word.bytes().all(|byte| byte.is_ascii_digit());
        for (cell, scenarios) in self.coverage.cells() {
            if cell.refused || is_error(cell) || all.contains(cell) {
                continue;
            }
            let (title, scenarios) = (title(cell.service, cell.direction, &cell.word), Vec::from_iter(scenarios));
            let dialect = column(cell.dialect);
            self.problems.push(format!("{title} in {dialect} is no cell, and shown by {scenarios:?}"));
        }
    }

    /// Each error, and what shows it.
    fn errors(&mut self) {
        _ = write!(self.text, "\n## Errors\n\n| | meaning | shown by |\n|---|---|---|\n");
        let all = match errors::all() {
            Ok(all) => all,
            Err(error) => return self.problems.push(error.to_string()),
        };
        for (number, meaning) in all {
            let shown = self.coverage.cells().filter(|(cell, _)| cell.word == number).flat_map(|(_, names)| names);
            let scenarios: BTreeSet<&str> = shown.map(String::as_str).collect();
            let mut shown: Vec<String> = scenarios.into_iter().map(str::to_owned).collect();
            for (_, test) in errors::BY_TESTS.iter().filter(|(of, _)| *of == number) {
                shown.push(self.evidence(test));
            }
            let why = errors::UNSHOWN.iter().find(|(of, _)| *of == number).map(|(_, why)| *why);
            match (shown.is_empty(), why) {
                (true, None) => self.problems.push(format!("nothing shows error {number}")),
                (true, Some(why)) => shown.push(format!("nothing: {why}")),
                (false, Some(_)) => {
                    self.problems.push(format!("error {number} is shown: take it out of `errors.rs`"));
                }
                (false, None) => {}
            }
            _ = writeln!(self.text, "| {number} | {meaning} | {} |", shown.join(", "));
        }
    }

    /// Points of the reference, each in the dialects that have it.
    fn points(&mut self, what: &str, points: &[Point]) {
        _ = write!(self.text, "\n## The reference's {what}\n\n| point | MSNP | shown by |\n|---|---|---|\n");
        for point in points {
            let tests = point.tests.iter().map(|test| test.name);
            let shown: Vec<String> =
                point.shown_by.iter().copied().chain(tests).map(|name| self.evidence(name)).collect();
            let shown = match (shown.is_empty(), point.open) {
                (false, None) => shown.join(", "),
                (true, Some(why)) => format!("open: {why}"),
                _ => {
                    self.problems.push(format!("{what}, {}: either shown or open", point.text));
                    String::new()
                }
            };
            let (first, last) = point.dialects;
            for dialect in (first..=last).map(Number) {
                let played =
                    |name: &&str| self.coverage.dialects(name).is_some_and(|dialects| dialects.contains(&dialect));
                let tested = point.tests.iter().any(|test| test.dialects.contains(&dialect.0));
                if !tested && !point.shown_by.iter().any(played) {
                    self.problems.push(format!("{what}, {}: not shown in {dialect}", point.text));
                }
            }
            let dialects = match first.cmp(&last) {
                Ordering::Less => format!("{first}–{last}"),
                Ordering::Equal => first.to_string(),
                Ordering::Greater => column(None),
            };
            _ = writeln!(self.text, "| {} | {dialects} | {shown} |", point.text);
        }
    }

    /// A scenario that was played or a Rust test that is there, as the page names it.
    fn evidence(&mut self, name: &str) -> String {
        if self.coverage.dialects(name).is_some() {
            return name.to_owned();
        }
        match self.known.get(name) {
            Some(file) => format!("`{name}` in `{file}`"),
            None => {
                self.problems.push(format!("{name} is neither a scenario that was played nor a test"));
                name.to_owned()
            }
        }
    }

    /// Each fact, and the tests that are named after it.
    fn client_facts(&mut self, facts: &[Fact]) {
        _ = write!(
            self.text,
            "\n## What real clients depend on (CLIENTS.md)\n\n| | fact | tests |\n|---|---|---|\n"
        );
        for fact in facts {
            let tests = fact.tests(self.coverage.played(), self.known);
            let shown = match (tests.is_empty(), fact.why_untested()) {
                (false, None) => tests.join(", "),
                (true, Some(why)) => format!("none: {why}"),
                (false, Some(_)) => {
                    self.problems.push(format!("{} is tested: take it out of `clients.rs`", fact.key));
                    tests.join(", ")
                }
                (true, None) => {
                    self.problems.push(format!("no test for {}: {}", fact.key, fact.text));
                    String::new()
                }
            };
            _ = writeln!(self.text, "| {} | {} | {shown} |", fact.key.trim_start_matches("clients-"), fact.text);
        }
    }
}

/// How a command is called: `NS→client NOT`.
pub(super) fn title(service: Service, direction: Direction, word: &str) -> String {
    format!("{} `{word}`", way(service, direction))
}

fn way(service: Service, direction: Direction) -> String {
    let server = match service {
        Service::Dispatch => "DS",
        Service::Notification => "NS",
        Service::Switchboard => "SB",
    };
    match direction {
        Direction::ToServer => format!("client→{server}"),
        Direction::ToClient => format!("{server}→client"),
    }
}

fn column(dialect: Option<Number>) -> String {
    dialect.map_or_else(|| "–".to_owned(), |number| number.0.to_string())
}

/// The scenarios of one command: a line for dialects beside each other with the same ones.
fn scenarios_of(page: &mut String, word: &str, by_dialect: &[(Option<Number>, &BTreeSet<String>)]) {
    let beside = |one: Option<Number>, other: Option<Number>| match (one, other) {
        (Some(one), Some(other)) => other.0 == one.0 + 1,
        _ => false,
    };
    for same in by_dialect.chunk_by(|(one, names), (other, others)| names == others && beside(*one, *other)) {
        let ([(first, names), ..], [.., (last, _)]) = (same, same) else { continue };
        let range = match (first, last) {
            (Some(first), Some(last)) if first != last => format!("{}–{}", first.0, last.0),
            _ => column(*first),
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        _ = writeln!(page, "| {word} | {range} | {} |", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use cli::scenario::Outcome;

    use super::*;

    fn shown(word: &str, dialect: u8) -> Shown {
        let dialect = Some(Number(dialect));
        Shown {
            service: Service::Notification,
            direction: Direction::ToClient,
            dialect,
            word: word.to_owned(),
            refused: false,
        }
    }

    const OPEN: &[Open] =
        &[Open { service: Service::Notification, direction: Direction::ToClient, word: "NOT", why: "not yet" }];

    fn coverage(cells: &[Shown]) -> Coverage {
        coverage_by("one", None, cells)
    }

    fn coverage_by(scenario: &str, dialect: Option<&str>, cells: &[Shown]) -> Coverage {
        let mut coverage = Coverage::default();
        coverage.add(&Outcome {
            path: PathBuf::from(format!("scenarios/{scenario}.txt")),
            dialect: dialect.map(str::to_owned),
            run: "r".into(),
            took: Duration::ZERO,
            shown: cells.iter().cloned().collect(),
            result: Ok(()),
            left_out: Vec::new(),
        });
        coverage
    }

    #[test]
    fn an_empty_cell_is_a_problem_unless_it_is_open() {
        let (page, problems) = render(&coverage(&[shown("UBX", 11)]), &BTreeMap::new(), &[], OPEN);
        let has = |text: &str| problems.iter().any(|problem| problem == text);
        assert!(has("nothing shows NS→client `UBX` in 12"), "{problems:?}");
        assert!(!has("nothing shows NS→client `UBX` in 11"), "{problems:?}");
        assert!(!problems.iter().any(|problem| problem.contains("`NOT`")), "{problems:?}");
        assert!(page.contains("| UBX |  |  |  |  |  |  |  |  |  | ● | ○ |"), "{page}");
        assert!(page.contains("| UBX | 11 | one |"), "{page}");
    }

    #[test]
    fn an_open_cell_that_is_shown_is_a_problem() {
        let (_, problems) = render(&coverage(&[shown("NOT", 5)]), &BTreeMap::new(), &[], OPEN);
        let told = "NS→client `NOT` is shown in 5: take it out of `open.rs`";
        assert!(problems.iter().any(|problem| problem == told), "{problems:?}");
    }

    #[test]
    fn what_is_shown_and_no_cell_is_a_problem() {
        let (_, problems) = render(&coverage(&[shown("UBX", 10), shown("215", 10)]), &BTreeMap::new(), &[], OPEN);
        let has = |text: &str| problems.iter().any(|problem| problem.starts_with(text));
        assert!(has("NS→client `UBX` in 10 is no cell") && !has("NS→client `215`"), "{problems:?}");
    }

    #[test]
    fn dialects_with_the_same_scenarios_share_a_line() {
        let cells: Vec<Shown> = [2, 3, 4, 6].map(|dialect| shown("ILN", dialect)).into();
        let (page, _) = render(&coverage(&cells), &BTreeMap::new(), &[], OPEN);
        assert!(page.contains("| ILN | 2–4 | one |"), "{page}");
        assert!(page.contains("| ILN | 6 | one |"), "{page}");
    }

    #[test]
    fn a_point_of_the_checklist_needs_every_dialect() {
        let (_, problems) = render(&coverage_by("errands", Some("MSNP5"), &[]), &BTreeMap::new(), &[], OPEN);
        let has = |text: &str| problems.iter().any(|problem| problem == text);
        assert!(
            has("checklist (§15), PNG: not shown in MSNP4") && !has("checklist (§15), PNG: not shown in MSNP5"),
            "{problems:?}"
        );
        assert!(has("transcript-switchboard is neither a scenario that was played nor a test"), "{problems:?}");
    }

    #[test]
    fn a_fact_without_a_test_is_a_problem() {
        let fact = |key: &str| Fact { key: key.to_owned(), text: "Text.".to_owned() };
        let known = [("clients_13_x".to_owned(), "a.rs".to_owned())].into();
        let (page, problems) = render(&coverage(&[]), &known, &[fact("clients-13"), fact("clients-14")], &[]);
        assert!(problems.contains(&"no test for clients-14: Text.".to_owned()), "{problems:?}");
        assert!(page.contains("| 13 | Text. | `clients_13_x` in `a.rs` |"), "{page}");
    }
}
