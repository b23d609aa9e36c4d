//! Carries a plan out on one block. The only place that does.

use rosaq_calib::LayerStats;
use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{ChannelOrder, PackedLinear};
use rosaq_quant::{
    Grid, QuantError, clip_groups, pack_nearest, round_to_f16, search_channel_scale,
};
use rosaq_rotate::{ResidualBases, rotate_block, rotate_value_heads, scale_down_input};
use rosaq_saliency::{ChannelOrder as SalientOrder, SaliencyRule, select_channels};

use crate::bases::head_bases;
use crate::{BlockBases, MethodError, OrderPlan, QuantPlan};

/// What a block is quantized from.
#[derive(Debug, Clone, Copy)]
pub struct BlockInput<'a> {
    /// The model's configuration.
    pub config: &'a ModelConfig,
    /// Index of the block.
    pub layer: usize,
    /// Its statistics, where the plan needs any.
    pub stats: Option<&'a LayerStats>,
    /// The bases around it, where the plan rotates the residual.
    pub bases: Option<&'a BlockBases>,
}

impl<'a> BlockInput<'a> {
    fn stats(&self) -> Result<&'a LayerStats, MethodError> {
        self.stats.ok_or(MethodError::NoStatistics { layer: self.layer })
    }
}

/// Rotates, scales, orders, rounds and packs one block.
///
/// # Errors
/// Missing statistics, Gram matrices without an eigenbasis, weights that cannot be stored; each with layer and linear.
pub fn quantize_block(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    mut block: BlockWeights,
) -> Result<BlockWeights<PackedLinear>, MethodError> {
    rotate(plan, input, &mut block)?;
    if plan.scale_down {
        scale_down(plan, input, &mut block)?;
    }
    let orders = channel_orders(plan, input, &block)?;
    let mut packed = block.try_map(|role, weight| {
        let idx = LINEAR_ROLES.iter().position(|&r| r == role).expect("a block holds these roles");
        pack_nearest(&weight, &plan.linear(role).segments, orders[idx].clone())
            .map_err(|source| MethodError::Linear { layer: input.layer, role, source })
    })?;
    let rotations = &mut packed.rotations;
    for rotation in [
        &mut rotations.attention_input,
        &mut rotations.mlp_input,
        &mut rotations.shortcut_attention,
        &mut rotations.shortcut_mlp,
    ] {
        rotation.iter_mut().for_each(round_to_f16); // as they will be stored
    }
    Ok(packed)
}

fn rotate(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &mut BlockWeights,
) -> Result<(), MethodError> {
    if let Some(rotation) = &plan.residual {
        let bases = input.bases.ok_or(MethodError::NoStatistics { layer: input.layer })?;
        let bases = ResidualBases {
            attention: bases.attention.as_ref(),
            mlp: bases.mlp.as_ref(),
            next: bases.next.as_ref(),
        };
        rotate_block(block, rotation.placement, &bases);
    }
    if let Some(rotation) = &plan.heads {
        let bases = head_bases(input.config, input.stats()?, rotation, input.layer)?;
        rotate_value_heads(block, input.config, &bases);
    }
    Ok(())
}

/// AWQ on down: scaling of its input, then clipping of its groups, both searched on the weights as they will be rounded.
fn scale_down(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &mut BlockWeights,
) -> Result<(), MethodError> {
    let layer = input.layer;
    let site = input.stats()?.site(ActivationSite::DownInput);
    let gram = input
        .stats()?
        .gram(ActivationSite::DownInput)
        .map_err(|source| MethodError::Statistics { layer, source })?;
    let segments = &plan.linear(Role::Down).segments;
    // Salient channels of down would need a scaling of their own; no recipe has them.
    let [segment] = segments.as_slice() else { return Ok(()) };
    let (Some(grid), group_size) = (Grid::of(segment.kind), segment.group_size) else {
        return Ok(()); // nothing of down is rounded
    };
    let w = &block.down.weight;
    let found = search_channel_scale(w, &site.magnitude.means(), gram.view(), grid, group_size);
    if !found.loss.is_finite() {
        let source = QuantError::OutOfRange { magnitude: f32::NAN };
        return Err(MethodError::Linear { layer, role: Role::Down, source });
    }
    scale_down_input(block, &found.scales);
    // The scaled input is x / s.
    let inverse: Vec<f32> = found.scales.iter().map(|s| 1.0 / s).collect();
    clip_groups(&mut block.down.weight, gram.scaled(&inverse).view(), grid, group_size);
    Ok(())
}

fn channel_orders(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &BlockWeights,
) -> Result<[ChannelOrder; 7], MethodError> {
    let mut orders = std::array::from_fn(|_| ChannelOrder::Identity);
    for (role, order) in LINEAR_ROLES.into_iter().zip(&mut orders) {
        *order = match plan.linear(role).order {
            OrderPlan::AsIs => ChannelOrder::Identity,
            OrderPlan::PerHead { salient } => ChannelOrder::PerHead {
                n_heads: input.config.n_heads,
                head_dim: input.config.head_dim,
                salient,
            },
            OrderPlan::ByMagnitude { salient } => by_magnitude(input, block, role, salient)?,
        };
    }
    Ok(orders)
}

/// Salient channels by the mean magnitude of the linear's own input: with the norm's gain, since it was not fused.
#[expect(
    clippy::cast_possible_truncation,
    reason = "channel counts fit u32, as the model's sizes do"
)]
fn by_magnitude(
    input: BlockInput<'_>,
    block: &BlockWeights,
    role: Role,
    salient: usize,
) -> Result<ChannelOrder, MethodError> {
    let site = ActivationSite::of(role).expect("a block's linear has a site");
    let mut scores = input.stats()?.site(site).magnitude.means();
    let gain = match site {
        ActivationSite::AttentionInput => Some(&block.attention_norm),
        ActivationSite::MlpInput => Some(&block.mlp_norm),
        ActivationSite::HeadsOutput | ActivationSite::DownInput => None,
    };
    for (score, g) in scores.iter_mut().zip(gain.into_iter().flatten()) {
        *score *= f64::from(g.abs());
    }
    let chosen = select_channels(&scores, salient, SaliencyRule::Magnitude)
        .map_err(|source| MethodError::Saliency { layer: input.layer, source })?;
    let order = SalientOrder::salient_first(&chosen);
    Ok(ChannelOrder::Explicit(order.permutation().iter().map(|&c| c as u32).collect()))
}
