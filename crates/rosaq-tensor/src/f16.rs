//! f32 to stored f16 and back, with names in the errors.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::TensorError;

/// f16 values that are converted at a time: a buffer that stays in the first-level cache.
const CHUNK: usize = 1024;

/// Rounds `values` to f16, nearest, ties to even, as little-endian bytes.
///
/// `name` is the tensor's name, for the error.
///
/// # Errors
///
/// [`TensorError::NotF16`] for the first value that is not finite or beyond 65504 in magnitude.
pub fn f32_to_f16_bytes(values: &[f32], name: &str) -> Result<Vec<u8>, TensorError> {
    let mut bytes = Vec::with_capacity(values.len() * 2);
    let mut buffer = [f16::ZERO; CHUNK];
    let largest = f16::MAX.to_f32();
    for (chunk_idx, chunk) in values.chunks(CHUNK).enumerate() {
        // NaN fails the comparison too.
        if let Some(idx) = chunk.iter().position(|v| !matches!(v.abs(), a if a <= largest)) {
            return Err(TensorError::NotF16 {
                tensor: name.to_owned(),
                index: chunk_idx * CHUNK + idx,
                value: chunk[idx],
            });
        }
        let halves = &mut buffer[..chunk.len()];
        halves.convert_from_f32_slice(chunk);
        bytes.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
    }
    Ok(bytes)
}

/// Converts little-endian f16 bytes into `out`, exactly. The lengths must agree.
pub(crate) fn f16_bytes_into(bytes: &[u8], out: &mut [f32]) {
    let mut buffer = [f16::ZERO; CHUNK];
    for (chunk, out) in bytes.chunks(2 * CHUNK).zip(out.chunks_mut(CHUNK)) {
        let halves = &mut buffer[..out.len()];
        for (half, bytes) in halves.iter_mut().zip(chunk.as_chunks().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_f16_survives_the_round_trip() {
        let halves: Vec<f16> =
            (0..=u16::MAX).map(f16::from_bits).filter(|h| h.is_finite()).collect();
        let values: Vec<f32> = halves.iter().map(|h| h.to_f32()).collect();
        let bytes = f32_to_f16_bytes(&values, "t").unwrap();
        let expected: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
        let mut back = vec![0.0; values.len()];
        f16_bytes_into(&bytes, &mut back);
        assert_eq!(back, values);
    }

    #[test]
    fn what_f16_cannot_hold_is_refused_by_name() {
        for bad in [65_505.0, -1e9, f32::NAN, f32::INFINITY] {
            let mut values = vec![65_504.0; 3000];
            values[2047] = bad;
            let error = f32_to_f16_bytes(&values, "blk.3.w").unwrap_err().to_string();
            assert!(error.contains("`blk.3.w`") && error.contains("element 2047"), "{error}");
        }
    }
}
