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

    proptest! {
        #[test]
        fn nothing_from_outside_panics(bytes: Vec<u8>, text in "(sign-in=|pwd=|,|lc=|%|a@b|\\PC){0,20}") {
            let _ = parse(&bytes);
            let _ = parse(format!("Passport1.4 {text}").as_bytes());
        }
    }
}
