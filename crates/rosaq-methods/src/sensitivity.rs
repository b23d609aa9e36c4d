//! What rounding a linear does to the model's divergence, to second order.
//!
//! With `e` the errors of a linear's outputs, `KL = 1/2 sum_i F_i E[e_i^2]`, where `F_i` is the Fisher information of output
//! `i`. GPTQ makes the mean squared error of the weights' rounding count by the pivots of the inputs' Gram matrix in the
//! order of rounding: `E[e_i^2] = d |w_i|^2 p` for a relative distortion `d` and mean pivot `p`. Codes that run down the
//! outputs move errors to where they count less, until `F_i E[e_i^2]` is the same everywhere: the sum is then `n` times the
//! geometric mean of `F_i d |w_i|^2 p`.

use rayon::prelude::*;
use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, ModelConfig, Role, SITES};
use rosaq_pack::Segment;
use rosaq_quant::{GptqOptions, mean_pivot};

use crate::execute::rotate;
use crate::inputs::SiteInputs;
use crate::output_weights::output_weights;
use crate::{BlockInput, MethodError, QuantPlan};

/// What each linear's distortion does to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// Nats a token for a mean squared error equal to the variance of the weights, for each block, in the order of
    /// [`LINEAR_ROLES`].
    pub layers: Vec<[f64; 7]>,
}

impl Sensitivity {
    /// What is usual, for predictions before anything was measured: in proportion to the number of weights and to a factor
    /// of the role, about those measured on `SmolLM2`.
    #[must_use]
    pub fn usual(config: &ModelConfig) -> Self {
        let of_role = LINEAR_ROLES.map(|role| {
            let [out, channels] = config.linear_shape(role);
            let factor = match role {
                Role::Query => 0.2,
                Role::Value => 4.0,
                Role::Up | Role::Down => 1.6,
                _ => 1.0,
            };
            factor * (out * channels) as f64
        });
        Self { layers: vec![of_role; config.n_layers] }
    }

    /// The divergence that `plan` is to be expected to cause, if `distortion` tells the mean squared error of rounding numbers
    /// of unit variance into a segment; `None` where it does not.
    pub(crate) fn divergence(
        &self,
        plan: &QuantPlan,
        distortion: impl Fn(&Segment) -> Option<f64>,
    ) -> Option<f64> {
        let mut sum = 0.0;
        for (layer, of_roles) in self.layers.iter().enumerate() {
            for (&role, sensitivity) in LINEAR_ROLES.iter().zip(of_roles) {
                let segments = &plan.linear(layer, role).segments;
                let channels: usize = segments.iter().map(|segment| segment.channels).sum();
                for segment in segments {
                    let share = segment.channels as f64 / channels as f64;
                    sum += sensitivity * share * distortion(segment)?;
                }
            }
        }
        Some(sum)
    }
}

/// The sensitivities of one block's linears in the order of [`LINEAR_ROLES`], once `block`, which is as the checkpoint has it,
/// is rotated as `plan` says.
///
/// # Errors
/// Missing statistics, Fisher information among them, and Gram matrices that are not finite; with the layer.
pub fn block_sensitivity(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    mut block: BlockWeights,
) -> Result<[f64; 7], MethodError> {
    let layer = input.layer;
    let fisher = input.fisher.ok_or(MethodError::NoStatistics { layer })?;
    rotate(plan, input, &mut block)?;
    let inputs = SiteInputs::new(plan, input);
    let pivots = SITES.into_par_iter().map(|site| -> Result<f64, MethodError> {
        let failed = |source| MethodError::Statistics { layer, source };
        let tokens = input.stats()?.gram(site).map_err(failed)?.tokens();
        let pivot = mean_pivot(inputs.gram(&block, site)?.as_ref(), GptqOptions::default().damping);
        let role = LINEAR_ROLES.into_iter().find(|&role| ActivationSite::of(role) == Some(site));
        let role = role.unwrap_or(Role::Down);
        Ok(pivot.map_err(|source| MethodError::Linear { layer, role, source })?
            / tokens.max(1) as f64)
    });
    let pivots = pivots.collect::<Result<Vec<_>, _>>()?;
    let mut found = [0.0; 7];
    for ((found, &role), fisher) in found.iter_mut().zip(&LINEAR_ROLES).zip(fisher) {
        let Some(site) = ActivationSite::of(role) else { continue };
        let w = &block.linear(role).weight;
        let weights = output_weights(plan, input.config, role, fisher);
        let energy = |row| w.row(row).iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
        let products: Vec<f64> =
            weights.iter().enumerate().map(|(row, weight)| weight * energy(row)).collect();
        let sum = match plan.weighs_outputs {
            true => products.len() as f64 * geometric_mean(&products),
            false => products.iter().sum(),
        };
        *found = 0.5 * pivots[site.index()] * sum;
    }
    Ok(found)
}

/// The geometric mean, numbers below a thousandth of the arithmetic mean taken as that: no code has errors much larger than
/// the weights themselves, however little they count.
fn geometric_mean(numbers: &[f64]) -> f64 {
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    if mean <= 0.0 {
        return 0.0;
    }
    let logs: f64 = numbers.iter().map(|n| n.max(1e-3 * mean).ln()).sum();
    (logs / numbers.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometric_mean_has_a_floor() {
        assert!((geometric_mean(&[1.0, 4.0, 16.0]) - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[0.0, 0.0]), 0.0);
        assert!((geometric_mean(&[0.0, 2.0]) - (2.0_f64 * 1e-3).sqrt()).abs() < 1e-12);
    }
}
