//! Reading the store a page at a time, within bounds of one plan and of the whole process.

use common::model::{ChannelId, InboxId, Passport};
use common::store::{Cursor, InboxPage, Page, Result, Store, StoreError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What one reading may still take.
#[derive(Debug)]
pub(super) struct Budget {
    messages: usize,
    bytes: usize,
    pages: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { messages: 512, bytes: Self::BYTES, pages: 64 }
    }
}

impl Budget {
    /// What the messages of a plan take up, in bytes. The last one may go beyond it: at most by 64 KiB, the greatest
    /// `limits.message`.
    pub(super) const BYTES: usize = 256 * 1024;

    pub(super) fn is_used_up(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || !self.has_pages()
    }

    pub(super) fn has_pages(&self) -> bool {
        self.pages > 0
    }

    /// The messages and bytes that are left.
    pub(super) fn room(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.messages > 0 && self.bytes >= bytes
    }

    /// Messages were taken, of so many bytes in all.
    pub(super) fn take(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Messages that are read at a time.
const PAGE: usize = 64;

/// The store, as plans read it.
pub(super) struct Shelf<'a> {
    pub(super) store: &'a dyn Store,
    /// Pages that may be in memory at once, for all principals together.
    pub(super) places: &'a Semaphore,
}

/// A page, and its place in memory: not to be held for longer than it takes to look it through.
pub(super) struct Held<'a, T> {
    pub(super) page: T,
    _place: SemaphorePermit<'a>,
}

impl Shelf<'_> {
    /// See [`Store::read`].
    pub(super) async fn history(
        &self,
        channel: ChannelId,
        after: &Cursor,
        budget: &mut Budget,
    ) -> Result<Held<'_, Page>> {
        let _place = self.place(budget).await?;
        Ok(Held { page: self.store.read(channel, Some(after), PAGE).await?, _place })
    }

    /// See [`Store::inbox`].
    pub(super) async fn inbox(
        &self,
        who: &Passport,
        after: Option<InboxId>,
        budget: &mut Budget,
    ) -> Result<Held<'_, InboxPage>> {
        let _place = self.place(budget).await?;
        Ok(Held { page: self.store.inbox(who, after, PAGE).await?, _place })
    }

    async fn place(&self, budget: &mut Budget) -> Result<SemaphorePermit<'_>> {
        budget.pages = budget.pages.saturating_sub(1);
        // It is never closed.
        self.places.acquire().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}
