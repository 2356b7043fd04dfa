//! The protocol reference's §15, the minimum of a conformance suite, point by point; and the transcripts of its §13.

/// A point, and the scenarios or Rust tests that show it.
pub(super) struct Point {
    pub(super) text: &'static str,
    /// The first and the last dialect in which its scenarios together must be played.
    pub(super) dialects: (u8, u8),
    /// The name of a Rust test stands for all of them.
    pub(super) shown_by: &'static [&'static str],
    /// Why nothing does.
    pub(super) open: Option<&'static str>,
}

const fn point(text: &'static str, shown_by: &'static [&'static str]) -> Point {
    Point { text, dialects: (2, 12), shown_by, open: None }
}

impl Point {
    const fn since(mut self, dialect: u8) -> Self {
        self.dialects.0 = dialect;
        self
    }

    const fn within(mut self, first: u8, last: u8) -> Self {
        self.dialects = (first, last);
        self
    }

    /// Where there is no dialect.
    const fn without_dialect(mut self) -> Self {
        self.dialects = (1, 0);
        self
    }
}

/// The points of §15.
pub(super) const POINTS: &[Point] = &[
    point("VER negotiation", &["sign-in", "ver-negotiation"]),
    point("unsupported dialect", &["sign-in-unsupported-version", "ver-none"]).without_dialect(),
    point("login OK", &["sign-in", "clients-http-2-case-of-header-names", "sign-in-rst"]),
    point("login fail", &["sign-in-wrong-md5", "sign-in-wrong-ticket", "clients-12-wrong-password"]),
    point("login 207", &["sign-in-again-207"]),
    point(
        "SYN counts and order",
        &["sync-full-msnp2-7", "sync-full-msnp8-9", "sync-full-msnp10-12", "sync-unchanged"],
    ),
    point("empty lists", &["sync-empty"]),
    point("CHG, ILN, NLN, FLN", &["presence-statuses", "presence-before-chg", "presence-cross-dialect"]),
    point("presence with block and unblock", &["presence-block"]),
    point("presence with BLP BL", &["presence-strangers", "privacy-switches"]),
    point("presence with HDN", &["presence-hidden"]),
    point(
        "contacts: add, remove, rename",
        &["lists-msnp7", "lists-msnp8-9", "lists-msnp10-12", "names-and-phones"],
    ),
    point("contacts: every listed error", &["lists-errors", "lists-errors-guids", "a_list_that_is_full"]),
    point(
        "groups: create, rename, delete",
        &["lists-msnp7", "lists-msnp8-9", "lists-msnp10-12", "groups-across-dialects"],
    )
    .since(7),
    point(
        "groups: every listed error",
        &["groups-errors", "groups-errors-guids", "a_populated_group_is_kept_by_setting_only"],
    )
    .since(7),
    point("RL notice to the other side", &["presence-add-online", "clients-25-added-is-pending-at-once"]),
    point("second login: OUT OTH", &["sign-in-elsewhere"]),
    point("CHL right and wrong", &["challenge", "challenge-none"]),
    point("CHL late", &["an_answer_that_comes_too_late"]),
    point("XFR, RNG, USR, ANS with a wrong, a reused and another user's cookie", &["cookies"]),
    point("CAL errors", &["invitations", "invitations-refused", "calls-too-many"]),
    point("IRO order with three", &["chat-three"]),
    point("MSG of 0, 1, 1,664 and 1,665 bytes", &["chat-sizes"]),
    point("MSG binary with NULs", &["chat-acknowledgements"]),
    point("split across TCP segments at every offset", &["every_split_point_of_every_tier"]),
    point("many commands in one segment", &["pieces-and-bursts", "chat-pieces"]),
    point("U, N, A and D", &["chat-acknowledgements"]),
    point("BYE", &["chat-two", "chat-three"]),
    point("presence across dialects", &["presence-cross-dialect", "every_dialect_gets_on_with_every_other"]),
    point("percent-encoding there and back", &["names-and-phones", "groups-across-dialects"]),
    point("case-insensitive handles", &["sign-in-case-and-domain"]),
    point("PNG", &["errands"]),
    point("OUT SSD on drain", &["a_notification_server_that_is_asked_to_stop", "a_node_is_drained_by_hand"]),
    Point {
        text: "gateway open, poll, close",
        dialects: (1, 0),
        shown_by: &[],
        open: Some("the HTTP gateway (§12) is not built yet"),
    },
];

/// The transcripts of §13. Some scenarios go through one as it stands, others through what it adds.
pub(super) const TRANSCRIPTS: &[Point] = &[
    point("13.1 MSNP2", &["transcript-msnp2"]).within(2, 2),
    point("13.2 MSNP3, MSNP4", &["transcript-msnp3-4"]).within(3, 4),
    point("13.3 MSNP5, MSNP6", &["transcript-msnp5-6"]).within(5, 6),
    point("13.4 MSNP7", &["sign-in", "sync-full-msnp2-7", "lists-msnp7"]).within(7, 7),
    point("13.5 MSNP8", &["sign-in", "lists-msnp8-9"]).within(8, 8),
    point("13.6 MSNP9", &["transcript-msnp9"]).within(9, 9),
    point("13.7 MSNP10, MSNP11", &["sign-in", "lists-msnp10-12"]).within(10, 11),
    point("13.8 MSNP12", &["transcript-msnp12", "lists-msnp10-12"]).within(12, 12),
    point("13.9 switchboard", &["chat-two", "invitations"]),
    Point {
        text: "13.10 HTTP gateway",
        dialects: (1, 0),
        shown_by: &[],
        open: Some("the HTTP gateway (§12) is not built yet"),
    },
];
