//! Why a packed linear cannot go to a device.

/// A packed linear that the kernels cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A kind of segment that the kernels do not know.
    #[error("segment {segment}: no kernel reads {kind}; requantize with integer codes")]
    Kind {
        /// Position of the segment in the list.
        segment: usize,
        /// What it holds.
        kind: String,
    },
    /// A segment that begins where no aligned load can.
    #[error(
        "segment {segment} begins at channel {start}; kernels need a multiple of 8: give every \
         segment but the last a multiple of 16 channels"
    )]
    Start {
        /// Position of the segment in the list.
        segment: usize,
        /// Its first channel.
        start: usize,
    },
    /// A group size that no kernel steps through.
    #[error(
        "segment {segment}: groups of {group_size} channels; kernels need multiples of 16, or one \
         group for the whole segment"
    )]
    GroupSize {
        /// Position of the segment in the list.
        segment: usize,
        /// Its group size.
        group_size: usize,
    },
    /// More bytes, rows or channels than the table can number.
    #[error("a linear of {out_features} x {in_features} is too large for a device image")]
    TooLarge {
        /// Rows of the weight.
        out_features: usize,
        /// Channels of the weight.
        in_features: usize,
    },
}
