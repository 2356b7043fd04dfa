//! Who may compute a hash next: networks take turns, and those that have signed in before keep places.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

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
/// line the networks take turns. Each line may fill all places as long as nobody else wants them, and has half of them for
/// sure; within a line the network with the most waiting gives up its last place for one that has fewer.
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
    waiting: usize,
    /// Those with somebody waiting, in the order of their turns.
    order: VecDeque<IpAddr>,
    of: HashMap<IpAddr, VecDeque<(u64, oneshot::Sender<Turn>)>>,
}

/// A hash may be computed until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// Nothing: it was not handed over.
    line: Option<Line>,
}

/// A place in the line; dropping it leaves the line.
struct Place<'a> {
    line: &'a Line,
    asker: Asker,
    number: u64,
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
        let (number, turn) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn { line: Some(self.clone()) });
            }
            state.stand(asker)?
        };
        let place = Place { line: self, asker, number };
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
        self.lock().lines.iter().map(|line| line.waiting).sum()
    }
}

impl State {
    fn stand(&mut self, asker: Asker) -> Option<(u64, oneshot::Receiver<Turn>)> {
        let [strange, known] = [&self.lines[0], &self.lines[1]].map(|line| line.waiting);
        if strange + known >= self.places {
            let own = if asker.known { known } else { strange };
            let takes_from_other = own < self.places / 2;
            let victim = self.line(asker.known != takes_from_other);
            let (longest, most) = victim.longest()?;
            let mine = self.line(asker.known).of.get(&asker.network).map_or(0, VecDeque::len);
            if !takes_from_other && most <= mine + 1 {
                return None;
            }
            self.line(asker.known != takes_from_other).send_away(longest);
        }
        let (sender, receiver) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.line(asker.known).add(asker.network, number, sender);
        Some((number, receiver))
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
    fn add(&mut self, network: IpAddr, number: u64, sender: oneshot::Sender<Turn>) {
        let own = self.of.entry(network).or_default();
        if own.is_empty() {
            self.order.push_back(network);
        }
        own.push_back((number, sender));
        self.waiting += 1;
    }

    fn take(&mut self) -> Option<oneshot::Sender<Turn>> {
        let network = self.order.pop_front()?;
        let own = self.of.get_mut(&network)?;
        let (_, sender) = own.pop_front()?;
        self.waiting -= 1;
        if own.is_empty() {
            self.of.remove(&network);
        } else {
            self.order.push_back(network);
        }
        Some(sender)
    }

    /// The network with the most waiting; there are no more networks than places.
    fn longest(&self) -> Option<(IpAddr, usize)> {
        let lengths = self.of.iter().map(|(network, own)| (*network, own.len()));
        lengths.max_by_key(|(_, waiting)| *waiting)
    }

    /// Whoever of the network came last hears that there is no place.
    fn send_away(&mut self, network: IpAddr) {
        if let Some((number, _)) = self.of.get(&network).and_then(VecDeque::back) {
            self.remove(network, *number);
        }
    }

    fn remove(&mut self, network: IpAddr, number: u64) {
        let Some(own) = self.of.get_mut(&network) else { return };
        let Some(at) = own.iter().position(|(other, _)| *other == number) else { return };
        own.remove(at);
        self.waiting -= 1;
        if own.is_empty() {
            self.of.remove(&network);
            self.order.retain(|other| *other != network);
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
        self.line.lock().line(self.asker.known).remove(self.asker.network, self.number);
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
}
