//! The formats with blocks of 32: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0`.
//!
//! The sixteen code bytes hold element `i` in the low and element `i + 16` in the high half. The
//! fifth bits of the 5-bit formats stand apart in a little-endian u32, bit `i` for element `i`.

use super::{for_each_block, half_at};

/// `Q4_0`: f16 scale `d`, codes; value `d * (code - 8)`.
pub(super) fn q4_0_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<18, 32>(bytes, out, |block, out| {
        let d = half_at(block, 0);
        for (i, code) in block[2..].iter().enumerate() {
            out[i] = d * centered(code & 15, 8);
            out[i + 16] = d * centered(code >> 4, 8);
        }
    });
}

/// `Q4_1`: f16 scale `d`, f16 minimum `m`, codes; value `d * code + m`.
pub(super) fn q4_1_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<20, 32>(bytes, out, |block, out| {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        for (i, code) in block[4..].iter().enumerate() {
            out[i] = d * f32::from(code & 15) + m;
            out[i + 16] = d * f32::from(code >> 4) + m;
        }
    });
}

/// `Q5_0`: f16 scale `d`, fifth bits, codes; value `d * (code - 16)`.
pub(super) fn q5_0_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<22, 32>(bytes, out, |block, out| {
        let d = half_at(block, 0);
        let high = high_bits(block, 2);
        for (i, low) in block[6..].iter().enumerate() {
            out[i] = d * centered((low & 15) | fifth_bit(high, i), 16);
            out[i + 16] = d * centered((low >> 4) | fifth_bit(high, i + 16), 16);
        }
    });
}

/// `Q5_1`: f16 scale `d`, f16 minimum `m`, fifth bits, codes; value `d * code + m`.
pub(super) fn q5_1_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<24, 32>(bytes, out, |block, out| {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        let high = high_bits(block, 4);
        for (i, low) in block[8..].iter().enumerate() {
            out[i] = d * f32::from((low & 15) | fifth_bit(high, i)) + m;
            out[i + 16] = d * f32::from((low >> 4) | fifth_bit(high, i + 16)) + m;
        }
    });
}

/// `Q8_0`: f16 scale `d`, signed codes; value `d * code`.
pub(super) fn q8_0_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<34, 32>(bytes, out, |block, out| {
        let d = half_at(block, 0);
        for (out, code) in out.iter_mut().zip(&block[2..]) {
            *out = d * f32::from(code.cast_signed());
        }
    });
}

fn centered(code: u8, center: i8) -> f32 {
    f32::from(code.cast_signed() - center)
}

fn high_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Bit `i` of `high`, in the place of a fifth bit.
fn fifth_bit(high: u32, i: usize) -> u8 {
    if high >> i & 1 == 1 { 16 } else { 0 }
}
