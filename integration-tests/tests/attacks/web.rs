//! Sign-in by Passport 1.4, from any of this machine's addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);

/// The status that an attempt is answered with: 200, 401 or 503.
pub(crate) async fn log_in(from: IpAddr, http: SocketAddr, passport: &str, password: &str) -> Result<u16> {
    let answer = timeout(PATIENCE, ask(from, http, request(passport, password, "").as_bytes())).await;
    status(&answer.context("no answer")??)
}

/// The bytes of such an attempt, with further header lines.
pub(crate) fn request(passport: &str, password: &str, headers: &str) -> String {
    let passport = passport.replace('@', "%40");
    format!(
        "GET /login2.srf?lc=1033 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Authorization: Passport1.4 \
         OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,sign-in={passport},pwd={password},lc=1033,id=507\r\n\r\n"
    )
}

/// Whether a password is taken by SOAP.
pub(crate) async fn soap(from: IpAddr, http: SocketAddr, passport: &str, password: &str) -> Result<bool> {
    let request = soap_request(passport, password);
    let answer = timeout(PATIENCE, ask(from, http, request.as_bytes())).await.context("no answer")??;
    let (token, fault) = (answer.contains("BinarySecurityToken"), answer.contains("wsse:FailedAuthentication"));
    ensure!(token != fault, "neither a ticket nor a refusal: {answer}");
    Ok(token)
}

/// The bytes of such an attempt.
pub(crate) fn soap_request(passport: &str, password: &str) -> String {
    let body = format!(
        "<Envelope><Header><Security><UsernameToken><Username>{passport}</Username><Password>{password}</Password>\
         </UsernameToken></Security></Header><Body><RequestSecurityToken Id=\"RST1\"><AppliesTo><EndpointReference>\
         <Address>messenger.msn.com</Address></EndpointReference></AppliesTo></RequestSecurityToken></Body></Envelope>"
    );
    format!("POST /RST.srf HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sign-in by Passport 1.4, passed on by a proxy at `by`, which writes `before` before it and `lines` into its head.
pub(crate) async fn passed_on(
    by: IpAddr,
    http: SocketAddr,
    before: &[u8],
    lines: &str,
    [passport, password]: [&str; 2],
) -> Result<u16> {
    let bytes = [before, request(passport, password, lines).as_bytes()].concat();
    status(&timeout(PATIENCE, ask(by, http, &bytes)).await.context("no answer")??)
}

/// The answer to a request, and how long it took once there was a connection.
pub(crate) async fn timed(from: IpAddr, http: SocketAddr, request: &str) -> Result<(String, Duration)> {
    let asking = async {
        let mut stream = connect(from, http).await?;
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok((answer, begun.elapsed()))
    };
    timeout(PATIENCE, asking).await.context("no answer")?
}

async fn connect(from: IpAddr, http: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(http).await?)
}

async fn ask(from: IpAddr, http: SocketAddr, request: &[u8]) -> Result<String> {
    let mut stream = connect(from, http).await?;
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn status(answer: &str) -> Result<u16> {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("no status: {answer:?}"))
}
