//! From dispatch to `USR OK`, in every dialect.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use common::msnp::challenge::md5_answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::Outside;
use crate::accounts::PASSWORD;
use crate::client::Client;

/// How long a sign-in may take, from the connection to dispatch to `USR OK`; clients then try once more.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two tries at a port where nobody listens yet.
const KNOCK: Duration = Duration::from_millis(10);
/// The longest answer of the login server that is read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Who signs in.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) passport: String,
    /// The number behind `MSNP`.
    pub(super) dialect: u8,
    pub(super) address: IpAddr,
}

impl Who {
    fn has_tickets(&self) -> bool {
        self.dialect >= 8
    }
}

/// How a client comes to a notification server that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knocks {
    /// If nobody listens there it goes away.
    Once,
    /// It tries until somebody listens.
    UntilHeard,
}

/// Signs in: at once at a certain notification server, if one is named, otherwise at the one that dispatch names. Returns the
/// connection, on which `USR OK` was the last thing read, and its server.
pub(super) async fn sign_in(
    outside: &Outside,
    who: &Who,
    dispatch: usize,
    straight: Option<(SocketAddr, Knocks)>,
) -> Result<(Client, SocketAddr)> {
    let signing_in = async {
        let (clients, http) = outside.dispatch[dispatch % outside.dispatch.len()];
        let (there, knocks) = match straight {
            Some(straight) => straight,
            None => (redirected(outside, who, clients).await.context("dispatch")?, Knocks::Once),
        };
        let mut connected = outside.connect(who.address, there).await;
        while connected.is_err() && knocks == Knocks::UntilHeard {
            sleep(KNOCK).await;
            connected = outside.connect(who.address, there).await;
        }
        let mut client = Client::over(connected?)?;
        let challenge = identify(&mut client, who).await?;
        ensure!(challenge.token(0) == "USR", "{:?} for USR I", challenge.tokens);
        let proof = if who.has_tickets() {
            format!("TWN S {}", ticket(outside, who, http, challenge.token(4)).await?)
        } else {
            format!("MD5 S {}", md5_answer(challenge.token(4), PASSWORD))
        };
        let ok = client.request("USR", &proof).await?;
        ensure!(ok.token(2) == "OK", "{:?} for USR S", ok.tokens);
        anyhow::Ok((client, there))
    };
    timeout(PATIENCE, signing_in).await.context("the sign-in takes too long")?
}

/// From `VER` to the answer to `USR … I`.
async fn identify(client: &mut Client, who: &Who) -> Result<crate::client::Received> {
    let Who { passport, dialect, .. } = who;
    client.request("VER", &format!("MSNP{dialect} CVR0")).await?;
    let scheme = if who.has_tickets() {
        client.request("CVR", &format!("0x0409 winnt 5.1 i386 MSNMSGR 7.0.0777 MSMSGS {passport}")).await?;
        "TWN"
    } else {
        client.request("INF", "").await?;
        "MD5"
    };
    client.request("USR", &format!("{scheme} I {passport}")).await
}

/// The notification server that dispatch names.
async fn redirected(outside: &Outside, who: &Who, dispatch: SocketAddr) -> Result<SocketAddr> {
    let mut client = Client::over(outside.connect(who.address, dispatch).await?)?;
    let answer = identify(&mut client, who).await?;
    ensure!(answer.token(0) == "XFR" && answer.token(2) == "NS", "{:?} for USR I", answer.tokens);
    Ok(answer.token(3).parse()?)
}

/// The ticket by Passport 1.4 (protocol reference §5.5).
async fn ticket(outside: &Outside, who: &Who, http: SocketAddr, challenge: &str) -> Result<String> {
    let mut stream = outside.connect(who.address, http).await.context("the login server")?;
    let name = who.passport.replace('@', "%40");
    let request = format!(
        "GET /login2.srf HTTP/1.1\r\nHost: {http}\r\nAuthorization: Passport1.4 OrgVerb=GET,\
         OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,sign-in={name},pwd={PASSWORD},{challenge}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    let ticket = answer.split("from-PP='").nth(1).and_then(|rest| rest.split('\'').next());
    match ticket {
        Some(ticket) => Ok(ticket.to_owned()),
        None => bail!("no ticket: {}", answer.lines().next().unwrap_or_default()),
    }
}
