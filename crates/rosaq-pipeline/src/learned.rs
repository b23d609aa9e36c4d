//! The learned rotation of the residual stream: problems of all blocks, read when asked for; the result is kept for resuming.

use std::cell::RefCell;
use std::collections::HashMap;

use faer::Mat;
use rosaq_learn::{LearnOptions, Problem, ProblemSource, learn};
use rosaq_methods::{PROBLEMS_PER_BLOCK, QuantPlan, residual_problems};
use rosaq_model::SourceModel;
use serde::{Deserialize, Serialize};

use crate::calibrate::StatsDir;
use crate::workdir::WorkDir;
use crate::{PipelineError, Progress};

/// How learning went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// Share of the linears' output energy that nearest rounding turns into error, before.
    pub loss_before: f64,
    /// The same with the learned rotation.
    pub loss_after: f64,
    /// Steps after which that was reached.
    pub chosen_step: usize,
    /// Loss of each step's batch, as the gradient models it.
    pub losses: Vec<f64>,
}

/// Problems kept in memory, in bytes: all of a small model, a few blocks of a large one.
const KEPT_BYTES: usize = 1 << 30;

/// The problems that all blocks pose to the residual rotation.
struct Problems<'a> {
    source: &'a SourceModel,
    stats: &'a StatsDir,
    plan: &'a QuantPlan,
    kept: RefCell<HashMap<usize, Vec<Problem>>>,
}

impl ProblemSource for Problems<'_> {
    type Error = PipelineError;

    fn n_problems(&self) -> usize {
        self.source.config().n_layers * PROBLEMS_PER_BLOCK
    }

    fn load(&self, problem_idx: usize) -> Result<Problem, PipelineError> {
        let (layer, idx) = (problem_idx / PROBLEMS_PER_BLOCK, problem_idx % PROBLEMS_PER_BLOCK);
        if let Some(problems) = self.kept.borrow().get(&layer) {
            return Ok(problems[idx].clone());
        }
        let stats = self.stats.load(layer, self.source.config())?;
        let block = self.source.load_block(layer)?;
        self.source.release();
        let problems = residual_problems(self.plan, layer, &stats, block)?;
        let problem = problems[idx].clone();
        let mut kept = self.kept.borrow_mut();
        let bytes: usize = problems.iter().map(Problem::bytes).sum();
        if (kept.len() + 1) * bytes > KEPT_BYTES {
            kept.clear();
        }
        kept.insert(layer, problems);
        Ok(problem)
    }
}

/// A rotation of the residual to be learned.
pub(crate) struct Learn<'a> {
    pub(crate) source: &'a SourceModel,
    pub(crate) stats: &'a StatsDir,
    pub(crate) plan: &'a QuantPlan,
    pub(crate) options: LearnOptions,
    /// Where the result is kept.
    pub(crate) work: &'a WorkDir,
}

impl Learn<'_> {
    /// Learns from `start`, or takes up what an earlier run of the same job learned.
    pub(crate) fn rotation(
        &self,
        start: Mat<f64>,
        progress: Progress,
    ) -> Result<(Mat<f64>, Learning), PipelineError> {
        if let Some(found) = self.work.load_rotation(start.nrows()) {
            return Ok(found);
        }
        let (source, stats, plan) = (self.source, self.stats, self.plan);
        let problems = Problems { source, stats, plan, kept: RefCell::default() };
        let stage = progress.stage("learn");
        let n_steps = self.options.n_steps as f64;
        let found = learn(start, &problems, &self.options, &mut |step, _| {
            stage.set(step as f64 / n_steps);
        })?;
        stage.finish();
        let learning = Learning {
            loss_before: found.loss_before,
            loss_after: found.loss_after,
            chosen_step: found.chosen,
            losses: found.losses,
        };
        self.work.save_rotation(&found.rotation, &learning)?;
        Ok((found.rotation, learning))
    }
}
