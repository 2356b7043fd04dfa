//! Proves that `monarch.example.toml` has every key, at its default.

use std::collections::BTreeSet;

use super::{Config, SETTINGS, Setting, Sources, load};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../monarch.example.toml");

fn keys(table: &toml::Table, prefix: &str, into: &mut BTreeSet<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => keys(section, &format!("{prefix}{name}."), into),
            _ => {
                into.insert(format!("{prefix}{name}"));
            }
        }
    }
}

/// The keys that stand in the file as `# key = …`, with the section that they stand in.
fn commented_out(text: &str) -> BTreeSet<String> {
    let (mut section, mut found) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        let assignment = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = "));
        found.extend(assignment.map(|(name, _)| format!("{section}.{name}")));
    }
    found
}

#[test]
fn the_example_has_every_key_at_its_default() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let (mut set, mut defaults) = (BTreeSet::new(), BTreeSet::new());
    keys(&text.parse().unwrap(), "", &mut set);
    keys(&toml::Table::try_from(Config::default()).unwrap(), "", &mut defaults);
    assert_eq!(set, defaults);

    let all: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
    let optional: BTreeSet<_> = all.difference(&defaults).cloned().collect();
    assert_eq!(commented_out(&text), optional);

    let loaded = load(&Sources { file: Some(EXAMPLE.into()), ..Sources::default() }).unwrap();
    let found = toml::Table::try_from(&loaded.config).unwrap();
    assert_eq!(found, toml::Table::try_from(Config::default()).unwrap());
}

#[test]
fn the_example_holds_with_its_comments_taken_off() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let optional: Vec<_> = SETTINGS.iter().map(Setting::name).map(|name| format!("# {name} = ")).collect();
    let bare = |line: &str| match optional.iter().any(|start| line.starts_with(start)) {
        true => line.trim_start_matches("# ").to_owned(),
        false => line.to_owned(),
    };
    let text: Vec<_> = text.lines().map(bare).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.toml");
    std::fs::write(&file, text.join("\n")).unwrap();
    let loaded = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert!(loaded.config.dispatch.http.da_login.is_some());
    for setting in SETTINGS.iter() {
        assert_ne!(*loaded.origin(setting.key), super::Origin::Default, "{}", setting.key);
    }
}
