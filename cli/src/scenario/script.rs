//! A scenario once read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::model::{List, SignOut};

use super::dialects::Choice;
use super::needs::Needs;
use super::template::Template;

/// A scenario, or the prelude.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// Where it was read from, for reports.
    pub(super) path: PathBuf,
    /// Played once for each; once without one if there is none.
    pub(super) dialects: Vec<String>,
    /// Its accounts are those of the file before it.
    pub(super) continues: bool,
    pub(super) steps: Vec<Step>,
    pub(super) macros: Vec<Macro>,
    /// How many servers it names.
    pub(super) needs: Needs,
    /// What was read, for reports.
    pub(super) text: Arc<str>,
}

/// A new statement that scenarios may use.
#[derive(Debug, Clone)]
pub(super) struct Macro {
    pub(super) name: String,
    pub(super) words: Vec<MacroWord>,
    pub(super) steps: Vec<Step>,
    /// The file it stands in, for reports.
    pub(super) path: PathBuf,
}

/// A word behind a macro's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MacroWord {
    /// In quotes: stands for itself.
    Literal(String),
    /// Takes whatever stands there.
    Parameter(String),
}

impl Macro {
    /// Whether a statement calls this macro.
    pub(super) fn is_called_by(&self, words: &[String]) -> bool {
        let fits = |(word, given): (&MacroWord, &String)| match word {
            MacroWord::Literal(literal) => literal == given,
            MacroWord::Parameter(_) => true,
        };
        words.split_first().is_some_and(|(name, given)| {
            *name == self.name && given.len() == self.words.len() && self.words.iter().zip(given).all(fits)
        })
    }
}

/// A statement and its place.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) line: usize,
    /// Passed over in other dialects; empty: played in each.
    pub(super) only: Vec<Choice>,
    pub(super) action: Action,
}

/// What operators order in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperatorsOrder {
    /// A text is shown.
    Tell,
    /// Word that the service goes down in so many minutes.
    ShutDown,
    /// The session ends, and its client is to come back after so many minutes.
    Reconnect,
    /// The session ends.
    SignOut(SignOut),
}

/// What a statement does.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Accounts(AccountsStep),
    Fact {
        who: String,
        fact: Fact,
    },
    Connect {
        connection: String,
        target: Template,
    },
    Send {
        connection: String,
        line: Template,
        payload: Option<Template>,
    },
    SendRaw {
        connection: String,
        bytes: Template,
    },
    Expect {
        connection: String,
        /// Pass over what comes before it.
        skip: bool,
        line: Template,
        payload: Option<Template>,
    },
    /// Expectations only.
    AnyOrder(Vec<Step>),
    On {
        connection: String,
        deed: Deed,
    },
    /// Operators tell somebody something, or end the session.
    Operators {
        to: Template,
        order: OperatorsOrder,
        /// The text, the minutes, or nothing.
        said: Template,
    },
    Timeout(Duration),
    Let {
        name: String,
        value: Template,
    },
    Give(Vec<String>),
    Compare {
        same: bool,
        left: Template,
        right: Template,
    },
    If {
        value: Template,
        among: Vec<Choice>,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
    Times {
        count: u32,
        steps: Vec<Step>,
    },
    Call(Vec<String>),
}

impl Action {
    /// The statements within it.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[Step]> {
        let (one, other): (&[Step], &[Step]) = match self {
            Self::If { then, otherwise, .. } => (then, otherwise),
            Self::Times { steps, .. } | Self::AnyOrder(steps) => (steps, &[]),
            _ => (&[], &[]),
        };
        [one, other].into_iter()
    }
}

/// What is done with a connection besides sending and expecting lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// The server has closed it, and nothing came before that.
    Closed,
    /// The client closes it.
    Close,
    /// The client resets it.
    Abort,
    /// The client will send nothing more, but still reads.
    HalfClose,
    /// What is sent from now on leaves in pieces of so many bytes.
    Split(Option<usize>),
    /// What is sent from now on waits.
    Hold,
    /// What waits leaves in one write.
    Flush,
    /// Commands with these verbs are passed over from now on.
    Ignore(Vec<String>),
    /// They are not, any more; all of them if there is none.
    Heed(Vec<String>),
    /// Nothing has come that was not expected.
    Quiet,
}

/// `accounts …`
#[derive(Debug, Clone, Default)]
pub(super) struct AccountsStep {
    pub(super) names: Vec<String>,
    /// They are there already, from the file before.
    pub(super) same: bool,
    /// Each has each on forward and allow list.
    pub(super) friends: bool,
    /// They may sign in by MD5.
    pub(super) md5: bool,
    /// Names only, without accounts.
    pub(super) nobody: bool,
    pub(super) password: Option<String>,
}

/// What is so before the scenario begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// `alice FL bob in 1,2 as Robert`: the reverse entry at the other is pending, as after a real `ADD`.
    Listed { list: List, whom: String, groups: Vec<u16>, alias: Option<String> },
    /// `alice RL bob`: bob has alice on his forward list, and alice has answered that.
    Answered { whom: String },
    /// `alice group Friends`: the next number, from 1.
    Group(String),
    /// `alice name Alice%20A.`
    Name(String),
    /// `alice PHH 555`
    Property(common::model::Property, String),
    /// `alice BLP BL`
    Strangers(common::model::StrangerPolicy),
    /// `alice GTC N`
    AddPrompt(common::model::AddPrompt),
}
