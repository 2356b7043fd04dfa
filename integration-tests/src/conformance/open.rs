//! The cells that no scenario shows, and why: a list to be emptied. A cell that is shown can't stand here.

use cli::scenario::{Direction, Shown};
use common::msnp::verbs::Service;

/// Cells of one command, in all of its dialects.
pub(super) struct Open {
    pub(super) service: Service,
    pub(super) direction: Direction,
    pub(super) word: &'static str,
    pub(super) why: &'static str,
}

/// All of them.
pub(super) const OPEN: &[Open] = &[Open {
    service: Service::Notification,
    direction: Direction::ToClient,
    word: "IPG",
    why: "optional: there is no mobile gateway that could page (§6.19)",
}];

impl Open {
    /// Whether the cell is one of these.
    pub(super) fn holds(&self, cell: &Shown) -> bool {
        (self.service, self.direction, self.word) == (cell.service, cell.direction, cell.word.as_str())
    }

    /// As the page names it.
    pub(super) fn title(&self) -> String {
        super::page::title(self.service, self.direction, self.word)
    }
}
