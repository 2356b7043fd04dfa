//! The ticket got over HTTP: by Passport 1.4, as clients from MSN Messenger 5 do, or by SOAP (protocol reference §5.5).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;
/// What a client sends when it has not seen a challenge of its own.
const CHALLENGE: &str = "lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct=1750000000,kpp=1,kv=4,\
                         ver=2.1.0173.1,tpf=43f8a4c8ed940c04e3740be46c4d1619";
/// What a client asks `RST.srf`, with places for what differs.
const ENVELOPE: &str = include_str!("rst.xml");
/// What stands for the ticket when the password was wrong.
pub(super) const REFUSED: &str = "refused";

/// Asks the nexus where to sign in, then signs in there. The ticket, or [`REFUSED`] for the 401 of a wrong
/// password.
pub(super) async fn ticket(
    http: SocketAddr,
    passport: &str,
    password: &str,
    challenge: Option<&str>,
    patience: Duration,
) -> anyhow::Result<String> {
    let nexus = get(http, "/rdr/pprdr.asp", "nexus.passport.com", None, patience).await?;
    let urls = nexus.header("PassportURLs").filter(|_| nexus.status == 200);
    let urls = urls.ok_or_else(|| anyhow::anyhow!("the nexus answered: {}", nexus.head))?;
    let login = urls.split("DALogin=").nth(1).and_then(|rest| rest.split(',').next());
    let login = login.ok_or_else(|| anyhow::anyhow!("no DALogin in {urls:?}"))?;
    let (address, host, path) = locate(login, http)?;
    let challenge = challenge.unwrap_or(CHALLENGE);
    let authorization = format!(
        "Authorization: Passport1.4 OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,sign-in={},pwd={},{challenge}",
        passport.replace('@', "%40"),
        common::msnp::value::encode(password).to_string().replace(',', "%2C"),
    );
    let answer = get(address, &path, &host, Some(&authorization), patience).await?;
    match answer.status {
        200 => {
            let info = answer.header("Authentication-Info").unwrap_or_default();
            let ticket = info.split("from-PP='").nth(1).and_then(|rest| rest.strip_suffix('\''));
            let ticket = ticket.filter(|ticket| ticket.starts_with("t=") && !ticket.contains([',', '\'', ' ']));
            ticket.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a 200 without a ticket: {}", answer.head))
        }
        401 => {
            let refusal = answer.header("WWW-Authenticate").unwrap_or_default();
            anyhow::ensure!(refusal.contains("da-status=failed"), "a 401 without its reason: {}", answer.head);
            Ok(REFUSED.to_owned())
        }
        _ => anyhow::bail!("the login server answered: {}", answer.head),
    }
}

/// Address, `Host` and path of what stands in `DALogin=`. What needs TLS is asked for without it at `http`.
fn locate(login: &str, http: SocketAddr) -> anyhow::Result<(SocketAddr, String, String)> {
    let plain = login.strip_prefix("http://");
    let (host, path) = plain.unwrap_or(login).split_once('/').unwrap_or((login, ""));
    let address = match plain {
        Some(_) if host.contains(':') => host.parse()?,
        _ => http,
    };
    Ok((address, host.to_owned(), format!("/{path}")))
}

/// Asks for the ticket by SOAP, as clients of MSNP12 do (`MSNP13-18.md` §2). The policy is the challenge of the
/// notification server. The ticket, or [`REFUSED`] for the fault of a wrong password.
pub(super) async fn soap_ticket(
    http: SocketAddr,
    passport: &str,
    password: &str,
    challenge: Option<&str>,
    patience: Duration,
) -> anyhow::Result<String> {
    let policy = format!("?{}", challenge.unwrap_or(CHALLENGE).replace(',', "&"));
    let body = ENVELOPE
        .replace("POLICY", &escape(&policy))
        .replace("PASSPORT", &escape(passport))
        .replace("PASSWORD", &escape(password));
    let length = body.len();
    let request = format!(
        "POST /RST.srf HTTP/1.1\r\nHost: login.live.com\r\nContent-Type: text/xml; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let answer = exchange(http, &request, patience).await?;
    let strange = || anyhow::anyhow!("RST.srf answered: {} {}", answer.head, answer.body);
    anyhow::ensure!(answer.status == 200, strange());
    if answer.body.contains("<S:Fault><faultcode>wsse:FailedAuthentication</faultcode>") {
        return Ok(REFUSED.to_owned());
    }
    // As old clients find it: by exactly these letters.
    let token = answer.body.split("<wsse:BinarySecurityToken Id=\"Compact1\">").nth(1).ok_or_else(strange)?;
    let token = token.split('<').next().unwrap_or_default();
    let ticket = token.replace("&amp;", "&");
    anyhow::ensure!(ticket.starts_with("t=") && ticket.contains("&p="), strange());
    Ok(ticket)
}

/// A text within XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// A header by its exact name: old clients compare case.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn get(
    address: SocketAddr,
    path: &str,
    host: &str,
    header: Option<&str>,
    patience: Duration,
) -> anyhow::Result<Answer> {
    let header = header.map(|header| format!("{header}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}Connection: close\r\n\r\n");
    exchange(address, &request, patience).await
}

async fn exchange(address: SocketAddr, request: &str, patience: Duration) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(patience, exchange).await.map_err(|_| anyhow::anyhow!("no answer from {address}"))??;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| anyhow::anyhow!("no HTTP answer from {address}: {head:?}"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn where_to_sign_in() {
        let http = "127.0.0.1:8080".parse().unwrap();
        for (login, address, host, path) in [
            ("http://127.0.0.1:81/login2.srf?lc=1033", "127.0.0.1:81", "127.0.0.1:81", "/login2.srf?lc=1033"),
            ("login.example.com/login2.srf?lc=1033", "127.0.0.1:8080", "login.example.com", "/login2.srf?lc=1033"),
        ] {
            assert_eq!(locate(login, http).unwrap(), (address.parse().unwrap(), host.into(), path.into()));
        }
    }

    /// Answers each connection with the next of `answers`, and returns what was asked.
    async fn serve(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![stream.read_u8().await.unwrap()];
            let end: &[u8] = if request == b"P" { b"</Envelope>\n" } else { b"\r\n\r\n" };
            while !request.ends_with(end) {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(request).unwrap());
        }
        asked
    }

    async fn passport(answer: &str) -> (anyhow::Result<String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let nexus =
            format!("HTTP/1.1 200 OK\r\nPassportURLs: DALogin=http://{http}/login2.srf?lc=1033,Help=x\r\n\r\n");
        let server = tokio::spawn(serve(listener, vec![nexus, answer.to_owned()]));
        let got = ticket(http, "alice@example.com", "a b,c", None, Duration::from_secs(5)).await;
        (got, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_ticket_or_a_refusal() {
        let info = "Authentication-Info: Passport1.4 da-status=success,ru=x,from-PP='t=abc&p='";
        let (got, asked) = passport(&format!("HTTP/1.1 200 OK\r\n{info}\r\n\r\n")).await;
        assert_eq!(got.unwrap(), "t=abc&p=");
        assert!(asked[1].starts_with("GET /login2.srf?lc=1033 HTTP/1.1\r\n"), "{}", asked[1]);
        assert!(asked[1].contains(",sign-in=alice%40example.com,pwd=a%20b%2Cc,lc=1033,"), "{}", asked[1]);
        let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Passport1.4 da-status=failed\r\n\r\n";
        assert_eq!(passport(refusal).await.0.unwrap(), REFUSED);
        let wrong_case = info.replace("Authentication-Info", "authentication-info");
        assert!(passport(&format!("HTTP/1.1 200 OK\r\n{wrong_case}\r\n\r\n")).await.0.is_err());
    }
    #[tokio::test]
    async fn a_token_or_a_fault() {
        for (body, expected) in [
            ("<wsse:BinarySecurityToken Id=\"Compact1\">t=a&amp;p=b</wsse:BinarySecurityToken>", Some("t=a&p=b")),
            ("<S:Fault><faultcode>wsse:FailedAuthentication</faultcode></S:Fault>", Some(REFUSED)),
            ("<S:Fault><faultcode>S:Client</faultcode></S:Fault>", None),
            ("<wsse:BinarySecurityToken Id='Compact1'>t=a&amp;p=b</wsse:BinarySecurityToken>", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let http = listener.local_addr().unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
            let server = tokio::spawn(serve(listener, vec![answer]));
            let got =
                soap_ticket(http, "alice@example.com", "a<&\"b", Some("a=1,b=2"), Duration::from_secs(5)).await;
            assert_eq!(got.as_deref().ok(), expected, "{body} {got:?}");
            let asked = server.await.unwrap().remove(0);
            assert!(asked.starts_with("POST /RST.srf HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("<wsse:Password>a&lt;&amp;&quot;b</wsse:Password>"), "{asked}");
            assert!(asked.contains(" URI=\"?a=1&amp;b=2\">"), "{asked}");
        }
    }
}
