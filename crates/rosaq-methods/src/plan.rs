//! What is to be done with a model, as data.

use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{Segment, SegmentKind};
use rosaq_quant::{Clip, GptqOptions, Grid, TrellisCodes};
use rosaq_rotate::Placement;
use rosaq_saliency::SaliencyRule;

/// Which eigenvectors come first in an eigenbasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SalientFirst {
    /// The rule that chooses them.
    pub rule: SaliencyRule,
    /// How many are chosen.
    pub salient: usize,
}

/// Where the columns of a rotation come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Eigenvectors of the site's Gram matrix.
    Eigen(SalientFirst),
    /// A randomized Hadamard matrix, learned further in so many steps.
    Hadamard {
        /// Of its random signs.
        seed: u64,
        /// Steps of learning; 0 leaves it as it is.
        steps: usize,
    },
}

impl Basis {
    /// Leading columns that are salient.
    #[must_use]
    pub fn salient(self) -> usize {
        match self {
            Self::Eigen(first) => first.salient,
            Self::Hadamard { .. } => 0,
        }
    }
}

/// A rotation of the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidualRotation {
    /// Where it is placed.
    pub placement: Placement,
    /// What it rotates into.
    pub basis: Basis,
}

impl ResidualRotation {
    /// The seed that says all of it: an absorbed basis that is not learned.
    #[must_use]
    pub fn seed_alone(self) -> Option<u64> {
        match (self.placement, self.basis) {
            (Placement::Absorbed, Basis::Hadamard { seed, steps: 0 }) => Some(seed),
            _ => None,
        }
    }
}

/// Over how many heads a rotation of their outputs reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadScope {
    /// One basis for each value head, absorbed.
    EachHead,
    /// One basis over the concatenated outputs, applied at run time.
    AllHeads,
}

/// A rotation of the heads' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadRotation {
    /// How far it reaches.
    pub scope: HeadScope,
    /// What it rotates into.
    pub basis: Basis,
}

/// How codes are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rounding {
    /// The nearest one, weight by weight.
    Nearest,
    /// With the error of each channel made good by later ones.
    Gptq(GptqOptions),
}

/// The order in which a linear's channels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderPlan {
    /// As they come out of the rotation, or as they are.
    AsIs,
    /// The first `salient` of every head, then the others.
    PerHead {
        /// Leading channels of each head.
        salient: usize,
    },
    /// The `salient` channels of largest mean magnitude, then the others in their order.
    ByMagnitude {
        /// Leading channels.
        salient: usize,
    },
}

/// What is done with one linear.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearPlan {
    /// Order of its channels.
    pub order: OrderPlan,
    /// How runs of ordered channels are stored.
    pub segments: Vec<Segment>,
    /// Whether the groups' largest weights are cut where that lowers the error, as AWQ does.
    pub clip: Option<Clip>,
    /// How codes of integer segments are chosen.
    pub rounding: Rounding,
    /// Whether scales are fitted anew once the codes stand.
    pub refit: bool,
}

impl LinearPlan {
    /// Segments over the channels as they are, rounded to nearest.
    #[must_use]
    pub fn nearest(segments: Vec<Segment>) -> Self {
        Self {
            order: OrderPlan::AsIs,
            segments,
            clip: None,
            rounding: Rounding::Nearest,
            refit: false,
        }
    }

    /// The grid and group size of a linear whose channels are all rounded alike, and in their own order.
    pub(crate) fn uniform(&self) -> Option<(Grid, usize)> {
        match (self.segments.as_slice(), self.order) {
            ([segment], OrderPlan::AsIs) => Some((Grid::of(segment.kind)?, segment.group_size)),
            _ => None,
        }
    }
}

/// What is done with every block of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantPlan {
    /// Rotation of the residual, if any.
    pub residual: Option<ResidualRotation>,
    /// Rotation of the heads' outputs, if any.
    pub heads: Option<HeadRotation>,
    /// Sites whose channels are scaled as AWQ does, in the order of [`SITES`].
    ///
    /// [`SITES`]: rosaq_model::SITES
    pub scaled: [bool; 4],
    /// Points of the Walsh-Hadamard transforms of the down input at run time, if any.
    pub down_hadamard: Option<usize>,
    /// In the order of [`LINEAR_ROLES`]: one entry for all blocks, or one for each.
    pub linears: Vec<[LinearPlan; 7]>,
    /// The codes that trellis segments name.
    pub codes: TrellisCodes,
    /// Whether outputs of trellis segments count by their Fisher information, where that is known.
    pub weighs_outputs: bool,
}

/// No site is scaled.
pub(crate) const UNSCALED: [bool; 4] = [false; 4];
/// The down input alone is scaled.
pub(crate) const SCALED_DOWN: [bool; 4] = [false, false, false, true];

impl QuantPlan {
    /// A plan that treats all blocks alike, without rotations and scales.
    #[must_use]
    pub fn of_linears(linears: [LinearPlan; 7]) -> Self {
        Self {
            residual: None,
            heads: None,
            scaled: UNSCALED,
            down_hadamard: None,
            linears: vec![linears],
            codes: TrellisCodes::default(),
            weighs_outputs: true,
        }
    }

    /// The plan of `role` in block `layer`.
    ///
    /// # Panics
    /// If `role` is no linear of a block, or there is no such block.
    #[must_use]
    pub fn linear(&self, layer: usize, role: Role) -> &LinearPlan {
        let block = if self.linears.len() == 1 { &self.linears[0] } else { &self.linears[layer] };
        let idx = LINEAR_ROLES.iter().position(|&r| r == role);
        &block[idx.unwrap_or_else(|| panic!("role `{role}` is no linear of a block"))]
    }

    /// The sum over all blocks and roles of `amount(plan, out, channels)`.
    fn sum(&self, config: &ModelConfig, amount: impl Fn(&LinearPlan, usize, usize) -> u64) -> u64 {
        let of_block = |linears: &[LinearPlan; 7]| -> u64 {
            let roles = LINEAR_ROLES.iter().zip(linears);
            roles
                .map(|(&role, linear)| {
                    let [out, channels] = config.linear_shape(role);
                    amount(linear, out, channels)
                })
                .sum()
        };
        let total = self.linears.iter().map(of_block).sum::<u64>();
        if self.linears.len() == 1 { total * config.n_layers as u64 } else { total }
    }

    /// Average information bits a weight that the plan will take: codes, scales, zero points and f16 values.
    #[must_use]
    pub fn weight_bits(&self, config: &ModelConfig) -> f64 {
        let bits = self.sum(config, |linear, out, _| {
            let row = linear.segments.iter().map(Segment::weight_bits_per_row).sum::<u64>();
            row * out as u64
        });
        bits as f64 / config.quantizable_weights() as f64
    }

    /// Stored bits a weight of the linears of `role`, averaged over the blocks, with the padding of their rows.
    ///
    /// # Panics
    /// If `role` is no linear of a block.
    #[must_use]
    pub fn role_bits(&self, config: &ModelConfig, role: Role) -> f64 {
        let row = |layer| -> usize {
            self.linear(layer, role).segments.iter().map(stored_bytes_per_row).sum()
        };
        let bytes: usize = (0..config.n_layers).map(row).sum();
        (8 * bytes) as f64 / (config.n_layers * config.linear_shape(role)[1]) as f64
    }

    /// Bytes that the plan will store: all parts of the linears with the padding of their rows, the channel orders that are
    /// written down, and rotation matrices.
    #[must_use]
    pub fn stored_bytes(&self, config: &ModelConfig) -> u64 {
        let linears = self.sum(config, |plan, out, channels| {
            let index = match plan.order {
                OrderPlan::ByMagnitude { .. } if u16::try_from(channels).is_ok() => 2 * channels,
                OrderPlan::ByMagnitude { .. } => 4 * channels,
                OrderPlan::AsIs | OrderPlan::PerHead { .. } => 0,
            };
            (out * plan.segments.iter().map(stored_bytes_per_row).sum::<usize>() + index) as u64
        });
        linears + self.shared_bytes(config)
    }

    /// Bytes of what is stored beside the linears themselves: rotation matrices and the tables of codes.
    pub(crate) fn shared_bytes(&self, config: &ModelConfig) -> u64 {
        let tables: usize = self.codes.levels().iter().map(|levels| 2 * levels.len()).sum();
        tables as u64 + self.rotation_bytes(config)
    }

    fn rotation_bytes(&self, config: &ModelConfig) -> u64 {
        let (n, tied) = (config.n_layers as u64, u64::from(config.tied_embeddings));
        let matrices = match self.residual.map(|r| r.placement) {
            None => 0,
            Some(_) if self.residual.and_then(ResidualRotation::seed_alone).is_some() => 0,
            Some(Placement::Online) => 2 * n,
            // A tied head keeps one matrix more; the last block needs no passage to a next one.
            Some(Placement::Shortcut) => 2 * n - 1 + tied,
            Some(Placement::Absorbed) => tied,
        };
        let of_heads = match self.heads.map(|h| h.scope) {
            Some(HeadScope::AllHeads) => n * ((config.n_heads * config.head_dim) as u64).pow(2),
            _ => 0,
        };
        2 * (matrices * (config.hidden_size as u64).pow(2) + of_heads)
    }
}

/// Codes, zero points, f16 scales and f16 channels of one output.
pub(crate) fn stored_bytes_per_row(segment: &Segment) -> usize {
    let f16 = if segment.kind == SegmentKind::F16 { segment.channels } else { 0 };
    segment.code_bytes_per_row() + segment.zero_bytes_per_row() + 2 * (segment.n_groups() + f16)
}
