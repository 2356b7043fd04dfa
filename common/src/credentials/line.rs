//! Who may compute a hash next: networks take turns, and those that have signed in before keep places.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::net::{Crowds, Grain};

/// Who asks for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// An IPv4 address, or an IPv6 /64.
    pub network: IpAddr,
    /// Somebody has signed in from there.
    pub known: bool,
}

impl Asker {
    /// Somebody at this machine: an operator, or a test.
    pub const HERE: Self = Self { network: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), known: true };
}

/// The line before the hashes. Clones share it.
///
/// Networks that are known and those that are not stand in two lines, each of which has a turn as long as it is not empty; in a
/// line the networks take turns: in a round an address has one, an IPv6 /48 sixteen, see [`Grain`]. Each line may fill all places
/// as long as nobody else wants them, and has half of them for sure; within a line the network with the most waiting, by the same
/// measure, gives up its last place for one that has fewer.
#[derive(Debug, Clone)]
pub(super) struct Line {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Hashes that may be begun at once, now.
    free: usize,
    places: usize,
    next: u64,
    known_next: bool,
    /// Strangers, and known ones.
    lines: [Networks; 2],
}

#[derive(Debug, Default)]
struct Networks {
    waiting: Crowds<Ticket, oneshot::Sender<Turn>>,
    /// The rounds that are over, in shares of one.
    rounds: usize,
}

/// Where somebody stands in a line: the rounds that are over when it is his turn, and a number that nobody else has.
type Ticket = (usize, u64);

/// A hash may be computed until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// Nothing: it was not handed over.
    line: Option<Line>,
}

/// A place in the line; dropping it leaves the line.
struct Place<'a> {
    line: &'a Line,
    known: bool,
    ticket: Ticket,
}

impl Line {
    /// So many hashes at once, and places for so many that wait.
    pub(super) fn new(at_once: usize, places: usize) -> Self {
        let state = State { free: at_once, places, next: 0, known_next: true, lines: Default::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a turn. Nothing if the line is full of those who have as much right to it, or became so. Whoever is dropped
    /// while it waits leaves its place at once.
    pub(super) async fn turn(&self, asker: Asker) -> Option<Turn> {
        let (ticket, turn) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn { line: Some(self.clone()) });
            }
            state.stand(asker)?
        };
        let place = Place { line: self, known: asker.known, ticket };
        let turn = turn.await.ok();
        drop(place);
        turn
    }

    /// Gives a turn that has ended to whoever is next.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.take();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn { line: Some(self.clone()) }) {
                Ok(()) => return,
                // Gone in this moment. Its turn is for the next one, and must not pass itself on.
                Err(mut turn) => turn.line = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().lines.iter().map(|line| line.waiting.len()).sum()
    }
}

impl State {
    fn stand(&mut self, asker: Asker) -> Option<(Ticket, oneshot::Receiver<Turn>)> {
        let [strange, known] = [&self.lines[0], &self.lines[1]].map(|line| line.waiting.len());
        if strange + known >= self.places {
            let own = if asker.known { known } else { strange };
            let takes_from_other = own < self.places / 2;
            let victim = self.line(asker.known != takes_from_other);
            let (most, crowd) = victim.waiting.largest()?;
            let with_me = self.line(asker.known).waiting.share(asker.network, 1);
            if !takes_from_other && most <= with_me {
                return None;
            }
            self.line(asker.known != takes_from_other).send_away(crowd);
        }
        let (sender, receiver) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        let ticket = self.line(asker.known).add(asker.network, number, sender);
        Some((ticket, receiver))
    }

    /// Who is next, out of the line.
    fn take(&mut self) -> Option<oneshot::Sender<Turn>> {
        let first = self.known_next;
        self.known_next = !first;
        self.line(first).take().or_else(|| self.line(!first).take())
    }

    fn line(&mut self, known: bool) -> &mut Networks {
        let [strange, at_home] = &mut self.lines;
        if known { at_home } else { strange }
    }
}

impl Networks {
    /// It waits a round for each one of its own that waits already.
    fn add(&mut self, network: IpAddr, number: u64, sender: oneshot::Sender<Turn>) -> Ticket {
        let ticket = (self.rounds.saturating_add(self.waiting.share(network, 1)), number);
        self.waiting.add(ticket, network, sender);
        ticket
    }

    fn take(&mut self) -> Option<oneshot::Sender<Turn>> {
        let ticket = self.waiting.first()?;
        self.rounds = ticket.0;
        self.waiting.remove(ticket)
    }

    /// Whoever of a crowd would be the last hears that there is no place.
    fn send_away(&mut self, crowd: Grain) {
        if let Some(last) = self.waiting.last_of(crowd) {
            self.waiting.remove(last);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.pass_on();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.lock().line(self.known).waiting.remove(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Option<Turn>> + 'a>>;

    fn asker(last: u8, known: bool) -> Asker {
        Asker { network: [192, 0, 2, last].into(), known }
    }

    /// Stands in the line if there is a place.
    async fn stands(line: &Line, asker: Asker) -> Option<Waiting<'_>> {
        let mut waiting: Waiting<'_> = Box::pin(line.turn(asker));
        tokio::select! {
            biased;
            turn = &mut waiting => { assert!(turn.is_none(), "nobody has a turn yet"); None }
            () = std::future::ready(()) => Some(waiting),
        }
    }

    #[tokio::test]
    async fn networks_take_turns_and_the_known_have_every_second() {
        let line = Line::new(1, 100);
        let first = line.turn(asker(0, false)).await.unwrap();
        let mut waiting = Vec::new();
        // Ten of one stranger, then others, then two that are known.
        for (last, known) in
            [1; 10].map(|last| (last, false)).into_iter().chain([(2, false), (3, false), (9, true), (8, true)])
        {
            waiting.push((last, stands(&line, asker(last, known)).await.unwrap()));
        }
        let (mut order, mut turn) = (Vec::new(), Some(first));
        while !waiting.is_empty() {
            drop(turn.take());
            let (next, at, rest) =
                futures_util::future::select_all(waiting.iter_mut().map(|(_, waits)| waits)).await;
            drop(rest);
            turn = next;
            let (last, _) = waiting.remove(at);
            order.push(last);
        }
        assert_eq!(order, [9, 1, 8, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[tokio::test]
    async fn whoever_has_the_most_places_gives_them_up() {
        let line = Line::new(1, 8);
        let turn = line.turn(asker(0, false)).await.unwrap();
        let mut flood = Vec::new();
        for _ in 0..8 {
            flood.push(stands(&line, asker(1, false)).await.unwrap());
        }
        assert!(stands(&line, asker(1, false)).await.is_none(), "a network has all places, and no more");
        let mut others = Vec::new();
        for (last, known) in [(2, false), (9, true), (9, true), (9, true), (9, true)] {
            others.push(stands(&line, asker(last, known)).await.unwrap());
        }
        assert!(stands(&line, asker(9, true)).await.is_none(), "half of the places are for strangers");
        assert_eq!(line.waiting(), 8);
        // Five of the flood were sent away, those that came last.
        for gone in flood.split_off(3) {
            assert!(gone.await.is_none());
        }
        drop((flood, others));
        assert_eq!(line.waiting(), 0);
        drop(turn);
        assert!(line.turn(asker(1, false)).await.is_some());
        assert_eq!(line.lock().free, 1);
    }
    /// Each of the flood has an address, and a /64, of its own.
    #[tokio::test]
    async fn a_whole_ipv6_network_has_sixteen_turns_in_a_round_and_its_share_of_the_places() {
        let line = Line::new(1, 100);
        let mut turn = line.turn(asker(0, false)).await;
        let subnet =
            |number: u16| Asker { network: format!("2001:db8:1:{number:x}::").parse().unwrap(), known: false };
        let mut waiting = Vec::new();
        for number in 0..100 {
            waiting.push((0, stands(&line, subnet(number * 0x100)).await.unwrap()));
        }
        assert!(stands(&line, subnet(0xffff)).await.is_none(), "a /48 has all places, and no more");
        for last in 1..=3 {
            for _ in 0..2 {
                waiting.push((last, stands(&line, asker(last, false)).await.unwrap()));
            }
        }
        assert_eq!(line.waiting(), 100);
        let (mut order, mut refused) = (Vec::new(), 0);
        while !waiting.is_empty() {
            drop(turn.take());
            let (next, at, rest) =
                futures_util::future::select_all(waiting.iter_mut().map(|(_, waits)| waits)).await;
            drop(rest);
            let (last, _) = waiting.remove(at);
            match next {
                Some(_) => order.push(last),
                None => refused += 1,
            }
            turn = next.or(turn);
        }
        assert_eq!(refused, 6);
        let rounds = |last| order.iter().enumerate().filter(move |(_, of)| **of == last).map(|(at, _)| at);
        for last in 1..=3 {
            assert_eq!(rounds(last).map(|at| at / 19).collect::<Vec<_>>(), [0, 1], "{order:?}");
        }
    }
}
