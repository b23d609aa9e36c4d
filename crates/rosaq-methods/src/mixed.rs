//! Mixed precision without rotation: the channels of largest mean magnitude stay f16 (the paper's baseline of that name).

use rosaq_calib::Requirements;
use rosaq_model::{ActivationSite, LINEAR_ROLES, ModelConfig, Role};
use rosaq_quant::Clip;

use crate::plan::SCALED_DOWN;
use crate::rosaq::{salient_count, salient_then_int};
use crate::{LinearPlan, Method, MethodError, MethodSettings, OrderPlan, QuantPlan, Setting};

pub(crate) struct Mixed;

impl Method for Mixed {
    fn name(&self) -> &'static str {
        "mixed"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[Setting::Salient, Setting::Preset]
    }

    fn requirements(&self) -> Requirements {
        Requirements::grams_at(&[ActivationSite::DownInput])
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        let salient = salient_count(config, settings)?;
        let linears = LINEAR_ROLES.map(|role| {
            let channels = config.linear_shape(role)[1];
            let k = if role == Role::Down { 0 } else { salient.min(channels) };
            let order =
                if k == 0 { OrderPlan::AsIs } else { OrderPlan::ByMagnitude { salient: k } };
            let segments = salient_then_int(k, channels, settings.bits, settings.group_size);
            LinearPlan {
                order,
                clip: (role == Role::Down).then_some(Clip::Magnitude),
                ..LinearPlan::nearest(segments)
            }
        });
        Ok(QuantPlan { scaled: SCALED_DOWN, ..QuantPlan::of_linears(linears) })
    }
}
