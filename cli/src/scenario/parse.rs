//! Reading a scenario: line by line, each statement on a line of its own.

use std::fmt;
use std::path::{Path, PathBuf};

use super::dialects::Choice;
use super::kind::Kind;
use super::needs::Needs;
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
///
/// # Errors
/// All mistakes, in the order of their lines.
pub(super) fn parse(path: &Path, text: &str, known: &[Macro]) -> Result<Script, Vec<SyntaxError>> {
    let lines = text.lines().enumerate().map(|(at, text)| Line { number: at + 1, text }).collect();
    let script = Script { path: path.into(), text: text.into(), ..Script::default() };
    let mut parser = Parser { path, lines, at: 0, script, mistakes: Vec::new() };
    let steps = parser.block(0).0;
    let Parser { mut script, mistakes, .. } = parser;
    script.steps = steps;
    script.needs = Needs::of(&script);
    let macros: Vec<&Macro> = known.iter().chain(&script.macros).collect();
    let mut check = Check { path, macros, marks: script.dialects.is_empty() && !script.continues, mistakes };
    check.steps(&script.steps);
    // A macro of its own may be called where dialects are known: its marks are its callers' business.
    check.marks = false;
    script.macros.iter().for_each(|own| check.steps(&own.steps));
    let mut mistakes = check.mistakes;
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(script) } else { Err(mistakes) }
}

/// What can be checked only when all is read.
struct Check<'a> {
    path: &'a Path,
    macros: Vec<&'a Macro>,
    /// Whether marks of dialects are out of place: in a file that is played in no dialect such a line would never be played.
    marks: bool,
    mistakes: Vec<SyntaxError>,
}

impl Check<'_> {
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            if self.marks && !step.only.is_empty() {
                self.mistake(step, "for some dialects only, and the file names none (`for dialect in …`)".into());
            }
            match &step.action {
                // Every statement that is none of the language's own must call a macro.
                Action::Call(words) if !self.macros.iter().any(|known| known.is_called_by(words)) => {
                    self.mistake(step, format!("no statement and no macro reads like {:?}", words.join(" ")));
                }
                _ => step.action.blocks().for_each(|block| self.steps(block)),
            }
        }
    }

    fn mistake(&mut self, step: &Step, problem: String) {
        self.mistakes.push(SyntaxError { path: self.path.into(), line: step.line, problem });
    }
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
    mistakes: Vec<SyntaxError>,
}

/// What a line was.
enum Read {
    Step(Step),
    /// It has told the parser something.
    Nothing,
    End(End),
}

/// What ends a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    File,
    Block,
    Else,
}

impl<'a> Parser<'a> {
    fn error(&self, line: usize, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { path: self.path.into(), line, problem: problem.into() }
    }

    /// The value of a part of a head; a mistake in it is noted.
    fn or_default<T: Default>(&mut self, line: usize, read: Result<T, String>) -> T {
        read.unwrap_or_else(|problem| {
            self.mistakes.push(self.error(line, problem));
            T::default()
        })
    }

    /// Reads statements up to `end`, `else` or the end of the file. A statement with a mistake is left out, and the mistake noted.
    fn block(&mut self, depth: usize) -> (Vec<Step>, End) {
        let mut steps = Vec::new();
        while let Some(line) = self.next() {
            match self.line(line, depth) {
                Ok(Read::Step(step)) => steps.push(step),
                Ok(Read::Nothing) => {}
                Ok(Read::End(end)) => return (steps, end),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        if depth > 0 {
            self.mistakes.push(self.error(self.lines.len(), "a block without its end"));
        }
        (steps, End::File)
    }

    fn line(&mut self, Line { number, text }: Line<'a>, depth: usize) -> Result<Read, SyntaxError> {
        let (only, text) = split_dialects(text).map_err(|problem| self.error(number, problem))?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let action = match words.as_slice() {
            [] => return Ok(Read::Nothing),
            ["end"] if depth > 0 => return Ok(Read::End(End::Block)),
            ["else"] if depth > 0 => return Ok(Read::End(End::Else)),
            ["macro", ..] => return self.define(number, text, depth).map(|()| Read::Nothing),
            ["for", "dialect", "in", dialects @ ..] => {
                self.script.dialects = self.played_in(number, dialects)?;
                return Ok(Read::Nothing);
            }
            ["any", "order"] => self.any_order(number, depth)?,
            ["times", count] => self.times(number, count, depth)?,
            ["if", value, "is", among @ ..] => self.condition(number, value, among, depth)?,
            _ => self.statement(number, text)?,
        };
        self.script.continues |= matches!(&action, Action::Accounts(accounts) if accounts.same);
        Ok(Read::Step(Step { line: number, only, action }))
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
        // Read first, whatever is wrong with the head: the lines of the body are no statements of the file.
        let steps = self.body(number, depth)?;
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
        self.script.macros.push(Macro { name, words, steps, path: self.path.into() });
        Ok(())
    }

    /// A block within that of `depth`.
    fn inner(&mut self, number: usize, depth: usize) -> Result<(Vec<Step>, End), SyntaxError> {
        if depth >= MAX_DEPTH {
            // Nobody can say any more what belongs to what.
            self.at = self.lines.len();
            return Err(self.error(number, "too many blocks within each other"));
        }
        Ok(self.block(depth + 1))
    }

    /// A block that ends in `end`.
    fn body(&mut self, number: usize, depth: usize) -> Result<Vec<Step>, SyntaxError> {
        let (mut steps, mut end) = self.inner(number, depth)?;
        while end == End::Else {
            self.mistakes.push(self.error(number, "else without if"));
            let (more, next) = self.inner(number, depth)?;
            steps.extend(more);
            end = next;
        }
        Ok(steps)
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
        let steps = self.body(number, depth)?;
        let legal = count.parse().ok().filter(|count| *count <= 10_000);
        // What is within stays to be checked, whatever is wrong with the head.
        let count = legal.ok_or_else(|| "times wants a number up to 10000".into());
        Ok(Action::Times { count: self.or_default(number, count), steps })
    }

    fn condition(
        &mut self,
        number: usize,
        value: &str,
        among: &[&str],
        depth: usize,
    ) -> Result<Action, SyntaxError> {
        let (then, end) = self.inner(number, depth)?;
        let otherwise = if end == End::Else { self.body(number, depth)? } else { Vec::new() };
        let value = self.or_default(number, Template::parse(value));
        let among = self.or_default(number, among.iter().map(|word| Choice::parse(word)).collect());
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
        let [first, ..] = &problems(text)[..] else { panic!("no mistake in {text:?}") };
        first.clone()
    }

    fn problems(text: &str) -> Vec<(usize, String)> {
        let mistakes = parse(Path::new("test.txt"), text, &[]).err().unwrap_or_default();
        mistakes.into_iter().map(|mistake| (mistake.line, mistake.problem)).collect()
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
    fn all_mistakes_of_a_file_are_told() {
        let text = "sing A\n\
                    times many\n A closed\n hum B\nend\n\
                    macro\n A< {x=thing}\nend\n\
                    if {a is x\n A closed\nelse\n B whistles\nelse\n A closed\nend\n\
                    A closed\n| payload";
        let lines: Vec<usize> = problems(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 4, 6, 7, 9, 9, 12, 16], "{:?}", problems(text));
        let deep = "times 2\n".repeat(MAX_DEPTH + 3);
        assert!(problems(&deep).iter().any(|(_, problem)| problem.contains("too many blocks")));
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
