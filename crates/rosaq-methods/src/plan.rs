//! What is to be done with a model, as data.

use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{Segment, SegmentKind};
use rosaq_rotate::Placement;
use rosaq_saliency::SaliencyRule;

/// A rotation of the residual stream into eigenbases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidualRotation {
    /// Where it is placed.
    pub placement: Placement,
    /// Which eigenvectors come first.
    pub rule: SaliencyRule,
    /// How many do.
    pub salient: usize,
}

/// A rotation of every value head into its eigenbasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadRotation {
    /// Which eigenvectors come first.
    pub rule: SaliencyRule,
    /// How many do, in every head.
    pub salient: usize,
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
    /// How runs of ordered channels are stored; integer segments are rounded to nearest.
    pub segments: Vec<Segment>,
}

/// What is done with every block of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantPlan {
    /// Rotation of the residual, if any.
    pub residual: Option<ResidualRotation>,
    /// Rotation of the value heads, if any.
    pub heads: Option<HeadRotation>,
    /// Whether the input channels of down are scaled, and its groups clipped, as AWQ does.
    pub scale_down: bool,
    /// In the order of [`LINEAR_ROLES`].
    pub linears: [LinearPlan; 7],
}

impl QuantPlan {
    /// The plan of `role`.
    ///
    /// # Panics
    /// If `role` is no linear of a block.
    #[must_use]
    pub fn linear(&self, role: Role) -> &LinearPlan {
        let idx = LINEAR_ROLES.iter().position(|&r| r == role);
        &self.linears[idx.unwrap_or_else(|| panic!("role `{role}` is no linear of a block"))]
    }

    /// Average information bits a weight that the plan will take: codes, scales, zero points and f16 values.
    #[must_use]
    pub fn weight_bits(&self, config: &ModelConfig) -> f64 {
        let (mut bits, mut weights) = (0, 0);
        for role in LINEAR_ROLES {
            let [out, channels] = config.linear_shape(role);
            let row: u64 =
                self.linear(role).segments.iter().map(Segment::weight_bits_per_row).sum();
            bits += row * out as u64;
            weights += (out * channels) as u64;
        }
        bits as f64 / weights as f64
    }

    /// Bytes that the plan will store: all parts of the linears with the padding of their rows, the channel orders that are
    /// written down, and rotation matrices.
    #[must_use]
    pub fn stored_bytes(&self, config: &ModelConfig) -> u64 {
        let linears = LINEAR_ROLES.map(|role| {
            let [out, channels] = config.linear_shape(role);
            let plan = self.linear(role);
            let index = match plan.order {
                OrderPlan::ByMagnitude { .. } if u16::try_from(channels).is_ok() => 2 * channels,
                OrderPlan::ByMagnitude { .. } => 4 * channels,
                OrderPlan::AsIs | OrderPlan::PerHead { .. } => 0,
            };
            (out * plan.segments.iter().map(stored_bytes_per_row).sum::<usize>() + index) as u64
        });
        config.n_layers as u64 * linears.iter().sum::<u64>() + self.rotation_bytes(config)
    }

    fn rotation_bytes(&self, config: &ModelConfig) -> u64 {
        let (n, tied) = (config.n_layers as u64, u64::from(config.tied_embeddings));
        let matrices = match self.residual.map(|r| r.placement) {
            None => 0,
            Some(Placement::Online) => 2 * n,
            // A tied head keeps one matrix more; the last block needs no passage to a next one.
            Some(Placement::Shortcut) => 2 * n - 1 + tied,
            Some(Placement::Absorbed) => tied,
        };
        2 * matrices * (config.hidden_size as u64).pow(2)
    }
}

/// Codes, zero points, f16 scales and f16 channels of one output.
fn stored_bytes_per_row(segment: &Segment) -> usize {
    let f16 = if segment.kind == SegmentKind::F16 { segment.channels } else { 0 };
    segment.code_bytes_per_row() + segment.zero_bytes_per_row() + 2 * (segment.n_groups() + f16)
}
