//! AWQ's scaling of one site's channels.

use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, ModelConfig, Role};
use rosaq_quant::{QuantError, search_channel_scale};
use rosaq_rotate::{scale_attention_input, scale_down_input, scale_heads_output, scale_mlp_input};

use crate::inputs::SiteInputs;
use crate::{BlockInput, MethodError, QuantPlan};

/// Searches scales for the channels of `site`, measured on all linears that read it, and moves them into what stands before.
/// Nothing happens where the linears are not rounded in one grid throughout: no recipe scales such a site.
pub(crate) fn scale_site(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    inputs: &mut SiteInputs<'_>,
    block: &mut BlockWeights,
    site: ActivationSite,
) -> Result<(), MethodError> {
    let roles: Vec<Role> =
        LINEAR_ROLES.into_iter().filter(|&role| ActivationSite::of(role) == Some(site)).collect();
    let role = roles[0];
    let Some((grid, group_size)) = plan.linear(input.layer, role).uniform() else { return Ok(()) };
    let mut magnitudes = inputs.magnitudes(block, site)?;
    if site == ActivationSite::HeadsOutput {
        pool_heads(&mut magnitudes, input.config);
    }
    let gram = inputs.gram(block, site)?;
    let weights: Vec<_> = roles.iter().map(|&role| &block.linear(role).weight).collect();
    let found = search_channel_scale(&weights, &magnitudes, gram.as_ref(), grid, group_size);
    if !found.loss.is_finite() {
        let source = QuantError::OutOfRange { magnitude: f32::NAN };
        return Err(MethodError::Linear { layer: input.layer, role, source });
    }
    match site {
        ActivationSite::AttentionInput => scale_attention_input(block, &found.scales),
        ActivationSite::MlpInput => scale_mlp_input(block, &found.scales),
        ActivationSite::HeadsOutput => {
            scale_heads_output(block, input.config, &found.scales);
            inputs.divide(site, found.scales);
        }
        ActivationSite::DownInput => {
            scale_down_input(block, &found.scales);
            inputs.divide(site, found.scales);
        }
    }
    Ok(())
}

/// Heads that read one value head get the mean of their magnitudes, since only its channels can take their scales.
fn pool_heads(magnitudes: &mut [f64], config: &ModelConfig) {
    let (d, shared) = (config.head_dim, config.heads_per_kv());
    for heads in magnitudes.chunks_exact_mut(d * shared) {
        for channel in 0..d {
            let of_channel = heads.iter().skip(channel).step_by(d);
            let mean = of_channel.sum::<f64>() / shared as f64;
            heads.iter_mut().skip(channel).step_by(d).for_each(|m| *m = mean);
        }
    }
}
