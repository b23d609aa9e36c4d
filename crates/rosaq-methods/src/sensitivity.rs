//! What rounding a linear does to the model's divergence, to second order.
//!
//! With `e` the errors of a linear's outputs, `KL = 1/2 sum_i F_i E[e_i^2]`, where `F_i` is the Fisher information of output
//! `i`. GPTQ makes the mean squared error of the weights' rounding count by the pivots of the inputs' Gram matrix, whose
//! geometric mean no rotation changes: `E[e_i^2] = d |w_i|^2 p` for a relative distortion `d` and mean pivot `p`. Codes that run
//! down the outputs move errors to where they count less, until `F_i E[e_i^2]` is the same everywhere: the sum is then `n` times
//! the geometric mean of `F_i d |w_i|^2 p`.

use faer::linalg::solvers::Llt;
use faer::{Mat, MatRef, Side};
use rosaq_calib::LayerStats;
use rosaq_model::{ActivationSite, BlockWeights, LINEAR_ROLES, ModelConfig, Role};
use rosaq_quant::GptqOptions;
use rosaq_tensor::Matrix;

use crate::output_weights::{mixed_outputs, output_weights};
use crate::{MethodError, QuantPlan};

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
}

/// The sensitivities of one block's linears in the order of [`LINEAR_ROLES`] once they are rotated as `plan` says, from its
/// dense weights, the statistics of its inputs and the Fisher information of each linear's outputs.
///
/// # Errors
/// Statistics without Gram matrices.
pub fn block_sensitivity(
    plan: &QuantPlan,
    config: &ModelConfig,
    layer: usize,
    block: &BlockWeights,
    stats: &LayerStats,
    fisher: &[Vec<f64>; 7],
) -> Result<[f64; 7], MethodError> {
    let mut pivots = [0.0; 4];
    for site in rosaq_model::SITES {
        let failed = |source| MethodError::Statistics { layer, source };
        let gram = stats.gram(site).map_err(failed)?;
        pivots[site.index()] = mean_pivot(gram.view()) / gram.tokens().max(1) as f64;
    }
    let mut found = [0.0; 7];
    for ((found, &role), fisher) in found.iter_mut().zip(&LINEAR_ROLES).zip(fisher) {
        let Some(site) = ActivationSite::of(role) else { continue };
        let gain = match site {
            ActivationSite::AttentionInput => Some(block.attention_norm.as_slice()),
            ActivationSite::MlpInput => Some(block.mlp_norm.as_slice()),
            ActivationSite::HeadsOutput | ActivationSite::DownInput => None,
        };
        let energies = row_energies(&block.linear(role).weight, gain);
        let energies = mixed_outputs(plan, config, role, &energies);
        let weights = output_weights(plan, config, role, fisher);
        let products: Vec<f64> = weights.iter().zip(&energies).map(|(f, w)| f * w).collect();
        *found = 0.5 * pivots[site.index()] * products.len() as f64 * geometric_mean(&products);
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

/// `|w_i|^2` of each row, its channels multiplied by `gain`.
fn row_energies(w: &Matrix, gain: Option<&[f32]>) -> Vec<f64> {
    let square = |row: &[f32]| -> f64 {
        match gain {
            Some(gain) => row.iter().zip(gain).map(|(&w, &g)| f64::from(w * g).powi(2)).sum(),
            None => row.iter().map(|&w| f64::from(w).powi(2)).sum(),
        }
    };
    (0..w.rows).map(|row| square(w.row(row))).collect()
}

/// The geometric mean of the pivots of `gram`, damped as GPTQ damps it; 0 for a matrix of zeros.
fn mean_pivot(gram: MatRef<'_, f64>) -> f64 {
    let n = gram.nrows();
    let mean_diagonal = (0..n).map(|i| gram[(i, i)]).sum::<f64>() / n.max(1) as f64;
    let damping = GptqOptions::default().damping * mean_diagonal;
    let damped = Mat::from_fn(n, n, |i, j| gram[(i, j)] + if i == j { damping } else { 0.0 });
    let Ok(factor) = Llt::new(damped.as_ref(), Side::Lower) else { return 0.0 };
    let logs: f64 = (0..n).map(|i| 2.0 * factor.L()[(i, i)].ln()).sum();
    (logs / n.max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_pivot_is_the_nth_root_of_the_determinant_whatever_the_basis() {
        let damping = 1.0 + GptqOptions::default().damping;
        let diagonal = Mat::from_fn(3, 3, |i, j| if i == j { 8.0 } else { 0.0 });
        assert!((mean_pivot(diagonal.as_ref()) - 8.0 * damping).abs() < 1e-12);
        // Eigenvalues 1, 2 and 4 and a mean of 7 / 3.
        let r = rosaq_rotate::random_orthogonal(3, 5);
        let values = Mat::from_fn(3, 3, |i, j| if i == j { f64::from(1 << i) } else { 0.0 });
        let gram = r.transpose() * values * &r;
        let shift = GptqOptions::default().damping * 7.0 / 3.0;
        let expected = ((1.0 + shift) * (2.0 + shift) * (4.0 + shift)).cbrt();
        assert!((mean_pivot(gram.as_ref()) - expected).abs() < 1e-12);
        assert_eq!(mean_pivot(Mat::zeros(2, 2).as_ref()), 0.0);
    }

    #[test]
    fn the_geometric_mean_has_a_floor() {
        assert!((geometric_mean(&[1.0, 4.0, 16.0]) - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[0.0, 0.0]), 0.0);
        assert!((geometric_mean(&[0.0, 2.0]) - (2.0_f64 * 1e-3).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_gain_of_a_norm_belongs_to_the_weights() {
        let w = Matrix::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]);
        let energies = row_energies(&w, Some(&[2.0, 1.0]));
        assert_eq!(energies, [8.0, 52.0]);
        assert_eq!(row_energies(&w, None), [5.0, 25.0]);
    }
}
