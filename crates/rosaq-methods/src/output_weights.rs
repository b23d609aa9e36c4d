//! How much each output of a linear counts, once the plan's rotations have mixed outputs.

use rosaq_model::{ModelConfig, Role};
use rosaq_rotate::Placement;

use crate::{HeadScope, QuantPlan};

/// The least that an output counts, as a share of the mean: the windows behind the figures may not show all that it is for.
const LEAST_SHARE: f64 = 0.01;

/// The weights of the squared errors of the outputs of `role`, from the Fisher information of each as the model has it: an
/// output that a rotation makes of others carries their mean.
pub(crate) fn output_weights(
    plan: &QuantPlan,
    config: &ModelConfig,
    role: Role,
    fisher: &[f64],
) -> Vec<f64> {
    let least = LEAST_SHARE * mean(fisher);
    let mixed = mixed_outputs(plan, config, role, fisher);
    mixed.into_iter().map(|weight| weight.max(least)).collect()
}

/// The means of `amounts`, one for each output of `role`, over those that the plan's rotations mix.
fn mixed_outputs(plan: &QuantPlan, config: &ModelConfig, role: Role, amounts: &[f64]) -> Vec<f64> {
    let rotates_residual = || match plan.residual.map(|r| r.placement) {
        Some(Placement::Absorbed | Placement::Shortcut) => Some(amounts.len()),
        Some(Placement::Online) | None => None,
    };
    let together = match role {
        Role::Output | Role::Down => rotates_residual(),
        Role::Value => {
            plan.heads.filter(|h| h.scope == HeadScope::EachHead).map(|_| config.head_dim)
        }
        _ => None,
    };
    let Some(together) = together else { return amounts.to_vec() };
    let blocks = amounts.chunks(together.max(1));
    blocks.flat_map(|block| std::iter::repeat_n(mean(block), block.len())).collect()
}

/// `weights` as f32 about 1, which leaves their proportions; all 1 if all are 0.
#[expect(clippy::cast_possible_truncation, reason = "a few digits of weights are enough")]
pub(crate) fn scaled_to_mean_1(weights: &[f64]) -> Vec<f32> {
    let mean = mean(weights);
    let scaled = |&weight: &f64| if mean > 0.0 { (weight / mean) as f32 } else { 1.0 };
    weights.iter().map(scaled).collect()
}

fn mean(amounts: &[f64]) -> f64 {
    amounts.iter().sum::<f64>() / amounts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Method, MethodSettings};

    /// Two value heads of two channels.
    fn config() -> ModelConfig {
        let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":16,
            "num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":10}"#;
        ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap()
    }

    fn plan(method: &dyn Method) -> QuantPlan {
        method.plan(&config(), &MethodSettings::new(4, 128).unwrap()).unwrap()
    }

    #[test]
    fn outputs_that_are_mixed_count_alike() {
        let (rotated, as_it_is) = (plan(&crate::spectral::Spectral), plan(&crate::gptq::Gptq));
        let fisher = [1.0, 3.0, 6.0, 2.0];
        let weights = |plan, role| output_weights(plan, &config(), role, &fisher);
        assert_eq!(weights(&rotated, Role::Value), [2.0, 2.0, 4.0, 4.0]);
        assert_eq!(weights(&rotated, Role::Query), fisher);
        assert_eq!(weights(&rotated, Role::Down), [3.0; 4]);
        for role in [Role::Value, Role::Query, Role::Down] {
            assert_eq!(weights(&as_it_is, role), fisher);
        }
    }

    #[test]
    fn an_output_without_gradients_still_counts() {
        let weights = output_weights(&plan(&crate::gptq::Gptq), &config(), Role::Up, &[0.0, 4.0]);
        assert_eq!(weights, [LEAST_SHARE * 2.0, 4.0]);
        assert_eq!(scaled_to_mean_1(&[1.0, 3.0]), [0.5, 1.5]);
        assert_eq!(scaled_to_mean_1(&[0.0, 0.0]), [1.0, 1.0]);
    }
}
