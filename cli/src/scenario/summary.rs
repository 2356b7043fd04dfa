//! The end of a run: how many were played, and why some failed.

use std::collections::BTreeMap;
use std::fmt;

use super::needs::Needs;
use super::outcome::Outcome;

/// Causes listed; what is beyond is counted.
const CAUSES: usize = 20;

/// What became of a run.
#[derive(Debug, Default)]
pub(super) struct Summary {
    played: usize,
    failed: usize,
    left_out: usize,
    /// What the files that were left out for want of servers need.
    needed: Option<Needs>,
    /// How many failed for each cause, and where the first did.
    causes: BTreeMap<String, (usize, String)>,
}

impl Summary {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.played += 1;
        let Err(failure) = &outcome.result else { return };
        self.failed += 1;
        self.left_out += outcome.left_out.len();
        // Names of accounts differ from playing to playing.
        let cause = failure.cause().replace(&outcome.run, "…");
        let first = format!("{}:{}", outcome.path.display(), failure.line());
        self.causes.entry(cause).or_insert((0, first)).0 += 1;
    }

    /// A file that is not played, since there are not as many servers as it needs.
    pub(super) fn leave_out(&mut self, needs: Needs) {
        self.left_out += 1;
        self.needed = Some(self.needed.unwrap_or_default().and(needs));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} played, {} failed", self.played, self.failed)?;
        if self.left_out > 0 {
            write!(f, "; files left out: {}", self.left_out)?;
            if let Some(needed) = self.needed {
                write!(f, " (`monarch up --nodes {}` starts enough servers)", needed.nodes())?;
            }
        }
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        if self.failed > 1 {
            write!(f, "\nCauses:")?;
            for (cause, (count, first)) in causes.iter().take(CAUSES) {
                write!(f, "\n  {count:>4} × {cause}  (first at {first})")?;
            }
            if causes.len() > CAUSES {
                write!(f, "\n  and {} more", causes.len() - CAUSES)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::failure::{Failure, FailureKind};
    use super::*;

    fn outcome(run: &str, text: Option<&str>) -> Outcome {
        let failure = |text: &str| Failure {
            kind: FailureKind::Failed,
            place: ("a.txt".into(), 7),
            calls: Vec::new(),
            around: Vec::new(),
            text: text.to_owned(),
        };
        Outcome {
            path: "a.txt".into(),
            dialect: None,
            run: run.into(),
            took: Duration::ZERO,
            shown: Default::default(),
            result: text.map_or(Ok(()), |text| Err(Box::new(failure(text)))),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn failures_of_one_cause_are_one_line() {
        let mut summary = Summary::default();
        summary.add(&outcome("r1", None));
        assert_eq!(summary.to_string(), "1 played, 0 failed");
        summary.leave_out(Needs::of_test(2, 0));
        summary.leave_out(Needs::of_test(0, 3));
        for (run, text) in
            [("r1", "expected  FLN bob-r1\n got x"), ("r2", "expected  FLN bob-r2"), ("r3", "closed")]
        {
            summary.add(&outcome(run, Some(text)));
        }
        let expected = "4 played, 3 failed; files left out: 2 (`monarch up --nodes 1,2,3` starts enough servers)\nCauses:\n     \
                        2 × expected  FLN bob-…  (first at a.txt:7)\n     1 × closed  (first at a.txt:7)";
        assert_eq!(summary.to_string(), expected);
        let mut summary = Summary::default();
        let last = outcome("r1", Some("closed"));
        summary.add(&Outcome { left_out: vec!["b.txt".into(), "c.txt".into()], ..last });
        assert_eq!(summary.to_string(), "1 played, 1 failed; files left out: 2");
    }
}
