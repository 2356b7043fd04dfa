//! How to connect: what `up` prints when all is ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use common::config::Config;

use super::demo;
use super::tier::Addresses;
use crate::terminal::harmless;

/// The text. `first` is whether the demo accounts were made at this start.
pub(super) fn text(config: &Config, all: &BTreeMap<String, Addresses>, first: bool, logs: &Path) -> String {
    let found = |tier: &str, name: &str| all.get(tier).and_then(|addresses| addresses.get(name)).copied();
    let told = |tier: &str, advertise: Option<SocketAddr>, listen| {
        advertise.or_else(|| found(tier, "clients")).unwrap_or(listen)
    };
    let dispatch = told("dispatch", config.dispatch.advertise, config.dispatch.listen);
    let notification = told("notification", config.notification.advertise, config.notification.listen);
    let switchboard = told("switchboard", config.switchboard.advertise, config.switchboard.listen);
    // Nobody can connect to 0.0.0.0: where all addresses are listened on, the one that clients are told will do.
    let reachable = |tier: &str, name: &str, listen| {
        let mut addr = found(tier, name).unwrap_or(listen);
        if addr.ip().is_unspecified() {
            addr.set_ip(dispatch.ip());
        }
        addr
    };
    let http = reachable("dispatch", "http", config.dispatch.http.listen);
    let https = reachable("dispatch", "https", config.dispatch.https.listen);
    let dns = reachable("dispatch", "dns", config.dispatch.dns.listen);
    let domain = &config.dispatch.dns.domain;
    let data = data_option(config);

    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line("\nMonarch is up.\n");
    if first {
        let names = demo::ACCOUNTS.map(|(passport, _)| passport).join(", ");
        line(&format!("  Accounts      {names}"));
        line(&format!("                password {}; each has the others as contacts", demo::PASSWORD));
    } else {
        line(&format!("  Accounts      those that are there: monarch user list{data}"));
    }
    line(&format!("  Clients       dispatch {dispatch} sends them to notification {notification}"));
    line(&format!("                and, for a conversation, to switchboard {switchboard}"));
    for (name, addresses) in all.iter().filter(|(name, _)| !TIERS.contains(&name.as_str())) {
        if let Some(addr) = addresses.get("clients") {
            line(&format!("                also {name} {addr}"));
        }
    }
    line("    MSNP2-7     MSN Messenger 1 to 4: signs in by MD5 on the same connection");
    line("    MSNP8-12    MSN Messenger 5 to 7: signs in by HTTP or HTTPS, the nexus being");
    line(&format!("                http://{http}/rdr/pprdr.asp"));
    if config.dispatch.https.enabled {
        line(&format!("                https://{https}/rdr/pprdr.asp"));
        if let Some(certificate) = development_certificate(config) {
            line(&format!("                with the development certificate {certificate}"));
        }
    }
    line(&format!("  DNS           dig @{} -p {} {domain} A", dns.ip(), dns.port()));
    line(&format!("  By hand       telnet {} {}, as README.md has it", dispatch.ip(), dispatch.port()));
    for (index, (name, admin)) in
        all.iter().filter_map(|(name, addresses)| Some((name, addresses.get("admin")?))).enumerate()
    {
        let heading = if index == 0 { "Metrics" } else { "" };
        line(&format!("  {heading:<12}  http://{admin}/metrics  {name}"));
    }
    line(&format!("  Logs          {}", logs.display()));
    line(&format!("  History       monarch history show {} {}{data}", demo::ACCOUNTS[0].0, demo::ACCOUNTS[1].0));
    line("\nCtrl-C stops it.");
    out
}

const TIERS: [&str; 3] = ["dispatch", "notification", "switchboard"];

/// What other commands need to find the same data: nothing, if it is where they look by themselves.
fn data_option(config: &Config) -> String {
    let path = &config.store.path;
    if *path == Config::default().store.path {
        return String::new();
    }
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if path.chars().all(is_plain) {
        format!(" --data {path}")
    } else {
        format!(" --data '{}'", harmless(&path.replace('\'', "'\\''")))
    }
}

/// The certificate that clients must be told to trust, where none is configured.
fn development_certificate(config: &Config) -> Option<String> {
    let https = &config.dispatch.https;
    let made = https.development.join("development.crt");
    https.certificate.is_none().then(|| made.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_that_were_chosen_are_named() {
        let mut config = Config::default();
        config.notification.advertise = Some(([192, 0, 2, 1], 1864).into());
        let dispatch = [("clients", 4001), ("http", 4002), ("https", 4005), ("dns", 4003), ("admin", 4004)];
        let dispatch = dispatch.map(|(name, port)| (name.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))));
        let second = Addresses::from([("clients".to_owned(), SocketAddr::from(([127, 0, 0, 1], 4009)))]);
        let all =
            [("dispatch".to_owned(), Addresses::from(dispatch)), ("notification-2".to_owned(), second)].into();
        let text = text(&config, &all, true, Path::new("data/logs"));
        for part in [
            "dispatch 127.0.0.1:4001",
            "notification 192.0.2.1:1864",
            "switchboard 127.0.0.1:1865",
            "http://127.0.0.1:4002/rdr/pprdr.asp",
            "https://127.0.0.1:4005/rdr/pprdr.asp",
            "data/development.crt",
            "dig @127.0.0.1 -p 4003 messenger.hotmail.com",
            "telnet 127.0.0.1 4001",
            "http://127.0.0.1:4004/metrics",
            "also notification-2 127.0.0.1:4009",
            "wonderland",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!super::text(&config, &all, false, Path::new("x")).contains("wonderland"));
        config.dispatch.https.enabled = false;
        assert!(!super::text(&config, &all, true, Path::new("x")).contains("https:"));
    }

    #[test]
    fn what_is_printed_can_be_used() {
        let mut config = Config::default();
        config.store.path = "/srv/it's here".into();
        config.dispatch.advertise = Some(([192, 0, 2, 1], 1863).into());
        for listen in [&mut config.dispatch.http.listen, &mut config.dispatch.dns.listen] {
            listen.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
        }
        let text = text(&config, &BTreeMap::new(), false, Path::new("logs"));
        for part in ["http://192.0.2.1:8080/", "dig @192.0.2.1 -p", "user list --data '/srv/it'\\''s here'"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        config.store.path = "/srv/monarch".into();
        let text = super::text(&config, &BTreeMap::new(), true, Path::new("logs"));
        assert!(text.contains("bob@example.com --data /srv/monarch\n"), "{text}");
    }
}
