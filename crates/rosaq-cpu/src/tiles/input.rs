//! Activations of eight bits.

use super::layout::{CHUNKS, TileBlock};
use super::{CHUNK, TOKENS, TRELLIS_BLOCK, UNIT};

/// Up to [`TOKENS`] tokens' activations of one segment: `x ~ scale * code` with codes from -127 to 127, a scale to each block.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileInput {
    n_tokens: usize,
    /// `[units, tokens]`.
    codes: Vec<[[i8; CHUNK]; CHUNKS]>,
    /// `[blocks, tokens]`.
    blocks: Vec<InputBlock>,
}

/// What the codes of a block are multiplied by, and their sum, which zero points are multiplied by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct InputBlock {
    pub(crate) scale: f32,
    pub(crate) sum: f32,
}

impl TileInput {
    /// Rounds the channels of `tokens`, each a row of the linear's activations in stored order.
    pub(crate) fn set(&mut self, blocks: &[TileBlock], channel_start: usize, tokens: &[&[f32]]) {
        assert!(tokens.len() <= TOKENS, "{} tokens, {TOKENS} at most", tokens.len());
        let n_units: usize = blocks.iter().map(|block| block.units()).sum();
        self.n_tokens = tokens.len();
        self.codes.clear();
        self.codes.resize(n_units * tokens.len(), [[0; CHUNK]; CHUNKS]);
        self.blocks.clear();
        let mut first_unit = 0;
        for block in blocks {
            let channels = channel_start + block.start..channel_start + block.start + block.len;
            for (idx, token) in tokens.iter().enumerate() {
                let units = self.codes[first_unit * tokens.len()..].iter_mut();
                let units = units.skip(idx).step_by(tokens.len());
                self.blocks.push(round_block(&token[channels.clone()], units));
            }
            first_unit += block.units();
        }
    }

    /// Tokens held.
    pub(crate) const fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The codes of every unit, `[tokens]` each.
    pub(crate) fn units(&self) -> std::slice::ChunksExact<'_, [[i8; CHUNK]; CHUNKS]> {
        self.codes.chunks_exact(self.n_tokens)
    }

    /// What every block is scaled by, `[tokens]` each.
    pub(crate) fn blocks(&self) -> std::slice::ChunksExact<'_, InputBlock> {
        self.blocks.chunks_exact(self.n_tokens)
    }
}

/// The codes of a block's units.
type BlockCodes = [[[i8; CHUNK]; CHUNKS]; TRELLIS_BLOCK / UNIT];

/// Up to [`TOKENS`] tokens' activations of one segment, rounded as in [`TileInput`] in blocks of [`TRELLIS_BLOCK`] channels, the last of
/// which is filled up with zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockInput {
    n_tokens: usize,
    /// `[blocks, tokens]`.
    codes: Vec<BlockCodes>,
    /// `[blocks, tokens]`.
    blocks: Vec<InputBlock>,
}

impl BlockInput {
    /// Rounds some channels of `tokens`, each a row of the linear's activations in stored order.
    pub(crate) fn set(&mut self, channels: std::ops::Range<usize>, tokens: &[&[f32]]) {
        assert!(tokens.len() <= TOKENS, "{} tokens, {TOKENS} at most", tokens.len());
        self.n_tokens = tokens.len();
        self.codes.clear();
        self.blocks.clear();
        for start in channels.clone().step_by(TRELLIS_BLOCK) {
            for token in tokens {
                let mut codes = [[[0; CHUNK]; CHUNKS]; TRELLIS_BLOCK / UNIT];
                let x = &token[start..channels.end.min(start + TRELLIS_BLOCK)];
                self.blocks.push(round_block(x, codes.iter_mut()));
                self.codes.push(codes);
            }
        }
    }

    /// Tokens held.
    pub(crate) const fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The sum of a token's activations as rounded.
    pub(crate) fn weighted_sum(&self, token: usize) -> f32 {
        let blocks = self.blocks.iter().skip(token).step_by(self.n_tokens);
        blocks.map(|block| block.scale * block.sum).sum()
    }

    /// The codes of every block and what they are scaled by, `[tokens]` each.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&[BlockCodes], &[InputBlock])> {
        self.codes.chunks_exact(self.n_tokens).zip(self.blocks.chunks_exact(self.n_tokens))
    }
}

/// Added to a number below `2^22`, leaves it rounded, ties to even, in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;
/// Blocks of activations below this are taken for zero: the inverse of their scale would overflow.
const LEAST: f32 = 1e-30;

/// Rounds one block of one token to the nearest codes, ties to even. Activations that are not finite make the scale not finite.
#[inline(always)]
fn round_block<'a>(
    x: &[f32],
    units: impl Iterator<Item = &'a mut [[i8; CHUNK]; CHUNKS]>,
) -> InputBlock {
    // Magnitudes are ordered like their bits, and integers are compared without regard to NaN.
    let largest = x.iter().fold(0_u32, |max, x| max.max(x.abs().to_bits()));
    let largest = f32::from_bits(largest);
    if largest < LEAST {
        return InputBlock::default();
    }
    let inverse = 127.0 / largest;
    let mut sum = 0_i32;
    for (x, unit) in x.chunks(UNIT).zip(units) {
        for (code, x) in unit.as_flattened_mut().iter_mut().zip(x) {
            *code = (x * inverse + ROUNDING).to_bits().to_le_bytes()[0].cast_signed();
            sum += i32::from(*code);
        }
    }
    // At most 128 times 127: exact.
    InputBlock { scale: largest / 127.0, sum: sum as f32 }
}
