//! What a message is: whether history keeps it (protocol reference §9.1).

use std::collections::VecDeque;

use common::msnp::mime::Head;
use common::store::MessageKind;

/// The kinds of one sender's messages. A long message comes in chunks, of which only the first names a type: the
/// later ones take that of their `Message-ID`.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    /// Chunked messages of a stored kind, the newest last.
    chunked: VecDeque<(Box<str>, MessageKind)>,
}

impl Kinds {
    /// Chunked messages that are remembered: a client sends one at a time.
    const REMEMBERED: usize = 16;
    /// The longest `Message-ID` that is remembered; a GUID in braces has 38 characters.
    const MAX_ID: usize = 64;

    /// The kind of a message to be stored; nothing for those that are not.
    pub(crate) fn of(&mut self, payload: &[u8]) -> Option<MessageKind> {
        let kind = self.peek(payload)?;
        let (head, _) = Head::split(payload);
        if head.content_type().is_some()
            && let Some(id) = head.header("Message-ID")
        {
            self.remember(id, kind);
        }
        Some(kind)
    }

    /// The same of a message that is not taken up yet.
    pub(crate) fn peek(&self, payload: &[u8]) -> Option<MessageKind> {
        let (head, body) = Head::split(payload);
        if let Some(content_type) = head.content_type() {
            return of_type(content_type, body);
        }
        let Some(id) = head.header("Message-ID") else {
            return is_text(Head::typed(payload)).then_some(MessageKind::Text);
        };
        self.chunked.iter().find(|(known, _)| **known == *id).map(|(_, kind)| *kind)
    }

    fn remember(&mut self, id: &str, kind: MessageKind) {
        if id.len() > Self::MAX_ID {
            return;
        }
        self.chunked.retain(|(known, _)| **known != *id);
        if self.chunked.len() == Self::REMEMBERED {
            self.chunked.pop_front();
        }
        self.chunked.push_back((id.into(), kind));
    }
}

/// Whether a payload of no type can be read: somebody has typed it in a terminal.
fn is_text(typed: &[u8]) -> bool {
    std::str::from_utf8(typed).is_ok_and(|text| {
        let harmless = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\r' | '\n');
        !text.trim().is_empty() && text.chars().all(harmless)
    })
}

/// Text, ink and nudges; never typing, capabilities, keep-alives, invitations, P2P.
fn of_type(content_type: &str, body: &[u8]) -> Option<MessageKind> {
    let is = |name: &str| content_type.eq_ignore_ascii_case(name);
    if is("text/plain") {
        Some(MessageKind::Text)
    } else if is("image/gif") || is("application/x-ms-ink") {
        Some(MessageKind::Ink)
    } else if is("text/x-msnmsgr-datacast") && Head::split(body).0.header("ID") == Some("1") {
        Some(MessageKind::Nudge)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kinds: &mut Kinds, payload: &str, expected: Option<MessageKind>) {
        assert_eq!(kinds.of(payload.replace('\n', "\r\n").as_bytes()), expected, "{payload}");
    }

    #[test]
    fn text_ink_and_nudges_are_kept() {
        let kinds = &mut Kinds::default();
        check(kinds, "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\nhi", Some(MessageKind::Text));
        check(kinds, "Content-Type: TEXT/PLAIN\n\n", Some(MessageKind::Text));
        check(kinds, "Content-Type: image/gif\n\nbase64:AAAA", Some(MessageKind::Ink));
        check(kinds, "Content-Type: application/x-ms-ink\n\nbase64:AAAA", Some(MessageKind::Ink));
        check(kinds, "Content-Type: text/x-msnmsgr-datacast\n\nID: 1\n\n", Some(MessageKind::Nudge));
    }

    #[test]
    fn the_rest_is_not() {
        let kinds = &mut Kinds::default();
        for content_type in [
            "text/x-msmsgscontrol\nTypingUser: a@b",
            "text/x-clientcaps",
            "text/x-keepalive",
            "text/x-msmsgsinvite; charset=UTF-8",
            "application/x-msnmsgrp2p",
            "text/x-mms-emoticon",
            "text/plainer",
        ] {
            check(kinds, &format!("Content-Type: {content_type}\n\nID: 1\n\n"), None);
        }
        check(kinds, "Content-Type: text/x-msnmsgr-datacast\n\nID: 2\nData: x\n\n", None);
        check(kinds, "", None);
        check(kinds, "\n\n", None);
        check(kinds, "\u{1}\u{0}binary", None);
        check(kinds, "MIME-Version: 1.0\n\n\u{0}", None);
        assert_eq!(kinds.of(b"\xff\xfe"), None);
    }

    #[test]
    fn what_has_no_type_and_can_be_read_is_text() {
        let kinds = &mut Kinds::default();
        for typed in
            ["hello", "two\nlines\n\nand a third", "note: milk", "MIME-Version: 1.0\n\nhello", "Grüße\t\u{1f44b}"]
        {
            check(kinds, typed, Some(MessageKind::Text));
        }
    }

    #[test]
    fn later_chunks_take_the_type_of_their_message() {
        let kinds = &mut Kinds::default();
        let first = |id: usize| format!("Content-Type: text/plain\nMessage-ID: {{{id}}}\nChunks: 2\n\na");
        let later = |id: usize| format!("Message-ID: {{{id}}}\nChunk: 1\n\nb");
        check(kinds, &later(0), None);
        check(kinds, &first(0), Some(MessageKind::Text));
        check(kinds, &later(0), Some(MessageKind::Text));
        for id in 1..=Kinds::REMEMBERED {
            check(kinds, &first(id), Some(MessageKind::Text));
        }
        check(kinds, &later(0), None);
        assert_eq!(kinds.chunked.len(), Kinds::REMEMBERED);
        let long = "x".repeat(65);
        check(kinds, &format!("Content-Type: text/plain\nMessage-ID: {long}\n\na"), Some(MessageKind::Text));
        check(kinds, &format!("Message-ID: {long}\n\na"), None);
    }
}
