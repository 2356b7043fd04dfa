//! When kept messages were said: a line of its own before them, since old clients show no other time than that of arrival.

use bytes::Bytes;

/// A message that was said so much later than the one of the last line gets another line.
const GAP_MS: u64 = 10 * 60 * 1000;

/// The lines of one sender's kept messages.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<u64>,
}

impl Timeline {
    /// The line before a message that was said at `made_ms`, milliseconds since 1970; nothing if the last one will do.
    pub(super) fn before(&mut self, made_ms: u64) -> Option<Bytes> {
        if self.last.is_some_and(|last| made_ms < last.saturating_add(GAP_MS)) {
            return None;
        }
        self.last = Some(made_ms);
        Some(payload(made_ms))
    }
}

/// A text like any other (protocol reference §9.1), in grey italics. In UTC: nobody knows the reader's time zone.
fn payload(made_ms: u64) -> Bytes {
    let time = i64::try_from(made_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.unwrap_or_default().strftime("%Y-%m-%d %H:%M");
    format!(
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\
         X-MMS-IM-Format: FN=MS%20Sans%20Serif; EF=I; CO=808080; CS=0; PF=0\r\n\r\nSent {time} UTC:"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_before_the_first_and_after_a_pause() {
        let mut line = Timeline::default();
        let first = line.before(1_763_823_845_007).unwrap();
        assert!(first.ends_with(b"PF=0\r\n\r\nSent 2025-11-22 15:04 UTC:"), "{first:?}");
        assert_eq!(line.before(1_763_823_845_007 + GAP_MS - 1), None);
        let next = line.before(1_763_823_845_007 + GAP_MS).unwrap();
        assert!(next.ends_with(b"Sent 2025-11-22 15:14 UTC:"), "{next:?}");
        assert!(line.before(u64::MAX).is_some(), "strange times harm nobody");
    }
}
