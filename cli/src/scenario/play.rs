//! Playing a scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use common::cluster::{Audience, Instruction, Order};
use common::model::{Bulletin, Passport, SignOut};

use super::accounts::Accounts;
use super::connection::Connection;
use super::deployment::Deployment;
use super::expect::Expected;
use super::failure::{Failure, Trouble};
use super::functions::{Call, CallError};
use super::pattern::{Captures, Part, Pattern};
use super::record::{Record, Shown};
use super::scope::{Frame, Scope};
use super::script::{Action, Macro, MacroWord, OperatorsOrder, Script, Step};
use super::template::{Argument, Piece, Template, is_name};
use crate::{broadcast, orders};

/// The most macros within each other.
const MAX_CALLS: usize = 16;
/// The most commands that `<*` passes over.
pub(super) const MAX_SKIPPED: usize = 10_000;

type Play<'b> = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'b>>;

/// One playing of one scenario.
pub(super) struct Player<'a> {
    script: &'a Script,
    macros: Vec<&'a Macro>,
    /// Lines of this file don't count as shown.
    prelude: &'a Path,
    pub(super) deployment: &'a Deployment,
    run: &'a str,
    dialect: Option<&'a str>,
    accounts: Accounts,
    pub(super) connections: BTreeMap<String, Connection>,
    pub(super) record: Record,
    frames: Vec<Frame>,
    /// The file of each frame's statements.
    paths: Vec<&'a Path>,
    /// The payload sent last, by whichever connection.
    pub(super) last_payload: Option<Vec<u8>>,
    pub(super) patience: Duration,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        script: &'a Script,
        prelude: &'a Script,
        deployment: &'a Deployment,
        run: &'a str,
        dialect: Option<&'a str>,
    ) -> Self {
        Self {
            script,
            // The scenario's own come first.
            macros: script.macros.iter().chain(&prelude.macros).collect(),
            prelude: &prelude.path,
            deployment,
            run,
            dialect,
            accounts: Accounts::default(),
            connections: BTreeMap::new(),
            record: Record::default(),
            frames: vec![Frame::default()],
            paths: vec![&script.path],
            last_payload: None,
            patience: deployment.timeout,
        }
    }

    #[cfg(test)]
    pub(super) fn with_accounts(mut self, accounts: Accounts) -> Self {
        self.accounts = accounts;
        self
    }

    /// Plays it to its end.
    pub(super) async fn play(&mut self) -> Result<(), Failure> {
        let steps = &self.script.steps;
        match self.steps(steps).await {
            Ok(()) => Ok(()),
            Err(mut trouble) => {
                trouble.text.push_str(&self.background());
                Err(trouble.into_failure(self.script))
            }
        }
    }

    /// What the playing has shown of the protocol.
    pub(super) fn shown(self) -> BTreeSet<Shown> {
        self.record.finish()
    }

    /// Whether what the current statement sends or gets counts as shown.
    pub(super) fn counts(&self) -> bool {
        self.path() != self.prelude
    }

    /// What a tester wants to see beside the mismatch: the names, and what each connection has seen last.
    fn background(&self) -> String {
        let mut text = String::new();
        let names: Vec<String> = self
            .frames
            .iter()
            .flat_map(|frame| frame.parameters.iter().chain(&frame.names))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !names.is_empty() {
            text.push_str(&format!("\nbound: {}", names.join("  ")));
        }
        for (name, connection) in &self.connections {
            for line in connection.recent() {
                text.push_str(&format!("\n  {name} {line}"));
            }
        }
        text
    }

    fn steps<'b>(&'b mut self, steps: &'a [Step]) -> Play<'b> {
        Box::pin(async move {
            for step in steps {
                if self.is_meant(step) {
                    let path = self.path();
                    self.step(step).await.map_err(|trouble| trouble.at(path, step.line))?;
                }
            }
            Ok(())
        })
    }

    fn path(&self) -> &'a Path {
        self.paths.last().copied().unwrap_or(&self.script.path)
    }

    /// Whether the step is for this dialect.
    pub(super) fn is_meant(&self, step: &Step) -> bool {
        let fits = |dialect: String| step.only.iter().any(|choice| choice.fits(&dialect));
        step.only.is_empty() || self.scope().value("dialect").is_some_and(fits)
    }

    async fn step(&mut self, step: &'a Step) -> Result<(), Trouble> {
        match &step.action {
            Action::Accounts(accounts) => {
                let done = self.accounts.declare(accounts, self.run, self.deployment.accounts.as_ref()).await;
                done.map_err(|error| Trouble::from_error(&error))
            }
            Action::Fact { who, fact } => {
                let done = self.accounts.establish(who, fact, self.deployment.accounts.as_ref()).await;
                done.map_err(|error| Trouble::from_error(&error))
            }
            Action::Connect { connection, target } => self.connect(connection, target).await,
            Action::Send { connection, line, payload } => self.send(connection, line, payload.as_ref()).await,
            Action::SendRaw { connection, bytes } => self.send_raw(connection, bytes).await,
            Action::Expect { connection, skip, line, payload } => {
                self.expect(connection, *skip, line, payload.as_ref()).await
            }
            Action::AnyOrder(steps) => self.any_order(steps).await,
            Action::On { connection, deed } => self.deed(connection, deed).await,
            Action::Operators { to, order, said } => self.order(to, *order, said).await,
            Action::Timeout(patience) => {
                self.patience = *patience;
                Ok(())
            }
            Action::Let { name, value } => {
                let value = self.string(value).await?;
                self.bind(vec![(name.clone(), value)])
            }
            Action::Give(names) => {
                self.frame().given.extend(names.iter().cloned());
                Ok(())
            }
            Action::Compare { same, left, right } => self.compare(*same, left, right).await,
            Action::If { value, among, then, otherwise } => {
                let value = self.string(value).await?;
                let fits = among.iter().any(|choice| choice.fits(&value));
                self.steps(if fits { then } else { otherwise }).await
            }
            Action::Times { count, steps } => {
                for turn in 1..=*count {
                    self.bind(vec![("turn".to_owned(), turn.to_string())])?;
                    self.steps(steps).await?;
                }
                Ok(())
            }
            Action::Call(words) => self.call(words, step.line).await,
        }
    }

    // Names.

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn scope(&self) -> Scope<'_> {
        static EMPTY: Frame = Frame { parameters: BTreeMap::new(), names: BTreeMap::new(), given: Vec::new() };
        Scope {
            frame: self.frames.last().unwrap_or(&EMPTY),
            accounts: &self.accounts,
            deployment: self.deployment,
            run: self.run,
            dialect: self.dialect,
        }
    }

    pub(super) fn bind(&mut self, captures: Captures) -> Result<(), Trouble> {
        for (name, value) in captures {
            if self.accounts.get(&name).is_some() {
                return Err(Trouble::usage(format!("{name} is an account and can't be bound")));
            }
            self.frame().names.insert(name, value);
        }
        Ok(())
    }

    /// The connection that a name in the current macro means.
    pub(super) fn connection_name(&self, name: &str) -> String {
        let given = self.frames.last().and_then(|frame| frame.parameters.get(name));
        given.map_or_else(|| name.to_owned(), Clone::clone)
    }

    pub(super) fn connection(&mut self, name: &str) -> Result<&mut Connection, Trouble> {
        let name = self.connection_name(name);
        let connection = self.connections.get_mut(&name);
        connection.ok_or_else(|| Trouble::usage(format!("{name} was never connected")))
    }

    /// Puts values in the places of names. `{length}` is `length`, or any number without one.
    pub(super) async fn fill(&self, template: &Template, length: Option<usize>) -> Result<Pattern, Trouble> {
        let mut parts = Vec::new();
        for piece in &template.pieces {
            let part = match piece {
                Piece::Text(text) => Part::Text(text.clone()),
                Piece::Name(name, add) => Part::Text(self.named(name, *add)?.into_bytes()),
                Piece::Wild(name, kind) => Part::Wild(name.clone(), *kind),
                Piece::Length => match length {
                    Some(length) => Part::Text(length.to_string().into_bytes()),
                    None => Part::Wild(None, super::kind::Kind::Number),
                },
                Piece::Call(name, arguments) => Part::Text(self.function(name, arguments).await?.into_bytes()),
            };
            match (parts.last_mut(), part) {
                (Some(Part::Text(last)), Part::Text(text)) => last.extend(text),
                (_, part) => parts.push(part),
            }
        }
        Ok(Pattern(parts))
    }

    fn named(&self, name: &str, add: Option<u64>) -> Result<String, Trouble> {
        let value = self.scope().value(name);
        let value = value.ok_or_else(|| Trouble::usage(format!("{{{name}}} is not bound")))?;
        let Some(add) = add else { return Ok(value) };
        let sum = value.parse::<u64>().ok().and_then(|value| value.checked_add(add));
        sum.map(|sum| sum.to_string()).ok_or_else(|| Trouble::usage(format!("{name}={value} is no number")))
    }

    async fn function(&self, name: &str, arguments: &[Argument]) -> Result<String, Trouble> {
        let mut values = Vec::new();
        for argument in arguments {
            values.push(match argument {
                Argument::Quoted(text) => String::from_utf8_lossy(text).into_owned(),
                Argument::Bare(text) => match self.scope().value(text) {
                    Some(value) => value,
                    None if is_name(text) && text.len() > 1 => {
                        return Err(Trouble::usage(format!("{text} is not bound: write \"{text}\" for the text")));
                    }
                    None => text.clone(),
                },
            });
        }
        let first = values.first();
        let password =
            first.and_then(|passport| self.accounts.by_passport(passport)).map(|found| &*found.password);
        let patience = self.patience;
        let call = Call { name, arguments: &values, deployment: self.deployment, password, patience };
        call.value().await.map_err(|error| match error {
            CallError::Usage(problem) => Trouble::usage(problem),
            CallError::Failed(error) => Trouble::from_error(&error.context(format!("{name}(…)"))),
        })
    }

    pub(super) async fn text(&self, template: &Template) -> Result<Vec<u8>, Trouble> {
        let text = self.fill(template, None).await?.as_text();
        text.ok_or_else(|| Trouble::usage(format!("{:?}: a placeholder where a text is wanted", template.source)))
    }

    pub(super) async fn string(&self, template: &Template) -> Result<String, Trouble> {
        Ok(String::from_utf8_lossy(&self.text(template).await?).into_owned())
    }

    async fn compare(&self, same: bool, left: &Template, right: &Template) -> Result<(), Trouble> {
        let (a, b) = (self.string(left).await?, self.string(right).await?);
        if (a == b) == same {
            return Ok(());
        }
        let wanted = if same { "the same" } else { "different" };
        Err(Trouble::failed(format!(
            "expected  {wanted}: {} and {}\n     got  {a:?} and {b:?}",
            left.source, right.source
        )))
    }

    /// What `monarch broadcast --to` and `monarch sign-out` do.
    async fn order(&self, to: &Template, order: OperatorsOrder, said: &Template) -> Result<(), Trouble> {
        let (to, said) = (self.string(to).await?, self.string(said).await?);
        let to = Passport::parse(&to).map_err(|error| Trouble::usage(format!("{to}: {error}")))?;
        let minutes = || said.parse().map_err(|_| Trouble::usage(format!("{said:?} is no number of minutes")));
        let what = match order {
            OperatorsOrder::Tell => {
                let bulletin = broadcast::text_bulletin(&said);
                Instruction::Show(bulletin.map_err(|failure| Trouble::usage(failure.to_string()))?)
            }
            OperatorsOrder::ShutDown => Instruction::Show(Bulletin::ShutDown { minutes: minutes()? }),
            OperatorsOrder::Reconnect => Instruction::SignOut(SignOut::Reconnect { minutes: minutes()? }),
            OperatorsOrder::SignOut(why) => Instruction::SignOut(why),
        };
        let desk = self.deployment.orders.as_ref();
        let desk = desk.ok_or_else(|| Trouble::usage("nobody takes orders here".to_owned()))?;
        let given = async { desk.give(&Order { id: orders::random()?, to: Audience::Principal(to), what }).await };
        given.await.map(drop).map_err(|failure| Trouble::failed(failure.to_string()))
    }

    /// What `expect` says of a line and its payload once all names have their values.
    pub(super) async fn expected(&self, line: &Template, payload: Option<&Template>) -> Result<Expected, Trouble> {
        let pattern = match payload {
            Some(payload) => Some(self.fill(payload, None).await?),
            None if line.has_length() => {
                let last = self.last_payload.as_ref();
                let last = last.ok_or_else(|| Trouble::usage("{length}: no payload was sent before"))?;
                Some(Pattern::exactly(last))
            }
            None => None,
        };
        let length = pattern.as_ref().and_then(Pattern::as_text).map(|text| text.len());
        Ok(Expected { source: line.source.clone(), line: self.fill(line, length).await?, payload: pattern })
    }

    // Macros.

    async fn call(&mut self, words: &'a [String], line: usize) -> Result<(), Trouble> {
        let called = self.macros.iter().copied().find(|known| known.is_called_by(words));
        let called = called.ok_or_else(|| Trouble::usage(format!("no macro {}", words.join(" "))))?;
        if self.frames.len() > MAX_CALLS {
            return Err(Trouble::usage("too many macros within each other"));
        }
        let frame = self.new_frame(called, &words[1..]).await?;
        let caller = self.path();
        self.frames.push(frame);
        self.paths.push(&called.path);
        let done = self.steps(&called.steps).await;
        if let Err(trouble) = done {
            // The frame stays: the report shows its names.
            self.paths.pop();
            return Err(trouble.called(&called.name, caller, line));
        }
        self.paths.pop();
        let ended = self.frames.pop().unwrap_or_default();
        let give = |name: &String| Some((name.clone(), ended.names.get(name)?.clone()));
        self.bind(ended.given.iter().filter_map(give).collect())
    }

    async fn new_frame(&self, called: &Macro, given: &[String]) -> Result<Frame, Trouble> {
        let mut frame = Frame::default();
        for (word, given) in called.words.iter().zip(given) {
            let MacroWord::Parameter(name) = word else { continue };
            let passed_on = self.frames.last().and_then(|frame| frame.parameters.get(given));
            let value = match passed_on {
                Some(value) => value.clone(),
                None => {
                    let quoted = given.starts_with('"');
                    let template = if quoted { Template::parse_raw(given) } else { Template::parse(given) };
                    self.string(&template.map_err(Trouble::usage)?).await?
                }
            };
            frame.parameters.insert(name.clone(), value);
        }
        Ok(frame)
    }
}
