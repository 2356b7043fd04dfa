//! How a further command is typed that is to find the same data as this one.

use common::config::Sources;

use crate::terminal::harmless;

/// How this program was called, and what its command line says of the store.
#[derive(Debug)]
pub(crate) struct Again {
    program: String,
    options: String,
}

impl Again {
    /// Of this process, whose command line says that. The environment is what further commands have as well.
    pub(crate) fn of_process(sources: &Sources) -> Self {
        let program = std::env::args_os().next();
        let program = program.map_or_else(|| "monarch".into(), |program| program.to_string_lossy().into_owned());
        Self { program: word(&program), options: options(sources) }
    }

    #[cfg(test)]
    pub(crate) fn test(program: &str, options: &str) -> Self {
        Self { program: program.to_owned(), options: options.to_owned() }
    }

    /// The line to be typed for a command.
    pub(crate) fn command(&self, what: &str) -> String {
        format!("{} {what}{}", self.program, self.options)
    }
}

/// `--config` and `--data` as they were given; other flags of the store as every command has them.
fn options(sources: &Sources) -> String {
    let mut options = String::new();
    let mut add = |flag: &str, value: &str| options.push_str(&format!(" {flag} {}", word(value)));
    if let Some(file) = &sources.file {
        add("--config", &file.to_string_lossy());
    }
    for given in sources.given.iter().filter(|given| given.key.starts_with("store.")) {
        match given.flag.as_str() {
            "--data" => add("--data", &given.value),
            _ => add("--set", &format!("{}={}", given.key, given.value)),
        }
    }
    options
}

/// A word as a shell reads it.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", harmless(&text.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_given_again() {
        for (line, expected) in [
            ("monarch up", ""),
            ("monarch up --no-demo --log-filter warn", ""),
            ("monarch up --data /srv/m", " --data /srv/m"),
            ("monarch up --store-path s --data d", " --data d --set store.path=s"),
            ("monarch up --store-path s", " --set store.path=s"),
            ("monarch --config m.toml up --set store.kind=sqlite", " --config m.toml --set store.kind=sqlite"),
        ] {
            let matches = crate::command().try_get_matches_from(line.split(' ')).unwrap();
            assert_eq!(options(&crate::sources(&matches)), expected, "{line}");
        }
        assert_eq!(word("/srv/it's here"), "'/srv/it'\\''s here'");
    }
}
