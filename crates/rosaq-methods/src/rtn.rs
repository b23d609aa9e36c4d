//! Round to nearest: every weight of every linear to the asymmetric grid of its group.

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig};
use rosaq_pack::Segment;

use crate::{LinearPlan, Method, MethodError, MethodSettings, QuantPlan};

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
        Ok(QuantPlan::of_linears(all_rounded(config, settings)))
    }
}

/// Every channel of every linear on one grid, in groups of one size, rounded to nearest.
pub(crate) fn all_rounded(config: &ModelConfig, settings: &MethodSettings) -> [LinearPlan; 7] {
    LINEAR_ROLES.map(|role| {
        let channels = config.linear_shape(role)[1];
        LinearPlan::nearest(vec![Segment::asymmetric(channels, settings.bits, settings.group_size)])
    })
}
