//! Passport 1.4: the headers of its exchange (protocol reference §5.5).

use common::model::Passport;
use percent_encoding::percent_decode;

use super::sign_in::Attempt;

/// The keys of the challenge, which follow the password. The password may come raw, commas included, so that only
/// these tell where it ends.
const CHALLENGE_KEYS: &[&str] =
    &["lc", "id", "tw", "fs", "ru", "ct", "kpp", "kv", "ver", "rver", "wp", "rn", "tpf", "sign-in"];

/// Reads an `Authorization` header: `Passport1.4 OrgVerb=GET,OrgURL=…,sign-in=…,pwd=…,<challenge>`. Nothing if it is
/// another, or names nobody that could have an account.
pub(super) fn parse(authorization: &[u8]) -> Option<Attempt> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, parameters) = text.trim_start().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Passport1.4") {
        return None;
    }
    let (before, rest) = split_at_key(parameters, "pwd")?;
    let end = CHALLENGE_KEYS.iter().filter_map(|key| find_key(rest, key)).min();
    let (raw, after) = end.map_or((rest, ""), |end| rest.split_at(end));
    let name = [before, after].into_iter().find_map(|part| Some(split_at_key(part, "sign-in")?.1))?;
    let name = name.split(',').next().unwrap_or_default().trim();
    let passport = Passport::parse(&percent_decode(name.as_bytes()).decode_utf8().ok()?).ok()?;
    let mut passwords: Vec<String> = Vec::new();
    passwords.extend(percent_decode(raw.as_bytes()).decode_utf8().ok().map(Into::into));
    if passwords.iter().all(|decoded| decoded != raw) {
        passwords.push(raw.into());
    }
    Some(Attempt { passport, passwords })
}

/// What is before a parameter, and its value with all that follows.
fn split_at_key<'a>(parameters: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let at_start = parameters.trim_start().strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
    if let Some(value) = at_start {
        return Some(("", value));
    }
    let at = find_key(parameters, key)?;
    let (before, rest) = parameters.split_at(at);
    Some((before, rest.split_once('=')?.1))
}

/// Where `,key=` is.
fn find_key(parameters: &str, key: &str) -> Option<usize> {
    let is_key = |at: usize| {
        let rest = parameters.get(at + 1..)?.trim_start_matches(' ').strip_prefix(key)?;
        rest.starts_with('=').then_some(at)
    };
    parameters.match_indices(',').find_map(|(at, _)| is_key(at))
}

/// `PassportURLs`: where to sign in. The official nexus named `DARealm` first; here `DALogin` is, since msnp11-sdk takes all
/// that follows it for the address. It is not the last, since others read up to a comma, and none ends the value: an empty
/// pair stops msnlib and Twisted (`CLIENTS.md`, Passport 1.4, point 4).
pub(super) fn urls(login: &str) -> String {
    let login = login.trim_end_matches(',');
    let (scheme, rest) = login.split_once("://").unwrap_or(("https", login));
    let page = format!("{scheme}://{}/", rest.split('/').next().unwrap_or_default());
    format!(
        "DALogin={login},DARealm=Passport.Net,DAReg={page},Properties={page},GeneralRedir={page},Help={page},\
         ConfigVersion=11"
    )
}

/// `Authentication-Info` for a sign-in that succeeded. The ticket is last, in single quotes: msnp11-sdk takes the
/// rest of the line.
pub(super) fn success(ticket: &str) -> String {
    format!(
        "Passport1.4 da-status=success,tname=MSPAuth,tname=MSPProf,tname=MSPSec,ru=http://messenger.msn.com,\
         from-PP='{ticket}'"
    )
}

/// `WWW-Authenticate` for one that failed. `help` is a web address.
pub(super) fn failure(help: &str) -> String {
    format!(
        "Passport1.4 da-status=failed,srealm=Passport.NET,ts=-3,prompt,cburl={help},\
         cbtxt=The%20name%20or%20the%20password%20is%20wrong."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHALLENGE: &str = "lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct=1750000000,kpp=1,\
        kv=4,ver=2.1.0173.1,tpf=43f8a4c8ed940c04e3740be46c4d1619";

    #[track_caller]
    fn check(name: &str, pwd: &str, passwords: &[&str]) {
        for challenge in [String::new(), format!(",{CHALLENGE}"), ",ct=1,rver=5.5,wp=x,lc=1033".into()] {
            let org = "OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom";
            let header = format!("Passport1.4 {org},sign-in={name},pwd={pwd}{challenge}");
            let attempt = parse(header.as_bytes()).unwrap();
            assert_eq!(attempt.passport.as_str(), "alice@example.com");
            assert_eq!(attempt.passwords, passwords, "{header}");
        }
    }

    #[test]
    fn name_and_password_come_raw_or_encoded() {
        check("alice%40example.com", "wonderland", &["wonderland"]);
        check("Alice@Example.com", "wonder%20land", &["wonder land", "wonder%20land"]);
        check("alice@example.com", "100%", &["100%"]);
        check("alice@example.com", "a,b=c,d", &["a,b=c,d"]);
        check("alice@example.com", "", &[""]);
        check("alice@example.com", "pass,pwd=x", &["pass,pwd=x"]);
        check("alice@example.com", "gr\u{fc}n", &["gr\u{fc}n"]);
        check("alice@example.com", "%ff", &["%ff"]);
    }

    #[test]
    fn the_order_is_free_and_spaces_are_harmless() {
        for header in [
            "passport1.4 sign-in=alice@example.com,pwd=x,lc=1033",
            "Passport1.4 pwd=x,sign-in=alice@example.com,lc=1033",
            "Passport1.4 OrgVerb=GET, sign-in=alice@example.com, pwd=x, lc=1033",
        ] {
            let attempt = parse(header.as_bytes()).unwrap();
            assert_eq!(
                (attempt.passport.as_str(), &attempt.passwords[..]),
                ("alice@example.com", &["x".to_owned()][..])
            );
        }
    }

    #[test]
    fn what_is_no_attempt() {
        for header in [
            "",
            "Passport1.4",
            "Basic YWxpY2U6eA==",
            "Passport1.4 sign-in=alice@example.com",
            "Passport1.4 pwd=x",
            "Passport1.4 sign-in=alice,pwd=x",
            "Passport1.4 sign-in=alice%0D%0A@example.com,pwd=x",
            "Passport1.4 xsign-in=alice@example.com,pwd=x",
        ] {
            assert!(parse(header.as_bytes()).is_none(), "{header}");
        }
        assert!(parse(b"Passport1.4 sign-in=alice@example.com,pwd=\xff").is_none());
    }

    /// How clients find the address: libpurple, bitlbee and JML look for the key and read up to a comma; msnlib and Twisted
    /// take pairs apart, and fail where one has no `=`; msnp11-sdk removes the key from the whole.
    fn found(urls: &str) -> [Option<String>; 3] {
        let up_to_comma =
            urls.split_once("DALogin=").and_then(|(_, rest)| Some(rest.split_once(',')?.0.to_owned()));
        let pairs: Option<Vec<_>> = urls.split(',').map(|pair| pair.split_once('=')).collect();
        let by_key = pairs.and_then(|pairs| pairs.into_iter().find(|(key, _)| *key == "DALogin"));
        let removed = urls.replace("DALogin=", "");
        let removed = if removed.starts_with("http") { removed } else { format!("https://{removed}") };
        let (scheme, rest) = removed.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or_default();
        // What follows the question mark is ours to read, and we don't.
        let without_query = format!("{scheme}://{host}/{}", path.split('?').next().unwrap_or_default());
        [up_to_comma, by_key.map(|(_, value)| value.to_owned()), Some(without_query)]
    }

    #[test]
    fn clients_http_4_every_parser_finds_the_login() {
        for (login, by_sdk) in [
            ("login.example.com/login2.srf?lc=1033", "https://login.example.com/login2.srf"),
            ("http://127.0.0.1:8080/login2.srf?lc=1033", "http://127.0.0.1:8080/login2.srf"),
        ] {
            for configured in [login.to_owned(), format!("{login},")] {
                let urls = urls(&configured);
                let by_sdk = Some(by_sdk.to_owned());
                assert_eq!(found(&urls), [Some(login.to_owned()), Some(login.to_owned()), by_sdk], "{urls}");
            }
        }
        assert_eq!(
            urls("login.example.com/login2.srf?lc=1033,"),
            "DALogin=login.example.com/login2.srf?lc=1033,DARealm=Passport.Net,DAReg=https://login.example.com/,\
             Properties=https://login.example.com/,GeneralRedir=https://login.example.com/,\
             Help=https://login.example.com/,ConfigVersion=11"
        );
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(bytes: Vec<u8>, text in "(sign-in=|pwd=|,|lc=|%|a@b|\\PC){0,20}") {
            let _ = parse(&bytes);
            let _ = parse(format!("Passport1.4 {text}").as_bytes());
        }
    }
}
