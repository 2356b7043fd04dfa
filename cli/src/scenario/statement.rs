//! Reading one statement.

use std::time::Duration;

use common::model::{AddPrompt, List, Property, SignOut, StrangerPolicy};

use super::script::{AccountsStep, Action, Deed, Fact, OperatorsOrder};
use super::template::{Template, is_name, parse_quoted};

/// Reads a statement that is no block. `payload` are the `|` lines behind it.
pub(super) fn parse(text: &str, payload: Option<Template>) -> Result<Action, String> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    if let Some((connection, arrow)) = split_arrow(first) {
        return line(connection, arrow, rest, payload);
    }
    if payload.is_some() {
        return Err("payload lines follow only a line that is sent or expected".into());
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    if is_connection(first)
        && let Some(deed) = deed(&words)?
    {
        return Ok(Action::On { connection: first.to_owned(), deed });
    }
    match (first, words.as_slice()) {
        ("accounts", _) => accounts(rest).map(Action::Accounts),
        ("connect", [connection, target @ ..]) if is_connection(connection) && !target.is_empty() => {
            let target = Template::parse(&target.join(" "))?;
            Ok(Action::Connect { connection: (*connection).to_owned(), target })
        }
        ("operators", [what, _, ..]) if let Some(order) = operators_order(what) => {
            let (to, said) = one(rest[what.len()..].trim_start())?;
            let wanted = !matches!(order, OperatorsOrder::SignOut(_));
            if said.trim().is_empty() == wanted {
                return Err(format!("operators {what}: {}", if wanted { "what?" } else { "nothing may follow" }));
            }
            Ok(Action::Operators { to, order, said: Template::parse(said)? })
        }
        ("timeout", [seconds]) => {
            let seconds = seconds.parse().ok().filter(|seconds| (1..=600).contains(seconds));
            Ok(Action::Timeout(Duration::from_secs(seconds.ok_or("timeout wants seconds, 1 to 600")?)))
        }
        ("let", [name, ..]) if is_name(name) && !name.contains('.') => {
            let value = Template::parse(rest[name.len()..].trim())?;
            Ok(Action::Let { name: (*name).to_owned(), value })
        }
        ("give", names) if !names.is_empty() => {
            Ok(Action::Give(names.iter().map(|&name| name.to_owned()).collect()))
        }
        ("same" | "differ", [_, ..]) => {
            let (left, right) = two(rest)?;
            Ok(Action::Compare { same: first == "same", left, right })
        }
        (who, _) if is_name(who) && !rest.is_empty() => match fact(&words)? {
            Some(fact) => Ok(Action::Fact { who: who.to_owned(), fact }),
            None => split_words(text).map(Action::Call),
        },
        _ => split_words(text).map(Action::Call),
    }
}

fn operators_order(word: &str) -> Option<OperatorsOrder> {
    Some(match word {
        "tell" => OperatorsOrder::Tell,
        "shutdown" => OperatorsOrder::ShutDown,
        "reconnect" => OperatorsOrder::Reconnect,
        "sign-out" => OperatorsOrder::SignOut(SignOut::ShutDown),
        "migrate" => OperatorsOrder::SignOut(SignOut::Migrated),
        "ask-terms" => OperatorsOrder::SignOut(SignOut::TermsOfUse),
        _ => return None,
    })
}

/// Splits at spaces, but not within quotes or braces; a text in quotes keeps them.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = if rest.starts_with('"') { parse_quoted(rest)?.1 } else { end_of_word(rest) };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

/// Where the first word ends: at a space outside braces.
fn end_of_word(text: &str) -> usize {
    let mut depth = 0;
    let end = text.find(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ' ' && depth <= 0
    });
    end.unwrap_or(text.len())
}

/// Whether a word names a connection: it begins with an upper-case letter.
fn is_connection(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

fn split_arrow(word: &str) -> Option<(&str, &str)> {
    let at = word.find(['<', '>'])?;
    let (connection, arrow) = word.split_at(at);
    is_connection(connection).then_some((connection, arrow))
}

fn line(connection: &str, arrow: &str, text: &str, payload: Option<Template>) -> Result<Action, String> {
    let connection = connection.to_owned();
    match arrow {
        ">" => {
            let line = Template::parse(text)?;
            if line.is_pattern() || payload.as_ref().is_some_and(Template::is_pattern) {
                return Err("a placeholder can only be expected, not sent".into());
            }
            Ok(Action::Send { connection, line, payload })
        }
        ">>" if payload.is_none() => {
            let bytes = Template::parse_raw(text)?;
            if bytes.is_pattern() || bytes.has_length() {
                return Err("a placeholder can only be expected, not sent".into());
            }
            Ok(Action::SendRaw { connection, bytes })
        }
        "<" | "<*" => {
            Ok(Action::Expect { connection, skip: arrow == "<*", line: Template::parse(text)?, payload })
        }
        ">>" => Err("payload lines don't follow raw bytes".into()),
        _ => Err("the arrows are >, >>, < and <*".into()),
    }
}

fn deed(words: &[&str]) -> Result<Option<Deed>, String> {
    let verbs = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Ok(Some(match words {
        ["closed"] => Deed::Closed,
        ["close"] => Deed::Close,
        ["abort"] => Deed::Abort,
        ["half-close"] => Deed::HalfClose,
        ["hold"] => Deed::Hold,
        ["flush"] => Deed::Flush,
        ["quiet"] => Deed::Quiet,
        ["split", "off"] => Deed::Split(None),
        ["split", bytes] => {
            let bytes = bytes.parse().ok().filter(|bytes| *bytes > 0);
            Deed::Split(Some(bytes.ok_or("split wants a number of bytes, or off")?))
        }
        ["ignore", rest @ ..] if !rest.is_empty() => Deed::Ignore(verbs(rest)),
        ["heed", rest @ ..] => Deed::Heed(verbs(rest)),
        _ => return Ok(None),
    }))
}

/// Two texts, either of which may be in quotes.
fn two(text: &str) -> Result<(Template, Template), String> {
    let (left, rest) = one(text)?;
    let (right, rest) = one(rest)?;
    if rest.is_empty() { Ok((left, right)) } else { Err(format!("{rest:?} is one text too many")) }
}

/// A text without a space outside braces and quotes, and what follows it.
fn one(text: &str) -> Result<(Template, &str), String> {
    if text.starts_with('"') {
        let (quoted, used) = parse_quoted(text)?;
        let mut template = Template { source: text[..used].to_owned(), ..Template::default() };
        template.push_text(&quoted);
        return Ok((template, text[used..].trim_start()));
    }
    let (first, rest) = text.split_at(end_of_word(text));
    if first.is_empty() {
        return Err("same and differ compare two texts".into());
    }
    Ok((Template::parse(first)?, rest.trim_start()))
}

fn accounts(text: &str) -> Result<AccountsStep, String> {
    let (names, options) = text.split_once(':').unwrap_or((text, ""));
    let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    let mut step = AccountsStep::default();
    if names.first().is_some_and(|name| name == "same") {
        names.remove(0);
        step.same = true;
    }
    if names.is_empty() {
        return Err("accounts wants names".into());
    }
    if let Some(bad) = names.iter().find(|name| !is_name(name) || name.contains('.')) {
        return Err(format!("{bad:?} is no name: a lower-case letter, then letters, digits and -"));
    }
    step.names = names;
    for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        match option.split_once(char::is_whitespace) {
            None if option == "friends" => step.friends = true,
            None if option == "md5" => step.md5 = true,
            None if option == "no-md5" => step.md5 = false,
            None if option == "nobody" => step.nobody = true,
            Some(("password", password)) => step.password = Some(password.trim().to_owned()),
            _ => return Err(format!("accounts has no option {option:?}")),
        }
    }
    Ok(step)
}

/// What is said of an account, if it is that.
fn fact(words: &[&str]) -> Result<Option<Fact>, String> {
    Ok(Some(match words {
        ["RL", whom] => Fact::Answered { whom: (*whom).to_owned() },
        [list @ ("FL" | "AL" | "BL" | "PL"), whom, more @ ..] => {
            let list = List::from_code(list).ok_or("no such list")?;
            listed(list, whom, more)?
        }
        ["group", name] => Fact::Group(decoded(name)?),
        ["name", name] => Fact::Name(decoded(name)?),
        ["BLP", "AL"] => Fact::Strangers(StrangerPolicy::Allow),
        ["BLP", "BL"] => Fact::Strangers(StrangerPolicy::Block),
        ["GTC", "A"] => Fact::AddPrompt(AddPrompt::Ask),
        ["GTC", "N"] => Fact::AddPrompt(AddPrompt::Never),
        [code, value] => match Property::from_code(code) {
            Some(property) => Fact::Property(property, decoded(value)?),
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

fn listed(list: List, whom: &str, mut more: &[&str]) -> Result<Fact, String> {
    let (mut groups, mut alias) = (Vec::new(), None);
    loop {
        more = match more {
            [] => return Ok(Fact::Listed { list, whom: whom.to_owned(), groups, alias }),
            ["in", numbers, rest @ ..] => {
                let numbers: Result<_, _> = numbers.split(',').map(str::parse).collect();
                groups = numbers.map_err(|_| "in wants group numbers: in 1,2".to_owned())?;
                rest
            }
            ["as", name, rest @ ..] => {
                alias = Some(decoded(name)?);
                rest
            }
            [word, ..] => return Err(format!("{word:?}: after the contact come: in GROUPS, as NAME")),
        };
    }
}

/// A percent-encoded text, as the protocol writes names.
fn decoded(token: &str) -> Result<String, String> {
    let text = common::msnp::value::decode(token);
    text.map(std::borrow::Cow::into_owned).ok_or_else(|| format!("{token:?} is no percent-encoded text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> Action {
        parse(text, None).unwrap()
    }

    #[test]
    fn accounts_and_their_lists() {
        let Action::Accounts(step) = read("accounts alice bob : friends, md5, password x y") else { panic!() };
        assert_eq!((step.names.len(), step.friends, step.md5, step.same), (2, true, true, false));
        assert_eq!(step.password.as_deref(), Some("x y"));
        let Action::Accounts(step) = read("accounts same alice") else { panic!() };
        assert_eq!((step.names, step.same), (vec!["alice".to_owned()], true));
        let Action::Fact { who, fact } = read("alice FL bob in 1,2 as Robert%20B.") else { panic!() };
        let expected = Fact::Listed {
            list: List::Forward,
            whom: "bob".into(),
            groups: vec![1, 2],
            alias: Some("Robert B.".into()),
        };
        assert_eq!((who.as_str(), fact), ("alice", expected));
    }

    #[test]
    fn lines_and_deeds() {
        assert!(matches!(read("A> VER 1 MSNP7 CVR0"), Action::Send { .. }));
        assert!(matches!(read("A>> \"x\\0\""), Action::SendRaw { .. }));
        assert!(matches!(read("A<* QNG{rest}"), Action::Expect { skip: true, .. }));
        assert!(matches!(read("connect A notification 2"), Action::Connect { .. }));
        for (text, deed) in [
            ("A closed", Deed::Closed),
            ("A split 1", Deed::Split(Some(1))),
            ("A split off", Deed::Split(None)),
            ("A ignore UBX NOT", Deed::Ignore(vec!["UBX".into(), "NOT".into()])),
            ("A heed", Deed::Heed(vec![])),
        ] {
            assert!(matches!(read(text), Action::On { deed: read, .. } if read == deed), "{text}");
        }
        for (text, expected, rest) in [
            ("operators tell {alice} back at 5", OperatorsOrder::Tell, "back at 5"),
            ("operators shutdown {alice} 5", OperatorsOrder::ShutDown, "5"),
            ("operators reconnect {alice} 5", OperatorsOrder::Reconnect, "5"),
            ("operators sign-out {alice}", OperatorsOrder::SignOut(SignOut::ShutDown), ""),
            ("operators migrate {alice}", OperatorsOrder::SignOut(SignOut::Migrated), ""),
            ("operators ask-terms {alice}", OperatorsOrder::SignOut(SignOut::TermsOfUse), ""),
        ] {
            let Action::Operators { order, said, .. } = read(text) else { panic!("{text}") };
            assert_eq!((order, said.source.as_str()), (expected, rest), "{text}");
        }
        for wrong in ["operators tell {alice}", "operators sign-out {alice} 5"] {
            assert!(parse(wrong, None).is_err(), "{wrong}");
        }
        assert!(matches!(read("sign-in B bob MSNP8 online"), Action::Call(words) if words.len() == 5));
        assert!(
            matches!(read("say A \"x y\" {f(a, b)}"), Action::Call(words) if words[2..] == ["\"x y\"", "{f(a, b)}"])
        );
        assert!(matches!(
            read("same {ticket(alice, wrong password)} refused"),
            Action::Compare { same: true, .. }
        ));
    }

    #[test]
    fn mistakes() {
        for bad in ["A> {x=any}", "A>> x", "accounts", "accounts A", "accounts a : nice", "timeout 0", "A split 0"]
        {
            assert!(parse(bad, None).is_err(), "{bad}");
        }
    }
}
