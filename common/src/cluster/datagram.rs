//! A datagram of gossip: sealed, dated, signed with its sender's address; and which of them are taken.
//!
//! ```text
//! version | key id | code | time | sender's IP | port | kind | message
//!    1         4      16      8        16          2      1
//! ```
//! The code is over everything else, but for the key id that names its key. Any secret of the keyring verifies. The time (µs
//! since 1970) rises with each datagram of a sender, so what was recorded is of no use: it is too old, or not newer than
//! what came since. Nor is it taken from anywhere else than the address that its sender tells others, from which it also sends
//! where it is bound to all addresses of its host, see `source`.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::Mac;

use super::secrets::{Keyring, Purpose, finish};

const VERSION: u8 = 3;
const CODE: usize = 16;
const BODY: usize = 8 + 16 + 2 + 1;
/// A datagram whose time is further from the own clock is no answer to anything that goes on.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What chitchat wrote.
    Gossip,
    /// A question who has a name.
    Ask,
    /// The answer.
    Tell,
}

impl Kind {
    fn bits(self) -> u8 {
        match self {
            Self::Gossip => 0,
            Self::Ask => 1,
            Self::Tell => 2,
        }
    }

    fn of(bits: u8) -> Option<Self> {
        [Self::Gossip, Self::Ask, Self::Tell].into_iter().find(|kind| kind.bits() == bits)
    }
}

/// What stands before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// When it was sent, in µs since 1970.
    pub(super) sent: u64,
    /// The address that its sender tells others, and sends from.
    pub(super) from: SocketAddr,
    pub(super) kind: Kind,
}

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// No secret of ours verifies it, or it is of another version.
    Foreign,
    /// It comes from somewhere else than its sender, who is there.
    Elsewhere(SocketAddr),
    /// Its time is so many µs behind the own clock; negative: ahead.
    Untimely(i64),
    /// A later one of its sender has come before.
    Repeated,
}

impl Dropped {
    /// The word in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Elsewhere(_) => "elsewhere",
            Self::Untimely(_) => "untimely",
            Self::Repeated => "repeated",
        }
    }
}

pub(super) fn seal(keys: &Keyring, head: &Head, message: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY + message.len());
    body.extend_from_slice(&head.sent.to_be_bytes());
    let ip = match head.from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    body.extend_from_slice(&ip.octets());
    body.extend_from_slice(&head.from.port().to_be_bytes());
    body.push(head.kind.bits());
    body.extend_from_slice(message);
    let (key, hasher) = keys.signer(Purpose::Gossip);
    let code = finish(hasher.chain_update([VERSION]).chain_update(&body));
    [&[VERSION][..], &key, &code[..CODE], &body].concat()
}

/// The head and the message of a genuine datagram.
pub(super) fn open<'a>(keys: &Keyring, datagram: &'a [u8]) -> Option<(Head, &'a [u8])> {
    let ([version], rest) = datagram.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (code, body) = rest.split_first_chunk::<CODE>()?;
    let hasher = keys.subkey(*key, Purpose::Gossip).filter(|_| *version == VERSION)?;
    hasher.chain_update([VERSION]).chain_update(body).verify_truncated_left(code).ok()?;
    let (sent, rest) = body.split_first_chunk()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let ([kind], message) = rest.split_first_chunk()?;
    let head = Head {
        sent: u64::from_be_bytes(*sent),
        from: SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), u16::from_be_bytes(*port)),
        kind: Kind::of(*kind)?,
    };
    Some((head, message))
}

/// Who has been heard, and when: what tells new datagrams from old ones, and the clocks of the others from the own.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    heard: HashMap<SocketAddr, Heard>,
    untimely: HashMap<SocketAddr, Untimely>,
    /// Whose untimely datagrams say something about clocks; everybody's, if that is not known.
    witnesses: Option<BTreeSet<SocketAddr>>,
}

/// A sender whose datagrams are genuine and untimely. It is not listened to, but it says something about clocks, unless it is a
/// recording: the times in a recording that is played at once, or again and again, do not rise as time does. In one that is
/// played as fast as it was recorded they do, so that only witnesses are believed: a living one is heard itself.
#[derive(Debug)]
struct Untimely {
    /// Time and arrival of the first of a row that rises as time does, and of its last.
    first: (u64, Instant),
    last: (u64, Instant),
    /// How far the last was behind the own clock, in µs.
    behind: i64,
}

impl Untimely {
    /// A row that has lasted for so long is none that was recorded.
    const BELIEVED: Duration = Duration::from_secs(2);
    /// What delays may take away from it, or add.
    const JITTER: Duration = Duration::from_secs(1);

    fn new(sent: u64, behind: i64, now: Instant) -> Self {
        Self { first: (sent, now), last: (sent, now), behind }
    }

    /// Notes a further one; it begins a new row if it does not go on with this.
    fn note(&mut self, sent: u64, behind: i64, now: Instant) {
        if sent <= self.last.0 {
            return;
        }
        let rise = Duration::from_micros(sent.abs_diff(self.first.0));
        let goes_on = rise.abs_diff(now.duration_since(self.first.1)) < Self::JITTER
            && now.duration_since(self.last.1) < RECENT;
        if goes_on {
            (self.last, self.behind) = ((sent, now), behind);
        } else {
            *self = Self::new(sent, behind, now);
        }
    }

    fn behind(&self, now: Instant) -> Option<i64> {
        let is_row = self.last.1.duration_since(self.first.1) >= Self::BELIEVED;
        (is_row && now.duration_since(self.last.1) < RECENT).then_some(self.behind)
    }
}

#[derive(Debug)]
struct Heard {
    /// The latest time of its datagrams.
    sent: u64,
    at: Instant,
    /// How far that was behind the own clock, in µs, for its last ones.
    behind: [i64; SAMPLES],
    next: usize,
}

/// Datagrams of a sender by which its clock is judged. The least delayed counts: a process that was paused finds old ones.
const SAMPLES: usize = 8;
/// A sender that was not heard for so long says nothing about clocks.
const RECENT: Duration = Duration::from_secs(5);

impl Doorkeeper {
    /// As many senders are remembered; more have no common secret with us but by mistake.
    const MOST: usize = 10_000;

    /// Whether a genuine datagram is taken that has come from `source` at `wall` µs since 1970.
    pub(super) fn admit(
        &mut self,
        head: &Head,
        source: SocketAddr,
        wall: u64,
        now: Instant,
    ) -> Result<(), Dropped> {
        if (source.ip().to_canonical(), source.port()) != (head.from.ip(), head.from.port()) {
            return Err(Dropped::Elsewhere(head.from));
        }
        let behind = wall.cast_signed().saturating_sub(head.sent.cast_signed());
        if u128::from(behind.unsigned_abs()) > WINDOW.as_micros() {
            self.note_untimely(head, behind, now);
            return Err(Dropped::Untimely(behind));
        }
        self.untimely.remove(&head.from);
        if self.heard.len() >= Self::MOST && !self.heard.contains_key(&head.from) {
            // What these have sent is untimely by now.
            self.heard.retain(|_, heard| now.duration_since(heard.at) < WINDOW * 2);
            if self.heard.len() >= Self::MOST {
                return Err(Dropped::Repeated);
            }
        }
        match self.heard.get_mut(&head.from) {
            // After a step back of its clock a sender is heard again once what it sent before is untimely.
            Some(heard) if head.sent <= heard.sent && now.duration_since(heard.at) < WINDOW * 2 => {
                return Err(Dropped::Repeated);
            }
            Some(heard) => {
                (heard.sent, heard.at) = (head.sent, now);
                heard.behind[heard.next % SAMPLES] = behind;
                heard.next = heard.next.wrapping_add(1);
            }
            None => {
                let heard = Heard { sent: head.sent, at: now, behind: [behind; SAMPLES], next: 1 };
                self.heard.insert(head.from, heard);
            }
        }
        Ok(())
    }

    /// Notes by how much somebody is too late or too early, whose clock or the own one has been set.
    fn note_untimely(&mut self, head: &Head, behind: i64, now: Instant) {
        // What it has sent before it was heard last is old, whoever plays it: of a sender that lives the times go on.
        let is_old = |heard: &Heard| head.sent <= heard.sent && now.duration_since(heard.at) < WINDOW * 2;
        if self.heard.get(&head.from).is_some_and(is_old) {
            return;
        }
        if let Some(row) = self.untimely.get_mut(&head.from) {
            return row.note(head.sent, behind, now);
        }
        if self.untimely.len() >= Self::MOST {
            self.untimely.retain(|_, row| now.duration_since(row.last.1) < RECENT);
        }
        if self.untimely.len() < Self::MOST {
            self.untimely.insert(head.from, Untimely::new(head.sent, behind, now));
        }
    }

    /// From now on only the untimely datagrams of these say something about clocks; without any, those of everybody.
    pub(super) fn believe(&mut self, witnesses: Option<BTreeSet<SocketAddr>>) {
        self.witnesses = witnesses;
    }

    /// How far the clocks of those that have sent something lately are behind the own one, in µs.
    pub(super) fn clocks(&self, now: Instant) -> Vec<i64> {
        let recent = self.heard.iter().filter(|(_, heard)| now.duration_since(heard.at) < RECENT);
        let is_heard = |from| self.heard.get(from).is_some_and(|heard| now.duration_since(heard.at) < RECENT);
        let is_believed = |from| self.witnesses.as_ref().is_none_or(|witnesses| witnesses.contains(from));
        let untimely = self.untimely.iter().filter(|(from, _)| is_believed(from) && !is_heard(from));
        let timely = recent.filter_map(|(_, heard)| heard.behind.iter().copied().min());
        timely.chain(untimely.filter_map(|(_, row)| row.behind(now))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[u8]) -> Keyring {
        Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap()
    }

    fn head(sent: u64) -> Head {
        Head { sent, from: "192.0.2.1:1873".parse().unwrap(), kind: Kind::Ask }
    }

    #[test]
    fn any_secret_verifies_and_nothing_else() {
        let datagram = seal(&keys(&[1, 2]), &head(7), b"syn");
        assert_eq!(datagram.len(), 1 + 4 + CODE + BODY + 3);
        assert_eq!(open(&keys(&[2, 1]), &datagram), Some((head(7), &b"syn"[..])));
        assert_eq!(open(&keys(&[2]), &datagram), None);
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 1;
            assert_eq!(open(&keys(&[1]), &changed), None);
            assert_eq!(open(&keys(&[1]), &datagram[..place]), None);
        }
        for kind in [Kind::Gossip, Kind::Tell] {
            let head = Head { kind, from: "[2001:db8::1]:7".parse().unwrap(), sent: u64::MAX };
            assert_eq!(open(&keys(&[1]), &seal(&keys(&[1]), &head, b"")), Some((head, &b""[..])));
        }
    }

    #[test]
    fn each_is_taken_once_in_time_and_from_where_it_was_sent() {
        let (mut keeper, now) = (Doorkeeper::default(), Instant::now());
        let (there, window) = (head(0).from, u64::try_from(WINDOW.as_micros()).unwrap());
        let wall = 100 * window;
        assert_eq!(keeper.admit(&head(wall), there, wall, now), Ok(()));
        assert_eq!(keeper.admit(&head(wall), there, wall, now), Err(Dropped::Repeated));
        assert_eq!(keeper.admit(&head(wall - 1), there, wall, now), Err(Dropped::Repeated));
        let mapped = "[::ffff:192.0.2.1]:1873".parse().unwrap();
        assert_eq!(keeper.admit(&head(wall + 1), mapped, wall, now), Ok(()));
        for elsewhere in ["192.0.2.2:1873", "192.0.2.1:1874"] {
            let elsewhere = elsewhere.parse().unwrap();
            assert_eq!(keeper.admit(&head(wall + 2), elsewhere, wall, now), Err(Dropped::Elsewhere(there)));
        }
        for late in [wall + window + 3, wall - window + 1] {
            assert!(matches!(keeper.admit(&head(wall + 2), there, late, now), Err(Dropped::Untimely(_))));
        }
        // Its clock has gone back: it waits until nothing of before could be played again.
        let back = head(wall - window / 2);
        assert_eq!(keeper.admit(&back, there, back.sent, now + WINDOW), Err(Dropped::Repeated));
        assert_eq!(keeper.admit(&back, there, back.sent, now + WINDOW * 2), Ok(()));
    }

    #[test]
    fn the_least_delayed_of_the_last_datagrams_tells_the_clock() {
        let (mut keeper, now, wall) = (Doorkeeper::default(), Instant::now(), 1_000_000_000);
        for (sent, delay) in [(wall, 3_000_000), (wall + 1, 2_000_000), (wall + 2, 900)] {
            keeper.admit(&head(sent), head(0).from, sent + delay, now).unwrap();
        }
        assert_eq!(keeper.clocks(now), [900]);
        for sent in wall + 3..wall + 3 + SAMPLES as u64 {
            keeper.admit(&head(sent), head(0).from, sent + 2_000_000, now).unwrap();
        }
        assert_eq!(keeper.clocks(now), [2_000_000]);
        assert!(keeper.clocks(now + RECENT).is_empty());
    }

    /// Sends one each half a second, from `wall + ahead`, as the keeper's clock sees it with its own being off by `off`.
    fn play(keeper: &mut Doorkeeper, start: Instant, wall: u64, secs: std::ops::Range<u64>, off: i64) {
        for half in secs.start * 2..secs.end * 2 {
            let sent = wall + half * 500_000;
            let arrived = start + Duration::from_millis(half * 500);
            let own = sent.saturating_add_signed(off) + 700;
            let taken = keeper.admit(&head(sent), head(0).from, own, arrived);
            assert_eq!(taken.is_ok(), off.unsigned_abs() < 10_000_000, "{taken:?}");
        }
    }

    #[test]
    fn a_clock_that_jumps_by_a_minute_is_seen_as_off() {
        let (start, wall) = (Instant::now(), 1_000_000_000_000);
        let after = |secs| start + Duration::from_secs(secs);
        for minute in [60_000_000, -60_000_000] {
            let mut keeper = Doorkeeper::default();
            play(&mut keeper, start, wall, 0..10, 0);
            assert_eq!(keeper.clocks(after(10)), [700]);
            play(&mut keeper, start, wall, 10..20, minute);
            assert_eq!(keeper.clocks(after(20)), [minute + 700], "the last said otherwise");
            assert!(keeper.clocks(after(30)).is_empty());
            // It is set right, and the others say so.
            play(&mut keeper, start, wall, 20..23, 0);
            assert_eq!(keeper.clocks(after(23)), [700]);
            // From the start on.
            let mut keeper = Doorkeeper::default();
            play(&mut keeper, start, wall, 0..5, minute);
            assert_eq!(keeper.clocks(after(5)), [minute + 700]);
        }
    }

    #[test]
    fn a_recording_says_nothing_about_clocks() {
        let (start, wall) = (Instant::now(), 1_000_000_000_000);
        let minute = 60_000_000;
        let after = |millis| start + Duration::from_millis(millis);
        let at_keeper = |keeper: &mut Doorkeeper, sent: u64, millis| {
            let own = wall + minute + millis * 1000;
            assert!(keeper.admit(&head(sent), head(0).from, own, after(millis)).is_err());
        };
        // Played at once, as a process that was paused finds it; and one datagram again and again.
        let (mut at_once, mut again) = (Doorkeeper::default(), Doorkeeper::default());
        for number in 0..40 {
            at_keeper(&mut at_once, wall + number * 500_000, number);
            at_keeper(&mut again, wall, number * 500);
        }
        assert!(at_once.clocks(after(40)).is_empty() && again.clocks(after(20_000)).is_empty());
        // As fast as it was recorded, while its sender lives.
        let mut keeper = Doorkeeper::default();
        for number in 0..40 {
            let now = wall + minute + number * 500_000;
            assert_eq!(keeper.admit(&head(now), head(0).from, now, after(number * 500)), Ok(()));
            at_keeper(&mut keeper, wall + number * 500_000, number * 500);
        }
        assert_eq!(keeper.clocks(after(20_000)), [0]);
        // As fast as it was recorded, and its sender is dead: it is no witness, as long as there are any.
        let mut keeper = Doorkeeper::default();
        for number in 0..40 {
            at_keeper(&mut keeper, wall + number * 500_000, number * 500);
        }
        keeper.believe(Some([SocketAddr::from(([192, 0, 2, 9], 1873))].into()));
        assert!(keeper.clocks(after(20_000)).is_empty());
        keeper.believe(None);
        assert_eq!(keeper.clocks(after(20_000)), [60_000_000]);
    }
}
