//! The protocol reference's §15, the minimum of a conformance suite, point by point; and the transcripts of its §13.

/// A point, and the scenarios or Rust tests that show it.
pub(super) struct Point {
    pub(super) text: &'static str,
    /// The first and the last dialect in which it must be shown.
    pub(super) dialects: (u8, u8),
    /// Scenarios, each for the dialects in which it was played.
    pub(super) shown_by: &'static [&'static str],
    /// Rust tests.
    pub(super) tests: &'static [Tested],
    /// Why nothing does.
    pub(super) open: Option<&'static str>,
}

/// A Rust test, and the dialects that it shows the point in.
pub(super) struct Tested {
    pub(super) name: &'static str,
    pub(super) dialects: &'static [u8],
}

/// All of them.
const EVERY: &[u8] = &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

const fn tested(name: &'static str, dialects: &'static [u8]) -> Tested {
    Tested { name, dialects }
}

const fn point(text: &'static str, shown_by: &'static [&'static str]) -> Point {
    Point { text, dialects: (2, 12), shown_by, tests: &[], open: None }
}

impl Point {
    const fn and(mut self, tests: &'static [Tested]) -> Self {
        self.tests = tests;
        self
    }

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
        &["transcript-msnp7", "transcript-msnp8", "transcript-msnp10-11", "names-and-phones", "phone-contacts"],
    ),
    point("contacts: every listed error", &["lists-errors", "lists-errors-guids", "phone-contacts"])
        .and(&[tested("a_list_that_is_full", &[7])]),
    point(
        "groups: create, rename, delete",
        &["transcript-msnp7", "transcript-msnp8", "transcript-msnp10-11", "groups-across-dialects"],
    )
    .since(7),
    point("groups: every listed error", &["groups-errors", "groups-errors-guids"])
        .and(&[tested("a_populated_group_is_kept_by_setting_only", &[7])])
        .since(7),
    point("RL notice to the other side", &["presence-add-online", "clients-25-added-is-pending-at-once"]),
    point("second login: OUT OTH", &["sign-in-elsewhere"]),
    point("CHL right and wrong", &["challenge"]).since(6),
    point("no CHL before MSNP6", &["challenge-none"]).within(2, 5),
    point("CHL late", &[]).and(&[tested("an_answer_that_comes_too_late", &[6, 7, 8, 9, 10, 11, 12])]).since(6),
    point("XFR, RNG, USR, ANS with a wrong, a reused and another user's cookie", &["cookies"]),
    point("CAL errors", &["invitations", "invitations-refused", "calls-too-many"]),
    point("IRO order with three", &["chat-three"]),
    point("MSG of 0, 1, 1,664 and 1,665 bytes", &["chat-sizes"]),
    point("MSG binary with NULs", &["chat-acknowledgements"]),
    point("split across TCP segments at every offset", &["chat-pieces"])
        .and(&[tested("every_split_point_of_every_tier", &[2, 4, 5, 7, 8, 10, 11, 12])]),
    point("many commands in one segment", &["pieces-and-bursts", "chat-pieces"]),
    point("U, N, A and D", &["chat-acknowledgements"]),
    point("BYE", &["transcript-switchboard", "chat-three"]),
    point("presence across dialects", &["presence-cross-dialect"])
        .and(&[tested("every_dialect_gets_on_with_every_other", EVERY)]),
    point("percent-encoding there and back", &["names-and-phones", "groups-across-dialects"]),
    point("case-insensitive handles", &["sign-in-case-and-domain"]),
    point("PNG", &["errands"]),
    point("OUT SSD on drain", &[]).and(&[
        tested("a_notification_server_that_is_asked_to_stop", EVERY),
        tested("a_node_is_drained_by_hand", &[7]),
    ]),
    Point {
        text: "gateway open, poll, close",
        dialects: (1, 0),
        shown_by: &[],
        tests: &[],
        open: Some("the HTTP gateway (§12) is not built yet"),
    },
];

/// The transcripts of §13. Some scenarios go through one as it stands, others through what it adds.
pub(super) const TRANSCRIPTS: &[Point] = &[
    point("13.1 MSNP2", &["transcript-msnp2"]).within(2, 2),
    point("13.2 MSNP3, MSNP4", &["transcript-msnp3-4"]).within(3, 4),
    point("13.3 MSNP5, MSNP6", &["transcript-msnp5-6"]).within(5, 6),
    point("13.4 MSNP7", &["transcript-msnp7"]).within(7, 7),
    point("13.5 MSNP8", &["transcript-msnp8"]).within(8, 8),
    point("13.6 MSNP9", &["transcript-msnp9"]).within(9, 9),
    point("13.7 MSNP10, MSNP11", &["transcript-msnp10-11"]).within(10, 11),
    point("13.8 MSNP12", &["transcript-msnp12", "transcript-msnp10-11"]).within(12, 12),
    point("13.9 switchboard", &["transcript-switchboard"]),
    Point {
        text: "13.10 HTTP gateway",
        dialects: (1, 0),
        shown_by: &[],
        tests: &[],
        open: Some("the HTTP gateway (§12) is not built yet"),
    },
];
