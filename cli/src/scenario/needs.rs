//! How many servers a scenario needs.

use std::fmt;

use super::deployment::Deployment;
use super::script::{Action, Script, Step};

/// How many servers of the tiers with numbers a scenario names: `notification 2` needs two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Needs {
    notification: usize,
    switchboard: usize,
}

impl Needs {
    #[cfg(test)]
    pub(super) fn of_test(notification: usize, switchboard: usize) -> Self {
        Self { notification, switchboard }
    }

    /// What a script names in its own lines. The macros of the prelude are given their numbers there.
    pub(super) fn of(script: &Script) -> Self {
        let mut needs = Self::default();
        needs.steps(&script.steps);
        script.macros.iter().for_each(|own| needs.steps(&own.steps));
        needs
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match &step.action {
                Action::Connect { target, .. } => self.words(target.source.split_whitespace()),
                Action::Call(words) => self.words(words.iter().map(String::as_str)),
                _ => step.action.blocks().for_each(|block| self.steps(block)),
            }
        }
    }

    /// Notes each number that stands behind the name of a tier.
    fn words<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let mut tier = "";
        for word in words {
            let needed = match tier {
                "notification" => Some(&mut self.notification),
                "switchboard" => Some(&mut self.switchboard),
                _ => None,
            };
            if let (Some(needed), Ok(number)) = (needed, word.parse()) {
                *needed = (*needed).max(number);
            }
            tier = word;
        }
    }

    /// The greater of each.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            notification: self.notification.max(other.notification),
            switchboard: self.switchboard.max(other.switchboard),
        }
    }

    /// The `--nodes` of a `monarch up` that has so many.
    pub(super) fn nodes(self) -> String {
        format!("1,{},{}", self.notification.max(1), self.switchboard.max(1))
    }

    /// What of it a deployment lacks; `None` if nothing.
    pub(super) fn lacking(self, deployment: &Deployment) -> Option<Lack> {
        let (notification, switchboard) = (deployment.notification.len(), deployment.switchboard.len());
        let lack = if self.notification > notification {
            Lack { tier: "notification server", needed: self.notification, there: notification }
        } else if self.switchboard > switchboard {
            Lack { tier: "switchboard", needed: self.switchboard, there: switchboard }
        } else {
            return None;
        };
        Some(lack)
    }
}

/// Too few servers of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lack {
    tier: &'static str,
    needed: usize,
    there: usize,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, needed, there } = self;
        write!(f, "needs {needed} {tier}s, and {there} is known")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse::parse;
    use super::super::suite::prelude;
    use super::*;

    #[track_caller]
    fn check(text: &str, notification: usize, switchboard: usize) {
        let script = parse(Path::new("test.txt"), text, &prelude().macros).unwrap();
        assert_eq!(script.needs, Needs { notification, switchboard }, "{text}");
    }

    #[test]
    fn servers_are_counted_where_they_are_named() {
        check("connect A dispatch", 0, 0);
        check("connect A notification 3\nconnect B switchboard 2", 3, 2);
        check("accounts bob\nsign-in B bob MSNP8 online on notification 2", 2, 0);
        check("times 2\nif 1 is 2\nconnect A notification 1\nelse\nconnect A notification 4\nend\nend", 4, 0);
        check("macro far C\nconnect C switchboard 2\nend\nfar A", 0, 2);
        check("connect A notification {n}", 0, 0);
    }
}
