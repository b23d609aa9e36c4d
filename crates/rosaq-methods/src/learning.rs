//! What learned rotations are learned on: the linears of a block as problems of `rosaq-learn`.

use faer::Mat;
use rosaq_calib::LayerStats;
use rosaq_learn::{LearnError, LearnOptions, Learned, Problem, Side, learn};
use rosaq_model::{ActivationSite, BlockWeights, Role};
use rosaq_rotate::fuse_norms;
use rosaq_tensor::Matrix;

use crate::execute::rotate_residual;
use crate::inputs::SiteInputs;
use crate::{BlockInput, MethodError, QuantPlan};

/// Problems that one block poses to a rotation of the residual: what reads it at both sites, and what writes to it.
pub const PROBLEMS_PER_BLOCK: usize = 4;

/// The problems that `block`, as the checkpoint has it, poses to a rotation of the residual.
///
/// # Errors
/// Missing statistics, a linear whose output is zero throughout; with the layer.
///
/// # Panics
/// If the plan does not round each linear on one grid.
pub fn residual_problems(
    plan: &QuantPlan,
    layer: usize,
    stats: &LayerStats,
    mut block: BlockWeights,
) -> Result<Vec<Problem>, MethodError> {
    fuse_norms(&mut block);
    let linears: [(ActivationSite, &[Role], Side); PROBLEMS_PER_BLOCK] = [
        (ActivationSite::AttentionInput, &[Role::Query, Role::Key, Role::Value], Side::Input),
        (ActivationSite::MlpInput, &[Role::Gate, Role::Up], Side::Input),
        (ActivationSite::HeadsOutput, &[Role::Output], Side::Output),
        (ActivationSite::DownInput, &[Role::Down], Side::Output),
    ];
    linears
        .into_iter()
        .map(|(site, roles, side)| {
            let gram = stats.gram(site);
            let gram = gram.map_err(|source| MethodError::Statistics { layer, source })?;
            let weights: Vec<&Matrix> = roles.iter().map(|&r| &block.linear(r).weight).collect();
            let (grid, group_size) =
                plan.linear(layer, roles[0]).uniform().expect("one grid a linear");
            Problem::new(stacked(&weights), gram.view(), grid, group_size, side)
                .map_err(|source| MethodError::Learning { layer, source })
        })
        .collect()
}

fn stacked(weights: &[&Matrix]) -> Matrix {
    let rows = weights.iter().map(|w| w.rows).sum();
    let data = weights.iter().flat_map(|w| w.data.iter().copied()).collect();
    Matrix::new(rows, weights[0].cols, data)
}

/// Learns a rotation for each value head of `block`, which is as the checkpoint has it, from `starts`: the value projection
/// writes into it, and every head that reads the value head hands it to the output projection. The rotation of the residual
/// comes first.
///
/// # Errors
/// Missing statistics, a head whose output is zero throughout; with the layer.
///
/// # Panics
/// If the plan does not round each linear on one grid, or starts are no rotations of a head.
pub fn learn_heads(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    mut block: BlockWeights,
    starts: Vec<Mat<f64>>,
    options: &LearnOptions,
) -> Result<Vec<Mat<f64>>, MethodError> {
    let failed = |source| MethodError::Learning { layer: input.layer, source };
    rotate_residual(plan, input, &mut block)?;
    let block = &block;
    let inputs = SiteInputs::new(plan, BlockInput { heads: None, ..input });
    let attention = inputs.gram(block, ActivationSite::AttentionInput)?;
    let heads = inputs.gram(block, ActivationSite::HeadsOutput)?;
    let learn_one = |(kv, start)| -> Result<Mat<f64>, LearnError> {
        let problems = head_problems(plan, input, block, &attention, &heads, kv)?;
        let learned: Learned = learn(start, &problems[..], options, &mut |_, _| {})?;
        Ok(learned.rotation)
    };
    starts.into_iter().enumerate().map(|head| learn_one(head).map_err(failed)).collect()
}

fn head_problems(
    plan: &QuantPlan,
    input: BlockInput<'_>,
    block: &BlockWeights,
    attention: &Mat<f64>,
    heads: &Mat<f64>,
    kv: usize,
) -> Result<Vec<Problem>, LearnError> {
    let (config, d) = (input.config, input.config.head_dim);
    let uniform = |role| plan.linear(input.layer, role).uniform().expect("one grid a linear");
    let (value, output) = (&block.value.weight, &block.output.weight);
    let rows = value.data[kv * d * value.cols..(kv + 1) * d * value.cols].to_vec();
    let (grid, group_size) = uniform(Role::Value);
    let written = Matrix::new(d, value.cols, rows);
    let mut problems =
        vec![Problem::new(written, attention.as_ref(), grid, group_size, Side::Output)?];
    let (grid, group_size) = uniform(Role::Output);
    for head in kv * config.heads_per_kv()..(kv + 1) * config.heads_per_kv() {
        let columns = (0..output.rows).flat_map(|row| &output.row(row)[head * d..(head + 1) * d]);
        let read = Matrix::new(output.rows, d, columns.copied().collect());
        let gram = heads.as_ref().submatrix(head * d, head * d, d, d);
        problems.push(Problem::new(read, gram, grid, group_size.min(d), Side::Input)?);
    }
    Ok(problems)
}
