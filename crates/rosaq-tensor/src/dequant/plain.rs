//! Plain floating-point numbers.

/// f64 to the nearest f32; what overflows becomes infinite and is refused by the caller.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
pub(super) fn f64_into(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f64::from_le_bytes(*bytes) as f32;
    }
}

/// f32, unchanged.
pub(super) fn f32_into(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// bf16: the upper half of an f32.
pub(super) fn bf16_into(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}
