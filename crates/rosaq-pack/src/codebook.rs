//! Checks of the tables that codebook segments read.

use half::f16;

use crate::{PackError, Segment, SegmentKind};

/// Codebooks exist for 2, 3 and 4 bits: the largest one still fits a vector register.
const MAX_CODEBOOK_BITS: u8 = 4;
/// Most bits of a trellis code.
const MAX_TRELLIS_BITS: u8 = 6;

/// The longest trellis window: its levels still fit a first-level cache.
const MAX_WINDOW: u8 = 12;

/// Checks that every codebook or trellis segment names a table of the right number of finite levels.
pub(crate) fn check_codebooks(
    segments: &[Segment],
    codebooks: &[Vec<f16>],
) -> Result<(), PackError> {
    for (idx, segment) in segments.iter().enumerate() {
        let Some(id) = segment.kind.table() else { continue };
        let levels = usize::try_from(id)
            .ok()
            .and_then(|id| codebooks.get(id))
            .ok_or(PackError::MissingCodebook { segment: idx, id, n_codebooks: codebooks.len() })?;
        check_length(segment.kind, id, levels.len())?;
        check_finite(levels, "codebooks")?;
    }
    Ok(())
}

/// Checks the shape of the code and the length of its table, `found`.
fn check_length(kind: SegmentKind, id: u32, found: usize) -> Result<(), PackError> {
    match kind {
        SegmentKind::Trellis { bits, window, .. } => {
            let fits = bits.get() <= MAX_TRELLIS_BITS
                && (bits.get()..=MAX_WINDOW).contains(&window)
                && (found == 1 << window
                    || (window.is_multiple_of(2) && found == 2 << (window / 2)));
            if fits {
                Ok(())
            } else {
                Err(PackError::Trellis { id, bits: bits.get(), window, found })
            }
        }
        SegmentKind::Codebook { bits, .. }
            if found != bits.n_codes() || bits.get() > MAX_CODEBOOK_BITS =>
        {
            Err(PackError::CodebookLength { id, bits: bits.get(), found })
        }
        _ => Ok(()),
    }
}

/// Checks that no value is NaN or infinite.
pub(crate) fn check_finite(values: &[f16], part: &'static str) -> Result<(), PackError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(PackError::NotFinite { part, index }),
        None => Ok(()),
    }
}
