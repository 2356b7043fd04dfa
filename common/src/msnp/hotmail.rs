//! `MSG Hotmail Hotmail` and `NOT`: what a notification server says by itself (§5.6, §6.20, §9.2).

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;

use super::dialect::{Dialect, SyncShape};
use super::line::Line;
use crate::model::{Bulletin, Passport, xml_len};

/// The first lines of a message of that content type.
fn head(content_type: &str) -> String {
    let mut text = String::with_capacity(512);
    // Writing to a string can't fail.
    let _ = write!(text, "MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n");
    text
}

/// `MSG Hotmail Hotmail length`
fn message(text: &str) -> Bytes {
    Line::new("MSG").arg("Hotmail").arg("Hotmail").payload(text.as_bytes())
}

/// What the profile message says.
#[derive(Debug, Clone)]
pub struct Profile<'a> {
    /// Seconds since 1970.
    pub login_time: u64,
    /// A number for the account; its halves are shown as signed numbers.
    pub member_id: u64,
    /// Whose.
    pub passport: &'a Passport,
    /// What the user calls itself, decoded.
    pub name: &'a str,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
}

/// `MSG Hotmail Hotmail length`: the profile, right after sign-in. Each line of it ends with CRLF, and an empty line
/// ends it (§5.6).
#[must_use]
pub fn profile(dialect: &Dialect, profile: &Profile<'_>) -> Bytes {
    let mut text = head("text/x-msmsgsprofile; charset=UTF-8");
    let _ = write!(text, "LoginTime: {}\r\n", profile.login_time);
    if dialect.full_profile {
        let (high, low) = ((profile.member_id >> 32) as u32 as i32, profile.member_id as u32 as i32);
        let _ = write!(
            text,
            "EmailEnabled: 0\r\nMemberIdHigh: {high}\r\nMemberIdLow: {low}\r\nlang_preference: 1033\r\n\
             preferredEmail: {}\r\ncountry: US\r\nPostalCode: \r\nGender: \r\nKid: 0\r\nAge: \r\nBDayPre: \r\n\
             Birthday: \r\nWallet: \r\nFlags: 1027\r\nsid: 507\r\nkv: 11\r\nMSPAuth: {WEB_TICKET}\r\n",
            profile.passport
        );
    }
    if dialect.client_address_in_profile {
        let ip = profile.client.ip().to_canonical();
        let _ = write!(text, "ClientIP: {ip}\r\nClientPort: {}\r\n", profile.client.port().swap_bytes());
    }
    if dialect.sync == SyncShape::Tagged {
        text.push_str("TOUNeeded: 0\r\nABCHMigrated: 1\r\n");
    }
    if dialect.name_in_profile {
        // A line of its own, whatever the name holds.
        text.push_str("Nickname: ");
        text.extend(profile.name.chars().filter(|c| !c.is_control()));
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    message(&text)
}

/// It would sign the user in to web sites of the service; there are none, so it opens nothing.
const WEB_TICKET: &str = "2AAAAAAAAAAAAAAAAAAAAAAA$$";

/// Where mail would be read; the same as in the answer to `URL`.
const MAIL_SITE: &str = "Inbox-URL: /unused1\r\nFolders-URL: /unused1\r\nPost-URL: /unused2\r\n";

/// How much mail there is, after the first `CHG`: none, since there is no mail service (§9.2). Dialects from 11 on get it as
/// XML, with room for messages that were kept.
#[must_use]
pub fn no_mail(dialect: &Dialect) -> Bytes {
    let mut text = if dialect.mail_data {
        head("text/x-msmsgsinitialmdatanotification; charset=UTF-8")
    } else {
        head("text/x-msmsgsinitialemailnotification; charset=UTF-8")
    };
    text.push_str(if dialect.mail_data {
        "\r\nMail-Data: <MD><E><I>0</I><IU>0</IU><O>0</O><OU>0</OU></E></MD>\r\n"
    } else {
        "\r\nInbox-Unread: 0\r\nFolders-Unread: 0\r\n"
    });
    text.push_str(MAIL_SITE);
    message(&text)
}

/// To whom a bulletin is shown.
#[derive(Debug, Clone, Copy)]
pub struct Addressee<'a> {
    /// Who.
    pub passport: &'a Passport,
    /// As in the profile.
    pub member_id: u64,
    /// The web address that a click opens: [`Addressee::MAX_INFO_URL`] bytes at most.
    pub info_url: &'a str,
}

impl Addressee<'_> {
    /// The most bytes of the web address [within XML](xml_len): with it, the longest text and the longest passport a
    /// notification still ends within 1,600 bytes (`CLIENTS` 2).
    pub const MAX_INFO_URL: usize = 500;
}

/// What operators tell a user, as its dialect shows it: that the service goes down is a system message, a text is a
/// notification, or word of a new mail where there are none yet.
#[must_use]
pub fn bulletin(dialect: &Dialect, to: &Addressee<'_>, bulletin: &Bulletin) -> Bytes {
    match bulletin {
        Bulletin::ShutDown { minutes } => shut_down(*minutes),
        Bulletin::Text { number, text } if dialect.notifications => notification(to, *number, text.as_str()),
        // Older clients show nothing else that a server says in words.
        Bulletin::Text { number, text } => mail(*number, text.as_str()),
    }
}

/// `Type: 1`: the service goes down in so many minutes. Exactly these lines in this order (`CLIENTS` 24).
fn shut_down(minutes: u16) -> Bytes {
    let mut text = head("application/x-msmsgssystemmessage");
    let _ = write!(text, "\r\nType: 1\r\nArg1: {minutes}\r\n");
    message(&text)
}

/// `NOT length`: shown beside the clock. One line, ended like one: a client that does not know the verb as one with a payload
/// takes it for a command that it does not know.
fn notification(to: &Addressee<'_>, number: u32, text: &str) -> Bytes {
    let Addressee { passport, member_id, info_url } = *to;
    let (high, low) = (member_id >> 32, member_id & u64::from(u32::MAX));
    let (passport, site, text) = (xml(passport.as_str()), xml(info_url), xml(text));
    // An action is relative to the site.
    let payload = format!(
        "<NOTIFICATION ver=\"1\" id=\"{number}\" siteid=\"0\" siteurl=\"{site}\">\
         <TO pid=\"0x{low:08x}:0x{high:08x}\" name=\"{passport}\" email=\"{passport}\"><VIA agent=\"messenger\"/></TO>\
         <MSG pri=\"1\" id=\"{number}\"><ACTION url=\"\"/><SUBSCR url=\"\"/><CAT id=\"1\"/>\
         <BODY lang=\"1033\" icon=\"\"><TEXT>{text}</TEXT></BODY></MSG></NOTIFICATION>\r\n"
    );
    Line::new("NOT").payload(payload.as_bytes())
}

/// Word of a new mail with the text for its subject.
fn mail(number: u32, text: &str) -> Bytes {
    let mut body = head("text/x-msmsgsemailnotification; charset=UTF-8");
    let _ = write!(
        body,
        "\r\nFrom: {SERVICE}\r\nMessage-URL: /unused1\r\nPost-URL: /unused2\r\nSubject: {text}\r\n\
         Dest-Folder: ACTIVE\r\nFrom-Addr: {SERVICE}\r\nid: {number}\r\n"
    );
    message(&body)
}

/// In whose name operators speak.
const SERVICE: &str = "Monarch";

/// A text within an element or an attribute.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(xml_len(text));
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BulletinText;

    fn said(bytes: &Bytes) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (line, payload) = text.split_once("\r\n").unwrap();
        let (verb, length) = line.rsplit_once(' ').unwrap();
        assert_eq!(length, payload.len().to_string());
        format!("{verb}|{}", payload.replace("\r\n", "|"))
    }

    #[test]
    fn there_is_no_mail() {
        let site = "Inbox-URL: /unused1|Folders-URL: /unused1|Post-URL: /unused2|";
        for dialect in Dialect::ALL {
            let (kind, counts) = if dialect.mail_data {
                ("initialmdata", "Mail-Data: <MD><E><I>0</I><IU>0</IU><O>0</O><OU>0</OU></E></MD>|")
            } else {
                ("initialemail", "Inbox-Unread: 0|Folders-Unread: 0|")
            };
            let head = "MSG Hotmail Hotmail|MIME-Version: 1.0|Content-Type: text/x-msmsgs";
            let expected = format!("{head}{kind}notification; charset=UTF-8||{counts}{site}");
            assert_eq!(said(&no_mail(dialect)), expected, "{dialect:?}");
        }
    }

    #[test]
    fn bulletins() {
        let alice = Passport::parse("alice@example.com").unwrap();
        let to =
            Addressee { passport: &alice, member_id: 0x0001_4b00_aa7b_c9d1, info_url: "http://example.com/?a&b" };
        let text = BulletinText::parse("Back at <5> & \"later\", Grüße").unwrap();
        let text = Bulletin::Text { number: 77, text };
        // CLIENTS 24
        let system = "MSG Hotmail Hotmail|MIME-Version: 1.0|Content-Type: application/x-msmsgssystemmessage||\
                      Type: 1|Arg1: 5|";
        let toast = "NOT|<NOTIFICATION ver=\"1\" id=\"77\" siteid=\"0\" siteurl=\"http://example.com/?a&amp;b\">\
                     <TO pid=\"0xaa7bc9d1:0x00014b00\" name=\"alice@example.com\" email=\"alice@example.com\">\
                     <VIA agent=\"messenger\"/></TO><MSG pri=\"1\" id=\"77\"><ACTION url=\"\"/><SUBSCR url=\"\"/>\
                     <CAT id=\"1\"/><BODY lang=\"1033\" icon=\"\"><TEXT>Back at &lt;5&gt; &amp; &quot;later&quot;, Grüße\
                     </TEXT></BODY></MSG></NOTIFICATION>|";
        let mail = "MSG Hotmail Hotmail|MIME-Version: 1.0|Content-Type: text/x-msmsgsemailnotification; charset=UTF-8||\
                    From: Monarch|Message-URL: /unused1|Post-URL: /unused2|Subject: Back at <5> & \"later\", Grüße|\
                    Dest-Folder: ACTIVE|From-Addr: Monarch|id: 77|";
        for dialect in Dialect::ALL {
            assert_eq!(said(&bulletin(dialect, &to, &Bulletin::ShutDown { minutes: 5 })), system);
            let expected = if dialect.notifications { toast } else { mail };
            assert_eq!(said(&bulletin(dialect, &to, &text)), expected, "{dialect:?}");
        }
    }

    /// `CLIENTS` 2: msnp11-sdk reads 1,664 bytes at a time, and what ends within 1,600 is best.
    #[test]
    fn the_longest_bulletin_fits_into_what_the_weakest_client_reads_at_once() {
        let longest = Passport::parse(&format!("{}@example.com", "a".repeat(Passport::MAX_LEN - 12))).unwrap();
        let site = format!("http://x/?{}", "&".repeat((Addressee::MAX_INFO_URL - 10) / 5));
        assert_eq!(xml_len(&site), Addressee::MAX_INFO_URL);
        let to = Addressee { passport: &longest, member_id: u64::MAX, info_url: &site };
        for text in ["\"".repeat(66) + "xxxx", "x".repeat(400)] {
            let text = BulletinText::parse(&text).unwrap();
            assert_eq!(xml_len(text.as_str()), BulletinText::MAX_LEN);
            for dialect in Dialect::ALL {
                let text = Bulletin::Text { number: i32::MAX as u32, text: text.clone() };
                let bytes = bulletin(dialect, &to, &text);
                assert!(bytes.len() <= 1600, "{dialect:?}: {}", bytes.len());
            }
        }
    }

    #[test]
    fn the_length_within_xml_is_that_of_what_is_written() {
        for text in ["", "plain", "<\"&amp;\">", "Grüße, 世界 & <b>"] {
            assert_eq!(xml_len(text), xml(text).len(), "{text}");
        }
    }

    #[test]
    fn profiles_have_the_lengths_of_the_reference() {
        let alice = Passport::parse("alice@example.com").unwrap();
        let member_id = u64::from(84_736_u32) << 32 | u64::from(-1_434_729_391_i32 as u32);
        let client = "198.51.100.7:1711".parse().unwrap();
        let facts =
            Profile { login_time: 1_750_000_000, member_id, passport: &alice, name: "Zo\u{eb}\r\nA: b", client };
        let text = |dialect| String::from_utf8(profile(dialect, &facts).to_vec()).unwrap();
        // §13.1
        let msnp2 = "MSG Hotmail Hotmail 95\r\nMIME-Version: 1.0\r\n\
                     Content-Type: text/x-msmsgsprofile; charset=UTF-8\r\nLoginTime: 1750000000\r\n\r\n";
        assert_eq!(text(&Dialect::MSNP2), msnp2);
        // §13.2
        for dialect in [&Dialect::MSNP3, &Dialect::MSNP4, &Dialect::MSNP5, &Dialect::MSNP6] {
            assert_eq!(text(dialect), text(&Dialect::MSNP7));
        }
        let msnp7 = text(&Dialect::MSNP7);
        assert!(msnp7.starts_with("MSG Hotmail Hotmail 370\r\nMIME-Version: 1.0\r\n"), "{msnp7}");
        assert!(msnp7.contains("\r\nMemberIdLow: -1434729391\r\n") && msnp7.ends_with("$$\r\n\r\n"), "{msnp7}");
        // §13.5, whose preferredEmail is empty
        let msnp8 = text(&Dialect::MSNP8);
        let expected = format!("MSG Hotmail Hotmail {}\r\n", 396 + alice.as_str().len());
        assert!(msnp8.starts_with(&expected), "{msnp8}");
        assert!(msnp8.ends_with("\r\nClientIP: 198.51.100.7\r\nClientPort: 44806\r\n\r\n"), "{msnp8}");
        assert_eq!(text(&Dialect::MSNP9), msnp8);
        let tail = "\r\nClientPort: 44806\r\nTOUNeeded: 0\r\nABCHMigrated: 1\r\n";
        assert!(text(&Dialect::MSNP10).ends_with(&format!("{tail}\r\n")));
        for dialect in [&Dialect::MSNP11, &Dialect::MSNP12] {
            let profile = text(dialect);
            assert!(profile.ends_with(&format!("{tail}Nickname: Zo\u{eb}A: b\r\n\r\n")), "{profile}");
            let (line, payload) = profile.split_once("\r\n").unwrap();
            assert_eq!(line, format!("MSG Hotmail Hotmail {}", payload.len()));
        }
    }
}
