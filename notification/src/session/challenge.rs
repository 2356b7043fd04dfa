//! Whether the client is what it says (protocol reference §8, `CLIENTS` 8 and 26).

use std::time::{Duration, Instant};

use common::config::NotificationConfig;
use common::msnp::dialect::ChallengeKind;
use common::msnp::{ErrorCode, TrId, challenge, presence};

use super::out::Out;
use super::{Closing, Surroundings};

/// The challenges of one session.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    /// The last one sent, until it is answered.
    current: Option<Sent>,
    /// The one before it, if that was not answered: a slow answer is still good.
    previous: Option<Sent>,
    next: Option<Instant>,
}

/// A challenge that is not answered.
#[derive(Debug)]
struct Sent {
    challenge: Box<str>,
    /// Until when it is to be answered, unless that time has passed and the client was let stay. The one of an earlier challenge,
    /// if that was not answered either: asking once more gives nobody more time.
    by: Option<Instant>,
}

impl Challenges {
    /// Begins with the first challenge, if the configuration wants any.
    pub(crate) fn begin(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        if env.config().challenge_interval_secs > 0 {
            self.send(now, env, out);
        }
    }

    fn send(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        const DIGITS: u128 = 10_u128.pow(20);
        let challenge = format!("{:020}", env.random() % DIGITS);
        out.line(presence::challenge(&challenge));
        let config = env.config();
        let by = Some(now + Duration::from_secs(config.challenge_secs));
        let current = self.current.replace(Sent { challenge: challenge.into(), by });
        let earlier = self.previous.take().and_then(|previous| previous.by);
        self.previous =
            current.map(|Sent { challenge, by }| Sent { challenge, by: earlier.into_iter().chain(by).min() });
        self.next = Some(now + Duration::from_secs(config.challenge_interval_secs));
    }

    /// `QRY`: 32 bytes, for the last challenge or the one before it; each is answered once.
    pub(crate) fn answer(
        &mut self,
        kind: ChallengeKind,
        (trid, product, answer): (TrId, &str, &[u8]),
        config: &NotificationConfig,
        out: &mut Out,
    ) {
        let fits = |sent: &mut Sent| {
            let right = challenge::answer(kind, &sent.challenge, product);
            right.is_some_and(|right| right.as_bytes().eq_ignore_ascii_case(answer))
        };
        if self.current.take_if(fits).is_some() {
            self.previous = None;
        } else if self.previous.take_if(fits).is_none() {
            tracing::info!(product, "wrong answer to a challenge");
            if config.challenge_close_wrong {
                out.refuse(ErrorCode::ChallengeFailed, trid);
                return out.close(Closing::Challenge);
            }
        }
        out.line(presence::challenge_passed(trid));
    }

    /// Sends one at once to a client that has said nothing for long, if it is challenged at all and was not lately.
    pub(crate) fn wake(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        let interval = Duration::from_secs(env.config().challenge_interval_secs);
        if self.next.is_some_and(|next| now + interval >= next + Self::LATELY) {
            self.send(now, env, out);
        }
    }

    /// Who is to be woken is challenged so often.
    pub(crate) const LATELY: Duration = Duration::from_secs(60);

    /// When [`Challenges::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let sent = [&self.current, &self.previous].into_iter().flatten();
        sent.filter_map(|sent| sent.by).chain(self.next).min()
    }

    /// Sends the next one when it is due, and deals with one that was not answered.
    pub(crate) fn tick(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        let sent = [&mut self.current, &mut self.previous].into_iter().flatten();
        if sent.filter_map(|sent| sent.by.take_if(|by| *by <= now)).count() > 0 {
            tracing::debug!("a challenge was not answered");
            if env.config().challenge_close_unanswered {
                return out.close(Closing::Challenge);
            }
        }
        if self.next.is_some_and(|next| next <= now) {
            self.send(now, env, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::transcript::World;
    use super::*;

    const PRODUCT: &str = "msmsgs@msnmsgr.com";

    fn right(challenge: &str) -> String {
        challenge::answer(ChallengeKind::Plain, challenge, PRODUCT).unwrap()
    }

    fn answer(challenges: &mut Challenges, product: &str, answer: &str, world: &World) -> Out {
        let mut out = Out::default();
        let answer = (TrId(7), product, answer.as_bytes());
        challenges.answer(ChallengeKind::Plain, answer, world.config(), &mut out);
        out
    }

    #[test]
    fn clients_26_challenges_have_20_digits() {
        let world = World::default();
        for random in [0, 1, u128::MAX, 10_u128.pow(20) - 1, 10_u128.pow(20)] {
            world.set_random(random);
            let mut challenges = Challenges::default();
            challenges.begin(Instant::now(), &world, &mut Out::default());
            let challenge = challenges.current.unwrap().challenge;
            assert!(challenge.len() == 20 && challenge.bytes().all(|b| b.is_ascii_digit()), "{challenge}");
        }
    }

    /// An answer to the one before the one before comes too late (§8: "wrong or late").
    #[test]
    fn an_answer_that_comes_too_late() {
        let world = World::default();
        let now = Instant::now();
        let mut challenges = Challenges::default();
        for random in 1..=3 {
            world.set_random(random);
            challenges.send(now, &world, &mut Out::default());
        }
        let late = answer(&mut challenges, PRODUCT, &right("00000000000000000001"), &world);
        assert_eq!(late.close, Some(Closing::Challenge));
    }

    #[test]
    fn the_last_and_the_one_before_it_may_be_answered_once() {
        let world = World::default();
        let now = Instant::now();
        let mut challenges = Challenges::default();
        challenges.begin(now, &world, &mut Out::default());
        world.set_random(2);
        let later = now + Duration::from_secs(world.config().challenge_interval_secs);
        assert_eq!(challenges.deadline(), Some(now + Duration::from_secs(world.config().challenge_secs)));
        challenges.tick(later, &world, &mut Out::default());
        for challenge in ["00000000000000000001", "00000000000000000002"] {
            assert_eq!(answer(&mut challenges, PRODUCT, &right(challenge), &world).close, None, "{challenge}");
            let again = answer(&mut challenges, PRODUCT, &right(challenge), &world);
            assert_eq!(again.close, Some(Closing::Challenge), "{challenge}");
        }
    }

    #[test]
    fn clients_08_a_wrong_answer_or_none_ends_the_session_by_setting() {
        let default = NotificationConfig::default();
        assert!(default.challenge_close_wrong && !default.challenge_close_unanswered);
        let mut world = World::default();
        let now = Instant::now();
        let first = right("00000000000000000001");
        for (product, text) in [("nobody", &*first), (PRODUCT, &first[1..]), (PRODUCT, ""), (PRODUCT, &first)] {
            for close in [true, false] {
                world.config.challenge_close_wrong = close;
                let mut challenges = Challenges::default();
                challenges.begin(now, &world, &mut Out::default());
                let wrong = product != PRODUCT || text != first;
                let out = answer(&mut challenges, product, text, &world);
                assert_eq!(out.close, (wrong && close).then_some(Closing::Challenge), "{product} {text}");
                assert_eq!(out.pieces.len(), 1);
            }
        }
        for close in [true, false] {
            world.config.challenge_close_unanswered = close;
            let mut challenges = Challenges::default();
            challenges.begin(now, &world, &mut Out::default());
            let mut out = Out::default();
            challenges.tick(now + Duration::from_secs(world.config.challenge_secs), &world, &mut out);
            assert_eq!(out.close.is_some(), close);
        }
    }

    /// Who is asked again and again has no more time for it; who answers has, for each.
    #[test]
    fn being_woken_puts_no_deadline_off() {
        let mut world = World::default();
        world.config.challenge_close_unanswered = true;
        world.config.challenge_secs = 90;
        world.config.challenge_interval_secs = 300;
        let (start, secs) = (Instant::now(), Duration::from_secs);
        for answers in [false, true] {
            let (mut challenges, mut closed) = (Challenges::default(), None);
            world.set_random(0);
            challenges.begin(start, &world, &mut Out::default());
            for second in 1..=600 {
                let (now, mut out) = (start + secs(second), Out::default());
                if answers && second % 60 == 0 {
                    // Each is answered just before the next one comes, or a moment later.
                    let text = challenges.current.as_ref().unwrap().challenge.clone();
                    world.set_random(u128::from(second));
                    if second % 120 == 0 {
                        challenges.wake(now, &world, &mut out);
                    }
                    assert_eq!(answer(&mut challenges, PRODUCT, &right(&text), &world).close, None);
                }
                challenges.wake(now, &world, &mut out);
                challenges.tick(now, &world, &mut out);
                closed = closed.or(out.close.map(|_| second));
            }
            assert_eq!(closed, (!answers).then_some(90));
        }
    }
}
