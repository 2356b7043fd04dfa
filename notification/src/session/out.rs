//! What a session wants done: decided without I/O, carried out by its driver.

use bytes::Bytes;
use common::cluster::Notice;
use common::model::{Epoch, Generation, NodeId, Passport};
use common::msnp::{ErrorCode, Line, TrId};

use super::Closing;
use crate::metrics::Limited;
use crate::repair::Change;

/// Something for the client.
pub(crate) enum Piece {
    /// Whole commands.
    Line(Bytes),
    /// Commands that are made as the socket drains.
    Source(Box<dyn Iterator<Item = Bytes> + Send>),
}

/// Notices for sessions of that life of a node.
pub(crate) struct Direct {
    /// Which node.
    pub(crate) node: NodeId,
    /// Which of its lives.
    pub(crate) generation: Generation,
    /// For whom, and for which session of it.
    pub(crate) letters: Vec<(Passport, Epoch, Notice)>,
}

/// What a session wants done, in order within each field.
#[derive(Default)]
pub(crate) struct Out {
    /// For the client.
    pub(crate) pieces: Vec<Piece>,
    /// For other principals, wherever they are.
    pub(crate) posts: Vec<(Passport, Notice)>,
    /// For sessions whose place is known.
    pub(crate) direct: Vec<Direct>,
    /// What others may have to compare.
    pub(crate) changes: Vec<Change>,
    /// A request was refused since it came too often.
    pub(crate) too_often: Option<Limited>,
    /// What was kept for the principal is to be asked for.
    pub(crate) pick_up: bool,
    /// The session is to end, once the client has got its pieces.
    pub(crate) close: Option<Closing>,
    /// The client is slow: something written earlier still waits, and how contacts look is better said later.
    pub(crate) backlogged: bool,
}

impl Out {
    /// Nothing yet, for a client that keeps up or doesn't.
    pub(crate) fn new(backlogged: bool) -> Self {
        Self { backlogged, ..Self::default() }
    }

    /// Writes whole commands.
    pub(crate) fn line(&mut self, line: Bytes) {
        if !line.is_empty() {
            self.pieces.push(Piece::Line(line));
        }
    }

    /// Refuses a request.
    pub(crate) fn refuse(&mut self, code: ErrorCode, trid: TrId) {
        self.line(Line::error(code, trid));
    }

    /// Refuses a request that came too often (§10).
    pub(crate) fn refuse_too_often(&mut self, kind: Limited, trid: TrId) {
        let code = match kind {
            Limited::Status | Limited::Name | Limited::ContactName | Limited::List => ErrorCode::TooRapid,
            Limited::Chat | Limited::Ring => ErrorCode::TooActive,
            // Said at sign-in only.
            Limited::SignIn => ErrorCode::ServerBusy,
        };
        self.too_often = Some(kind);
        self.refuse(code, trid);
    }

    /// Writes commands as the socket drains.
    pub(crate) fn source(&mut self, lines: Box<dyn Iterator<Item = Bytes> + Send>) {
        self.pieces.push(Piece::Source(lines));
    }

    /// Ends the session; the first reason counts.
    pub(crate) fn close(&mut self, why: Closing) {
        self.close.get_or_insert(why);
    }
}
