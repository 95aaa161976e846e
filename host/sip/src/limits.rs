//! How large a message may be: every limit of this crate's parsers, by name.

/// Limits of one message; a transport has one set for all that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole message; beyond it 513. Never more than [`Limits::MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Header fields, each line counted; beyond it 400.
    pub header_count_max: usize,
    /// One header field with its folded lines; beyond it 400. The start line too; beyond it 414.
    pub header_line_bytes_max: usize,
    /// The body; beyond it 413.
    pub body_bytes_max: usize,
}

impl Limits {
    /// What the index of a message can hold, whatever is configured.
    pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

    /// For what we wrote ourselves.
    pub(crate) const WIDEST: Self = Self {
        message_bytes_max: Self::MESSAGE_BYTES_MAX,
        header_count_max: usize::MAX,
        header_line_bytes_max: usize::MAX,
        body_bytes_max: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 65_535,
            header_count_max: 256,
            header_line_bytes_max: 8_192,
            body_bytes_max: 65_535,
        }
    }
}
