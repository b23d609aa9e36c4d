//! Checks of the tables that codebook segments read.

use half::f16;

use crate::{PackError, Segment, SegmentKind};

/// Codebooks exist for 2, 3 and 4 bits: the largest one still fits a vector register.
const MAX_CODEBOOK_BITS: u8 = 4;

/// Checks that every codebook segment names a table of `2^bits` finite levels.
pub(crate) fn check_codebooks(
    segments: &[Segment],
    codebooks: &[Vec<f16>],
) -> Result<(), PackError> {
    for (idx, segment) in segments.iter().enumerate() {
        let SegmentKind::Codebook { bits, id } = segment.kind else { continue };
        let levels = usize::try_from(id)
            .ok()
            .and_then(|id| codebooks.get(id))
            .ok_or(PackError::MissingCodebook { segment: idx, id, n_codebooks: codebooks.len() })?;
        if levels.len() != bits.n_codes() || bits.get() > MAX_CODEBOOK_BITS {
            let found = levels.len();
            return Err(PackError::CodebookLength { id, bits: bits.get(), found });
        }
        check_finite(levels, "codebooks")?;
    }
    Ok(())
}

/// Checks that no value is NaN or infinite.
pub(crate) fn check_finite(values: &[f16], part: &'static str) -> Result<(), PackError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(PackError::NotFinite { part, index }),
        None => Ok(()),
    }
}
