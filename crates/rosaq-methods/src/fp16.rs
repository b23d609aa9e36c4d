//! No quantization: every channel in f16. The yardstick of the others.

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig};
use rosaq_pack::Segment;

use crate::{LinearPlan, Method, MethodError, MethodSettings, QuantPlan};

pub(crate) struct Fp16;

impl Method for Fp16 {
    fn name(&self) -> &'static str {
        "fp16"
    }

    fn requirements(&self) -> Requirements {
        Requirements::NONE
    }

    fn plan(&self, config: &ModelConfig, _: &MethodSettings) -> Result<QuantPlan, MethodError> {
        let linears = LINEAR_ROLES
            .map(|role| LinearPlan::nearest(vec![Segment::f16(config.linear_shape(role)[1])]));
        Ok(QuantPlan::of_linears(linears))
    }
}
