//! What can be wrong with a code or with a sequence to be encoded.

/// A trellis code that cannot be, or values that cannot be encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrellisError {
    /// More or fewer bits per value than a trellis code has.
    #[error("trellis code: expected 1 to 6 bits per value, found {found}")]
    Bits {
        /// Bits per value.
        found: u8,
    },
    /// A window that is too short for the bits, or too long for the metrics.
    #[error(
        "trellis code of {bits} bits: expected a window of {} to {max} bits, found {found}",
        2 * bits
    )]
    Window {
        /// Bits per value.
        bits: u8,
        /// The longest window.
        max: u8,
        /// Bits in the window.
        found: u8,
    },
    /// Two added tables need as many even bits as odd ones.
    #[error("trellis code with two added tables: expected an even window, found {found} bits")]
    OddWindow {
        /// Bits in the window.
        found: u8,
    },
    /// A table whose length does not follow from the window.
    #[error(
        "trellis code with a window of {window} bits: expected {expected} entries in table `{table}`, found {found}"
    )]
    TableLength {
        /// Bits in the window.
        window: u8,
        /// The table: whole, even or odd.
        table: &'static str,
        /// Entries that the window demands.
        expected: usize,
        /// Entries that are there.
        found: usize,
    },
    /// Two added tables whose largest or smallest sum does not fit a byte.
    #[error(
        "trellis code with two added tables: expected sums of -128 to 127, found {min} to {max}; shrink the entries and enlarge the step"
    )]
    SumRange {
        /// Sum of the smallest entries.
        min: i16,
        /// Sum of the largest entries.
        max: i16,
    },
    /// A step that is no positive finite number.
    #[error("trellis code: expected a positive finite step, found {found}")]
    Step {
        /// The step.
        found: f32,
    },
    /// A target, scale, weight or sample that is NaN or infinite, or a weight below zero.
    #[error(
        "numbers to be encoded: expected finite numbers and no weight below 0, found {what} {found} at index {index}"
    )]
    Input {
        /// "target", "scale", "weight" or "sample".
        what: &'static str,
        /// Position in the sequence.
        index: usize,
        /// The number.
        found: f32,
    },
}
