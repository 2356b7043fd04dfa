//! Tickets by SOAP (`MSNP13-18.md` §2).

use common::cluster::Keyring;

use super::*;

/// The body that a client of MSNP12 sends; `challenge` is what the notification server has said.
pub(super) fn body(name: &str, password: &str, challenge: &str) -> String {
    let token = |id: &str, site: &str, policy: &str| {
        format!(
            "<wst:RequestSecurityToken Id=\"{id}\"><wst:RequestType>http://schemas.xmlsoap.org/ws/2004/04/security/trust/\
             Issue</wst:RequestType><wsp:AppliesTo><wsa:EndpointReference><wsa:Address>{site}</wsa:Address>\
             </wsa:EndpointReference></wsp:AppliesTo>{policy}</wst:RequestSecurityToken>"
        )
    };
    let policy = challenge.replace(',', "&amp;");
    let policy = format!("<wsse:PolicyReference URI=\"?{policy}\"></wsse:PolicyReference>");
    let secure = "<wsse:PolicyReference URI=\"MBI\"/>";
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:wsse=\"http://schemas.xmlsoap.org/ws/2003/06/secext\"><Header>\
         <ps:AuthInfo xmlns:ps=\"http://schemas.microsoft.com/Passport/SoapServices/PPCRL\" Id=\"PPAuthInfo\">\
         <ps:Cookies></ps:Cookies></ps:AuthInfo><wsse:Security><wsse:UsernameToken Id=\"user\">\
         <wsse:Username>{name}</wsse:Username><wsse:Password>{password}</wsse:Password></wsse:UsernameToken>\
         </wsse:Security></Header><Body><ps:RequestMultipleSecurityTokens Id=\"RSTS\">{}{}{}\
         </ps:RequestMultipleSecurityTokens></Body></Envelope>",
        token("RST0", "http://Passport.NET/tb", ""),
        token("RST1", "Messenger.msn.com", &policy),
        token("RST2", "contacts.msn.com", secure)
    )
}

const CHALLENGE: &str = "lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct=1750000000,kpp=1,kv=4";

impl World {
    /// Posts a body and returns status line and body of the answer.
    async fn post(&self, body: &str) -> (String, String) {
        let length = body.len();
        let answer = self
            .exchange(&format!(
                "POST //RST.srf HTTP/1.1\r\nHost: login.live.com\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ))
            .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nContent-Type: text/xml; charset=utf-8"), "{head}");
        (head.split("\r\n").next().unwrap().to_owned(), body.to_owned())
    }

    async fn rst(&self, name: &str, password: &str) -> (String, String) {
        self.post(&body(name, password, CHALLENGE)).await
    }
}

/// A fault without the time in it, which differs from one to the next.
fn without_time(fault: &str) -> String {
    let (before, after) = fault.split_once("ServerTime=\"").unwrap();
    let (time, rest) = after.split_once('"').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 20, "{time}");
    format!("{before}{rest}")
}

/// What stands between two texts, once.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let parts: Vec<_> = text.split(before).collect();
    assert_eq!(parts.len(), 2, "{before} in {text}");
    parts[1].split(after).next().unwrap()
}

#[tokio::test]
async fn the_right_password_gets_a_token_for_each_site() {
    let world = world().await;
    world.account("alice@example.com", "a<&>\" b", 7).await;
    let (status, answer) = world.rst(" Alice@Example.com ", "a&lt;&amp;&gt;&quot; b").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(world.metrics.sign_ins("ok"), 1);
    let token = |id| between(&answer, &format!("<wsse:BinarySecurityToken Id=\"{id}\">"), "</wsse:");
    assert_eq!(token("Compact1"), "t=alice@example.com.7&amp;p=");
    assert_eq!(token("Compact2"), "t=contacts.msn.com.alice@example.com.7&amp;p=");
    assert_eq!(between(&answer, "<wst:BinarySecret>", "<").len(), 32, "24 bytes in base64");
    assert_eq!(answer.matches("<wst:RequestSecurityTokenResponse>").count(), 3);
    assert_eq!(between(&answer, "<psf:reqstatus>", "<"), "0x0");
    assert!(answer.contains("<wsa:Address>Messenger.msn.com</wsa:Address>"), "{answer}");
    // Well-formed, and each token has the life of the ticket.
    let mut reader = quick_xml::Reader::from_str(&answer);
    while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    let time = |name| answer.split(name).nth(1).unwrap().split('<').next().unwrap().parse().unwrap();
    let (created, expires): (jiff::Timestamp, jiff::Timestamp) = (time("<wsu:Created>"), time("<wsu:Expires>"));
    let life = expires.as_second() - created.as_second();
    assert!((3595..=3600).contains(&life), "{life}");
}

#[tokio::test]
async fn clients_soap_1_slashes_may_be_doubled() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    let body = body("alice@example.com", "wonderland", CHALLENGE);
    let length = body.len();
    for path in ["/RST.srf", "//RST.srf"] {
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        let answer = world.exchange(&format!("{head}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.contains("t=alice@example.com.7&amp;p="), "{path}: {answer}");
    }
}

#[tokio::test]
async fn clients_soap_2_no_white_space_between_the_tokens() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    let (_, answer) = world.rst("alice@example.com", "wonderland").await;
    let between_elements = answer.split('<').skip(1).filter_map(|element| element.split_once('>'));
    for (element, text) in between_elements {
        assert!(text.is_empty() || !text.trim().is_empty(), "behind {element}: {text:?}");
    }
    let next = "</wst:RequestSecurityTokenResponse><wst:RequestSecurityTokenResponse>";
    assert_eq!(answer.matches(next).count(), 2, "{answer}");
}

#[tokio::test]
async fn clients_soap_3_the_token_has_the_number_of_its_request() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    let (_, answer) = world.rst("alice@example.com", "wonderland").await;
    let all: Vec<&str> = answer.split("<wst:RequestSecurityTokenResponse>").skip(1).collect();
    // The first of the three is that for `http://Passport.NET/tb`, with a secret and no token of its own.
    assert!(all[0].contains("<wst:BinarySecret>") && !all[0].contains("Id=\"Compact"), "{}", all[0]);
    assert!(all[1].contains("<wsse:BinarySecurityToken Id=\"Compact1\">"), "{}", all[1]);
    assert!(all[2].contains("<wsse:BinarySecurityToken Id=\"Compact2\">"), "{}", all[2]);
    for prefix in ["<S:Envelope", "<S:Body>", "<wst:RequestedSecurityToken>", "<wsse:BinarySecurityToken"] {
        assert!(answer.contains(prefix), "{prefix} in {answer}");
    }
}

#[tokio::test]
async fn clients_soap_4_answers_are_small() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    let (_, answer) = world.rst("alice@example.com", "wonderland").await;
    assert!(answer.len() < 5000, "{}", answer.len());
}

#[tokio::test]
async fn the_ticket_is_one_that_the_notification_tier_opens() {
    let keys = Keyring::from_secrets([[7; 32]]).unwrap();
    let world = world_sealed_by(Arc::new(keys.clone())).await;
    world.account("alice@example.com", "wonderland", 7).await;
    // MSNP12: the policy is the challenge. Ours are not in the ticket: a signature is worth more.
    let (_, answer) = world.rst("alice@example.com", "wonderland").await;
    let ticket = |id: &str| {
        let token = between(&answer, &format!("<wsse:BinarySecurityToken Id=\"{id}\">"), "<");
        token.replace("&amp;", "&")
    };
    let now = common::clock::wall_ms();
    let opened = keys.open_ticket(&ticket("Compact1"), now).unwrap();
    assert_eq!((opened.passport.as_str(), opened.credential_epoch), ("alice@example.com", 7));
    assert!(ticket("Compact1").len() < 1000);
    assert!(keys.open_ticket(&ticket("Compact2"), now).is_err(), "of another audience");
    assert!(keys.open_site_ticket("contacts.msn.com", &ticket("Compact2"), now).is_ok());
    assert!(keys.open_ticket(&ticket("Compact1"), now + 3_601_000).is_err());
}

#[tokio::test]
async fn all_that_is_wrong_gets_the_same_fault() {
    let world = world().await;
    world.account("alice@example.com", "wonderland and more than sixteen", 7).await;
    let (status, fault) = world.rst("alice@example.com", "guess").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(between(&fault, "<S:Fault><faultcode>", "<"), "wsse:FailedAuthentication");
    assert_eq!(between(&fault, "<faultstring>", "<"), "Authentication Failure");
    assert_eq!(between(&fault, "<psf:authstate>", "<"), "0x80048800");
    let fault = without_time(&fault);
    for (name, password) in [
        ("alice@example.com", ""),
        // The first sixteen characters of a longer password are not that password.
        ("alice@example.com", "wonderland and m"),
        ("nobody@example.com", "wonderland"),
        ("no-address", "wonderland"),
    ] {
        let (status, other) = world.rst(name, password).await;
        assert_eq!((&*status, without_time(&other)), ("HTTP/1.1 200 OK", fault.clone()), "{name} {password}");
    }
    assert_eq!((world.metrics.sign_ins("wrong"), world.metrics.sign_ins("malformed")), (4, 1));
}

#[tokio::test]
async fn guesses_by_soap_and_by_header_are_counted_together() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    for _ in 0..5 {
        assert_eq!(world.sign_in("alice@example.com", "guess").await, world.refused());
        assert!(world.rst("alice@example.com", "guess").await.1.contains("wsse:FailedAuthentication"));
    }
    assert!(world.rst("alice@example.com", "wonderland").await.1.contains("wsse:FailedAuthentication"));
    assert_eq!(world.metrics.refusals("soap", Refusal::TooMany), 1, "unchecked");
}

#[tokio::test]
async fn a_password_that_was_right_by_header_costs_no_hash_by_soap() {
    let dear = AccountsConfig { argon2_waiting: 0, argon2_parallel: 1, ..AccountsConfig::default() };
    let world = world_with(dear, HttpConfig::default()).await;
    world.account("alice@example.com", "wonderland", 7).await;
    assert!(world.sign_in("alice@example.com", "wonderland").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let alice = Passport::parse("alice@example.com").unwrap();
    let spoilt = "$argon2id$spoilt".into();
    world.memory.accounts.lock().unwrap().get_mut(&alice).unwrap().credentials.password_hash = spoilt;
    let (_, answer) = world.rst("alice@example.com", "wonderland").await;
    assert!(answer.contains("Compact1"), "{answer}");
}

#[tokio::test]
async fn without_the_store_it_is_503_and_a_fault() {
    let world = world().await;
    world.memory.down.store(true, Ordering::Relaxed);
    let (status, answer) = world.rst("alice@example.com", "x").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(answer.contains("<faultcode>S:Server</faultcode>"), "{answer}");
    assert_eq!(world.metrics.sign_ins("unavailable"), 1);
}

#[tokio::test]
async fn what_is_no_request_is_a_fault_too_and_bounded() {
    let world = world().await;
    for bad in ["", "<a>", "name=alice&password=x", "<!DOCTYPE a []><a/>"] {
        let (status, answer) = world.post(bad).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{bad}");
        assert!(answer.contains("<faultcode>S:Client</faultcode><faultstring>Invalid Request<"), "{answer}");
    }
    // By its length alone, before any of it has come; and without one, when it has become too much.
    let head = "POST /RST.srf HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let told = world.exchange(&format!("{head}Content-Length: 16385\r\n\r\n")).await;
    assert!(told.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{told}");
    let grown = format!("{head}Transfer-Encoding: chunked\r\n\r\n4001\r\n{}", "x".repeat(0x4001));
    let grown = world.exchange(&grown).await;
    assert!(grown.starts_with("HTTP/1.1 413 "), "{grown}");
    let whole = format!("{head}Content-Length: 16384\r\n\r\n{}", "x".repeat(16384));
    assert!(world.exchange(&whole).await.contains("S:Client"));
    assert_eq!(world.memory.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = world().await;
    let head = "POST /RST.srf HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n<a";
    let answer = world.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}
