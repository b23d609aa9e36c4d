//! The formats with super-blocks of 256: `Q4_K`, `Q5_K`, `Q6_K`.

use super::{for_each_block, half_at};

/// `Q4_K`: f16 `d` and `d_min`, twelve bytes of 6-bit scales and minima, 128 bytes of codes.
///
/// Eight groups of 32; each run of 32 code bytes holds one group in its low halves and the next in
/// its high halves. Value `d * scale * code - d_min * min`.
pub(super) fn q4_k_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<144, 256>(bytes, out, |block, out| {
        let (d, d_min) = (half_at(block, 0), half_at(block, 2));
        let codes = block[16..].as_chunks::<32>().0;
        for (group_idx, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&block[4..16], group_idx);
            let (scale, min) = (d * f32::from(scale), d_min * f32::from(min));
            let shift = 4 * (group_idx % 2);
            for (out, code) in out.iter_mut().zip(&codes[group_idx / 2]) {
                *out = scale * f32::from(code >> shift & 15) - min;
            }
        }
    });
}

/// `Q5_K`: as `Q4_K` with 32 bytes of fifth bits before the codes, bit `g` of byte `i` for element
/// `i` of group `g`.
pub(super) fn q5_k_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<176, 256>(bytes, out, |block, out| {
        let (d, d_min) = (half_at(block, 0), half_at(block, 2));
        let fifths = &block[16..48];
        let codes = block[48..].as_chunks::<32>().0;
        for (group_idx, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&block[4..16], group_idx);
            let (scale, min) = (d * f32::from(scale), d_min * f32::from(min));
            let shift = 4 * (group_idx % 2);
            for ((out, code), fifth) in out.iter_mut().zip(&codes[group_idx / 2]).zip(fifths) {
                let code = (code >> shift & 15) | (fifth >> group_idx & 1) << 4;
                *out = scale * f32::from(code) - min;
            }
        }
    });
}

/// `Q6_K`: 128 bytes of low halves, 64 bytes of upper bit pairs, sixteen signed scales, f16 `d`.
///
/// Two halves of 128 elements. Within a half, quarter `k` (32 elements) takes its low four bits
/// from run `k % 2` of 32 low bytes, low halves for `k < 2` and high halves after, and its upper
/// two bits from bits `2 k` of the 32 upper bytes. A scale serves 16 elements.
/// Value `d * scale * (code - 32)`.
pub(super) fn q6_k_into(bytes: &[u8], out: &mut [f32]) {
    for_each_block::<210, 256>(bytes, out, |block, out| {
        let (lows, rest) = block.split_at(128);
        let (uppers, rest) = rest.split_at(64);
        let d = half_at(rest, 16);
        for (quarter_idx, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (half_idx, k) = (quarter_idx / 4, quarter_idx % 4);
            let low = &lows[64 * half_idx + 32 * (k % 2)..][..32];
            let upper = &uppers[32 * half_idx..][..32];
            let (low_shift, upper_shift) = (4 * (k / 2), 2 * k);
            for (scale_idx, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let scale = d * f32::from(rest[2 * quarter_idx + scale_idx].cast_signed());
                let at = 16 * scale_idx..16 * (scale_idx + 1);
                for ((out, low), upper) in out.iter_mut().zip(&low[at.clone()]).zip(&upper[at]) {
                    let code = (low >> low_shift & 15) | (upper >> upper_shift & 3) << 4;
                    *out = scale * f32::from(code.cast_signed() - 32);
                }
            }
        }
    });
}

/// The 6-bit scale and minimum of a group, out of the twelve packed bytes of a super-block.
///
/// Groups 0 to 3 have their scale in the low six bits of bytes 0 to 3 and their minimum in those of
/// bytes 4 to 7. Groups 4 to 7 have the low four bits of both in bytes 8 to 11 (scale in the low
/// half) and the upper two bits in the free bits of bytes 0 to 3 (scale) and 4 to 7 (minimum).
fn scale_and_min(packed: &[u8], group_idx: usize) -> (u8, u8) {
    if group_idx < 4 {
        return (packed[group_idx] & 63, packed[group_idx + 4] & 63);
    }
    let low = packed[group_idx + 4];
    let scale = (low & 15) | packed[group_idx - 4] >> 6 << 4;
    let min = (low >> 4) | packed[group_idx] >> 6 << 4;
    (scale, min)
}
