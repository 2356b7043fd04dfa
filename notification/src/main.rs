//! The notification server: long-lived sessions, rosters, presence, invitations.

mod allowance;
mod gate;
mod hub;
mod last_active;
mod metrics;
mod nodes;
mod passwords;
mod repair;
mod roster;
mod services;
mod session;
mod upkeep;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::check::{self, Findings};
use common::clock::HybridClock;
use common::cluster::{Cluster, Deliver, Keyring, Load, Me, OrderDesk, Role};
use common::config::{Config, Program, explained};
use common::credentials::{AttemptGuard, RefusalLog};
use common::heart;
use common::net::{AddressLimiter, Listener, Proxies, Shutdown, make_room_for, strangers};
use common::reload::Reload;
use common::telemetry::{self, Admin, Readiness, Registry};
use tokio::sync::Semaphore;

use allowance::Allowances;
use gate::Gate;
use hub::{Hub, Item};
use last_active::LastActive;
use metrics::Metrics;
use passwords::Passwords;
use services::{KEPT_READS, Services};

/// How long sessions may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    common::process::run(serve())
}

async fn serve() -> anyhow::Result<()> {
    let loaded = check::configured(Program::Notification, |_, _| Findings::default()).await;
    let config = loaded.config.clone();
    let logs = telemetry::init_logs(&config.log, "")?;
    let reload = Reload::on_hangup(loaded).context("can't listen for signals")?;
    reload.add("log filter", &["log.filter"], move |config| logs.set_filter(&config.log.filter));
    tracing::info!("notification starts");
    make_room_for(config.notification.capacity).context("can't raise the limit of open files")?;
    let shutdown = Shutdown::default();
    shutdown.on_signals().context("can't listen for signals")?;
    let ran = run(config.clone(), &reload, shutdown.clone()).await;
    ran.map_err(|error| explained(error, &config, Program::Notification))?;
    shutdown.outcome()
}

/// Binds, serves until shutdown, and says goodbye.
async fn run(config: Config, reload: &Reload, shutdown: Shutdown) -> anyhow::Result<()> {
    let own = &config.notification;
    let readiness = Readiness::default();
    let store_answers = readiness.require("store", "not asked yet");
    // Lists and presence need no switchboard: without one clients may still come.
    let switchboard = readiness.want("switchboard", "not looked yet");
    let joined = readiness.require_told("cluster", "not yet part of the cluster");
    let clock_is_right = readiness.require("clock", "not compared yet");
    let secrets = readiness.require("secrets", "not compared yet");
    let (clocks_agree, others) = (readiness.note("clocks"), readiness.note("others"));
    let open = readiness.require("open", "not yet");
    let mut registry = Registry::with_prefix("monarch");
    let metrics = Metrics::new(&mut registry);

    let keys = Keyring::load(&config.cluster.secrets)?;
    keys.follow(reload);
    let md5 = Arc::new(Passwords::load(&config.accounts.md5_key)?);
    let passwords = Arc::clone(&md5);
    reload.add("MD5 key", &["accounts.md5_key"], move |config| passwords.read_again(&config.accounts.md5_key));
    let admin = Admin::of(&own.node, readiness.clone(), &shutdown).await?;
    let clock = Arc::new(HybridClock::default());
    let store = common::store::open_when_there(&config.store, &clock, reload, &store_answers, &shutdown).await?;
    let Some(store) = store else { return Ok(()) };
    let listener = Listener::bind(own.listen, AddressLimiter::new(own.connections_per_address)).await?;
    let proxies = Proxies::of(&config.proxies.networks).context("proxies.networks")?;
    let listener = listener.behind(proxies, own.proxy_protocol.then_some(Duration::from_secs(own.identify_secs)));
    let mut listener = listener.with_strangers(strangers()).counting(metrics.turned_away.clone());
    let clients = listener.addr()?;
    let hub = Arc::new(Hub::new());
    let load =
        Load { capacity: own.capacity.max(1), admits_per_second: own.sign_ins_per_second, ..Load::default() };
    let me = Me {
        role: Role::Notification,
        node: own.node.clone(),
        client_addr: own.advertise.unwrap_or(clients),
        store: store.id().await?,
        load,
        directory: config.store.path.clone(),
    };
    let deliver: Arc<dyn Deliver> = hub.clone();
    let cluster =
        Cluster::start(&config.cluster, me, keys.clone(), clock, Some(deliver), &mut registry, &shutdown).await?;
    cluster.tell_joined(joined);
    cluster.watch_clock(clock_is_right, clocks_agree, &shutdown);
    let heart = heart::keep(&cluster, Arc::clone(&store), keys.clone(), secrets, others);
    hub.keep_gate(Gate::of(&cluster, open));
    admin.publish(registry);
    admin.take_orders(OrderDesk { cluster: cluster.clone(), keys: keys.clone() });
    let addresses = [
        ("clients", clients),
        ("gossip", cluster.gossip_addr()),
        ("peer", cluster.peer_addr()),
        ("admin", admin.addr()),
    ];
    let services = Arc::new(Services {
        guard: Arc::new(AttemptGuard::new(&config.accounts)),
        refusals: RefusalLog::default(),
        allowances: Allowances::default(),
        clear_text: config.accounts.clear_text,
        limits: config.limits,
        rates: config.rates,
        config: config.notification,
        store,
        cluster,
        keys,
        md5,
        hub,
        buffers: Arc::default(),
        kept_reads: Semaphore::new(KEPT_READS),
        last_active: LastActive::default(),
        metrics,
        shutdown: shutdown.clone(),
    });
    services.guard.share(&services.cluster, &shutdown);
    shutdown.spawn(telemetry::watch_store(Arc::clone(&services.store), store_answers, shutdown.clone()));
    let without = "no switchboard is ready; who opens a chat gets 280";
    services.cluster.look_for(Role::Switchboard, switchboard, without, &shutdown);
    services.cluster.tell_readiness(&readiness, &shutdown);
    let upkeep = tokio::spawn(upkeep::run(Arc::clone(&services), load));
    let mourning = tokio::spawn(nodes::mourn(Arc::clone(&services)));
    let repair = tokio::spawn(repair::run(Arc::clone(&services)));
    telemetry::announce(&addresses);

    accept(&mut listener, &services).await;
    drop(listener);
    services.hub.tell_all(|| Item::ShutDown);
    let left = shutdown.finish(FAREWELL).await;
    if left > 0 {
        tracing::warn!(left, "sessions were still there");
    }
    mourning.await?;
    repair.await?;
    upkeep.await?;
    drop(heart);
    services.last_active.flush(&*services.store).await;
    services.guard.flush(&*services.store).await;
    services.store.flush().await;
    Ok(())
}

/// Accepts clients until shutdown.
async fn accept(listener: &mut Listener, services: &Arc<Services>) {
    let mut id = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = services.shutdown.begun() => return,
        };
        id += 1;
        services.shutdown.spawn(session::serve(accepted, id, Arc::clone(services)));
    }
}
