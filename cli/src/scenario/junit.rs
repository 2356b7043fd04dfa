//! A report that build servers read: JUnit's XML, one test case a playing.

use std::io;
use std::path::PathBuf;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::outcome::{Outcome, WITHOUT_ITS_START};

/// What is written of one playing, or of a file that was left out.
#[derive(Debug)]
struct Case {
    file: PathBuf,
    name: String,
    secs: f64,
    end: End,
}

#[derive(Debug)]
enum End {
    Passed,
    Failed { cause: String, text: String },
    LeftOut(String),
}

/// The report of a run.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Case>);

impl Report {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        let name = outcome.dialect.clone().unwrap_or_else(|| "once".into());
        let end = match &outcome.result {
            Ok(()) => End::Passed,
            Err(failure) => End::Failed { cause: failure.cause().to_owned(), text: failure.to_string() },
        };
        let secs = outcome.took.as_secs_f64();
        self.0.push(Case { file: outcome.path.clone(), name: name.clone(), secs, end });
        for file in &outcome.left_out {
            let (file, name, end) = (file.clone(), name.clone(), End::LeftOut(WITHOUT_ITS_START.to_owned()));
            self.0.push(Case { file, name, secs: 0.0, end });
        }
    }

    pub(super) fn leave_out(&mut self, file: PathBuf, why: String) {
        self.0.push(Case { file, name: "left out".into(), secs: 0.0, end: End::LeftOut(why) });
    }

    /// The report as XML.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let count = |wanted: fn(&End) -> bool| self.0.iter().filter(|case| wanted(&case.end)).count().to_string();
        let failures = count(|end| matches!(end, End::Failed { .. }));
        let skipped = count(|end| matches!(end, End::LeftOut(_)));
        let mut xml = Writer::new_with_indent(out, b' ', 1);
        let mut suite = BytesStart::new("testsuite");
        suite.push_attribute(("name", "monarch scenario run"));
        suite.push_attribute(("tests", &*self.0.len().to_string()));
        suite.push_attribute(("failures", &*failures));
        suite.push_attribute(("skipped", &*skipped));
        xml.write_event(Event::Start(suite))?;
        self.0.iter().try_for_each(|case| case.write(&mut xml))?;
        xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
        writeln!(xml.get_mut())
    }
}

impl Case {
    fn write(&self, xml: &mut Writer<&mut impl io::Write>) -> io::Result<()> {
        let mut case = BytesStart::new("testcase");
        case.push_attribute(("classname", &*self.file.to_string_lossy()));
        case.push_attribute(("name", &*self.name));
        case.push_attribute(("time", &*format!("{:.3}", self.secs)));
        let (tag, message, text) = match &self.end {
            End::Passed => return xml.write_event(Event::Empty(case)),
            End::Failed { cause, text } => ("failure", cause, text.as_str()),
            End::LeftOut(why) => ("skipped", why, ""),
        };
        xml.write_event(Event::Start(case))?;
        let mut why = BytesStart::new(tag);
        why.push_attribute(("message", &*legal(message)));
        xml.write_event(Event::Start(why))?;
        xml.write_event(Event::Text(BytesText::new(&legal(text))))?;
        xml.write_event(Event::End(BytesEnd::new(tag)))?;
        xml.write_event(Event::End(BytesEnd::new("testcase")))
    }
}

/// The text without the characters that XML 1.0 knows in no form: what servers have sent may hold any.
fn legal(text: &str) -> String {
    let is_legal =
        |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().map(|c| if is_legal(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_xml_whatever_failed() {
        let case = |name: &str, end| Case { file: "a<b>.txt".into(), name: name.into(), secs: 1.5, end };
        let failed = End::Failed { cause: "expected \"x\" & <y>".into(), text: "got \u{1}]]>\n".into() };
        let report =
            Report(vec![case("MSNP8", End::Passed), case("MSNP9", failed), case("x", End::LeftOut("why".into()))]);
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut tags = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) | Event::Empty(tag) => {
                    for attribute in tag.attributes() {
                        attribute.unwrap().normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
                    }
                    tags.push(tag.name().as_ref().to_owned());
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(tags, ["testsuite", "testcase", "testcase", "failure", "testcase", "skipped"]);
        assert!(text.contains("tests=\"3\" failures=\"1\" skipped=\"1\"") && !text.contains('\u{1}'), "{text}");
    }
}
