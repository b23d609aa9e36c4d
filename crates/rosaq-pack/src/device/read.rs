//! From an image back to numbers: the definition that kernels and tests are compared with.

use half::f16;

use super::fields::{PAIRS, Pair, runs};
use super::table::levels;
use super::write::{QUANTUM_CHANNELS, word_offset};
use super::{BLOCK_ROWS, DeviceKind, DeviceLinear, DeviceSegment, LANES};

/// Width of a trellis state.
const WINDOW: usize = 12;

impl DeviceLinear {
    /// The weight that the image stands for, row-major `[out, in]` in stored order, read from the
    /// image alone but for the table of segments and the shape.
    ///
    /// # Panics
    /// If padding of integers or f16 values stands for anything but zero.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weight = vec![0.0; self.out_features * self.in_features];
        for segment in &self.segments {
            let codes = self.codes(segment);
            for row in 0..self.n_blocks() * BLOCK_ROWS {
                for channel in 0..codes.width {
                    let value = self.value(segment, &codes, row, channel);
                    if row < self.out_features && channel < segment.channels {
                        let column = segment.channel_start + channel;
                        weight[row * self.in_features + column] = value;
                    } else if matches!(segment.kind, DeviceKind::Int(_) | DeviceKind::F16) {
                        assert!(value == 0.0, "padding at row {row}, channel {channel}: {value}");
                    }
                }
            }
        }
        weight
    }

    /// Codes (or bits of f16 values) of all blocks of a segment.
    fn codes(&self, segment: &DeviceSegment) -> Codes {
        let kind = segment.kind;
        let width = segment.n_units * kind.unit_channels();
        let n_blocks = kind.lead_blocks() + self.n_blocks();
        let levels = levels(segment, &self.image);
        let mut codes = Codes { width, levels, codes: vec![0; n_blocks * BLOCK_ROWS * width] };
        let n_quanta = kind.unit_channels() / QUANTUM_CHANNELS;
        for number in 0..2 * PAIRS {
            let (pair, half) = (Pair::of(number / 2), number % 2);
            let runs = runs(kind, pair, half);
            for (unit, quantum, lane) in product(n_blocks * segment.n_units, n_quanta, LANES) {
                let bytes = &self.image[segment.codes + unit * kind.unit_bytes()..];
                let code = runs.iter().fold(0, |code, run| {
                    let at = word_offset(kind, quantum, run.word, lane);
                    code | run.take(u32::from_le_bytes(array(&bytes[at..])))
                });
                let row = unit / segment.n_units * BLOCK_ROWS + pair.row(lane);
                let first = unit % segment.n_units * kind.unit_channels();
                let channel = first + quantum * QUANTUM_CHANNELS + pair.channel(lane) + half;
                codes.codes[row * width + channel] = code;
            }
        }
        codes
    }

    fn value(&self, segment: &DeviceSegment, codes: &Codes, row: usize, channel: usize) -> f32 {
        let kind = segment.kind;
        let code = |row: usize| usize::from(codes.codes[row * codes.width + channel]);
        if kind == DeviceKind::F16 {
            return f16::from_bits(codes.codes[row * codes.width + channel]).to_f32();
        }
        let group = row / BLOCK_ROWS * segment.n_units * segment.n_groups
            + channel / segment.group_channels();
        let scale = array(&self.image[segment.scales + 2 * (group * BLOCK_ROWS + row % 32)..]);
        let scale = f16::from_le_bytes(scale).to_f32();
        match kind {
            DeviceKind::Trellis(bits) => {
                let rows = (0..WINDOW.div_ceil(bits.count())).rev();
                let state = rows
                    .fold(0, |state, back| state << bits.count() | code(row + BLOCK_ROWS - back));
                scale * codes.levels[state % (1 << WINDOW)]
            }
            DeviceKind::Codebook(_) => scale * codes.levels[code(row)],
            _ => {
                let zero = self.image[segment.zeros + group * segment.zero_stride + row % 32];
                scale * (f32::from(codes.codes[row * codes.width + channel]) - f32::from(zero))
            }
        }
    }
}

/// Codes by row and channel, padding included, and what they are looked up in.
struct Codes {
    levels: Vec<f32>,
    width: usize,
    codes: Vec<u16>,
}

/// The first bytes of a slice.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}

/// All triples of numbers below three bounds.
fn product(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |a| (0..b).flat_map(move |b| (0..c).map(move |c| (a, b, c))))
}
