//! Bounded numbers of connections, of which those that wait give way.
//!
//! When places run out a connection goes that waits for the rest of its peer's request: strangers who say nothing, or never the
//! whole of it, keep nobody out. It is one of the network that has most of those, so that a crowd from one place gives way first,
//! also one that has a whole IPv6 network to come from.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::crowds::Crowds;
use super::grains::Grain;
use super::limiter::{AddressLimiter, Admission};

/// So many that have given way may still be closing when the next connection is accepted.
const LEAVING: usize = 16;
/// They are waited for no longer than this, whatever keeps them: a port is never shut by one that does not go.
const TO_LEAVE: Duration = Duration::from_secs(1);
/// When files run out those give way that have been here for longer. A client that signs in needs less, and when all files are those of
/// clients it must not give way to the next one, and that to another.
const TIME_TO_BEGIN: Duration = Duration::from_secs(2);

/// Places for so many connections, and so many of one address.
#[derive(Debug)]
pub struct Places {
    limiter: AddressLimiter,
    places: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
    /// One of [`LEAVING`] for each that has given way and is not closed.
    leaving: Arc<Semaphore>,
}

/// A connection's place; dropping it makes room. It waits for a request until it is told that it does not.
#[derive(Debug)]
pub struct Place {
    held: Arc<Held>,
    /// Its turn among those that wait; nothing while a request is answered.
    turn: Mutex<Option<u64>>,
    waiting: Arc<Mutex<Waiting>>,
}

/// What a place consists of. Taken out when another connection gets it.
#[derive(Debug)]
struct Held {
    peer: IpAddr,
    came: Instant,
    counts: Mutex<Option<(Option<Admission>, OwnedSemaphorePermit)>>,
    gone: Notify,
    /// That it has given way and is not closed: until its [`Place`] is dropped.
    leaving: OnceLock<OwnedSemaphorePermit>,
}

/// The connections that wait for a request, in the order in which they began to.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    all: Crowds<u64, Arc<Held>>,
}

impl Places {
    /// Up to `most` at once, and up to `per_address` of one address.
    #[must_use]
    pub fn new(most: usize, per_address: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let leaving = Arc::new(Semaphore::new(LEAVING));
        Self { limiter: AddressLimiter::new(per_address), places, waiting: Arc::default(), leaving }
    }

    /// Waits until those that have given way are closed, but for a few. To be called before each accepting, or a burst opens many more
    /// files than there are places: whoever gives way has his own until his task has run. Safe to cancel.
    pub async fn settle(&self) {
        if self.leaving.available_permits() == 0 {
            let _ = timeout(TO_LEAVE, self.leaving.acquire()).await;
        }
    }

    /// Has some of those give way that wait, since there are no files for more, whoever has the others. None that has just come.
    pub fn make_room(&self) {
        for _ in 0..LEAVING {
            if self.give_up(None, TIME_TO_BEGIN).is_none() {
                return;
            }
        }
    }

    /// A free place, or that of a connection that waits for a request: of the same address where the address, or a network of it, has no more,
    /// otherwise of any; see the module.
    #[must_use]
    pub fn take(&self, peer: IpAddr) -> Option<Place> {
        let of_its_address = match self.limiter.admit_or_full(peer) {
            Ok(admission) => admission,
            Err(full) => {
                self.give_up(Some(full), Duration::ZERO)?;
                self.limiter.admit(peer)?
            }
        };
        self.take_of_all(peer, Some(of_its_address))
    }

    /// The same for a connection over which `peer` passes on what many others ask: only all together bound those. Each request
    /// takes a place of its client's address, by [`Places::admit`].
    #[must_use]
    pub fn take_for_many(&self, peer: IpAddr) -> Option<Place> {
        self.take_of_all(peer, None)
    }

    /// A place among those of an address only.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Admission> {
        self.limiter.admit(address)
    }

    fn take_of_all(&self, peer: IpAddr, of_its_address: Option<Admission>) -> Option<Place> {
        let of_all = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.give_up(None, Duration::ZERO)?;
                Arc::clone(&self.places).try_acquire_owned().ok()?
            }
        };
        let counts = Mutex::new(Some((of_its_address, of_all)));
        let held = Held { peer, came: Instant::now(), counts, gone: Notify::new(), leaving: OnceLock::new() };
        let (held, turn) = (Arc::new(held), Mutex::new(None));
        let place = Place { held, turn, waiting: Arc::clone(&self.waiting) };
        place.waits();
        Some(place)
    }

    /// Frees the place of a connection that waits, see [`Waiting::next_to_go`]. Nothing if none does, or that came less than so long ago.
    fn give_up(&self, of: Option<Grain>, age: Duration) -> Option<()> {
        let mut waiting = lock(&self.waiting);
        let is_old = |turn: &u64| waiting.all.get(*turn).is_some_and(|held| held.came.elapsed() >= age);
        // A crowd that comes anew all the time does not shield those who have been there for long.
        let first = || waiting.all.first().filter(|_| of.is_none()).filter(is_old);
        let turn = waiting.next_to_go(of).filter(is_old).or_else(first)?;
        let held = waiting.all.remove(turn)?;
        if let Ok(leaving) = Arc::clone(&self.leaving).try_acquire_owned() {
            let _ = held.leaving.set(leaving);
        }
        drop(lock(&held.counts).take());
        held.gone.notify_one();
        Some(())
    }
}

impl Place {
    /// A request is being answered: the connection keeps its place meanwhile, if it still has it.
    pub fn works(&self) {
        let turn = lock(&self.turn).take();
        if let Some(turn) = turn {
            lock(&self.waiting).all.remove(turn);
        }
    }

    /// Whether another connection has got the place.
    pub fn is_gone(&self) -> bool {
        self.held.is_gone()
    }

    /// It waits for a request, behind all that wait already. One whose place is gone waits for nothing.
    pub fn waits(&self) {
        self.works();
        let turn = lock(&self.waiting).add(&self.held);
        *lock(&self.turn) = turn;
    }

    /// Waits until another connection has got the place; then it returns at once, however often it is asked. Safe to cancel.
    pub async fn gone(&self) {
        while !self.held.is_gone() {
            self.held.gone.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.works();
    }
}

impl Held {
    fn is_gone(&self) -> bool {
        lock(&self.counts).is_none()
    }
}

impl Waiting {
    /// Nothing for one that has given way already: there is nothing that it could give up.
    fn add(&mut self, held: &Arc<Held>) -> Option<u64> {
        if held.is_gone() {
            return None;
        }
        let turn = self.next;
        self.next += 1;
        self.all.add(turn, held.peer, Arc::clone(held));
        Some(turn)
    }

    /// The turn of the connection that has waited longest: of one grain, or of that of which most wait, or of all if
    /// no grain has more than one address may. Nothing if none waits.
    fn next_to_go(&self, of: Option<Grain>) -> Option<u64> {
        let crowd = self.all.largest().filter(|(share, _)| *share > Grain::ONE).map(|(_, grain)| grain);
        match of.or(crowd) {
            Some(grain) => self.all.first_of(grain),
            None => self.all.first(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_gone(place: &Place) -> bool {
        place.is_gone()
    }

    /// Otherwise the next one would be turned away for a place that nobody has.
    #[tokio::test]
    async fn one_that_is_gone_can_give_up_nothing() {
        let places = Places::new(2, 2);
        let gone = places.take(from(1)).unwrap();
        gone.works();
        gone.waits();
        let others = [2, 3].map(|last| places.take(from(last)).unwrap());
        gone.gone().await;
        gone.waits();
        gone.gone().await;
        let newer = [4, 5, 6].map(|last| places.take(from(last)).unwrap());
        assert_eq!(
            [&others[0], &others[1], &newer[0], &newer[1], &newer[2]].map(is_gone),
            [true, true, true, false, false]
        );
    }

    #[tokio::test]
    async fn the_oldest_that_waits_goes_and_one_that_works_stays() {
        let places = Places::new(3, 3);
        let [first, second, third] = [1, 2, 3].map(|last| places.take(from(last)).unwrap());
        first.works();
        let fourth = places.take(from(4)).unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(is_gone), [false, true, false, false]);
        second.gone().await;
        // Behind those that wait already.
        first.waits();
        let _fifth = places.take(from(5)).unwrap();
        assert_eq!([&first, &third, &fourth].map(is_gone), [false, true, false]);
        first.works();
        fourth.works();
        let sixth = places.take(from(6)).unwrap();
        sixth.works();
        assert!(places.take(from(7)).is_none(), "all work");
        drop(sixth);
        assert!(places.take(from(8)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_way_is_waited_for_and_not_for_ever() {
        let places = Places::new(1, 1);
        let mut all: Vec<_> = (0..LEAVING).map(|last| places.take(from(last as u8)).unwrap()).collect();
        let start = Instant::now();
        places.settle().await;
        let newest = places.take(from(200)).unwrap();
        assert_eq!(
            (start.elapsed(), all.iter().filter(|place| is_gone(place)).count()),
            (Duration::ZERO, LEAVING)
        );
        tokio::select! {
            biased;
            () = places.settle() => panic!("none of them is closed"),
            () = async { all.pop(); } => {}
        }
        places.settle().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        all.push(newest);
        let _newer = places.take(from(201)).unwrap();
        places.settle().await;
        assert_eq!(start.elapsed(), TO_LEAVE, "one that never goes does not shut the port");
    }

    #[tokio::test(start_paused = true)]
    async fn where_files_run_out_those_go_that_have_had_time() {
        let places = Places::new(100, 100);
        let old: Vec<_> = (0..LEAVING as u8 + 2).map(|last| places.take(from(last)).unwrap()).collect();
        old[0].works();
        places.make_room();
        assert!(!old.iter().any(is_gone), "they have just come");
        tokio::time::sleep(TIME_TO_BEGIN).await;
        let new = places.take(from(100)).unwrap();
        for left in [2, 1, 1] {
            places.make_room();
            assert_eq!((old.iter().filter(|place| !is_gone(place)).count(), is_gone(&old[0])), (left, false));
        }
        assert!(!is_gone(&new));
        // The oldest of all goes where those of the largest crowd have just come.
        let alone = places.take(from(101)).unwrap();
        tokio::time::sleep(TIME_TO_BEGIN).await;
        let crowd = [102; 3].map(|last| places.take(from(last)).unwrap());
        places.make_room();
        assert!(is_gone(&new) && is_gone(&alone) && !crowd.iter().any(is_gone));
        drop((old, new, alone, crowd));
        assert_eq!(places.leaving.available_permits(), LEAVING);
    }

    #[tokio::test]
    async fn a_proxy_is_bounded_by_all_and_its_clients_by_their_addresses() {
        let places = Places::new(3, 1);
        let of_proxy = [1; 3].map(|last| places.take_for_many(from(last)).unwrap());
        assert!(!of_proxy.iter().any(is_gone));
        let client = places.admit(from(2)).unwrap();
        assert!(places.admit(from(2)).is_none());
        assert!(places.admit(from(1)).is_some(), "of the proxy's own address none is taken");
        drop(client);
        let other = places.take(from(2)).unwrap();
        assert_eq!([&of_proxy[0], &of_proxy[1], &of_proxy[2], &other].map(is_gone), [true, false, false, false]);
    }

    #[tokio::test]
    async fn an_address_gives_up_its_own() {
        let places = Places::new(10, 2);
        let stranger = places.take(from(1)).unwrap();
        let [first, second] = [2, 2].map(|last| places.take(from(last)).unwrap());
        let third = places.take(from(2)).unwrap();
        assert_eq!([&stranger, &first, &second, &third].map(is_gone), [false, true, false, false]);
        for place in [&second, &third] {
            place.works();
        }
        assert!(places.take(from(2)).is_none());
        assert!(places.take(from(3)).is_some());
        drop((stranger, first, second, third));
        assert!(lock(&places.waiting).all.is_empty());
    }

    #[tokio::test]
    async fn a_crowd_from_one_network_goes_before_one_who_came_earlier() {
        let places = Places::new(4, 3);
        let alone = places.take(from(1)).unwrap();
        let crowd = [2, 2, 2].map(|last| places.take(from(last)).unwrap());
        let second = places.take(from(3)).unwrap();
        let third = places.take(from(4)).unwrap();
        assert_eq!([&alone, &crowd[0], &crowd[1], &crowd[2]].map(is_gone), [false, true, true, false]);
        let fourth = places.take(from(5)).unwrap();
        assert_eq!([&alone, &crowd[2], &second, &third, &fourth].map(is_gone), [true, false, false, false, false]);
    }

    fn subnet(number: u16) -> IpAddr {
        format!("2001:db8:1:{number:x}::1").parse().unwrap()
    }

    /// Each connection of the crowd has an address, and a /64, of its own.
    #[tokio::test]
    async fn a_crowd_with_a_whole_ipv6_network_goes_before_one_who_came_earlier() {
        let places = Places::new(40, 4);
        let alone = places.take(from(1)).unwrap();
        let crowd: Vec<_> = (0..39).map(|number| places.take(subnet(number * 0x100)).unwrap()).collect();
        let others: Vec<_> = (2..20).map(|last| places.take(from(last)).unwrap()).collect();
        assert!(!is_gone(&alone) && !others.iter().any(is_gone));
        assert_eq!(crowd.iter().take_while(|place| is_gone(place)).count(), others.len());
        // It gives up its own as soon as it has sixteen times what an address may, also where all others have room.
        let wide = Places::new(1000, 4);
        let crowd: Vec<_> = (0..100).map(|number| wide.take(subnet(number * 0x100)).unwrap()).collect();
        assert_eq!(crowd.iter().filter(|place| !is_gone(place)).count(), 64);
        let narrow: Vec<_> = (0..20).map(|number| wide.take(subnet(0xff00 + number)).unwrap()).collect();
        assert_eq!(narrow.iter().filter(|place| !is_gone(place)).count(), 16);
        assert_eq!(crowd.iter().filter(|place| !is_gone(place)).count(), 48, "all of one /48");
    }
}
