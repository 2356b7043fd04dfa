//! The HTTP front over real sockets, to the byte.

mod half_close;
mod passport;
mod proxies;
mod rst;
mod tls;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use common::cluster::SignInTicket;
use common::config::{AccountsConfig, DispatchConfig};
use common::credentials::{PasswordHasher, Refusal};
use common::model::{AddPrompt, ClaimId, Passport, Properties, Settings, StrangerPolicy};
use common::store::{Account, Credentials, KnownNetwork, StoreError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::sign_in::{Accounts, Sealer};
use super::*;
use crate::metrics::Metrics;

/// Accounts in memory.
#[derive(Default)]
struct Memory {
    accounts: Mutex<HashMap<Passport, Account>>,
    down: AtomicBool,
    reads: AtomicUsize,
    /// Reads wait while a test holds it for writing.
    gate: tokio::sync::RwLock<()>,
}

#[async_trait]
impl Accounts for Memory {
    async fn account(&self, who: &Passport) -> Result<Option<Account>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let _ = self.gate.read().await;
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("a test".into()));
        }
        Ok(self.accounts.lock().unwrap().get(who).cloned())
    }

    async fn known_networks(&self, _: &Passport) -> Result<Vec<KnownNetwork>, StoreError> {
        Ok(Vec::new())
    }
}

/// Tickets that show what they were made of.
struct Open;

impl Sealer for Open {
    fn seal(&self, ticket: &SignInTicket) -> String {
        let life = ticket.expires - common::clock::wall_ms();
        assert!((3_590_000..=3_600_000).contains(&life), "{life}");
        format!("t={}.{}&p=", ticket.passport, ticket.credential_epoch)
    }

    fn seal_for(&self, site: &str, ticket: &SignInTicket) -> String {
        format!("t={site}.{}.{}&p=", ticket.passport, ticket.credential_epoch)
    }
}

struct World {
    addr: SocketAddr,
    secure: SocketAddr,
    /// Where the development certificate is.
    directory: tempfile::TempDir,
    memory: Arc<Memory>,
    metrics: Metrics,
    shutdown: Shutdown,
    costs: AccountsConfig,
}

async fn world() -> World {
    world_with(AccountsConfig::default(), HttpConfig::default()).await
}

async fn world_with(accounts: AccountsConfig, http: HttpConfig) -> World {
    world_of(accounts, http, Arc::new(Open)).await
}

async fn world_sealed_by(sealer: Arc<dyn Sealer>) -> World {
    world_of(AccountsConfig::default(), HttpConfig::default(), sealer).await
}

async fn world_of(accounts: AccountsConfig, http: HttpConfig, sealer: Arc<dyn Sealer>) -> World {
    world_behind(accounts, http, sealer, Proxies::default()).await
}

/// Its HTTPS does with those of `proxies` what its HTTP does.
async fn world_behind(
    accounts: AccountsConfig,
    http: HttpConfig,
    sealer: Arc<dyn Sealer>,
    proxies: Proxies,
) -> World {
    let costs = AccountsConfig { argon2_memory_kib: 64, argon2_passes: 1, ..accounts };
    let config = HttpConfig { listen: "127.0.0.1:0".parse().unwrap(), ..http };
    let (memory, metrics, shutdown) = (Arc::<Memory>::default(), Metrics::default(), Shutdown::default());
    let door = bind(&config, 100, &proxies).await.unwrap();
    let addr = door.addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let (proxy_protocol, forwarded) = (config.proxy_protocol, config.forwarded);
    let development = directory.path().into();
    let https = HttpsConfig { listen, development, proxy_protocol, forwarded, ..HttpsConfig::default() };
    let secure_door = bind_tls(&https, config.connections_per_address, 100, &proxies).await.unwrap();
    let secure = secure_door.addr().unwrap();
    let tls = Tls::open(&DispatchConfig { https, ..DispatchConfig::default() }).unwrap();
    let sign_in = SignIn::new(&costs, &config, memory.clone(), sealer).unwrap();
    let routes = Arc::new(Routes::new(&config, addr, sign_in, metrics.clone()).await.unwrap());
    shutdown.spawn(door.serve(None, Arc::clone(&routes), shutdown.clone()));
    shutdown.spawn(secure_door.serve(Some(Arc::new(tls)), routes, shutdown.clone()));
    World { addr, secure, directory, memory, metrics, shutdown, costs }
}

impl World {
    async fn account(&self, name: &str, password: &str, epoch: u64) {
        let passport = Passport::parse(name).unwrap();
        let password_hash = PasswordHasher::new(&self.costs).hash(password.into()).await.unwrap();
        let account = Account {
            passport: passport.clone(),
            claim: ClaimId(Uuid::nil()),
            credentials: Credentials { epoch, password_hash, sealed_password: None },
            settings: Settings {
                friendly_name: name.into(),
                strangers: StrangerPolicy::default(),
                add_prompt: AddPrompt::default(),
                properties: Properties::default(),
                list_version: 1,
                lists_changed: 0,
                settings_changed: 0,
                reverse_digest: 0,
            },
            created: 0,
        };
        self.memory.accounts.lock().unwrap().insert(passport, account);
    }

    /// Sends bytes and returns all that comes until the server closes, without the `Date` line.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        until_closed(&mut stream).await
    }

    async fn sign_in(&self, name: &str, password: &str) -> String {
        self.exchange(&login(name, password, "")).await
    }

    fn refused(&self) -> String {
        format!(
            "HTTP/1.1 401 Unauthorized\r\n\
             WWW-Authenticate: Passport1.4 da-status=failed,srealm=Passport.NET,ts=-3,prompt,cburl=http://{}/,\
             cbtxt=The%20name%20or%20the%20password%20is%20wrong.\r\n\
             Cache-Control: no-store\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            self.addr
        )
    }

    fn nexus(&self) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nPassportURLs: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            super::passport::urls(&format!("http://{}/login2.srf?lc=1033", self.addr))
        )
    }
}

/// An attempt to sign in, with further header lines.
fn login(name: &str, password: &str, lines: &str) -> String {
    let challenge = "lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct=1,kpp=1,kv=4,ver=2.1";
    format!(
        "GET /login2.srf?lc=1033 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}Authorization: Passport1.4 \
         OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,sign-in={name},pwd={password},{challenge}\r\n\r\n"
    )
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    timeout(Duration::from_secs(90), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    without_date(&text)
}

fn without_date(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let lines: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}
