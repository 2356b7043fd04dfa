//! What a client asks `RST.srf` for.
//!
//! Elements are found by their local names and places: clients differ in prefixes and namespaces, and some declare
//! neither.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// Elements within each other; the deepest that clients send are eight.
const MAX_DEPTH: usize = 32;
/// Tokens in one request; clients ask for seven at most.
const MAX_TOKENS: usize = 16;
/// The longest address of a site, in bytes.
const MAX_SITE: usize = 255;

/// Who signs in, with what, and for which sites. Never printed.
#[derive(PartialEq, Eq)]
pub(super) struct TicketRequest {
    /// As it was written.
    pub(super) username: String,
    /// As it was written.
    pub(super) password: String,
    /// One at least.
    pub(super) tokens: Vec<TokenRequest>,
}

/// One token of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenRequest {
    /// The number in its `Id="RSTn"`; its place, counted from 0, if it has none.
    pub(super) number: usize,
    /// The address of the site that shall take it.
    pub(super) site: String,
}

/// Reads a request's body. Nothing if it is no well-formed XML, has a DTD, asks for no token or for too many, or names
/// nobody. Which policies it names makes no difference: in MSNP12 that is the challenge of the notification server,
/// and our tickets are signed (§5.5).
pub(super) fn parse(body: &[u8]) -> Option<TicketRequest> {
    let text = std::str::from_utf8(body).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk::default();
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => walk.open(&element)?,
            Event::End(_) => walk.close()?,
            Event::Text(text) => walk.text.push_str(&text.xml10_content()),
            Event::CData(text) => walk.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(letter) => walk.text.push(letter),
                None => walk.text.push_str(resolve_predefined_entity(&reference)?),
            },
            // Entities of one's own: nobody needs them, and some use them to make much of little.
            Event::DocType(_) => return None,
            Event::Eof => return walk.end(),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => {}
        }
    }
}

/// The elements that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    UsernameToken,
    Username,
    Password,
    Token,
    EndpointReference,
    Address,
    Other,
}

impl Element {
    fn of(element: &BytesStart<'_>) -> Self {
        match element.local_name().as_ref() {
            "UsernameToken" => Self::UsernameToken,
            "Username" => Self::Username,
            "Password" => Self::Password,
            "RequestSecurityToken" => Self::Token,
            "EndpointReference" => Self::EndpointReference,
            "Address" => Self::Address,
            _ => Self::Other,
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Walk {
    /// The elements that are open.
    path: Vec<Element>,
    /// The text since the last tag.
    text: String,
    username: Option<String>,
    password: Option<String>,
    /// The number of the token request that is open, and its site if that has come.
    open: Option<(usize, Option<String>)>,
    tokens: Vec<TokenRequest>,
    /// The outermost element has ended.
    done: bool,
}

impl Walk {
    fn open(&mut self, element: &BytesStart<'_>) -> Option<()> {
        self.text.clear();
        if self.path.len() == MAX_DEPTH || self.done {
            return None;
        }
        let kind = Element::of(element);
        let id = id_of(element)?;
        if kind == Element::Token {
            if self.open.is_some() || self.tokens.len() == MAX_TOKENS {
                return None;
            }
            self.open = Some((id.unwrap_or(self.tokens.len()), None));
        }
        self.path.push(kind);
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        let text = std::mem::take(&mut self.text);
        match *self.path.as_slice() {
            [.., Element::UsernameToken, Element::Username] => once(&mut self.username, text)?,
            [.., Element::UsernameToken, Element::Password] => once(&mut self.password, text)?,
            [.., Element::EndpointReference, Element::Address] => {
                if let Some((_, site)) = &mut self.open {
                    once(site, text.trim().to_owned())?;
                }
            }
            [.., Element::Token] => {
                let (number, site) = self.open.take()?;
                let site = site.filter(|site| (1..=MAX_SITE).contains(&site.len()))?;
                self.tokens.push(TokenRequest { number, site });
            }
            _ => {}
        }
        self.path.pop();
        self.done = self.path.is_empty();
        Some(())
    }

    fn end(self) -> Option<TicketRequest> {
        let (username, password) = (self.username?, self.password?);
        let complete = self.done && !self.tokens.is_empty();
        complete.then_some(TicketRequest { username, password, tokens: self.tokens })
    }
}

/// Said twice, it would be anybody's guess which one counts.
fn once(place: &mut Option<String>, text: String) -> Option<()> {
    place.replace(text).is_none().then_some(())
}

/// The number in `Id="RSTn"`, if there is one. Nothing at all if the attributes are not well-formed.
fn id_of(element: &BytesStart<'_>) -> Option<Option<usize>> {
    let mut number = None;
    for attribute in element.attributes() {
        let attribute = attribute.ok()?;
        if attribute.key.local_name().as_ref() == "Id" {
            let digits = attribute.value.strip_prefix("RST").filter(|digits| digits.len() <= 4);
            number = digits.and_then(|digits| digits.parse().ok());
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(attributes: &str, site: &str) -> String {
        format!(
            "<wst:RequestSecurityToken{attributes}>\r\n<wst:RequestType>http://schemas.xmlsoap.org/ws/2004/04/security/\
             trust/Issue</wst:RequestType><wsp:AppliesTo><wsa:EndpointReference><wsa:Address>{site}</wsa:Address>\
             </wsa:EndpointReference></wsp:AppliesTo><wsse:PolicyReference URI=\"?id=507&amp;ct=1\"/>\
             </wst:RequestSecurityToken>"
        )
    }

    fn envelope(credentials: &str, tokens: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope xmlns=\"x\"><!-- a --><Header>\
             <ps:AuthInfo Id=\"PPAuthInfo\"><ps:Cookies/></ps:AuthInfo><wsse:Security>\
             <wsse:UsernameToken Id=\"user\">{credentials}</wsse:UsernameToken></wsse:Security></Header><Body>\
             <ps:RequestMultipleSecurityTokens Id=\"RSTS\">{tokens}</ps:RequestMultipleSecurityTokens></Body></Envelope>\n"
        )
    }

    const ALICE: &str =
        "<wsse:Username>alice@example.com</wsse:Username><wsse:Password>wonderland</wsse:Password>";

    #[test]
    fn credentials_and_tokens() {
        let tokens = [
            token(" Id=\"RST0\"", "http://Passport.NET/tb"),
            token(" x='1' wsu:Id='RST7'", " messenger.msn.com\n"),
            token("", "contacts.msn.com"),
            token(" Id=\"RST12345\"", "a&amp;b"),
        ];
        let request = parse(envelope(ALICE, &tokens.concat()).as_bytes()).unwrap();
        assert_eq!((&*request.username, &*request.password), ("alice@example.com", "wonderland"));
        let found: Vec<_> = request.tokens.iter().map(|token| (token.number, &*token.site)).collect();
        assert_eq!(
            found,
            [(0, "http://Passport.NET/tb"), (7, "messenger.msn.com"), (2, "contacts.msn.com"), (3, "a&b")]
        );
    }

    #[test]
    fn a_password_may_hold_anything() {
        for (written, meant) in [
            ("a&lt;b&gt;&amp;&quot;&apos;", "a<b>&\"'"),
            ("<![CDATA[a<b&amp;]]>c", "a<b&amp;c"),
            ("gr&#252;n&#x20AC;", "gr\u{fc}n\u{20ac}"),
            (" a b ", " a b "),
            ("a<!-- b -->c", "ac"),
            ("", ""),
        ] {
            let credentials = format!("<Password>{written}</Password><Username>a@b</Username>");
            let request = parse(envelope(&credentials, &token("", "x")).as_bytes()).unwrap();
            assert_eq!(request.password, meant, "{written}");
        }
        let empty = "<Username>a@b</Username><Password/>";
        assert_eq!(parse(envelope(empty, &token("", "x")).as_bytes()).unwrap().password, "");
    }

    #[test]
    fn what_is_no_request() {
        let good = envelope(ALICE, &token("", "x"));
        assert!(parse(good.as_bytes()).is_some());
        let many = token("", "x").repeat(MAX_TOKENS + 1);
        let deep = format!("{}{}", "<a>".repeat(MAX_DEPTH + 1), "</a>".repeat(MAX_DEPTH + 1));
        let declared = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]>";
        for bad in [
            String::new(),
            "<a/>".into(),
            "not xml".into(),
            envelope("<Username>a@b</Username>", &token("", "x")),
            envelope("<Password>x</Password>", &token("", "x")),
            envelope(&ALICE.repeat(2), &token("", "x")),
            envelope(ALICE, ""),
            envelope(ALICE, &many),
            envelope(ALICE, &token("", "")),
            envelope(ALICE, &token("", &"x".repeat(MAX_SITE + 1))),
            envelope(ALICE, &token(" Id=RST1", "x")),
            envelope(ALICE, &format!("{}{deep}", token("", "x"))),
            envelope(&ALICE.replace("wonder", "&wonder;"), &token("", "x")),
            envelope(&ALICE.replace("wonder", "&#0;"), &token("", "x")),
            envelope(&ALICE.replace("</wsse:Password>", "</wsse:Passwort>"), &token("", "x")),
            format!("{declared}{}", good.trim_start_matches('\u{feff}').split_once("?>").unwrap().1),
            format!("{good}{good}"),
            good.replace("</Envelope>", ""),
            good.replace("UsernameToken", "Token"),
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(parse(&[good.as_bytes(), b"\xff"].concat()).is_none());
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(
            bytes: Vec<u8>,
            text in "(<|</|/>|>|&|;|&#|<!\\[CDATA\\[|<RequestSecurityToken|Id=\"RST|Address|\"| |\\PC){0,40}",
        ) {
            let _ = parse(&bytes);
            let _ = parse(envelope(&text, &text).as_bytes());
        }
    }
}
