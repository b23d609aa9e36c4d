//! ROSAQ: eigenbases of the activations, the largest eigenvalues in f16, the rest in groups of integers.

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{Bits, Segment};
use rosaq_quant::Clip;
use rosaq_rotate::Placement;
use rosaq_saliency::{SaliencyRule, default_salient, default_salient_per_head};

use crate::plan::SCALED_DOWN;
use crate::{
    Basis, HeadRotation, HeadScope, LinearPlan, Method, MethodError, MethodSettings, OrderPlan,
    OutputRotation, Preset, QuantPlan, ResidualRotation, SalientFirst, Setting,
};

pub(crate) struct Rosaq;

/// Salient channels of query, key, value, gate and up in the paper. Source: ROSAQ appendix G.
const PAPER_SALIENT: usize = 128;
/// Salient channels of each head at the output projection in the paper. Source: ROSAQ appendix G.
const PAPER_SALIENT_PER_HEAD: usize = 32;

impl Method for Rosaq {
    fn name(&self) -> &'static str {
        "rosaq"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[
            Setting::Salient,
            Setting::SalientPerHead,
            Setting::Saliency,
            Setting::Rotation,
            Setting::OutputRotation,
            Setting::Preset,
            Setting::Seed,
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements::ALL
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        let salient = salient_count(config, settings)?;
        let per_head = salient_per_head_count(config, settings)?;
        let rule = settings.saliency;
        let residual = residual_rotation(settings, salient)?;
        // Without a rotation the salient channels are those of largest magnitude, as in Mixed.
        let order = match residual {
            Some(_) => OrderPlan::AsIs,
            None => OrderPlan::ByMagnitude { salient },
        };
        let head_rule = if residual.is_some() { rule } else { SaliencyRule::Top };
        let (bits, group) = (settings.bits, settings.group_size);
        let linears = LINEAR_ROLES.map(|role| {
            let channels = config.linear_shape(role)[1];
            match role {
                Role::Down => LinearPlan {
                    clip: Some(Clip::Magnitude),
                    ..LinearPlan::nearest(salient_then_int(0, channels, bits, group))
                },
                Role::Output => output_plan(config, settings, per_head),
                _ => {
                    let segments = salient_then_int(salient, channels, bits, group);
                    LinearPlan { order, ..LinearPlan::nearest(segments) }
                }
            }
        });
        let basis = Basis::Eigen(SalientFirst { rule: head_rule, salient: per_head });
        let heads = match settings.output_rotation {
            OutputRotation::HeadWise => Some(HeadRotation { scope: HeadScope::EachHead, basis }),
            OutputRotation::Global => {
                let all = SalientFirst { rule: head_rule, salient: config.n_heads * per_head };
                Some(HeadRotation { scope: HeadScope::AllHeads, basis: Basis::Eigen(all) })
            }
            OutputRotation::None => None,
        };
        Ok(QuantPlan { residual, heads, scaled: SCALED_DOWN, ..QuantPlan::of_linears(linears) })
    }
}

/// The output projection keeps as many channels in f16 whatever is rotated before it; only head by head do its groups have to
/// respect the heads.
fn output_plan(config: &ModelConfig, settings: &MethodSettings, per_head: usize) -> LinearPlan {
    let (k, channels) = (config.n_heads * per_head, config.n_heads * config.head_dim);
    let (order, group) = match settings.output_rotation {
        OutputRotation::HeadWise => (
            OrderPlan::PerHead { salient: per_head },
            head_group(config.head_dim - per_head, settings.group_size),
        ),
        OutputRotation::Global => (OrderPlan::AsIs, settings.group_size),
        OutputRotation::None => (OrderPlan::ByMagnitude { salient: k }, settings.group_size),
    };
    LinearPlan { order, ..LinearPlan::nearest(salient_then_int(k, channels, settings.bits, group)) }
}

fn residual_rotation(
    settings: &MethodSettings,
    salient: usize,
) -> Result<Option<ResidualRotation>, MethodError> {
    let rule = settings.saliency;
    if rule == SaliencyRule::Magnitude {
        return match settings.placement {
            None => Ok(None),
            Some(placement) => Err(MethodError::Setting {
                flag: "rotation",
                value: placement.to_string(),
                reason: "`--saliency magnitude` picks channels of the original basis; leave the \
                         rotation out"
                    .to_owned(),
            }),
        };
    }
    let default = match settings.preset {
        // The paper rotates layer by layer; online is that recipe with nothing else changed.
        Some(Preset::Paper) => Placement::Online,
        None => Placement::Absorbed,
    };
    let placement = settings.placement.unwrap_or(default);
    let basis = Basis::Eigen(SalientFirst { rule, salient });
    Ok(Some(ResidualRotation { placement, basis }))
}

/// Salient channels of the residual, checked against the model.
pub(crate) fn salient_count(
    config: &ModelConfig,
    settings: &MethodSettings,
) -> Result<usize, MethodError> {
    let default = match settings.preset {
        Some(Preset::Paper) => PAPER_SALIENT,
        None => default_salient(config.hidden_size),
    };
    within("salient", settings.salient, default, config.hidden_size)
}

fn salient_per_head_count(
    config: &ModelConfig,
    settings: &MethodSettings,
) -> Result<usize, MethodError> {
    let default = match settings.preset {
        Some(Preset::Paper) => PAPER_SALIENT_PER_HEAD,
        None => default_salient_per_head(config.head_dim),
    };
    within("salient-per-head", settings.salient_per_head, default, config.head_dim)
}

fn within(
    flag: &'static str,
    asked: Option<usize>,
    default: usize,
    channels: usize,
) -> Result<usize, MethodError> {
    let k = asked.unwrap_or(default);
    if k <= channels {
        return Ok(k);
    }
    let reason = format!("there are only {channels} channels");
    Err(MethodError::Setting { flag, value: k.to_string(), reason })
}

/// `[f16 x salient][int b x rest]`, leaving out what is empty.
pub(crate) fn salient_then_int(
    salient: usize,
    channels: usize,
    bits: Bits,
    group_size: usize,
) -> Vec<Segment> {
    let mut segments = Vec::new();
    if salient > 0 {
        segments.push(Segment::f16(salient));
    }
    if channels > salient {
        segments.push(Segment::asymmetric(channels - salient, bits, group_size));
    }
    segments
}

/// The group size of the output projection: the largest of 128, 64, 32 (not above the user's) that divides what a head
/// leaves, else all of it, or its largest divisor under the user's group size; so that no group spans two heads.
fn head_group(rest_of_head: usize, group_size: usize) -> usize {
    let fitting =
        [128, 64, 32].into_iter().find(|g| *g <= group_size && rest_of_head.is_multiple_of(*g));
    let divisor =
        || (1..=group_size.min(rest_of_head)).rev().find(|g| rest_of_head.is_multiple_of(*g));
    fitting.or_else(divisor).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_output_projection_stay_inside_a_head() {
        assert_eq!(head_group(96, 128), 32);
        assert_eq!(head_group(62, 128), 62);
        assert_eq!(head_group(32, 128), 32);
        assert_eq!(head_group(124, 128), 124);
        assert_eq!(head_group(128, 128), 128);
        assert_eq!(head_group(128, 64), 64);
        assert_eq!(head_group(0, 128), 128);
        assert_eq!(head_group(62, 32), 31);
        assert_eq!(head_group(64, 16), 16);
    }
}
