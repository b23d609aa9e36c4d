//! What can be wrong with a packed linear.

/// A packed linear, or the description of one, that cannot be used.
///
/// The crate knows neither files nor tensor names: whoever reads a checkpoint adds them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A code width without kernels.
    #[error(
        "unsupported code width: expected 2, 3, 4, 5, 6 or 8 bits (1 in a trellis), found {found}"
    )]
    UnsupportedBits {
        /// The width that was asked for.
        found: u8,
    },
    /// A linear without weights.
    #[error(
        "a linear needs at least one input and one output, found {out_features} x {in_features}"
    )]
    Empty {
        /// Rows of the stored weight.
        out_features: usize,
        /// Columns of the stored weight.
        in_features: usize,
    },
    /// A segment without channels, or an integer one without a group size.
    #[error("segment {segment}: `{field}` must be at least 1")]
    ZeroField {
        /// Position of the segment in the list.
        segment: usize,
        /// The field that is zero.
        field: &'static str,
    },
    /// Segments whose channels do not add up to the inputs of the linear.
    #[error("segments cover {found} channels, the linear has {expected}")]
    ChannelCount {
        /// Inputs of the linear.
        expected: usize,
        /// Sum over the segments.
        found: usize,
    },
    /// Sizes whose product does not fit into memory addresses.
    #[error("a linear of {out_features} x {in_features} is too large to address")]
    TooLarge {
        /// Rows of the stored weight.
        out_features: usize,
        /// Columns of the stored weight.
        in_features: usize,
    },
    /// A part whose length does not follow from the segments.
    #[error("`{part}` has the wrong length: expected {expected}, found {found}")]
    PartLength {
        /// The part: codes, scales, zeros or f16.
        part: &'static str,
        /// Elements that the segments demand.
        expected: usize,
        /// Elements that are there.
        found: usize,
    },
    /// Values that do not belong to the kind of the segment.
    #[error("segment {segment}: its kind is {expected}, its values are {found}")]
    ValueKind {
        /// Position of the segment in the list.
        segment: usize,
        /// What the kind demands.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// A code or a zero point above the largest code of its width.
    #[error("segment {segment}: {what} {found} at index {index} exceeds {max}")]
    CodeRange {
        /// Position of the segment in the list.
        segment: usize,
        /// "code" or "zero point".
        what: &'static str,
        /// Position within the values of the segment.
        index: usize,
        /// The largest legal value.
        max: u8,
        /// The value.
        found: u8,
    },
    /// A scale, an f16 weight or a codebook level that is NaN or infinite.
    #[error("`{part}` holds a value that is not finite at index {index}")]
    NotFinite {
        /// The part: scales, f16 or codebooks.
        part: &'static str,
        /// Position of the first such value.
        index: usize,
    },
    /// A codebook segment that names no codebook.
    #[error("segment {segment}: codebook {id} does not exist, there are {n_codebooks}")]
    MissingCodebook {
        /// Position of the segment in the list.
        segment: usize,
        /// The codebook it names.
        id: u32,
        /// The number of codebooks.
        n_codebooks: usize,
    },
    /// A codebook of the wrong length or with a width that codebooks do not have.
    #[error("codebook {id}: expected 2^{bits} levels with 2 to 4 bits, found {found} levels")]
    CodebookLength {
        /// The codebook.
        id: u32,
        /// The width of the segment that names it.
        bits: u8,
        /// Its number of levels.
        found: usize,
    },
    /// A trellis segment whose widths or table do not fit together.
    #[error(
        "trellis table {id}: expected 1 to 6 bits, a window of at most 12 and 2^window levels (or \
         2 * 2^(window / 2)), found {bits} bits, a window of {window} and {found} levels"
    )]
    Trellis {
        /// The table.
        id: u32,
        /// The width of a code.
        bits: u8,
        /// The width of a state.
        window: u8,
        /// Its number of levels.
        found: usize,
    },
    /// A channel order that is not a permutation of the channels.
    #[error("channel order does not fit {n_channels} channels: {reason}")]
    Order {
        /// Inputs of the linear.
        n_channels: usize,
        /// What is wrong.
        reason: String,
    },
}
