//! AWQ: channels that carry much are scaled up before rounding, and the largest weights of groups are cut. Source: AWQ
//! (arXiv 2306.00978).

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};

use crate::rtn::all_rounded;
use crate::{Method, MethodError, MethodSettings, QuantPlan};

pub(crate) struct Awq;

impl Method for Awq {
    fn name(&self) -> &'static str {
        "awq"
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
        for (role, linear) in LINEAR_ROLES.into_iter().zip(&mut linears) {
            // Queries and keys meet in a product, for which the error of either alone says little; AWQ's public code leaves
            // them whole too.
            linear.clip = !matches!(role, Role::Query | Role::Key);
        }
        Ok(QuantPlan { scaled: [true; 4], ..QuantPlan::of_linears(linears) })
    }
}
