//! `monarch user`: accounts.

use std::io::{BufRead, Write};
use std::net::SocketAddr;

use clap::{Args, Subcommand};
use common::config::Config;
use common::credentials::SealingKey;
use common::model::{Edition, Passport};
use common::store::{AccountSummary, Claimed, Store};

use crate::account::{Passwords, check_name, check_password, for_each_account, keep_networks};
use crate::prompt::{keep_terminal, prompt};
use crate::terminal::{harmless, say};
use crate::{Failure, old_password, open_store};

/// The columns of the list.
const HEAD: (&str, &str, &str, &str, &str) = ("PASSPORT", "MD5", "CREATED", "LAST ACTIVE", "NAME");
/// The longest line that is read from standard input, in bytes.
const MAX_LINE: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create an account
    Add(AddArgs),
    /// Change the password of an account, and end what the old one has opened: sessions, conversations, tickets
    Password(PasswordArgs),
    /// List all accounts
    List,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The account's name: name@domain
    passport: Passport,
    /// The name that contacts see; by default the account's name
    #[arg(long)]
    name: Option<String>,
    /// Let the account sign in by MD5 as well (MSN Messenger before version 5); a sealed copy of the password is kept
    #[arg(long)]
    md5: bool,
    #[command(flatten)]
    input: PasswordInput,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// The account's name
    passport: Passport,
    /// Let the account sign in by MD5 from now on
    #[arg(long, conflicts_with = "no_md5")]
    md5: bool,
    /// Don't let the account sign in by MD5 any more
    #[arg(long)]
    no_md5: bool,
    /// The old password is no secret of others: leave alone who is signed in, and know the networks that it came from
    #[arg(long)]
    keep_sessions: bool,
    /// The admin address of any node, instead of those that are configured
    #[arg(long, value_name = "IP:PORT", conflicts_with = "keep_sessions")]
    node: Option<SocketAddr>,
    #[command(flatten)]
    input: PasswordInput,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordInput {
    /// Read the password from the first line of standard input, and don't ask for it
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn run(command: UserCommand, config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let store = open_store(config).await?;
    match command {
        UserCommand::Add(args) => add(args, &*store, config, out).await,
        UserCommand::Password(args) => change_password(args, &*store, config, out).await,
        UserCommand::List => list(&*store, out).await,
    }
}

async fn add(args: AddArgs, store: &dyn Store, config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let who = args.passport;
    let name = args.name.unwrap_or_else(|| who.to_string());
    check_name(&name, &config.limits)?;
    // Known before anybody types a password twice; the claim itself decides.
    if store.account(&who).await?.is_some() {
        return Err(taken(&who));
    }
    let password = args.input.read(&who).await?;
    let key = if args.md5 { Some(key_for_md5(store, config).await?) } else { None };
    match Passwords::new(&config.accounts).create(store, &who, &name, &password, key.as_ref()).await? {
        Claimed::Won => Ok(writeln!(out, "created {who}")?),
        Claimed::Taken => Err(taken(&who)),
    }
}

fn taken(who: &Passport) -> Failure {
    Failure::failed(format!(
        "there is an account {who} already; `monarch user password {who}` changes its password"
    ))
}

async fn change_password(
    args: PasswordArgs,
    store: &dyn Store,
    config: &Config,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let who = args.passport;
    let account = store.account(&who).await?.ok_or_else(|| unknown(&who))?;
    let password = args.input.read(&who).await?;
    let md5 = args.md5 || (account.credentials.sealed_password.is_some() && !args.no_md5);
    let key = if md5 { Some(key_for_md5(store, config).await?) } else { None };
    let epoch = Passwords::new(&config.accounts).change(store, &account, &password, key.as_ref()).await?;
    let (ended, kept) = match args.keep_sessions {
        true => (None, keep_networks(store, &who, account.credentials.epoch, epoch).await),
        false => {
            (Some(old_password::end(&who, account.claim, Edition::of(epoch), args.node, config).await), Ok(()))
        }
    };
    // Said last: whoever closes the pipe must not keep sessions alive.
    writeln!(out, "changed the password of {who}")?;
    kept?;
    match ended {
        Some(said) => Ok(writeln!(out, "{}", said?)?),
        None => Ok(()),
    }
}

pub(crate) fn unknown(who: &Passport) -> Failure {
    Failure::failed(format!("there is no account {who}"))
}

/// The key that seals passwords for MD5 sign-in; made if there is none, unless the store shows that one is elsewhere: with
/// two of them some accounts could never sign in.
async fn key_for_md5(store: &dyn Store, config: &Config) -> Result<SealingKey, Failure> {
    let path = &config.accounts.md5_key;
    if let Some(key) = SealingKey::load(path).map_err(Failure::failed)? {
        return Ok(key);
    }
    let path = path.display();
    for_each_account(store, |account| match account.md5 {
        false => Ok(()),
        true => Err(Failure::failed(format!(
            "the password of {} is sealed with a key that is not here: copy it to {path} (accounts.md5_key) from the host of \
             a notification server",
            account.passport
        ))),
    })
    .await?;
    let key = SealingKey::create(&config.accounts.md5_key).map_err(Failure::failed)?;
    say(format!(
        "made the key {path}: notification servers that run take MD5 sign-in at their next start, or at SIGHUP"
    ));
    Ok(key)
}

impl PasswordInput {
    async fn read(&self, who: &Passport) -> Result<String, Failure> {
        let password = if self.password_stdin { read_line(std::io::stdin().lock())? } else { ask(who).await? };
        check_password(&password)?;
        Ok(password)
    }
}

/// Asks at the terminal, twice.
async fn ask(who: &Passport) -> Result<String, Failure> {
    keep_terminal()?;
    let first = prompt(format!("Password for {who}: ")).await?;
    let second = prompt("Once more: ".to_owned()).await?;
    if first == second { Ok(first) } else { Err(Failure::failed("the two passwords differ")) }
}

fn read_line(input: impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    input.take(MAX_LINE).read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

async fn list(store: &dyn Store, out: &mut impl Write) -> Result<(), Failure> {
    // Read twice: the longest passport is known only at the end, and not all accounts need fit into memory.
    let mut width = HEAD.0.len();
    for_each_account(store, |account| {
        width = width.max(account.passport.as_str().len());
        Ok::<(), Failure>(())
    })
    .await?;
    writeln!(out, "{}", row(width, HEAD))?;
    for_each_account(store, |account| Ok(writeln!(out, "{}", summary(width, account))?)).await
}

fn summary(width: usize, account: &AccountSummary) -> String {
    let last = account.last_active.map_or_else(|| "-".to_owned(), rfc3339);
    let md5 = if account.md5 { "yes" } else { "no" };
    let name = harmless(&account.friendly_name);
    row(width, (account.passport.as_str(), md5, &rfc3339(account.created), &last, &name))
}

/// The name is the last: how broad it is on the screen only the screen knows.
fn row(width: usize, (passport, md5, created, last, name): (&str, &str, &str, &str, &str)) -> String {
    format!("{passport:<width$}  {md5:<3}  {created:<20}  {last:<20}  {name}")
}

/// Milliseconds since 1970 as `2026-11-22T15:04:05Z`.
fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms / 1000).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (input, expected) in [
            ("secret\nmore\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret", "secret"),
            ("", ""),
            (" a \n", " a "),
        ] {
            assert_eq!(read_line(input.as_bytes()).unwrap(), expected);
        }
        let endless = vec![b'x'; 5000];
        assert_eq!(read_line(&*endless).unwrap().len(), 1024);
    }

    #[test]
    fn a_listing_has_readable_times() {
        let account = AccountSummary {
            passport: Passport::parse("alice@example.com").unwrap(),
            friendly_name: "Al\x1bice".into(),
            md5: true,
            created: 1_763_823_845_999,
            last_active: None,
        };
        let line = summary(17, &account);
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["alice@example.com", "yes", "2025-11-22T15:04:05Z", "-", "Al\\u{1b}ice"]);
        assert_eq!(rfc3339(u64::MAX), format!("{} ms", u64::MAX));
    }
}
