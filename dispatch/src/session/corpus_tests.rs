//! The fuzz corpus, and mutations of it, against whole conversations; and the table of verbs against the code.

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

use bytes::BytesMut;
use common::msnp::verbs::TABLE;
use common::msnp::{Command, Decoder, ParseError, Service};
use mutate::{Dice, seeds};

use super::{Desk, End, Session, Step};

/// Mutations of each seed.
const MUTATIONS: usize = 500;

fn desk() -> Desk {
    Desk {
        here: ([192, 0, 2, 1], 1863).into(),
        download_url: "http://im.example.com/get".into(),
        info_url: "http://im.example.com/".into(),
        clear_text: true,
    }
}

fn answer(session: &mut Session, command: &Command) -> Step {
    session.handle(command, &desk(), || Some(([192, 0, 2, 10], 1863).into()))
}

/// Plays what a client sends until the conversation or the bytes end; gives the lines it got. The second byte says into what
/// pieces the rest is cut.
fn play(input: &[u8]) -> Vec<Vec<u8>> {
    let [_, piece, bytes @ ..] = input else { return Vec::new() };
    let (mut session, mut decoder, mut lines) = (Session::new(), Decoder::new(Service::Dispatch, 0), Vec::new());
    let mut waiting = BytesMut::new();
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        waiting.extend_from_slice(piece);
        while let Some(command) = decoder.decode(&mut waiting).transpose() {
            let Ok(command) = command else { return lines };
            let step = answer(&mut session, &command);
            if let Step::Reply(line) | Step::Last(line, _) = &step {
                let text = line.strip_suffix(b"\r\n").expect("a line");
                assert!(!text.iter().any(u8::is_ascii_control), "{line:?}");
                lines.push(line.to_vec());
            }
            if !matches!(step, Step::Reply(_)) {
                return lines;
            }
        }
    }
    lines
}

#[test]
fn whatever_a_client_sends_gets_whole_lines() {
    let (seeds, mut dice) = (seeds("dispatch"), Dice(3));
    for seed in &seeds {
        let whole = play(seed);
        assert!(!whole.is_empty(), "{}", seed.escape_ascii());
        for size in 1..=u8::MAX {
            let mut input = seed.clone();
            input[1] = size;
            assert_eq!(play(&input), whole, "in pieces of {size}: {}", seed.escape_ascii());
        }
        for _ in 0..MUTATIONS {
            let input = dice.mutate(seed, &seeds);
            let played = std::panic::catch_unwind(|| play(&input));
            assert!(played.is_ok(), "{}", input.escape_ascii());
        }
    }
}

/// What the table lets through is understood, and no other verb is.
#[test]
fn the_table_says_what_is_understood() {
    for row in TABLE {
        let mut known = TABLE.iter().filter(|other| other.service == Service::Dispatch && other.verb == row.verb);
        let Some(own) = known.next() else {
            let step = answer(&mut Session::new(), &command(&format!("{} 1 x 0", row.verb)));
            assert_eq!(step, Step::Close(End::Refused(ParseError::UnknownVerb)), "{}", row.verb);
            continue;
        };
        // The states in which a connection can be, by what was said before.
        for before in [&[][..], &["VER 1 MSNP7"], &["VER 1 MSNP8", "CVR 2"], &["VER 1 MSNP99 CVR0"]] {
            for count in own.args.0..=own.args.1.min(6) {
                let mut session = Session::new();
                for line in before {
                    answer(&mut session, &command(line));
                }
                let phase = session.phase;
                let line =
                    (0..count).fold(own.verb.to_string(), |line, at| line + if at == 0 { " 1" } else { " x" });
                let speaks = session
                    .dialect
                    .is_none_or(|dialect| (own.dialects.0..=own.dialects.1).contains(&dialect.number.0));
                let unknown =
                    answer(&mut session, &command(&line)) == Step::Close(End::Refused(ParseError::UnknownVerb));
                assert_eq!(unknown, !speaks, "{line} after {before:?}, in {phase:?}");
            }
        }
    }
}

#[track_caller]
fn command(line: &str) -> Command {
    let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
    Decoder::new(Service::Dispatch, 0).decode(&mut input).unwrap().unwrap()
}
