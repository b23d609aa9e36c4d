//! What a method is.

use rosaq_calib::Requirements;
use rosaq_model::ModelConfig;

use crate::{MethodError, MethodSettings, QuantPlan, Sensitivity, Setting};

/// A quantization method: a recipe, not a pipeline.
pub trait Method: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// The settings beyond width and group size that mean something to it.
    fn heeds(&self) -> &'static [Setting] {
        &[]
    }

    /// Which statistics the plan's execution needs.
    fn requirements(&self) -> Requirements;

    /// Decides rotation, segments and rounding for every linear of a model.
    ///
    /// # Errors
    /// Settings that the method or the model cannot follow.
    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError>;

    /// Whether the gradients of the model's outputs are wanted: the sensitivities of the linears, and what each output counts.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// Whether statistics of activations and weights rounded to bf16 are as good as exact ones. Methods whose figures are to be
    /// compared with those of others say no.
    fn bears_rounded_statistics(&self) -> bool {
        false
    }

    /// The same as [`Self::plan`] with the sensitivities of the linears known, which tell where a target size is spent best.
    ///
    /// # Errors
    /// As [`Self::plan`].
    fn plan_by_sensitivity(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
        _sensitivity: &Sensitivity,
    ) -> Result<QuantPlan, MethodError> {
        self.plan(config, settings)
    }

    /// The divergence from the model that a plan of this method is to be expected to cause, nats a token, to second order in
    /// the errors; `None` where there is no saying.
    fn expected_divergence(&self, _plan: &QuantPlan, _sensitivity: &Sensitivity) -> Option<f64> {
        None
    }
}

impl std::fmt::Debug for dyn Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Method({})", self.name())
    }
}
