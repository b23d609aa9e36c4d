//! Stored elements to f32, exactly as the formats define them.
//!
//! The block formats are those of ggml (`ggml/src/ggml-common.h` and `ggml-quants.c` in
//! ggml-org/llama.cpp). Products and sums are single f32 operations in the order written there, so
//! that results agree bit for bit.

mod k_quants;
mod legacy;
mod plain;

use crate::dtype::DType;

/// Converts one run of whole blocks into as many f32.
type Converter = fn(&[u8], &mut [f32]);

/// The conversion of a real element type; `None` for integers.
///
/// `bytes` holds whole blocks and `out` their elements; the caller has checked the lengths.
pub(crate) fn converter(dtype: DType) -> Option<Converter> {
    Some(match dtype {
        DType::F64 => plain::f64_into,
        DType::F32 => plain::f32_into,
        DType::F16 => crate::f16::f16_bytes_into,
        DType::BF16 => plain::bf16_into,
        DType::Q4_0 => legacy::q4_0_into,
        DType::Q4_1 => legacy::q4_1_into,
        DType::Q5_0 => legacy::q5_0_into,
        DType::Q5_1 => legacy::q5_1_into,
        DType::Q8_0 => legacy::q8_0_into,
        DType::Q4K => k_quants::q4_k_into,
        DType::Q5K => k_quants::q5_k_into,
        DType::Q6K => k_quants::q6_k_into,
        _ => return None,
    })
}

/// Calls `convert` on every block of `BYTES` bytes and its `N` elements.
fn for_each_block<const BYTES: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    convert: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        convert(block, out);
    }
}

/// The f16 at byte `at` of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
