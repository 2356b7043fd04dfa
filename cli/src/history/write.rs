//! How messages are printed.

use std::io::Write;

use common::model::MessageId;
use common::msnp::mime::Head;
use common::store::{MessageKind, StoredMessage};
use serde::Serialize;

use crate::terminal::{harmless, harmless_json};

/// `2026-11-22T15:04:05.123Z alice@example.com: hello`; further lines of a text are set in, so that no text can pass
/// for a message of its own.
pub(super) fn write_text(message: &StoredMessage, out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "{} {}: ", time(message.id), message.sender)?;
    let text = match message.kind {
        MessageKind::Text => text(message),
        MessageKind::Ink => return writeln!(out, "[handwriting, {} bytes]", message.payload.len()),
        MessageKind::Nudge => return writeln!(out, "[nudge]"),
    };
    let mut lines = text.lines();
    writeln!(out, "{}", harmless(lines.next().unwrap_or_default()))?;
    lines.try_for_each(|line| writeln!(out, "    | {}", harmless(line)))
}

#[derive(Serialize)]
struct JsonMessage<'a> {
    id: String,
    time: String,
    sender: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub(super) fn write_json(message: &StoredMessage, out: &mut impl Write) -> std::io::Result<()> {
    let kind = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Ink => "ink",
        MessageKind::Nudge => "nudge",
    };
    let json = JsonMessage {
        id: message.id.to_string(),
        time: time(message.id),
        sender: message.sender.as_str(),
        kind,
        text: (message.kind == MessageKind::Text).then(|| text(message)),
    };
    writeln!(out, "{}", harmless_json(&serde_json::to_string(&json)?))
}

/// What was typed: the body of the payload.
fn text(message: &StoredMessage) -> String {
    String::from_utf8_lossy(Head::typed(&message.payload)).into_owned()
}

/// When a message was said: its id, a UUID v7, begins with the milliseconds since 1970 (RFC 9562 §5.7).
pub(super) fn time(id: MessageId) -> String {
    let ms = i64::try_from(id.0.as_u128() >> 80).ok();
    let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| id.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::model::{ChannelId, ConversationId, Passport};
    use uuid::Uuid;

    use super::*;

    fn message(kind: MessageKind, payload: &'static str) -> StoredMessage {
        // 2025-11-22T15:04:05.007Z
        let id = (1_763_823_845_007_u128 << 80) | (7 << 76) | (2 << 62);
        StoredMessage {
            channel: ChannelId(Uuid::nil()),
            id: MessageId(Uuid::from_u128(id)),
            conversation: ConversationId(Uuid::nil()),
            sender: Passport::parse("alice@example.com").unwrap(),
            kind,
            payload: Bytes::from_static(payload.as_bytes()),
            meant_for: Vec::new(),
        }
    }

    #[track_caller]
    fn shows(kind: MessageKind, payload: &'static str, expected: &str) {
        let mut out = Vec::new();
        write_text(&message(kind, payload), &mut out).unwrap();
        let expected = format!("2025-11-22T15:04:05.007Z alice@example.com: {expected}\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn messages_are_shown_by_kind() {
        let head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nhello";
        shows(MessageKind::Text, head, "hello");
        shows(MessageKind::Nudge, "Content-Type: text/x-msnmsgr-datacast\r\n\r\nID: 1\r\n\r\n", "[nudge]");
        shows(MessageKind::Ink, "12345", "[handwriting, 5 bytes]");
        shows(MessageKind::Text, "no head", "no head");
        shows(MessageKind::Text, "MIME-Version: 1.0\nContent-Type: text/plain\n\nhello", "hello");
    }

    #[test]
    fn no_text_can_pass_for_another_message_or_command_the_terminal() {
        let payload =
            "MIME-Version: 1.0\r\n\r\nfirst\r\n2025-11-22T15:04:06.000Z bob@example.com: I owe you\r\n\x1b[2J\rx";
        let lines = "first\n    | 2025-11-22T15:04:06.000Z bob@example.com: I owe you\n    | \\u{1b}[2J\\rx";
        shows(MessageKind::Text, payload, lines);
    }

    #[test]
    fn json_has_a_line_for_a_message() {
        let mut out = Vec::new();
        write_json(&message(MessageKind::Text, "MIME-Version: 1.0\r\n\r\n\"a\"\nb"), &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.ends_with("\"sender\":\"alice@example.com\",\"kind\":\"text\",\"text\":\"\\\"a\\\"\\nb\"}\n")
        );
        assert_eq!(line.lines().count(), 1);
        let mut out = Vec::new();
        let text = "\x1b[2J\u{9b}1m\u{7f}\u{202e}gnp.exe \u{2066}\u{feff}Grüße \u{1f44b}";
        let payload = Box::leak(format!("MIME-Version: 1.0\r\n\r\n{text}").into_boxed_str());
        write_json(&message(MessageKind::Text, payload), &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.contains("\\u001b[2J\\u009b1m\\u007f\\u202egnp.exe \\u2066\\ufeffGrüße \u{1f44b}"), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["text"], text, "and nothing is lost");
    }
}
