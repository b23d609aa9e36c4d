//! Activations of eight bits.

use super::layout::{CHUNKS, TileBlock};
use super::{BLOCK, CHUNK, TOKENS, TRELLIS_BLOCK};
use crate::arch::generic::ByteSimd;

/// The codes of a block.
pub(crate) type Codes = [[i8; CHUNK]; CHUNKS];

/// Up to [`TOKENS`] tokens' activations of one segment: `x ~ scale * code` with codes from -127 to 127, a scale to each block.
///
/// A channel far larger than the others makes its block coarse. What rounding such blocks leaves over is rounded once more and
/// multiplied as well: without it, few blocks make most of the error.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileInput {
    n_tokens: usize,
    /// `[blocks, tokens]`.
    codes: Vec<Codes>,
    /// `[blocks, tokens]`.
    scales: Vec<f32>,
    /// Sums of the rounded activations of the groups of weights, `[groups, tokens]`: what zero points are multiplied by.
    groups: Vec<f32>,
    /// What is left over of coarse blocks, block after block.
    leftovers: Vec<Leftover>,
    /// Where those of each block begin, `[blocks + 1]`.
    starts: Vec<usize>,
}

/// What rounding left over of one block of one token, rounded.
#[derive(Debug, Clone)]
pub(crate) struct Leftover {
    pub(crate) token: usize,
    pub(crate) scale: f32,
    pub(crate) codes: Codes,
}

/// A block is coarse if its scale is so many times the mean of its token's.
const COARSE: f32 = 2.5;

/// What the codes of a block are multiplied by, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct InputBlock {
    pub(crate) scale: f32,
    pub(crate) sum: f32,
}

impl TileInput {
    /// Rounds the channels of `tokens`, each a row of the linear's activations in stored order.
    pub(crate) fn set<V: ByteSimd<L>, const L: usize>(
        &mut self,
        isa: V,
        (blocks, channel_start): (&[TileBlock], usize),
        tokens: &[&[f32]],
    ) {
        assert!(tokens.len() <= TOKENS, "{} tokens, {TOKENS} at most", tokens.len());
        let n_groups = blocks.last().map_or(0, |block| block.group + 1);
        self.n_tokens = tokens.len();
        self.codes.clear();
        self.codes.resize(blocks.len() * tokens.len(), Codes::default());
        self.scales.clear();
        self.groups.clear();
        self.groups.resize(n_groups * tokens.len(), 0.0);
        for (block, codes) in blocks.iter().zip(self.codes.chunks_exact_mut(tokens.len())) {
            let channels = channel_start + block.start..channel_start + block.start + block.len;
            let groups = &mut self.groups[block.group * tokens.len()..];
            for ((token, codes), of_group) in tokens.iter().zip(codes).zip(groups) {
                let (x, codes) = (&token[channels.clone()], std::slice::from_mut(codes));
                let InputBlock { scale, sum } = isa.round(Rounding { x, codes });
                self.scales.push(scale);
                *of_group += scale * sum;
            }
        }
        self.set_leftovers(isa, (blocks, channel_start), tokens);
    }

    fn set_leftovers<V: ByteSimd<L>, const L: usize>(
        &mut self,
        isa: V,
        (blocks, channel_start): (&[TileBlock], usize),
        tokens: &[&[f32]],
    ) {
        let n_tokens = tokens.len();
        let mut coarse = [0.0_f32; TOKENS];
        for scales in self.scales.chunks_exact(n_tokens.max(1)) {
            for (sum, scale) in coarse.iter_mut().zip(scales) {
                *sum += scale;
            }
        }
        let share = COARSE / blocks.len().max(1) as f32;
        coarse.iter_mut().for_each(|sum| *sum *= share);
        self.leftovers.clear();
        self.starts.clear();
        self.starts.push(0);
        for (idx, block) in blocks.iter().enumerate() {
            let start = channel_start + block.start;
            for (token, x) in tokens.iter().enumerate() {
                let at = idx * n_tokens + token;
                let scale = self.scales[at];
                if scale <= coarse[token] || !scale.is_finite() {
                    continue;
                }
                let mut rest = [0.0; BLOCK];
                let codes = self.codes[at].as_flattened();
                for ((rest, x), code) in
                    rest.iter_mut().zip(&x[start..start + block.len]).zip(codes)
                {
                    *rest = x - scale * f32::from(*code);
                }
                let mut codes = Codes::default();
                let (x, of_codes) = (&rest[..block.len], std::slice::from_mut(&mut codes));
                let InputBlock { scale, sum } = isa.round(Rounding { x, codes: of_codes });
                self.groups[block.group * n_tokens + token] += scale * sum;
                self.leftovers.push(Leftover { token, scale, codes });
            }
            self.starts.push(self.leftovers.len());
        }
    }

    /// Tokens held.
    pub(crate) const fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The codes of every block and their scales, `[tokens]` each, and what they leave over.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&[Codes], &[f32], &[Leftover])> {
        let scales = self.scales.chunks_exact(self.n_tokens);
        let leftovers = self.starts.windows(2).map(|ends| &self.leftovers[ends[0]..ends[1]]);
        let codes = self.codes.chunks_exact(self.n_tokens);
        codes.zip(scales).zip(leftovers).map(|((codes, scales), rest)| (codes, scales, rest))
    }

    /// Sums of the rounded activations of every group of weights, `[tokens]` each.
    pub(crate) fn groups(&self) -> std::slice::ChunksExact<'_, f32> {
        self.groups.chunks_exact(self.n_tokens)
    }
}

/// The codes of a block that meets trellis codes.
type BlockCodes = [Codes; TRELLIS_BLOCK / BLOCK];

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
    pub(crate) fn set<V: ByteSimd<L>, const L: usize>(
        &mut self,
        isa: V,
        channels: std::ops::Range<usize>,
        tokens: &[&[f32]],
    ) {
        assert!(tokens.len() <= TOKENS, "{} tokens, {TOKENS} at most", tokens.len());
        self.n_tokens = tokens.len();
        self.codes.clear();
        self.blocks.clear();
        for start in channels.clone().step_by(TRELLIS_BLOCK) {
            for token in tokens {
                let mut codes = BlockCodes::default();
                let x = &token[start..channels.end.min(start + TRELLIS_BLOCK)];
                self.blocks.push(isa.round(Rounding { x, codes: &mut codes }));
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

/// One block of one token, to be rounded to the nearest codes, ties to even.
#[derive(Debug)]
pub(crate) struct Rounding<'a> {
    /// At most as many as there are codes.
    x: &'a [f32],
    /// Zeros.
    codes: &'a mut [Codes],
}

impl Rounding<'_> {
    /// Activations that are not finite make the scale not finite.
    #[inline(always)]
    pub(crate) fn run(self) -> InputBlock {
        // Magnitudes are ordered like their bits, and integers are compared without regard to NaN. Whole blocks, of a length known
        // beforehand, become straight vector code.
        let (whole, rest) = self.x.as_chunks::<BLOCK>();
        let mut largest = largest_magnitude(rest);
        for x in whole {
            largest = largest.max(largest_magnitude(x));
        }
        let largest = f32::from_bits(largest);
        if largest < LEAST {
            return InputBlock::default();
        }
        let inverse = 127.0 / largest;
        let mut sum = 0;
        let (of_whole, of_rest) = self.codes.split_at_mut(whole.len());
        for (x, codes) in whole.iter().zip(of_whole) {
            sum += round(x, inverse, codes.as_flattened_mut());
        }
        for codes in of_rest.iter_mut().take(1) {
            sum += round(rest, inverse, codes.as_flattened_mut());
        }
        // At most 128 times 127: exact.
        InputBlock { scale: largest / 127.0, sum: sum as f32 }
    }
}

/// The bits of the largest magnitude.
#[inline(always)]
fn largest_magnitude(x: &[f32]) -> u32 {
    x.iter().fold(0, |max, x| max.max(x.abs().to_bits()))
}

/// Rounds, and returns the sum of the codes.
#[inline(always)]
fn round(x: &[f32], inverse: f32, codes: &mut [i8]) -> i32 {
    let mut sum = 0;
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUNDING).to_bits().to_le_bytes()[0].cast_signed();
        sum += i32::from(*code);
    }
    sum
}
