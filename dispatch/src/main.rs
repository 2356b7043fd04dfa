//! `dispatch`: the tier that clients meet first.
//!
//! It keeps nothing: it answers DNS for the login host, sends clients to the least-loaded notification node, and checks
//! passwords over HTTP. Any number of them may run.
//!
//! | file | what |
//! |---|---|
//! | `session` | what is said to a client, without sockets |
//! | `clients` | client connections: each is a task that drives one session |
//! | `balance` | which notification node is next |
//! | `dns` | the authority for the login host |
//! | `http` | sign-in by Passport 1.4 and SOAP, with and without TLS |
//! | `door` | bounded accepting for DNS over TCP and HTTP |
//! | `duty` | what is told to the cluster every second |

mod balance;
mod clients;
mod dns;
mod door;
mod duty;
mod http;
mod metrics;
mod session;
#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::check;
use common::clock::{HybridClock, wall};
use common::cluster::{Cluster, Keyring, Load, Me, OrderDesk, Role};
use common::config::{Config, Program, explained};
use common::heart::{self, Heart};
use common::net::{AddressLimiter, Listener, Proxies, Shutdown, fitting, make_room_for};
use common::reload::Reload;
use common::store::{self, SharedStore};
use common::telemetry::{Admin, Readiness, Registry, announce, init_logs, watch_store};

use clients::Clients;
use dns::{Sockets, Zone};
use http::{Routes, SignIn, Teller, Tls};
use metrics::Metrics;
use session::Desk;

/// hickory logs a line for each query, and rustls and hickory warn of whatever a stranger sends; the filter may still ask for that.
const QUIET: &str = "hickory_server=off,hickory_net=off,hickory_proto=off,rustls=error,";
/// Those of clients, of HTTP, and of HTTPS.
const PORTS: u64 = 3;
/// Connections that are still open after so long are cut.
const DRAIN: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    common::process::run(serve())
}

async fn serve() -> anyhow::Result<()> {
    let loaded = check::configured(Program::Dispatch, http::look_at_certificate).await;
    let config = loaded.config.clone();
    let logs = init_logs(&config.log, QUIET)?;
    let reload = Reload::on_hangup(loaded)?;
    reload.add("log filter", &["log.filter"], move |config| logs.set_filter(&config.log.filter));
    make_room_for((config.dispatch.connections as u64).saturating_mul(PORTS))?;
    let shutdown = Shutdown::default();
    shutdown.on_signals()?;
    let ran = run(&config, &reload, &shutdown).await;
    let ran = ran.map_err(|error| explained(error, &config, Program::Dispatch))?;
    shutdown.begun().await;
    match shutdown.finish(DRAIN).await {
        0 => tracing::info!("done"),
        left => tracing::warn!(left, "tasks did not end in time"),
    }
    if let Some((store, routes, heart)) = ran {
        drop(heart);
        routes.flush(&*store).await;
        store.flush().await;
    }
    shutdown.outcome()
}

/// Opens everything, starts serving, and returns what is to be written at the end, with the store and the heart that beats until then;
/// nothing if the process is to end before that is there.
async fn run(
    config: &Config,
    reload: &Reload,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<(SharedStore, Arc<Routes>, Heart)>> {
    let own = &config.dispatch;
    let keys = Keyring::load(&config.cluster.secrets)?;
    keys.follow(reload);
    let readiness = Readiness::default();
    // Without the store nobody can sign in over HTTP, and without a notification node there is no place to send
    // clients to: other dispatch nodes should get them.
    let store_answers = readiness.require("store", "not asked yet");
    let notification = readiness.require("notification", "not looked yet");
    let joined = readiness.require_told("cluster", "not yet part of the cluster");
    let clock_is_right = readiness.require("clock", "not compared yet");
    let secrets = readiness.require("secrets", "not compared yet");
    let (clocks_agree, others) = (readiness.note("clocks"), readiness.note("others"));
    let admin = Admin::of(&own.node, readiness.clone(), shutdown).await?;
    let clock = Arc::new(HybridClock::default());
    let Some(store) = store::open_when_there(&config.store, &clock, reload, &store_answers, shutdown).await?
    else {
        return Ok(None);
    };

    let mut registry = Registry::with_prefix("monarch");
    let metrics = Metrics::new(&mut registry);
    let limiter = AddressLimiter::new(own.connections_per_address);
    let listener = Listener::bind(own.listen, limiter).await.context("dispatch.listen")?;
    let proxies = Proxies::of(&config.proxies.networks).context("proxies.networks")?;
    let listener = listener.behind(proxies.clone(), own.proxy_protocol.then_some(clients::PATIENCE));
    let most = fitting(own.connections, PORTS);
    let listener = listener.with_strangers(most).counting(metrics.turned_away.clone());
    let here = reachable(own.advertise.unwrap_or(listener.addr()?))?;
    let door = http::bind(&own.http, most, &proxies).await?.counting(metrics.turned_away.clone());
    let secure = match own.https.enabled {
        true => Some((
            http::bind_tls(&own.https, own.http.connections_per_address, most, &proxies)
                .await?
                .counting(metrics.turned_away.clone()),
            Arc::new(Tls::open(own)?),
        )),
        false => None,
    };
    let sockets = Sockets::bind(own.dns.listen).await?;

    let load = Load { capacity: own.connections.max(1) as u64, ..Load::default() };
    let store_id = store.id().await?;
    let me = Me {
        role: Role::Dispatch,
        node: own.node.clone(),
        client_addr: here,
        store: store_id,
        load,
        directory: config.store.path.clone(),
    };
    let cluster = Cluster::start(&config.cluster, me, keys.clone(), clock, None, &mut registry, shutdown).await?;
    cluster.tell_joined(joined);
    cluster.watch_clock(clock_is_right, clocks_agree, shutdown);
    let heart = heart::keep(&cluster, Arc::clone(&store), keys.clone(), secrets, others);
    admin.publish(registry);
    admin.take_orders(OrderDesk { cluster: cluster.clone(), keys: keys.clone() });

    // The serial of the zone rises with each start; 32 bits wrap in 2106, as RFC 1982 allows.
    let serial = wall().as_secs() as u32;
    let zone = Zone::new(&own.dns, here, cluster.watch(), serial)?;
    let desk = Desk {
        here,
        download_url: config.notification.download_page().to_owned(),
        info_url: config.notification.info_page().to_owned(),
        clear_text: config.accounts.clear_text,
    };
    let sign_in = SignIn::new(&config.accounts, &own.http, Arc::new(Arc::clone(&store)), Arc::new(keys))?;
    sign_in.guard().share(&cluster, shutdown);
    let routes = Arc::new(Routes::new(&own.http, door.addr()?, sign_in, metrics.clone()).await?);
    let mut addresses = vec![
        ("clients", listener.addr()?),
        ("http", door.addr()?),
        ("dns", sockets.addr()),
        ("gossip", cluster.gossip_addr()),
        ("peer", cluster.peer_addr()),
        ("admin", admin.addr()),
    ];
    if let Some((door, _)) = &secure {
        addresses.push(("https", door.addr()?));
    }
    announce(&addresses);

    let clients = Clients::new(desk, cluster.watch(), metrics.clone());
    shutdown.spawn(Arc::clone(&clients).serve(listener, shutdown.clone()));
    shutdown.spawn(door.serve(None, Arc::clone(&routes), shutdown.clone()));
    if let Some((door, tls)) = secure {
        let teller = Teller::new(readiness.note("certificate"), metrics.clone());
        shutdown.spawn(Arc::clone(&tls).follow(teller, shutdown.clone()));
        let named = Arc::clone(&tls);
        let keys = &["dispatch.https.certificate", "dispatch.https.key", "dispatch.https.development"];
        reload.add("certificate", keys, move |config| named.read_again(&config.dispatch));
        shutdown.spawn(door.serve(Some(tls), Arc::clone(&routes), shutdown.clone()));
    }
    shutdown.spawn(duty::write(Arc::clone(&routes), Arc::clone(&store), shutdown.clone()));
    shutdown.spawn(sockets.serve(zone, metrics, shutdown.clone()));
    shutdown.spawn(watch_store(Arc::clone(&store), store_answers, shutdown.clone()));
    let without = "no notification server is ready; clients get 601";
    cluster.look_for(Role::Notification, notification, without, shutdown);
    cluster.tell_readiness(&readiness, shutdown);
    shutdown.spawn(duty::report(cluster, clients, load, shutdown.clone()));
    Ok(Some((store, routes, heart)))
}

/// An address that others can connect to.
fn reachable(addr: SocketAddr) -> anyhow::Result<SocketAddr> {
    let known = !addr.ip().is_unspecified();
    anyhow::ensure!(known, "dispatch.advertise must be set: {addr} is no address to connect to");
    Ok(addr)
}
