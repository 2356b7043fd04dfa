//! What `RST.srf` answers. Prefixes, attributes and their quotes stand exactly so: clients search for them as text.
//! There is no white space between elements, on which others stumble (`CLIENTS.md`, SOAP, points 2 and 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quick_xml::escape::escape;

use super::super::sign_in::Checked;

/// A token to hand out.
pub(super) enum Token<'a> {
    /// For the site of that name.
    Site {
        /// As the client wrote it.
        site: &'a str,
        /// `t=…&p=…`
        ticket: String,
        /// That of the request.
        number: usize,
    },
    /// For this service itself.
    Passport {
        /// As the client wrote it.
        site: &'a str,
        /// What proves a sign-in.
        ticket: String,
        /// What clients keep with it.
        secret: [u8; 24],
    },
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No such account, or not its password.
    Wrong,
    /// The request can't be read.
    Invalid,
    /// Another try may help.
    Busy,
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:wsse=\"http://schemas.xmlsoap.org/ws/2003/06/secext\" \
    xmlns:wsu=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\" \
    xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2002/12/policy\" \
    xmlns:wsa=\"http://schemas.xmlsoap.org/ws/2004/03/addressing\" \
    xmlns:wst=\"http://schemas.xmlsoap.org/ws/2004/04/trust\" \
    xmlns:psf=\"http://schemas.microsoft.com/Passport/SoapServices/SOAPFault\">";

/// The answer with all tokens. `now` in milliseconds since 1970.
pub(super) fn tokens(who: &Checked, tokens: &[Token<'_>], now: u64) -> String {
    let life = format!(
        "<wst:LifeTime><wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires></wst:LifeTime>",
        timestamp(now),
        timestamp(who.expires)
    );
    let tokens: String = tokens.iter().map(|token| response(token, &life)).collect();
    format!(
        "{HEAD}<S:Header><psf:pp><psf:serverVersion>1</psf:serverVersion><psf:PUID>{:016X}</psf:PUID>\
         <psf:configVersion>1</psf:configVersion><psf:uiVersion>1</psf:uiVersion>\
         <psf:authstate>0x48803</psf:authstate><psf:reqstatus>0x0</psf:reqstatus>\
         <psf:serverInfo ServerTime=\"{}\"/><psf:cookies/><psf:credProperties>\
         <psf:credProperty Name=\"AuthMembername\">{}</psf:credProperty></psf:credProperties><psf:response/></psf:pp>\
         </S:Header><S:Body><wst:RequestSecurityTokenResponseCollection>{tokens}\
         </wst:RequestSecurityTokenResponseCollection></S:Body></S:Envelope>",
        who.member_id,
        timestamp(now),
        escape(who.passport.as_str()),
    )
}

fn response(token: &Token<'_>, life: &str) -> String {
    let (kind, site, token) = match token {
        Token::Site { site, ticket, number } => {
            let token = format!(
                "<wst:RequestedSecurityToken><wsse:BinarySecurityToken Id=\"Compact{number}\">{}\
                 </wsse:BinarySecurityToken></wst:RequestedSecurityToken><wst:RequestedTokenReference>\
                 <wsse:KeyIdentifier ValueType=\"urn:passport:compact\"/><wsse:Reference URI=\"#Compact{number}\"/>\
                 </wst:RequestedTokenReference>",
                escape(ticket.as_str())
            );
            ("compact", site, token)
        }
        Token::Passport { site, ticket, secret } => {
            let token = format!(
                "<wst:RequestedSecurityToken><EncryptedData xmlns=\"http://www.w3.org/2001/04/xmlenc#\" \
                 Id=\"BinaryDAToken0\"><CipherData><CipherValue>{}</CipherValue></CipherData></EncryptedData>\
                 </wst:RequestedSecurityToken><wst:RequestedTokenReference>\
                 <wsse:KeyIdentifier ValueType=\"urn:passport\"/><wsse:Reference URI=\"#BinaryDAToken0\"/>\
                 </wst:RequestedTokenReference><wst:RequestedProofToken><wst:BinarySecret>{}</wst:BinarySecret>\
                 </wst:RequestedProofToken>",
                STANDARD.encode(ticket),
                STANDARD.encode(secret)
            );
            ("legacy", site, token)
        }
    };
    format!(
        "<wst:RequestSecurityTokenResponse><wst:TokenType>urn:passport:{kind}</wst:TokenType><wsp:AppliesTo>\
         <wsa:EndpointReference><wsa:Address>{}</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>{life}{token}\
         </wst:RequestSecurityTokenResponse>",
        escape(*site)
    )
}

/// A fault. It stands directly in the envelope, where clients look for it. `now` in milliseconds since 1970.
pub(super) fn fault(fault: Fault, now: u64) -> String {
    let (code, text) = match fault {
        Fault::Wrong => ("wsse:FailedAuthentication", "Authentication Failure"),
        Fault::Invalid => ("S:Client", "Invalid Request"),
        Fault::Busy => ("S:Server", "Service Busy"),
    };
    // The header speaks of the credentials only.
    let header = match fault {
        Fault::Wrong => format!(
            "<S:Header><psf:pp><psf:serverVersion>1</psf:serverVersion><psf:authstate>0x80048800</psf:authstate>\
             <psf:reqstatus>0x80048821</psf:reqstatus><psf:serverInfo ServerTime=\"{}\"/><psf:cookies/>\
             <psf:response/></psf:pp></S:Header>",
            timestamp(now)
        ),
        Fault::Invalid | Fault::Busy => String::new(),
    };
    format!(
        "{HEAD}{header}<S:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></S:Fault></S:Envelope>"
    )
}

/// `2026-11-22T18:48:00Z`, of milliseconds since 1970.
fn timestamp(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}
