//! Packed linears as a forward pass holds them.

use rosaq_cpu::TiledLinear;
use rosaq_model::{BlockWeights, ModelEnds};
use rosaq_pack::PackedLinear;

use crate::linear::LinearOp;

/// In which form activations meet packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// As they are, f32.
    #[default]
    F32,
    /// Rounded to eight bits where weights are codes, with a scale to each 32 channels or 128 of trellis codes. Several times as fast.
    Int8,
}

impl Activations {
    /// Its name in flags and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

/// A packed linear, laid out for products with activations of some form.
#[derive(Debug, Clone)]
pub enum ArrangedLinear {
    /// As a checkpoint keeps it.
    Packed(PackedLinear),
    /// For activations of eight bits.
    Tiled {
        /// The weights.
        tiles: TiledLinear,
        /// The original channel at each stored position, unless channels are stored as they come.
        order: Option<Vec<u32>>,
    },
}

impl ArrangedLinear {
    /// `linear` for activations of that form; codebooks and trellis codes stay as they are.
    #[must_use]
    pub fn new(linear: PackedLinear, activations: Activations) -> Self {
        match activations {
            Activations::F32 => Self::Packed(linear),
            Activations::Int8 => match TiledLinear::new(&linear) {
                Some(tiles) => {
                    Self::Tiled { tiles, order: linear.order.permutation(linear.in_features) }
                }
                None => Self::Packed(linear),
            },
        }
    }

    /// All linears of a block.
    #[must_use]
    pub fn block(
        block: BlockWeights<PackedLinear>,
        activations: Activations,
    ) -> BlockWeights<Self> {
        let arranged = block.try_map(|_, linear| Ok::<_, Never>(Self::new(linear, activations)));
        arranged.unwrap_or_else(|never| match never {})
    }

    /// The tables at the ends.
    #[must_use]
    pub fn ends(ends: ModelEnds<PackedLinear>, activations: Activations) -> ModelEnds<Self> {
        let arranged = ends.try_map(|_, table| Ok::<_, Never>(Self::new(table, activations)));
        arranged.unwrap_or_else(|never| match never {})
    }

    /// Writes one row, in the stored order of channels.
    pub(crate) fn row_into(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Packed(linear) => linear.dequantize_row_into(row, out),
            Self::Tiled { tiles, .. } => tiles.row_into(row, out),
        }
    }
}

/// What cannot happen.
type Never = std::convert::Infallible;

impl LinearOp for ArrangedLinear {
    fn out_features(&self) -> usize {
        match self {
            Self::Packed(linear) => linear.out_features,
            Self::Tiled { tiles, .. } => tiles.out_features,
        }
    }

    fn in_features(&self) -> usize {
        match self {
            Self::Packed(linear) => linear.in_features,
            Self::Tiled { tiles, .. } => tiles.in_features,
        }
    }

    fn apply(&self, tokens: usize, x: &[f32], out: &mut [f32]) {
        match self {
            Self::Packed(linear) => linear.apply(tokens, x, out),
            Self::Tiled { tiles, order: None } => tiles.multiply(x, out),
            Self::Tiled { tiles, order: Some(order) } => {
                tiles.multiply(&crate::linear::gather(x, order), out);
            }
        }
    }

    fn apply_all(linears: &[&Self], tokens: usize, x: &[f32], outs: &mut [&mut [f32]]) {
        match tiles_of_one_order(linears) {
            Some((tiles, None)) => TiledLinear::multiply_all(&tiles, x, outs),
            Some((tiles, Some(order))) => {
                TiledLinear::multiply_all(&tiles, &crate::linear::gather(x, order), outs);
            }
            None => {
                for (linear, out) in linears.iter().zip(outs) {
                    linear.apply(tokens, x, out);
                }
            }
        }
    }
}

/// The tiles of all, if that is what they are and their channels are stored in the same order.
fn tiles_of_one_order<'a>(
    linears: &[&'a ArrangedLinear],
) -> Option<(Vec<&'a TiledLinear>, Option<&'a [u32]>)> {
    let ArrangedLinear::Tiled { order: first, .. } = *linears.first()? else { return None };
    let tiles = linears.iter().map(|linear| match *linear {
        ArrangedLinear::Tiled { tiles, order } if order == first => Some(tiles),
        _ => None,
    });
    Some((tiles.collect::<Option<Vec<_>>>()?, first.as_deref()))
}
