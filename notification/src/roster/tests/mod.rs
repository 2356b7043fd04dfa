//! A desk at which one principal's requests are carried out in memory, and tests that talk to it in lines.

mod errors;
mod phones;
mod random;
mod transcripts;

use std::collections::BTreeMap;

use bytes::BytesMut;
use common::model::{AddPrompt, ContactId, GroupId, List, Properties, Settings, StrangerPolicy};
use common::msnp::verbs::{self, Phase};
use common::msnp::{Decoder, Line, Service};

use super::*;

fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

/// One principal, signed in.
struct Desk {
    passport: Passport,
    claim: ClaimId,
    dialect: &'static Dialect,
    limits: Limits,
    keep_populated_groups: bool,
    /// What the contact that is renamed calls itself.
    present_name: Option<&'static str>,
    roster: Roster,
    now_ms: u64,
    /// So many GUIDs were given out; the first is …01.
    uuids: u128,
    /// Who has an account.
    accounts: BTreeMap<Passport, Target>,
    /// What the last request came to.
    last: Plan,
}

const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

impl Desk {
    fn new(name: &str, dialect: &'static Dialect) -> Self {
        let mut friendly_name = name.to_owned();
        friendly_name[..1].make_ascii_uppercase();
        let settings = Settings {
            friendly_name,
            strangers: StrangerPolicy::Allow,
            add_prompt: AddPrompt::Ask,
            properties: Properties::new(),
            list_version: 30,
            lists_changed: 1_750_000_000_000,
            settings_changed: 1_750_000_000_000,
            reverse_digest: 0,
        };
        let somebody = || Target { properties: Properties::new(), name: None, reverse_count: 0 };
        let account = |name| (passport(name), somebody());
        Self {
            passport: passport(name),
            claim: ClaimId(Uuid::from_u128(name.len() as u128)),
            dialect,
            limits: Limits::default(),
            keep_populated_groups: false,
            present_name: None,
            roster: Roster {
                settings,
                contacts: BTreeMap::new(),
                phones: BTreeMap::new(),
                groups: BTreeMap::new(),
                copies_owed: None,
            },
            now_ms: 1_750_000_001_000,
            uuids: 0,
            accounts: PEOPLE.into_iter().map(account).collect(),
            last: Plan::default(),
        }
    }

    /// Alice, with Bob as a mutual friend in group 1 and Carol blocked.
    fn alice(dialect: &'static Dialect) -> Self {
        let mut desk = Self::new("alice", dialect);
        desk.put("bob", "Bob", &[List::Forward, List::Allow, List::Reverse]);
        desk.put("carol", "Carol", &[List::Block]);
        let group = common::model::Group { id: desk.next_group(), number: 1, name: "Friends".into() };
        let member = Edit::Membership { contact: passport("bob"), group: group.id, on: true };
        fold(&mut desk.roster, desk.claim, &[Edit::PutGroup(group), member]);
        desk.settle();
        desk
    }

    /// Signed in a moment ago, but with the version and times of the beginning.
    fn settle(&mut self) {
        let stamp = fold_in(&self.owner());
        fold(&mut self.roster, self.claim, &stamp);
        self.roster.settings.list_version = 30;
        self.roster.settings.lists_changed = self.roster.settings.settings_changed;
    }

    fn put(&mut self, who: &str, name: &str, lists: &[List]) {
        let contact = passport(who);
        let on = |list: &List| Edit::List { contact: contact.clone(), list: *list, on: true };
        let name = Edit::Name { contact: contact.clone(), name: name.into() };
        let edits: Vec<_> = lists.iter().map(on).chain([name]).collect();
        fold(&mut self.roster, self.claim, &edits);
    }

    fn next_group(&mut self) -> GroupId {
        self.uuids += 1;
        GroupId(Uuid::from_u128(self.uuids))
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            passport: &self.passport,
            claim: self.claim,
            dialect: self.dialect,
            limits: &self.limits,
            keep_populated_groups: self.keep_populated_groups,
            roster: &self.roster,
            present_name: self.present_name,
            untold: false,
            now_ms: self.now_ms,
            new_uuid: Uuid::from_u128(self.uuids + 1),
        }
    }

    /// Carries out one line and says what the client reads: lines, or `close`.
    #[track_caller]
    fn says(&mut self, line: &str) -> Vec<String> {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
        self.last = Plan::default();
        let close = vec!["close".to_owned()];
        if verbs::gate(Service::Notification, Some(self.dialect), Phase::SignedIn, &command).is_err() {
            return close;
        }
        let Ok(request) = parse(&command, self.dialect) else { return close };
        let request = request.expect("a verb of the roster");
        if request.asks_for_lists() {
            let roster = Arc::new(self.roster.clone());
            return lines(
                &list_lines(roster, &self.passport, self.dialect, &request).flatten().collect::<Vec<_>>(),
            );
        }
        let target = request.names_account().and_then(|who| self.accounts.get(who));
        match plan(&self.owner(), &request, target) {
            Ok(plan) => self.carry_out(plan),
            Err(Refused::Code(code, trid)) => lines(&Line::error(code, trid)),
            Err(Refused::Close(_)) => close,
        }
    }

    #[track_caller]
    fn carry_out(&mut self, plan: Plan) -> Vec<String> {
        let before = self.roster.settings.clone();
        fold(&mut self.roster, self.claim, &plan.edits);
        let after = &self.roster.settings;
        let stamped = matches!(plan.edits.last(), Some(Edit::Stamp { .. }));
        assert_eq!(stamped, !plan.edits.is_empty());
        assert_eq!(after.list_version, before.list_version + u64::from(stamped));
        let times = |settings: &Settings| settings.lists_changed + settings.settings_changed;
        assert_eq!(times(after) > times(&before), stamped);
        self.uuids += u128::from(plan.edits.iter().any(|edit| matches!(edit, Edit::PutGroup(_))));
        self.now_ms += 1000;
        self.last = plan;
        lines(&self.last.reply)
    }

    #[track_caller]
    fn is_added_by(&mut self, who: &str, name: &str) -> Vec<String> {
        self.is_turned_by(who, Some(name))
    }

    #[track_caller]
    fn is_removed_by(&mut self, who: &str) -> Vec<String> {
        self.is_turned_by(who, None)
    }

    #[track_caller]
    fn is_turned_by(&mut self, who: &str, name: Option<&str>) -> Vec<String> {
        let who = passport(who);
        let turn = Turn { told: self.roster.lists_of(&who), name: name.unwrap_or_default().into() };
        fold_reverse(&mut self.roster, self.claim, &who, name);
        let plan = reverse_changed(&self.owner(), &[(who, turn)]);
        self.carry_out(plan)
    }

    /// `{bob}` in a script is Bob's GUID, `{g2}` that of the second group.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in PEOPLE {
            text = text.replace(&format!("{{{name}}}"), &ContactId::of(self.claim, &passport(name)).to_string());
        }
        for at in 1..=9 {
            text = text.replace(&format!("{{g{at}}}"), &GroupId(Uuid::from_u128(at)).to_string());
        }
        text
    }

    /// Plays a script: what the client sends after `C:`, and after `S:` every line that it then reads.
    #[track_caller]
    fn check(&mut self, script: &str) -> &mut Self {
        let script = self.fill(script);
        let mut read: Vec<String> = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(line) = line.strip_prefix("C: ") {
                assert!(read.is_empty(), "not in the script, before {line}: {read:#?}");
                read = self.says(line);
            } else {
                let expected = line.strip_prefix("S: ").expect("C: or S:");
                assert!(!read.is_empty(), "nothing was read where the script has {expected}");
                assert_eq!(read.remove(0), expected);
            }
        }
        assert!(read.is_empty(), "not in the script, at its end: {read:#?}");
        self
    }

    /// What others must hear of after the last line of a script.
    #[track_caller]
    fn then(&mut self, effects: &[Effect]) -> &mut Self {
        assert_eq!(self.last.effects, effects);
        self
    }
}

#[track_caller]
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
    let lines: Vec<_> = text.split_terminator("\r\n").map(str::to_owned).collect();
    for line in &lines {
        assert!(line.len() >= 3 && !line.bytes().any(|b| b.is_ascii_control()), "{line:?}");
        assert!(line.split(' ').all(|token| !token.is_empty()), "{line:?}");
    }
    lines
}
