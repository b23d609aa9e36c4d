//! GPTQ: weights are rounded channel by channel, and each channel's error is made good by those that follow. Source: GPTQ
//! (arXiv 2210.17323).

use rosaq_calib::Requirements;
use rosaq_model::ModelConfig;
use rosaq_quant::GptqOptions;

use crate::rtn::all_rounded;
use crate::{Method, MethodError, MethodSettings, QuantPlan, Rounding, Setting};

pub(crate) struct Gptq;

impl Method for Gptq {
    fn name(&self) -> &'static str {
        "gptq"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[Setting::ActOrder, Setting::ScaleSteps]
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
            linear.rounding = Rounding::Gptq(gptq_options(settings, 0));
        }
        Ok(QuantPlan::of_linears(linears))
    }
}

/// The options of the settings; `scale_steps` where the user names none.
pub(crate) fn gptq_options(settings: &MethodSettings, scale_steps: usize) -> GptqOptions {
    GptqOptions {
        act_order: settings.act_order,
        scale_steps: settings.scale_steps.unwrap_or(scale_steps),
        ..GptqOptions::default()
    }
}
