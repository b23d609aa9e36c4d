//! Round to nearest: every weight of every linear to the asymmetric grid of its group.

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig};
use rosaq_pack::Segment;

use crate::{LinearPlan, Method, MethodError, MethodSettings, OrderPlan, QuantPlan};

pub(crate) struct Rtn;

impl Method for Rtn {
    fn name(&self) -> &'static str {
        "rtn"
    }

    fn requirements(&self) -> Requirements {
        Requirements::NONE
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        let linears = LINEAR_ROLES.map(|role| LinearPlan {
            order: OrderPlan::AsIs,
            segments: vec![Segment::asymmetric(
                config.linear_shape(role)[1],
                settings.bits,
                settings.group_size,
            )],
        });
        Ok(QuantPlan { residual: None, heads: None, scale_down: false, linears })
    }
}
