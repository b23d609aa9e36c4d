//! Carries a plan out on one block. The only place that does.

use faer::{Mat, MatRef};
use rayon::prelude::*;
use rosaq_calib::LayerStats;
use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, ModelConfig, SITES};
use rosaq_pack::{ChannelOrder, PackedLinear};
use rosaq_quant::{
    QuantError, TrellisOptions, clip_groups, output_error, pack_gptq, pack_nearest, refit_scales,
    round_to_f16,
};
use rosaq_rotate::{
    ResidualBases, rotate_block, rotate_down_input, rotate_heads_output, rotate_value_heads,
};
use rosaq_tensor::Matrix;

use crate::inputs::SiteInputs;
use crate::orders::channel_orders;
use crate::output_weights::{output_weights, scaled_to_mean_1};
use crate::scaling::scale_site;
use crate::{BlockBases, HeadScope, LinearPlan, MethodError, QuantPlan, Rounding};

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
    /// A basis for each value head, or one over all heads, where the plan rotates their outputs.
    pub heads: Option<&'a [Mat<f64>]>,
    /// The Fisher information of each output of each linear as the model has them, in the order of [`LINEAR_ROLES`], where
    /// it is known: errors of outputs that count more are kept smaller.
    pub fisher: Option<&'a [Vec<f64>; 7]>,
}

impl<'a> BlockInput<'a> {
    pub(crate) fn stats(&self) -> Result<&'a LayerStats, MethodError> {
        self.stats.ok_or(MethodError::NoStatistics { layer: self.layer })
    }
}

/// A block after quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedBlock {
    /// Its linears packed.
    pub block: BlockWeights<PackedLinear>,
    /// The relative error of each linear's output on the calibration set, in the order of [`LINEAR_ROLES`]; `None` where the
    /// statistics do not tell.
    pub output_errors: [Option<f64>; 7],
    /// Energies of the channels that were rotated.
    pub rotated: Vec<RotatedSite>,
}

/// The mean squares of a site's channels before and after its rotation. After a rotation into an eigenbasis they are the
/// eigenvalues over the number of tokens, in the order of storage.
#[derive(Debug, Clone, PartialEq)]
pub struct RotatedSite {
    /// The site.
    pub site: ActivationSite,
    /// Tokens behind the figures.
    pub tokens: u64,
    /// Mean of x² a channel, in the model's own basis.
    pub before: Vec<f64>,
    /// The same in the basis that the linears read.
    pub after: Vec<f64>,
}

/// Rotates, scales, clips, orders, rounds and packs one block.
///
/// # Errors
/// Missing statistics, Gram matrices without an eigenbasis, weights that cannot be stored; each with layer and linear.
pub fn quantize_block(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    mut block: BlockWeights,
) -> Result<QuantizedBlock, MethodError> {
    rotate(plan, input, &mut block)?;
    let mut inputs = SiteInputs::new(plan, input);
    for site in SITES.into_iter().filter(|site| plan.scaled[site.index()]) {
        scale_site(plan, input, &mut inputs, &mut block, site)?;
    }
    let orders = channel_orders(plan, input, &inputs, &block)?;
    let sites = SITES.into_par_iter().map(|site| -> Result<_, MethodError> {
        let gram = inputs.gram_if_known(&block, site)?;
        let rotated = gram.as_ref().and_then(|gram| inputs.rotated(site, gram.as_ref()));
        let roles: Vec<usize> = (0..LINEAR_ROLES.len())
            .filter(|&idx| ActivationSite::of(LINEAR_ROLES[idx]) == Some(site))
            .collect();
        let quantize = |idx: usize| -> Result<_, MethodError> {
            let role = LINEAR_ROLES[idx];
            let (layer, order) = (input.layer, &orders[idx]);
            let fisher = input.fisher.filter(|_| plan.weighs_outputs);
            let weights = fisher.map(|fisher| {
                let weights = output_weights(plan, input.config, role, &fisher[idx]);
                scaled_to_mean_1(&weights)
            });
            let trellis = TrellisOptions { codes: &plan.codes, row_weights: weights.as_deref() };
            let linear = Linear { plan: plan.linear(layer, role), order, trellis };
            let failed = |source| MethodError::Linear { layer, role, source };
            let w = &block.linear(role).weight;
            let (packed, error) = match &gram {
                Some(gram) => linear.quantize(w, gram.as_ref()).map_err(failed)?,
                None if linear.needs_gram() => return Err(MethodError::NoStatistics { layer }),
                None => (linear.pack_nearest(w).map_err(failed)?, None),
            };
            Ok((idx, packed, error))
        };
        let linears = roles.into_par_iter().map(quantize).collect::<Result<Vec<_>, _>>()?;
        Ok((rotated, linears))
    });
    let sites = sites.collect::<Result<Vec<_>, _>>()?;
    let (mut output_errors, mut rotated, mut packed) = ([None; 7], Vec::new(), Vec::new());
    for (of_site, linears) in sites {
        rotated.extend(of_site);
        for (idx, linear, error) in linears {
            output_errors[idx] = error;
            packed.push((LINEAR_ROLES[idx], linear));
        }
    }
    let mut block = block.try_map(|role, _| {
        let idx = packed.iter().position(|(r, _)| *r == role);
        Ok::<_, MethodError>(packed.swap_remove(idx.expect("every linear was packed")).1)
    })?;
    let rotations = &mut block.rotations;
    for rotation in [
        &mut rotations.attention_input,
        &mut rotations.mlp_input,
        &mut rotations.heads_output,
        &mut rotations.shortcut_attention,
        &mut rotations.shortcut_mlp,
    ] {
        rotation.iter_mut().for_each(round_to_f16); // as they will be stored
    }
    Ok(QuantizedBlock { block, output_errors, rotated })
}

/// Rotates all that the plan rotates.
pub(crate) fn rotate(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &mut BlockWeights,
) -> Result<(), MethodError> {
    rotate_residual(plan, input, block)?;
    rotate_heads(plan, input, block)?;
    if let Some(points) = plan.down_hadamard {
        let failed = |source| MethodError::Rotation { layer: input.layer, source };
        rotate_down_input(block, points).map_err(failed)?;
    }
    Ok(())
}

/// Rotates what reads and writes the residual, where the plan does.
pub(crate) fn rotate_residual(
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
    Ok(())
}

fn rotate_heads(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &mut BlockWeights,
) -> Result<(), MethodError> {
    if let Some(rotation) = plan.heads {
        let missing = MethodError::NoStatistics { layer: input.layer };
        match (rotation.scope, input.heads) {
            (HeadScope::EachHead, Some(bases)) => rotate_value_heads(block, input.config, bases),
            (HeadScope::AllHeads, Some([basis])) => rotate_heads_output(block, basis.as_ref()),
            _ => return Err(missing),
        }
    }
    Ok(())
}

/// One linear about to be rounded.
struct Linear<'a> {
    plan: &'a LinearPlan,
    order: &'a ChannelOrder,
    trellis: TrellisOptions<'a>,
}

impl Linear<'_> {
    fn needs_gram(&self) -> bool {
        self.plan.clip.is_some() || self.plan.refit || self.plan.rounding != Rounding::Nearest
    }

    fn pack_nearest(&self, w: &Matrix) -> Result<PackedLinear, QuantError> {
        pack_nearest(w, &self.plan.segments, self.order.clone())
    }

    /// Clips `w`, packs it, and measures what both did to the output.
    fn quantize(
        &self,
        w: &Matrix,
        gram: MatRef<'_, f64>,
    ) -> Result<(PackedLinear, Option<f64>), QuantError> {
        let mut clipped = None;
        if let Some(clip) = self.plan.clip
            && let Some((grid, group_size)) = self.plan.uniform()
        {
            let clipped = clipped.insert(w.clone());
            clip_groups(clipped, gram, grid, group_size, clip);
        }
        let target = clipped.as_ref().unwrap_or(w);
        let packed = match self.plan.rounding {
            Rounding::Nearest => self.pack_nearest(target)?,
            Rounding::Gptq(options) => pack_gptq(
                target,
                gram,
                &self.plan.segments,
                self.order.clone(),
                &options,
                self.trellis,
            )?,
        };
        let packed = if self.plan.refit { refit_scales(&packed, target, gram)? } else { packed };
        let error = output_error(w, &packed, gram).relative();
        Ok((packed, Some(error)))
    }
}
