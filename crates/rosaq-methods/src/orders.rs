//! The order in which each linear's channels are stored.

use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, Role};
use rosaq_pack::ChannelOrder;
use rosaq_saliency::{ChannelOrder as SalientOrder, SaliencyRule, select_channels};

use crate::inputs::SiteInputs;
use crate::{BlockInput, MethodError, OrderPlan, QuantPlan};

/// The orders of a block's linears, in the order of [`LINEAR_ROLES`].
pub(crate) fn channel_orders(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    inputs: &SiteInputs<'_>,
    block: &BlockWeights,
) -> Result<[ChannelOrder; 7], MethodError> {
    let mut orders = std::array::from_fn(|_| ChannelOrder::Identity);
    for (role, order) in LINEAR_ROLES.into_iter().zip(&mut orders) {
        *order = match plan.linear(input.layer, role).order {
            OrderPlan::AsIs => ChannelOrder::Identity,
            OrderPlan::PerHead { salient } => ChannelOrder::PerHead {
                n_heads: input.config.n_heads,
                head_dim: input.config.head_dim,
                salient,
            },
            OrderPlan::ByMagnitude { salient } => {
                by_magnitude(input, inputs, block, role, salient)?
            }
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
    inputs: &SiteInputs<'_>,
    block: &BlockWeights,
    role: Role,
    salient: usize,
) -> Result<ChannelOrder, MethodError> {
    let site = ActivationSite::of(role).expect("a block's linear has a site");
    let scores = inputs.magnitudes(block, site)?;
    let chosen = select_channels(&scores, salient, SaliencyRule::Magnitude)
        .map_err(|source| MethodError::Saliency { layer: input.layer, source })?;
    let order = SalientOrder::salient_first(&chosen);
    Ok(ChannelOrder::Explicit(order.permutation().iter().map(|&c| c as u32).collect()))
}
