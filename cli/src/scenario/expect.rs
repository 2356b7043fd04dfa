//! Waiting for what a scenario expects.

use tokio::time::Instant;

use super::connection::{Nothing, Received};
use super::failure::Trouble;
use super::kind::Kind;
use super::pattern::{Captures, Part, Pattern, show};
use super::play::{MAX_SKIPPED, Player};
use super::script::{Action, Step};
use super::template::Template;

/// A command that is expected, with the values of all names.
#[derive(Debug)]
pub(super) struct Expected {
    /// As the scenario writes it.
    pub(super) source: String,
    pub(super) line: Pattern,
    /// Any, if there is none.
    pub(super) payload: Option<Pattern>,
}

impl Expected {
    fn matches(&self, received: &Received) -> Option<Captures> {
        let mut captures = self.line.matches(&received.line)?;
        if let Some(pattern) = &self.payload {
            captures.extend(pattern.matches(received.payload.as_ref()?)?);
        }
        Some(captures)
    }

    fn show(&self) -> String {
        let line = self.line.show();
        let mut text = format!("expected  {}", self.source);
        if line != self.source {
            text.push_str(&format!("\n    that  {line}"));
        }
        text
    }

    /// What a tester sees when something else came.
    fn against(&self, name: &str, got: &Received) -> Trouble {
        let mut text = format!("{name}: not the line expected\n{}\n     got  {}", self.show(), show(&got.line));
        let line_matches = self.line.matches(&got.line).is_some();
        match (&self.payload, &got.payload) {
            (Some(pattern), Some(payload)) if line_matches => {
                text.push_str("\nthe lines match, the payloads don't\nexpected");
                text.push_str(&indented(&pattern.show()));
                text.push_str("\n     got");
                text.push_str(&indented(&show(payload)));
            }
            (_, Some(payload)) => text.push_str(&indented(&show(payload))),
            (Some(_), None) => text.push_str("\n     with no payload"),
            (None, None) => {}
        }
        Trouble::failed(text)
    }
}

/// A payload for a report, a line for each of its lines.
fn indented(payload: &str) -> String {
    let lines = payload.split_inclusive("\\r\\n").map(|line| format!("\n        | {line}"));
    lines.collect()
}

/// What a tester sees when nothing came.
fn nothing_came(name: &str, nothing: &Nothing, expected: &str) -> Trouble {
    let got = match nothing {
        Nothing::Closed(rest) if rest.is_empty() => "the server closed the connection".to_owned(),
        Nothing::Closed(rest) => format!("the server closed the connection after {:?}", show(rest)),
        Nothing::Late(rest) if rest.is_empty() => "nothing in time".to_owned(),
        Nothing::Late(rest) => format!("only {:?} in time", show(rest)),
        Nothing::Malformed(what) => what.clone(),
        Nothing::NotOpen => "the connection is closed".to_owned(),
    };
    Trouble::failed(format!("{name}: not the line expected\n{expected}\n     got  {got}"))
}

impl<'a> Player<'a> {
    /// `A< line`, or `A<* line`, which passes over what comes before it.
    pub(super) async fn expect(
        &mut self,
        name: &str,
        skip: bool,
        line: &Template,
        payload: Option<&Template>,
    ) -> Result<(), Trouble> {
        let expected = self.expected(line, payload).await?;
        let deadline = Instant::now() + self.patience;
        let shown = self.connection_name(name);
        for _ in 0..MAX_SKIPPED {
            let received = self.connection(name)?.next(deadline).await;
            let received = received.map_err(|nothing| nothing_came(&shown, &nothing, &expected.show()))?;
            match expected.matches(&received) {
                Some(captures) => {
                    let counts = self.counts();
                    self.record.got(&shown, &received.line, counts);
                    return self.bind(captures);
                }
                None if skip => {}
                None => return Err(expected.against(&shown, &received)),
            }
        }
        Err(Trouble::failed(format!("{shown}: {MAX_SKIPPED} lines without the one expected\n{}", expected.show())))
    }

    /// `any order … end`: for each connection, its lines and no others, in whatever order.
    pub(super) async fn any_order(&mut self, steps: &'a [Step]) -> Result<(), Trouble> {
        let mut pending: Vec<(String, Expected)> = Vec::new();
        for step in steps.iter().filter(|step| self.is_meant(step)) {
            if let Action::Expect { connection, line, payload, .. } = &step.action {
                pending.push((self.connection_name(connection), self.expected(line, payload.as_ref()).await?));
            }
        }
        let deadline = Instant::now() + self.patience;
        while let Some(name) = pending.first().map(|(name, _)| name.clone()) {
            let received = self.connections.get_mut(&name);
            let received = received.ok_or_else(|| Trouble::usage(format!("{name} was never connected")))?;
            let received = received.next(deadline).await;
            let received =
                received.map_err(|nothing| nothing_came(&name, &nothing, &show_pending(&name, &pending)))?;
            let found = pending
                .iter()
                .enumerate()
                .filter(|(_, (of, _))| *of == name)
                .find_map(|(at, (_, expected))| Some((at, expected.matches(&received)?)));
            let Some((at, captures)) = found else {
                let expected = show_pending(&name, &pending);
                let got = show(&received.line);
                let payload = received.payload.as_ref().map(|payload| indented(&show(payload)));
                let payload = payload.unwrap_or_default();
                return Err(Trouble::failed(format!(
                    "{name}: none of the lines expected\n{expected}\n     got  {got}{payload}"
                )));
            };
            pending.remove(at);
            let counts = self.counts();
            self.record.got(&name, &received.line, counts);
            self.bind(captures)?;
        }
        Ok(())
    }

    /// `A closed`
    pub(super) async fn expect_closed(&mut self, name: &str) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.patience;
        let shown = self.connection_name(name);
        let connection = self.connection(name)?;
        if !connection.is_open() {
            return Err(Trouble::usage(format!("{shown} is closed already")));
        }
        let expected = "expected  the server to close the connection";
        match connection.next(deadline).await {
            Err(Nothing::Closed(rest)) if rest.is_empty() => {
                self.record.closed(&shown);
                Ok(())
            }
            Err(nothing) => Err(nothing_came(&shown, &nothing, expected)),
            Ok(received) => {
                Err(Trouble::failed(format!("{shown}\n{expected}\n     got  {}", show(&received.line))))
            }
        }
    }

    /// `A quiet`: asks something whose answer must be the very next thing. On a switchboard that is an invitation of
    /// oneself, since there is no ping: one is in the session already.
    pub(super) async fn expect_quiet(&mut self, name: &str) -> Result<(), Trouble> {
        let patience = self.patience;
        let shown = self.connection_name(name);
        let connection = self.connection(name)?;
        let (line, answer) = match connection.switchboard_principal() {
            Some(who) => (format!("CAL 4294967295 {who}"), vec![Part::Text(b"215 4294967295".to_vec())]),
            None => ("PNG".to_owned(), vec![Part::Text(b"QNG".to_vec()), Part::Wild(None, Kind::Rest)]),
        };
        let sent = connection.send(format!("{line}\r\n").as_bytes(), &line, patience).await;
        sent.map_err(|nothing| nothing_came(&shown, &nothing, "expected  quiet"))?;
        let expected = Expected { source: "(quiet)".to_owned(), line: Pattern(answer), payload: None };
        let received = connection.next(Instant::now() + patience).await;
        let received = received.map_err(|nothing| nothing_came(&shown, &nothing, &expected.show()))?;
        match expected.matches(&received) {
            Some(_) => Ok(()),
            None => Err(expected.against(&shown, &received)),
        }
    }
}

fn show_pending(name: &str, pending: &[(String, Expected)]) -> String {
    let of = pending.iter().filter(|(of, _)| of == name);
    of.map(|(_, expected)| expected.show()).collect::<Vec<_>>().join("\n")
}
