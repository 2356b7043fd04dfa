//! Who is to be asked how it looks, a few at a time: all answers at once would be more than links and mailboxes take, and what
//! gets lost of them has to be asked again.

use std::collections::VecDeque;
use std::time::Duration;

use common::cluster::Notice;

use super::watchings::Question;

/// Questions that wait.
#[derive(Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
}

impl Questions {
    /// Each watcher is answered by itself. So many are asked for at a time, and then nobody for a while: at most 10,000 a second.
    pub(super) const AT_ONCE: usize = 100;
    /// See [`Questions::AT_ONCE`].
    pub(super) const BREATH: Duration = Duration::from_millis(10);

    /// Puts questions behind those that wait.
    pub(super) fn enter(&mut self, questions: Vec<Question>) {
        self.waiting.extend(questions);
    }

    /// Whether none wait.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that are asked now. Each fits into one probe.
    pub(super) fn next(&mut self) -> Vec<Question> {
        const { assert!(Self::AT_ONCE <= Notice::MOST_WATCHERS) };
        let (mut next, mut room) = (Vec::new(), Self::AT_ONCE);
        while room > 0
            && let Some(mut first) = self.waiting.pop_front()
        {
            if first.watchers.len() > room {
                let watchers = first.watchers.split_off(first.watchers.len() - room);
                let of = first.of.clone();
                self.waiting.push_front(first);
                first = Question { of, watchers };
            }
            room -= first.watchers.len();
            next.push(first);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::cluster::Watcher;
    use common::model::{Epoch, Passport};

    use super::*;

    #[test]
    fn so_many_watchers_are_asked_for_at_a_time_and_no_more() {
        let who = |name: String| Passport::parse(&format!("{name}@example.com")).unwrap();
        let question = |of: usize, count: u64| Question {
            of: who(format!("of-{of}")),
            watchers: (0..count)
                .map(|n| Watcher { who: who(format!("{n}")), epoch: Epoch(n), shown: None, properties: false })
                .collect(),
        };
        let mut questions = Questions::default();
        let counts = [1, 250, 99, 1, 1000, 3];
        questions.enter(counts.iter().enumerate().map(|(of, count)| question(of, *count)).collect());
        let (mut asked, mut most) = (BTreeSet::new(), Vec::new());
        while !questions.is_empty() {
            let next = questions.next();
            most.push(next.iter().map(|question| question.watchers.len()).sum::<usize>());
            for Question { of, watchers } in next {
                for watcher in watchers {
                    assert!(asked.insert((of.clone(), watcher.epoch)), "asked twice");
                }
            }
        }
        let all: u64 = counts.iter().sum();
        assert_eq!(asked.len() as u64, all);
        assert!(most.iter().all(|most| *most <= Questions::AT_ONCE), "{most:?}");
        assert_eq!(most.len() as u64, all.div_ceil(Questions::AT_ONCE as u64), "no more often than need be");
        assert!(questions.next().is_empty());
    }
}
