//! The descent: batches of problems, normalized gradients, Cayley steps, checks.

use faer::{Mat, MatRef};
use rosaq_rotate::CayleySgd;

use crate::batches::{Batches, spread};
use crate::{ErrorModel, LearnError, LearnOptions, ProblemSource, loss, loss_and_gradient};

/// The loss over the checked problems after some steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Steps done.
    pub n_steps: usize,
    /// Mean over the checked problems, by their weights.
    pub loss: f64,
}

/// A learned rotation and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Of all checked rotations, the start among them, the one with the least loss; orthogonal in f64.
    pub rotation: Mat<f64>,
    /// Mean loss of each step's batch under the error model, before the step.
    pub losses: Vec<f64>,
    /// The start and every check; the loss is over the same problems in all.
    pub checks: Vec<Check>,
    /// Steps after which `rotation` was reached.
    pub chosen: usize,
    /// Loss of the start over the checked problems.
    pub loss_before: f64,
    /// Loss of `rotation` over the checked problems; never more than `loss_before`.
    pub loss_after: f64,
}

/// Learns a rotation, from `start`, that makes nearest rounding of all problems harmless: it lowers the mean of their
/// [`loss`]es by their weights. `on_step` hears of each step and the mean loss of its batch under the error model, taken before the step.
///
/// Each step sums the gradients of a batch in f64, projects the sum to the tangent of the rotations, divides it by its root
/// mean square over channels and passes it to [`CayleySgd`]. A rotation is judged by nearest rounding even when GPTQ will
/// follow. Results depend on options and problems, not on the number of threads. Source: SpinQuant (arXiv 2405.16406),
/// section 3.2, with the errors of linears in place of the network's loss.
///
/// # Errors
/// What the source fails with; [`LearnError::NoProblems`]; [`LearnError::Rotation`] for a start that is no rotation.
///
/// # Panics
/// If the problems' order is not that of `start`, or options are out of their range.
pub fn learn<S: ProblemSource + ?Sized>(
    start: Mat<f64>,
    problems: &S,
    options: &LearnOptions,
    on_step: &mut dyn FnMut(usize, f64),
) -> Result<Learned, S::Error> {
    let mut sgd = CayleySgd::new(start, options.momentum).map_err(LearnError::from)?;
    let checked = spread(problems.n_problems(), options.check_problems);
    let before = mean_loss(problems, &checked, sgd.rotation())?;
    let mut best = (Check { n_steps: 0, loss: before }, sgd.rotation().to_owned());
    let mut checks = vec![best.0];
    let mut batches = Batches::new(problems.n_problems(), options.seed);
    let mut losses = Vec::with_capacity(options.n_steps);
    for step_idx in 0..options.n_steps {
        let batch = batches.next_batch(options.batch);
        let (loss, gradient) =
            mean_gradient(problems, &batch, sgd.rotation(), options.error_model)?;
        losses.push(loss);
        on_step(step_idx, loss);
        descend(&mut sgd, gradient.as_ref(), options, step_idx)?;
        let n_steps = step_idx + 1;
        if options.is_check(n_steps) {
            let check = Check { n_steps, loss: mean_loss(problems, &checked, sgd.rotation())? };
            checks.push(check);
            if check.loss < best.0.loss {
                best = (check, sgd.rotation().to_owned());
            }
        }
    }
    let (chosen, rotation) = best;
    Ok(Learned {
        rotation,
        losses,
        checks,
        chosen: chosen.n_steps,
        loss_before: before,
        loss_after: chosen.loss,
    })
}

/// A step whose length, as an angle, is the learning rate: with momentum `m`, steps of one direction add up to `1 / (1 - m)`
/// of the last, so each is taken `1 - m` times.
fn descend(
    sgd: &mut CayleySgd,
    gradient: MatRef<'_, f64>,
    options: &LearnOptions,
    step_idx: usize,
) -> Result<(), LearnError> {
    let tangent = sgd.tangent(gradient);
    let angle = tangent.squared_norm_l2() / index_to_f64(tangent.nrows());
    // At a stationary point there is no direction to normalize.
    let factor = if angle > 0.0 { (1.0 - options.momentum) / angle.sqrt() } else { 0.0 };
    sgd.step_against((tangent * factor).as_ref(), options.rate_of_step(step_idx))?;
    Ok(())
}

/// Mean loss over some problems, by their weights.
fn mean_loss<S: ProblemSource + ?Sized>(
    problems: &S,
    chosen: &[usize],
    rotation: MatRef<'_, f64>,
) -> Result<f64, S::Error> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for &problem_idx in chosen {
        let problem = problems.load(problem_idx)?;
        sum += problem.loss_weight * loss(&problem, rotation);
        weights += problem.loss_weight;
    }
    if weights > 0.0 { Ok(sum / weights) } else { Err(LearnError::NoProblems.into()) }
}

/// Mean loss over some problems and its gradient, by their weights; zero when these are.
fn mean_gradient<S: ProblemSource + ?Sized>(
    problems: &S,
    chosen: &[usize],
    rotation: MatRef<'_, f64>,
    model: ErrorModel,
) -> Result<(f64, Mat<f64>), S::Error> {
    let n = rotation.nrows();
    let (mut sum, mut weights, mut total) = (0.0, 0.0, Mat::<f64>::zeros(n, n));
    for &problem_idx in chosen {
        let problem = problems.load(problem_idx)?;
        let (loss, gradient) = loss_and_gradient(&problem, rotation, model);
        sum += problem.loss_weight * loss;
        weights += problem.loss_weight;
        total += gradient * problem.loss_weight;
    }
    let factor = if weights > 0.0 { 1.0 / weights } else { 0.0 };
    Ok((sum * factor, total * factor))
}

#[expect(clippy::cast_precision_loss, reason = "an order is far below 2^53")]
fn index_to_f64(n: usize) -> f64 {
    n as f64
}
