//! How to connect: what `up` prints when all is ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use common::config::Config;

use super::demo;
use super::tier::Addresses;

/// The text. `first` is whether the demo accounts were made at this start.
pub(super) fn text(config: &Config, all: &BTreeMap<&'static str, Addresses>, first: bool, logs: &Path) -> String {
    let found = |tier: &str, name: &str| all.get(tier).and_then(|addresses| addresses.get(name)).copied();
    let told = |tier: &str, advertise: Option<SocketAddr>, listen| {
        advertise.or_else(|| found(tier, "clients")).unwrap_or(listen)
    };
    let dispatch = told("dispatch", config.dispatch.advertise, config.dispatch.listen);
    let notification = told("notification", config.notification.advertise, config.notification.listen);
    let switchboard = told("switchboard", config.switchboard.advertise, config.switchboard.listen);
    let http = found("dispatch", "http").unwrap_or(config.dispatch.http.listen);
    let https = found("dispatch", "https").unwrap_or(config.dispatch.https.listen);
    let dns = found("dispatch", "dns").unwrap_or(config.dispatch.dns.listen);
    let domain = &config.dispatch.dns.domain;

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
        line("  Accounts      those of the last start (`monarch user list`)");
    }
    line(&format!("  Clients       dispatch {dispatch} sends them to notification {notification}"));
    line(&format!("                and, for a conversation, to switchboard {switchboard}"));
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
    line(&format!("  By hand       telnet {} {}", dispatch.ip(), dispatch.port()));
    line("                VER 1 MSNP7 CVR0");
    line("                INF 2");
    line(&format!("                USR 3 MD5 I {}", demo::ACCOUNTS[0].0));
    for tier in ["dispatch", "notification", "switchboard"] {
        if let Some(admin) = found(tier, "admin") {
            let name = if tier == "dispatch" { "Metrics" } else { "" };
            line(&format!("  {name:<12}  http://{admin}/metrics  {tier}"));
        }
    }
    line(&format!("  Logs          {}", logs.display()));
    line(&format!("  History       monarch history show {} {}", demo::ACCOUNTS[0].0, demo::ACCOUNTS[1].0));
    line("\nCtrl-C stops it.");
    out
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
        let all = [("dispatch", Addresses::from(dispatch))].into();
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
            "wonderland",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!super::text(&config, &all, false, Path::new("x")).contains("wonderland"));
        config.dispatch.https.enabled = false;
        assert!(!super::text(&config, &all, true, Path::new("x")).contains("https:"));
    }
}
