//! SpinQuant, weights only: the residual and every value head are rotated by matrices that begin as randomized Hadamard
//! matrices and are learned, then GPTQ rounds. Source: SpinQuant (arXiv 2405.16406), R1 and R2; learned here on the output
//! errors of single linears instead of the network's loss, see `rosaq-learn`.

use rosaq_calib::Requirements;
use rosaq_model::ModelConfig;
use rosaq_rotate::Placement;

use crate::gptq::gptq_options;
use crate::rtn::all_rounded;
use crate::{
    Basis, HeadRotation, HeadScope, Method, MethodError, MethodSettings, QuantPlan,
    ResidualRotation, Rounding, Setting,
};

pub(crate) struct SpinQuant;

/// Steps of learning where the user names none: as many as SpinQuant takes.
const STEPS: usize = 100;
/// Ranges tried for each group: rotated weights have no outliers worth keeping, so shrunk ranges pay.
const SCALE_STEPS: usize = 10;

impl Method for SpinQuant {
    fn name(&self) -> &'static str {
        "spinquant"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[Setting::ActOrder, Setting::ScaleSteps, Setting::LearningSteps, Setting::Seed]
    }

    fn requirements(&self) -> Requirements {
        Requirements::ALL
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        let mut linears = all_rounded(config, settings);
        for linear in &mut linears {
            linear.rounding = Rounding::Gptq(gptq_options(settings, SCALE_STEPS));
        }
        let steps = settings.learning_steps.unwrap_or(STEPS);
        let basis = Basis::Hadamard { seed: settings.seed, steps };
        Ok(QuantPlan {
            residual: Some(ResidualRotation { placement: Placement::Absorbed, basis }),
            heads: Some(HeadRotation { scope: HeadScope::EachHead, basis }),
            ..QuantPlan::of_linears(linears)
        })
    }
}
