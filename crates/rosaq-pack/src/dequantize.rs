//! One row of codes back to numbers.

use half::f16;

use crate::{Bits, unpack_into};

/// Codes unpacked at a time: small enough for the L1 cache, a multiple of every block.
const CHUNK: usize = 512;

/// One row of a segment of codes.
#[derive(Clone, Copy)]
pub(crate) struct GroupedCodes<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) bits: Bits,
    pub(crate) group_size: usize,
}

impl GroupedCodes<'_> {
    /// Writes `scale * (code - zero_point)` of every channel.
    pub(crate) fn dequantize_int(
        self,
        scales: &[f16],
        zero_of: impl Fn(usize) -> u8,
        values: &mut [f32],
    ) {
        self.for_each_piece(values, |group, codes, values| {
            let scale = scales[group].to_f32();
            let zero = f32::from(zero_of(group));
            for (value, &code) in values.iter_mut().zip(codes) {
                *value = scale * (f32::from(code) - zero);
            }
        });
    }

    /// Writes `scale * level[code]` of every channel.
    pub(crate) fn dequantize_levels(self, scales: &[f16], levels: &[f16], values: &mut [f32]) {
        self.for_each_piece(values, |group, codes, values| {
            let scale = scales[group].to_f32();
            let mut scaled = [0.0; 16];
            for (scaled, level) in scaled.iter_mut().zip(levels) {
                *scaled = scale * level.to_f32();
            }
            for (value, &code) in values.iter_mut().zip(codes) {
                *value = scaled[usize::from(code & 15)];
            }
        });
    }

    /// Unpacks chunk by chunk and calls `f(group, codes, values)` for every stretch of channels
    /// that lies in one chunk and one group.
    fn for_each_piece(self, values: &mut [f32], mut f: impl FnMut(usize, &[u8], &mut [f32])) {
        let mut unpacked = [0; CHUNK];
        let chunk_bytes = CHUNK / 8 * self.bits.count();
        let chunks = values.chunks_mut(CHUNK).zip(self.codes.chunks(chunk_bytes));
        for (chunk_idx, (values, packed)) in chunks.enumerate() {
            let unpacked = &mut unpacked[..values.len()];
            unpack_into(packed, self.bits, unpacked);
            let chunk_start = chunk_idx * CHUNK;
            let mut done = 0;
            while done < values.len() {
                let group = (chunk_start + done) / self.group_size;
                let group_end = (group + 1).saturating_mul(self.group_size) - chunk_start;
                let end = group_end.min(values.len());
                f(group, &unpacked[done..end], &mut values[done..end]);
                done = end;
            }
        }
    }
}
