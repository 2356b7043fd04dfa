//! The zone of the login host, asked by the resolver's own tool.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::{one_of_each, play, soon};

const ZONE: &str = "messenger.hotmail.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_asks_for_the_login_host() -> Result<()> {
    play(one_of_each(&["dispatch.dns.ttl_secs=7"]), async |world| {
        let dispatch = world.process("dispatch-1")?;
        let (dns, clients) = (dispatch.address("dns")?, dispatch.address("clients")?);
        for transport in ["+notcp", "+tcp"] {
            let expected = if transport == "+tcp" { "(TCP)" } else { "(UDP)" };
            // Old clients write the name as they like.
            for name in [ZONE, "Messenger.Hotmail.COM"] {
                let answer = dig(dns, &[name, "A", transport]).await?;
                answer.is("NOERROR", true)?;
                ensure!(
                    answer.records == [format!("{} 7 IN A {}", answer.asked(name), clients.ip())],
                    "{answer:?}"
                );
                ensure!(answer.text.contains(expected), "not by {expected}: {}", answer.text);
            }
            let soa = dig(dns, &[ZONE, "SOA", transport]).await?;
            soa.is("NOERROR", true)?;
            let start = format!("{ZONE}. 7 IN SOA ns1.{ZONE}. hostmaster.{ZONE}. ");
            ensure!(soa.records.len() == 1 && soa.records[0].starts_with(&start), "{soa:?}");

            let ns = dig(dns, &[ZONE, "NS", transport]).await?;
            ns.is("NOERROR", true)?;
            let glue = format!("ns1.{ZONE}. 7 IN A {}", clients.ip());
            ensure!(ns.records == [format!("{ZONE}. 7 IN NS ns1.{ZONE}.")] && ns.besides == [glue], "{ns:?}");

            let none = dig(dns, &[&format!("nothing.{ZONE}"), "A", transport]).await?;
            none.is("NXDOMAIN", true)?;
            let says_how_long = |answer: &Answer| {
                answer.records.is_empty()
                    && answer.besides.len() == 1
                    && answer.besides[0].starts_with(&start)
                    && answer.besides[0].ends_with(" 7")
            };
            ensure!(says_how_long(&none), "{none:?}");
            let no_such_type = dig(dns, &[ZONE, "AAAA", transport]).await?;
            no_such_type.is("NOERROR", true)?;
            ensure!(says_how_long(&no_such_type), "{no_such_type:?}");

            for other in ["example.com", "hotmail.com", "."] {
                let refused = dig(dns, &[other, "A", transport]).await?;
                refused.is("REFUSED", false)?;
                ensure!(refused.records.is_empty() && refused.besides.is_empty(), "{refused:?}");
            }
        }
        let transfer = dig(dns, &[ZONE, "AXFR", "+tcp"]).await?;
        ensure!(transfer.besides.is_empty() && transfer.text.contains("Transfer failed"), "{transfer:?}");
        Ok(())
    })
    .await
}

/// What `dig` shows.
#[derive(Debug)]
struct Answer {
    /// All of it.
    text: String,
    /// The records of the answer section, with one space between their fields.
    records: Vec<String>,
    /// Those of the other sections.
    besides: Vec<String>,
}

impl Answer {
    /// Checks status and authority.
    fn is(&self, status: &str, is_authoritative: bool) -> Result<()> {
        ensure!(self.text.contains(&format!("status: {status},")), "not {status}: {}", self.text);
        let flags = self.text.lines().find_map(|line| line.strip_prefix(";; flags: ")).context("no flags")?;
        let flags = flags.split(';').next().unwrap_or_default();
        ensure!(flags.split(' ').any(|flag| flag == "aa") == is_authoritative, "aa: {}", self.text);
        Ok(())
    }

    /// The name in an answer: as it was asked, or as the zone writes it; RFC 4343 leaves that open.
    fn asked(&self, name: &str) -> String {
        let owner = self.records.first().and_then(|record| record.split(' ').next()).unwrap_or_default();
        let is_it = owner.trim_end_matches('.').eq_ignore_ascii_case(name);
        if is_it { owner.to_owned() } else { format!("{name}.") }
    }
}

async fn dig(server: SocketAddr, query: &[&str]) -> Result<Answer> {
    let mut dig = Command::new("dig");
    // -r: without the settings of whoever runs the test.
    dig.args(["-r", &format!("@{}", server.ip()), "-p", &server.port().to_string()]);
    dig.args(["+norecurse", "+tries=1", "+time=5", "+noquestion"]).args(query).kill_on_drop(true);
    let running =
        async { dig.output().await.context("this test needs dig (bind9-dnsutils), which scripts/test installs") };
    let output = soon(running).await?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "dig {query:?}: {}\n{text}", output.status);
    let (mut records, mut besides, mut is_answer) = (Vec::new(), Vec::new(), false);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [";;", section, "SECTION:"] => is_answer = *section == "ANSWER",
            _ if line.starts_with(';') => {}
            _ if is_answer => records.push(fields.join(" ")),
            _ => besides.push(fields.join(" ")),
        }
    }
    Ok(Answer { text, records, besides })
}
