//! From the configuration to a running switchboard, and its way out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use common::clock::{HybridClock, MessageClock};
use common::cluster::{Cluster, Deliver, Keyring, Load, Me, Nonces, OrderDesk, Role};
use common::config::Config;
use common::net::{Accepted, AddressLimiter, BufferPool, Listener, Proxies, Shutdown, Transport, strangers};
use common::reload::Reload;
use common::store::{self, SharedStore};
use common::telemetry::{self, Admin, Readiness, Registry};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use crate::board::{Board, Keys};
use crate::conversation::{Place, Rules};
use crate::conversations::{Conversations, LOOK};
use crate::cursors::Cursors;
use crate::disk::{self, Disk};
use crate::heart;
use crate::history::History;
use crate::metrics::Metrics;
use crate::pickup::{Desk, Pickups};
use crate::pulse::Pulse;
use crate::purse::{Allowance, Purses};
use crate::session;
use crate::telling::Tellings;

/// How long conversations may take to end when the process does: a connection lingers for 2 s, a message is given
/// up after 10 s.
const GOODBYE: Duration = Duration::from_secs(12);

/// Serves until shutdown.
///
/// # Errors
/// When the process can't start.
pub(crate) async fn run(config: &Config, reload: &Reload, shutdown: &Shutdown) -> anyhow::Result<()> {
    let part = &config.switchboard;
    let keys = Keyring::load(&config.cluster.secrets)?;
    keys.follow(reload);
    let readiness = Readiness::default();
    let answers = readiness.require("store", "not asked yet");
    let joined = readiness.require_told("cluster", "not yet part of the cluster");
    let clock_is_right = readiness.require("clock", "not compared yet");
    let secrets = readiness.require("secrets", "not compared yet");
    let (clocks_agree, others) = (readiness.note("clocks"), readiness.note("others"));
    // Conversations go on without: on a full disk nothing that is said is kept, and senders are told.
    let notification = readiness.want("notification", "not looked yet");
    let room = readiness.want("disk", "not looked yet");
    let admin = Admin::of(&part.node, readiness.clone(), shutdown).await?;
    let clock = Arc::new(HybridClock::default());
    let Some(store) = store::open_when_there(&config.store, &clock, reload, &answers, shutdown).await? else {
        return Ok(());
    };

    let listener = Listener::bind(part.listen, AddressLimiter::new(part.connections_per_address)).await?;
    let listens = listener.addr()?;
    let addr = part.advertise.unwrap_or(listens);
    ensure!(addr.is_ipv4(), "the client address {addr} must be IPv4: old clients can't read another");
    let mut registry = Registry::with_prefix("monarch");
    let metrics = Arc::new(Metrics::new(&mut registry));
    let proxies = Proxies::of(&config.proxies.networks).context("proxies.networks")?;
    let listener =
        listener.behind(proxies, part.proxy_protocol.then_some(Duration::from_secs(part.authenticate_secs)));
    let mut listener = listener.with_strangers(strangers()).counting(metrics.turned_away.clone());
    let me = Me {
        role: Role::Switchboard,
        node: part.node.clone(),
        client_addr: addr,
        store: store.id().await?,
        load: load(config, 0, false),
        directory: config.store.path.clone(),
    };
    let desk = Arc::new(Desk::default());
    let deliver: Arc<dyn Deliver> = desk.clone();
    let cluster =
        Cluster::start(&config.cluster, me, keys.clone(), clock, Some(deliver), &mut registry, shutdown).await?;
    cluster.tell_joined(joined);
    cluster.watch_clock(clock_is_right, clocks_agree, shutdown);
    admin.publish(registry);
    admin.take_orders(OrderDesk { cluster: cluster.clone(), keys: keys.clone() });

    let own_keys = keys.clone();
    let board = Arc::new(board(config, addr, &cluster, keys, store, metrics, shutdown)?);
    desk.open(&board);
    let addresses = [
        ("clients", listens),
        ("gossip", cluster.gossip_addr()),
        ("peer", cluster.peer_addr()),
        ("admin", admin.addr()),
    ];
    shutdown.spawn(keep_house(Arc::clone(&board), config.clone(), cluster.clone()));
    shutdown.spawn(disk::watch(Arc::clone(&board), config.clone(), room));
    shutdown.spawn(telemetry::watch_store(Arc::clone(&board.store), answers, shutdown.clone()));
    let beating = common::heart::keep(&cluster, Arc::clone(&board.store), own_keys, secrets, others);
    shutdown.spawn(heart::look(Arc::clone(&board)));
    shutdown.spawn({
        let board = Arc::clone(&board);
        async move { board.cursors.run(&board.shutdown).await }
    });
    let without = "no notification server is ready; who is called is not found";
    cluster.look_for(Role::Notification, notification, without, shutdown);
    cluster.tell_readiness(&readiness, shutdown);
    telemetry::announce(&addresses);

    accept(&mut listener, &board).await;
    // Told at once, so that no new conversation is sent here while the last ones end.
    cluster.publish(load(config, board.conversations.participants(), true));
    drop(listener);
    board.conversations.close();
    let left = shutdown.finish(GOODBYE).await;
    board.is_over.store(true, Ordering::Relaxed);
    drop(beating);
    if left > 0 {
        tracing::warn!(left, "tasks had not ended");
    }
    board.store.flush().await;
    Ok(())
}

fn board(
    config: &Config,
    addr: SocketAddr,
    cluster: &Cluster,
    keyring: Keyring,
    store: SharedStore,
    metrics: Arc<Metrics>,
    shutdown: &Shutdown,
) -> anyhow::Result<Board> {
    let part = &config.switchboard;
    let place = Place { node: cluster.id().clone(), generation: cluster.generation() };
    let ring = Duration::from_secs(part.cookie_secs.min(120));
    let rules = Rules { participants: config.limits.participants, ring };
    Ok(Board {
        addr,
        authenticate: Duration::from_secs(part.authenticate_secs),
        max_message: config.limits.message,
        failed_calls: config.limits.failed_calls,
        calls: config.rates.call(),
        doorman: Box::new(Keys {
            keyring,
            nonces: Nonces::default(),
            place: place.clone(),
            cluster: cluster.clone(),
        }),
        peers: Box::new(cluster.clone()),
        conversations: Conversations::new(rules, Arc::clone(&metrics)),
        history: History::new(Arc::clone(&store), Arc::clone(&metrics), shutdown.clone()),
        purses: Purses::new(Allowance::of(&config.rates, &config.limits)),
        disk: Disk::default(),
        cursors: Cursors::new(Arc::clone(&store)),
        pickups: Pickups::new(Duration::from_secs(part.kept_secs.min(120))),
        tellings: Tellings::default(),
        clock: MessageClock::new()?,
        pool: Arc::new(BufferPool::default()),
        shutdown: shutdown.clone(),
        pulse: Pulse::default(),
        is_over: AtomicBool::new(false),
        place,
        store,
        metrics,
    })
}

async fn accept(listener: &mut Listener, board: &Arc<Board>) {
    let mut id: u64 = 0;
    loop {
        let Accepted { transport, admission, stranger, came } = tokio::select! {
            accepted = listener.accept() => accepted,
            () = board.shutdown.begun() => return,
        };
        id += 1;
        let board = Arc::clone(board);
        let peer = transport.peer();
        let span = tracing::info_span!("conn", id, %peer, passport = Empty, dialect = Empty);
        let shutdown = board.shutdown.clone();
        let serving = async move {
            session::serve(board, transport, stranger, came).await;
            drop(admission);
        };
        shutdown.spawn(serving.instrument(span));
    }
}

/// Once a second: ends quiet conversations, looks who is alive, publishes the load.
async fn keep_house(board: Arc<Board>, config: Config, cluster: Cluster) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = board.shutdown.begun() => return,
        }
        board.pulse.beat(Instant::now());
        board.conversations.end_quiet(config.switchboard.idle_secs);
        board.history.observe();
        board.pickups.see(cluster.view().of(Role::Switchboard));
        board.metrics.cursors_age.set(board.cursors.age().as_secs_f64());
        cluster.publish(load(&config, board.conversations.participants(), false));
    }
}

fn load(config: &Config, participants: u64, draining: bool) -> Load {
    let capacity = config.switchboard.capacity.max(1);
    Load { load: participants, capacity, draining, ..Load::default() }
}
