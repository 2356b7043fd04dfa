//! The zone of the login host: its names, and the records that they have at this moment.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use async_trait::async_trait;
use common::cluster::{Role, View};
use common::config::DnsConfig;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::rdata::{A, NS, SOA};
use hickory_server::proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType, TSigResponseContext};
use hickory_server::server::{Request, RequestInfo};
use hickory_server::zone_handler::{
    AuthLookup, AxfrPolicy, LookupControlFlow, LookupError, LookupOptions, LookupRecords, ZoneHandler,
    ZoneTransfer, ZoneType,
};
use tokio::sync::watch;

/// Secondaries and caches are told these; there are no zone transfers, so they mean little (RFC 1912 §2.2).
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;

/// The zone. Its apex, the further names and the name servers within it all have the same addresses: those of the
/// live dispatch nodes.
pub(crate) struct Zone {
    origin: LowerName,
    /// Names that have addresses, the apex first.
    hosts: Vec<LowerName>,
    soa: Record,
    name_servers: Vec<Record>,
    ttl: u32,
    /// The own client address: the answer when gossip shows no dispatch node.
    own: SocketAddr,
    view: watch::Receiver<Arc<View>>,
    /// Rises with each answer, so that each begins with another address.
    turn: AtomicUsize,
}

impl Zone {
    /// The zone as configured. `serial` should rise with each start of the process (RFC 1982).
    ///
    /// # Errors
    /// When a name can't be read, or is not within the zone; the error names the key.
    pub(crate) fn new(
        config: &DnsConfig,
        own: SocketAddr,
        view: watch::Receiver<Arc<View>>,
        serial: u32,
    ) -> anyhow::Result<Self> {
        let origin = name("domain", &config.domain)?;
        let mut hosts = vec![LowerName::new(&origin)];
        for text in &config.names {
            let host = LowerName::new(&name("names", text)?);
            anyhow::ensure!(hosts[0].zone_of(&host), "dispatch.dns.names: {text} is not within {origin}");
            hosts.push(host);
        }
        let mut name_servers = Vec::new();
        for text in &config.nameservers {
            let server = name("nameservers", text)?;
            if hosts[0].zone_of(&LowerName::new(&server)) {
                hosts.push(LowerName::new(&server));
            }
            name_servers.push(server);
        }
        let primary =
            name_servers.first().context("dispatch.dns.nameservers: at least one must be named")?.clone();
        let mailbox = name("hostmaster", &config.hostmaster)?;
        let ttl = config.ttl_secs;
        let soa = SOA::new(primary, mailbox, serial, REFRESH, RETRY, EXPIRE, ttl);
        let record = |data| Record::from_rdata(origin.clone(), ttl, data);
        Ok(Self {
            soa: record(RData::SOA(soa)),
            name_servers: name_servers.into_iter().map(|server| record(RData::NS(NS(server)))).collect(),
            origin: LowerName::new(&origin),
            hosts,
            ttl,
            own,
            view,
            turn: AtomicUsize::new(0),
        })
    }

    /// What the zone holds of that type under that name. Answers carry it in the letters in which it was asked: by these
    /// resolvers tell an answer from a forged one.
    fn find(&self, asked: &Name, kind: RecordType) -> Result<AuthLookup, LookupError> {
        let queried = &LowerName::new(asked);
        let is_apex = *queried == self.origin;
        let has_addresses = self.hosts.contains(queried);
        let named_so = |record: &Record| Record::from_rdata(asked.clone(), record.ttl, record.data.clone());
        match kind {
            // There are no secondaries.
            RecordType::AXFR | RecordType::IXFR => Err(LookupError::from(ResponseCode::Refused)),
            // Of all that there is, one set is enough (RFC 8482 §4.1).
            RecordType::A | RecordType::ANY if has_addresses => Ok(answer(self.addresses(asked), Vec::new())),
            RecordType::SOA if is_apex => Ok(answer(vec![named_so(&self.soa)], Vec::new())),
            RecordType::NS if is_apex => Ok(answer(self.name_servers.iter().map(named_so).collect(), self.glue())),
            // A name is also there if something is below it (RFC 8020).
            _ if self.hosts.iter().any(|host| queried.zone_of(host)) => Err(LookupError::for_name_exists()),
            _ => Err(LookupError::from(ResponseCode::NXDomain)),
        }
    }

    /// The addresses of the name servers that are within the zone.
    fn glue(&self) -> Vec<Record> {
        let servers = self.name_servers.iter().filter_map(|record| match &record.data {
            RData::NS(NS(server)) => Some(server),
            _ => None,
        });
        let within = servers.filter(|server| self.origin.zone_of(&LowerName::new(server)));
        within.flat_map(|server| self.addresses(server)).collect()
    }

    /// The live dispatch nodes, each time beginning with another.
    fn addresses(&self, of: &Name) -> Vec<Record> {
        let mut addresses = live(&self.view.borrow());
        if let (true, SocketAddr::V4(own)) = (addresses.is_empty(), self.own) {
            addresses.push(*own.ip());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn % addresses.len().max(1);
        addresses.rotate_left(first);
        let record = |address| Record::from_rdata(of.clone(), self.ttl, RData::A(A(address)));
        addresses.into_iter().map(record).collect()
    }
}

/// The IPv4 addresses of the dispatch nodes that take clients: those ready and not draining. The clients that ask
/// know no IPv6.
fn live(view: &View) -> Vec<Ipv4Addr> {
    let mut addresses: Vec<_> = view
        .open(Role::Dispatch)
        .filter_map(|node| match node.client_addr {
            SocketAddr::V4(addr) if !addr.ip().is_unspecified() => Some(*addr.ip()),
            _ => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn answer(records: Vec<Record>, additionals: Vec<Record>) -> AuthLookup {
    let additionals = (!additionals.is_empty()).then_some(LookupRecords::Section(additionals));
    AuthLookup::answers(LookupRecords::Section(records), additionals)
}

fn name(key: &str, text: &str) -> anyhow::Result<Name> {
    let mut name =
        Name::from_ascii(text).with_context(|| format!("dispatch.dns.{key}: {text:?} is no domain name"))?;
    anyhow::ensure!(name.num_labels() > 0, "dispatch.dns.{key}: {text:?} is no domain name");
    name.set_fqdn(true);
    Ok(name)
}

#[async_trait]
impl ZoneHandler for Zone {
    fn zone_type(&self) -> ZoneType {
        ZoneType::Primary
    }

    fn axfr_policy(&self) -> AxfrPolicy {
        AxfrPolicy::Deny
    }

    fn origin(&self) -> &LowerName {
        &self.origin
    }

    async fn lookup(
        &self,
        name: &LowerName,
        kind: RecordType,
        _: Option<&RequestInfo<'_>>,
        _: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        LookupControlFlow::Break(self.find(&Name::from(name.clone()), kind))
    }

    async fn search(
        &self,
        request: &Request,
        _: LookupOptions,
    ) -> (LookupControlFlow<AuthLookup>, Option<TSigResponseContext>) {
        let found = request.request_info().and_then(|info| match info.query.query_class() {
            DNSClass::IN | DNSClass::ANY => self.find(info.query.original().name(), info.query.query_type()),
            _ => Err(LookupError::from(ResponseCode::Refused)),
        });
        (LookupControlFlow::Break(found), None)
    }

    async fn zone_transfer(
        &self,
        _: &Request,
        _: LookupOptions,
        _: u64,
    ) -> Option<(Result<ZoneTransfer, LookupError>, Option<TSigResponseContext>)> {
        // Said here because the default is an empty success.
        Some((Err(LookupError::from(ResponseCode::Refused)), None))
    }

    async fn nsec_records(&self, _: &LowerName, _: LookupOptions) -> LookupControlFlow<AuthLookup> {
        // The zone is not signed.
        LookupControlFlow::Break(Ok(AuthLookup::default()))
    }
}
