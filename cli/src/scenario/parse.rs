//! Reading a scenario: line by line, each statement on a line of its own.

use std::fmt;
use std::path::{Path, PathBuf};

use super::dialects::Choice;
use super::kind::Kind;
use super::script::{Action, Macro, MacroWord, Script, Step};
use super::statement;
use super::template::{Piece, Template};

/// The longest scenario, in bytes.
pub(super) const MAX_SCRIPT: u64 = 1024 * 1024;
/// The most blocks within each other.
const MAX_DEPTH: usize = 16;

/// A scenario that can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub struct SyntaxError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.problem)
    }
}

/// Reads a scenario. `known` are the macros that it may call besides its own.
pub(super) fn parse(path: &Path, text: &str, known: &[Macro]) -> Result<Script, SyntaxError> {
    let lines = text.lines().enumerate().map(|(at, text)| Line { number: at + 1, text }).collect();
    let mut parser = Parser { path, lines, at: 0, script: Script { path: path.into(), ..Script::default() } };
    let steps = parser.block(0)?.0;
    let mut script = parser.script;
    script.steps = steps;
    let mut macros: Vec<&Macro> = known.iter().collect();
    macros.extend(&script.macros);
    check_calls(path, &script.steps, &macros)?;
    if script.dialects.is_empty() && !script.continues {
        check_marks(path, &script.steps)?;
    }
    for own in &script.macros {
        check_calls(path, &own.steps, &macros)?;
    }
    Ok(script)
}

/// Every statement that is none of the language's own must call a macro.
fn check_calls(path: &Path, steps: &[Step], macros: &[&Macro]) -> Result<(), SyntaxError> {
    for step in steps {
        match &step.action {
            Action::Call(words) if !macros.iter().any(|known| known.is_called_by(words)) => {
                let problem = format!("no statement and no macro reads like {:?}", words.join(" "));
                return Err(SyntaxError { path: path.into(), line: step.line, problem });
            }
            Action::If { then, otherwise, .. } => {
                check_calls(path, then, macros)?;
                check_calls(path, otherwise, macros)?;
            }
            Action::Times { steps, .. } => check_calls(path, steps, macros)?,
            _ => {}
        }
    }
    Ok(())
}

/// In a file that is played in no dialect a line for some of them would never be played.
fn check_marks(path: &Path, steps: &[Step]) -> Result<(), SyntaxError> {
    for step in steps {
        if !step.only.is_empty() {
            let problem = "for some dialects only, and the file names none (`for dialect in …`)".into();
            return Err(SyntaxError { path: path.into(), line: step.line, problem });
        }
        match &step.action {
            Action::If { then, otherwise, .. } => {
                check_marks(path, then)?;
                check_marks(path, otherwise)?;
            }
            Action::Times { steps, .. } | Action::AnyOrder(steps) => check_marks(path, steps)?,
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

struct Parser<'a> {
    path: &'a Path,
    lines: Vec<Line<'a>>,
    at: usize,
    script: Script,
}

/// What ends a block.
#[derive(Debug, PartialEq, Eq)]
enum End {
    File,
    Block,
    Else,
}

impl<'a> Parser<'a> {
    fn error(&self, line: usize, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { path: self.path.into(), line, problem: problem.into() }
    }

    /// Reads statements up to `end`, `else` or the end of the file.
    fn block(&mut self, depth: usize) -> Result<(Vec<Step>, End), SyntaxError> {
        let mut steps = Vec::new();
        while let Some(Line { number, text }) = self.next() {
            if depth > MAX_DEPTH {
                return Err(self.error(number, "too many blocks within each other"));
            }
            let (only, text) = split_dialects(text).map_err(|problem| self.error(number, problem))?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let action = match words.as_slice() {
                [] => continue,
                ["end"] if depth > 0 => return Ok((steps, End::Block)),
                ["else"] if depth > 0 => return Ok((steps, End::Else)),
                ["macro", ..] => {
                    self.define(number, text, depth)?;
                    continue;
                }
                ["for", "dialect", "in", dialects @ ..] => {
                    self.script.dialects = self.played_in(number, dialects)?;
                    continue;
                }
                ["any", "order"] => self.any_order(number, depth)?,
                ["times", count] => self.times(number, count, depth)?,
                ["if", value, "is", among @ ..] => self.condition(number, value, among, depth)?,
                _ => self.statement(number, text)?,
            };
            self.script.continues |= matches!(&action, Action::Accounts(accounts) if accounts.same);
            steps.push(Step { line: number, only, action });
        }
        if depth > 0 {
            return Err(self.error(self.lines.len(), "a block without its end"));
        }
        Ok((steps, End::File))
    }

    /// The dialects that a head names.
    fn played_in(&self, number: usize, words: &[&str]) -> Result<Vec<String>, SyntaxError> {
        let choices: Result<Vec<_>, _> = words.iter().map(|word| Choice::in_mark(word)).collect();
        let choices = choices.map_err(|problem| self.error(number, problem))?;
        let dialects: Vec<String> = choices.iter().flat_map(Choice::dialects).collect();
        if dialects.is_empty() { Err(self.error(number, "the suite speaks none of these")) } else { Ok(dialects) }
    }

    /// The next line that says something, without its note.
    fn next(&mut self) -> Option<Line<'a>> {
        while let Some(line) = self.lines.get(self.at).copied() {
            self.at += 1;
            let text = without_note(line.text).trim();
            if !text.is_empty() && !text.starts_with('#') && !is_transcript_heading(text) {
                return Some(Line { number: line.number, text });
            }
        }
        None
    }

    fn statement(&mut self, number: usize, text: &str) -> Result<Action, SyntaxError> {
        let payload = self.payload()?;
        statement::parse(text, payload).map_err(|problem| self.error(number, problem))
    }

    /// The `|` lines that follow.
    fn payload(&mut self) -> Result<Option<Template>, SyntaxError> {
        let mut payload: Option<Template> = None;
        let mut ended = false;
        while let Some(Line { number, text }) = self.lines.get(self.at).copied() {
            let text = text.trim_start();
            let Some(rest) = text.strip_prefix('|') else { break };
            if ended {
                return Err(self.error(number, "nothing follows a line without line end"));
            }
            self.at += 1;
            let piece = if let Some(rest) = rest.strip_prefix('~') {
                ended = true;
                Template::parse(rest.strip_prefix(' ').unwrap_or(rest))
            } else if rest.trim_end() == "*" {
                let mut all = Template { source: "|*\n".into(), ..Template::default() };
                all.push(Piece::Wild(None, Kind::Skip));
                Ok(all)
            } else {
                Template::parse(rest.strip_prefix(' ').unwrap_or(rest)).map(|mut line| {
                    line.push_text(b"\r\n");
                    line.source.push('\n');
                    line
                })
            };
            payload.get_or_insert_default().append(piece.map_err(|problem| self.error(number, problem))?);
        }
        Ok(payload)
    }

    fn define(&mut self, number: usize, text: &str, depth: usize) -> Result<(), SyntaxError> {
        if depth > 0 {
            return Err(self.error(number, "a macro within a block"));
        }
        let mut words = text.split_whitespace().skip(1);
        let name = words.next().ok_or_else(|| self.error(number, "a macro without a name"))?.to_owned();
        let words = words
            .map(|word| match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
                Some(literal) => MacroWord::Literal(literal.to_owned()),
                None => MacroWord::Parameter(word.to_owned()),
            })
            .collect();
        let steps = self.body(number, depth)?;
        self.script.macros.push(Macro { name, words, steps, path: self.path.into() });
        Ok(())
    }

    /// A block that ends in `end`.
    fn body(&mut self, number: usize, depth: usize) -> Result<Vec<Step>, SyntaxError> {
        match self.block(depth + 1)? {
            (steps, End::Block) => Ok(steps),
            _ => Err(self.error(number, "else without if")),
        }
    }

    fn any_order(&mut self, number: usize, depth: usize) -> Result<Action, SyntaxError> {
        let steps = self.body(number, depth)?;
        let expects = |step: &Step| matches!(step.action, Action::Expect { skip: false, .. });
        match steps.iter().find(|step| !expects(step)) {
            Some(step) => Err(self.error(step.line, "only expected lines can come in any order")),
            None => Ok(Action::AnyOrder(steps)),
        }
    }

    fn times(&mut self, number: usize, count: &str, depth: usize) -> Result<Action, SyntaxError> {
        let count = count.parse().ok().filter(|count| *count <= 10_000);
        let count = count.ok_or_else(|| self.error(number, "times wants a number up to 10000"))?;
        Ok(Action::Times { count, steps: self.body(number, depth)? })
    }

    fn condition(
        &mut self,
        number: usize,
        value: &str,
        among: &[&str],
        depth: usize,
    ) -> Result<Action, SyntaxError> {
        let value = Template::parse(value).map_err(|problem| self.error(number, problem))?;
        let among: Result<_, _> = among.iter().map(|word| Choice::parse(word)).collect();
        let among = among.map_err(|problem| self.error(number, problem))?;
        let (then, end) = self.block(depth + 1)?;
        let otherwise = if end == End::Else { self.body(number, depth)? } else { Vec::new() };
        Ok(Action::If { value, among, then, otherwise })
    }
}

/// A heading of the reference's transcripts: `-- NS 192.0.2.10:1863`.
fn is_transcript_heading(text: &str) -> bool {
    text == "--" || text.starts_with("-- ")
}

/// Takes off a note: two spaces or more, then parentheses up to the end. Raw bytes keep theirs.
fn without_note(text: &str) -> &str {
    let trimmed = text.trim_end();
    let raw = trimmed.split_whitespace().next().is_some_and(|word| word.ends_with(">>"));
    match trimmed.rfind("  (") {
        Some(at) if trimmed.ends_with(')') && !raw => trimmed[..at].trim_end(),
        _ => trimmed,
    }
}

/// Takes off `[MSNP7 MSNP10..]`.
fn split_dialects(text: &str) -> Result<(Vec<Choice>, &str), String> {
    let Some(rest) = text.strip_prefix('[') else { return Ok((Vec::new(), text)) };
    let (dialects, rest) = rest.split_once(']').ok_or("[ without ]")?;
    let only: Vec<_> = dialects.split_whitespace().map(Choice::in_mark).collect::<Result<_, _>>()?;
    if only.is_empty() { Err("[] names no dialect".into()) } else { Ok((only, rest.trim_start())) }
}

#[cfg(test)]
mod tests {
    use super::super::script::Deed;
    use super::*;

    #[track_caller]
    fn read(text: &str) -> Script {
        parse(Path::new("test.txt"), text, &[]).unwrap()
    }

    #[track_caller]
    fn problem(text: &str) -> (usize, String) {
        let error = parse(Path::new("test.txt"), text, &[]).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn notes_comments_and_headings_say_nothing() {
        let script = read("# a\n\n-- NS 192.0.2.10:1863\nA closed     (by the server)\n");
        assert_eq!(script.steps.len(), 1);
        assert_eq!(script.steps[0].line, 4);
        assert!(matches!(&script.steps[0].action, Action::On { deed: Deed::Closed, .. }));
    }

    #[test]
    fn a_payload_belongs_to_the_line_before() {
        let script = read("A> MSG 4 A {length}\n| To: x\n|\n|~ hello (you)\nA closed");
        let Action::Send { payload: Some(payload), .. } = &script.steps[0].action else { panic!() };
        assert_eq!(payload, &{
            let mut expected = Template::literal("To: x\r\n\r\nhello (you)");
            expected.source = "To: x\n\nhello (you)".into();
            expected
        });
        assert_eq!(script.steps.len(), 2);
    }

    #[test]
    fn blocks() {
        let script = read(
            "for dialect in MSNP7 MSNP8\n\
             macro greet C who \"on\" n\n C> VER 1 {who}\nend\n\
             if {dialect} is MSNP7\n greet A bob on 1\nelse\n [MSNP8] A closed\nend\n\
             times 3\n A> PNG\nend\n\
             any order\n A< ILN\n B< ILN\nend",
        );
        assert_eq!(script.dialects, ["MSNP7", "MSNP8"]);
        assert_eq!(script.macros[0].words[2], MacroWord::Literal("on".into()));
        let Action::If { then, otherwise, among, .. } = &script.steps[0].action else { panic!() };
        assert_eq!(
            (then.len(), otherwise[0].only.clone(), among.len()),
            (1, vec![Choice::Exactly("MSNP8".into())], 1)
        );
        assert!(matches!(&script.steps[1].action, Action::Times { count: 3, .. }));
        assert!(matches!(&script.steps[2].action, Action::AnyOrder(steps) if steps.len() == 2));
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(problem("A closed\nsing A").0, 2);
        assert_eq!(problem("macro a B\nB closed").0, 2);
        assert_eq!(problem("any order\nA> x\nend").0, 2);
        assert_eq!(problem("\nA< {x=thing}").0, 2);
        assert_eq!(problem("end").0, 1);
        assert_eq!(problem("A closed\n| payload").0, 1);
        assert!(problem("macro a B\nend\na X Y").1.contains("a X Y"));
        assert_eq!(problem("for dialect in MSNP7..\n[MSN8] A closed").0, 2);
        assert_eq!(problem("for dialect in MSNP7..\n[] A closed").0, 2);
        assert_eq!(problem("for dialect in MSNP99..").0, 1);
        assert!(problem("A closed\ntimes 2\n[MSNP7] A closed\nend").1.contains("for dialect in"));
    }
}
