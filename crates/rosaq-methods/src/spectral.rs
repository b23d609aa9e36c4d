//! Rotations that flatten what every linear reads, and trellis codes instead of a grid.
//!
//! A randomized Hadamard rotation of the residual and of every value head, both absorbed, and blocked Walsh-Hadamard
//! transforms before `down`, applied at run time, make the weights of each linear Gaussian and spread its inputs' energy
//! evenly. GPTQ then fills codes of a trellis, which come nearer to the rate-distortion limit of a Gaussian than any grid.
//! Sources: `QuIP#` (arXiv 2402.04396), `QTIP` (arXiv 2406.11235), `QuaRot` (arXiv 2404.00456).

use rosaq_calib::Requirements;
use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{Bits, Segment};
use rosaq_quant::TrellisCodes;
use rosaq_rotate::Placement;
use rosaq_trellis::{GaussianTable, TrellisCode};

use crate::gptq::gptq_options;
use crate::{
    Basis, HeadRotation, HeadScope, LinearPlan, Method, MethodError, MethodSettings, OrderPlan,
    QuantPlan, ResidualRotation, Rounding, Setting,
};

pub(crate) struct Spectral;

/// Most points of a transform before `down`: more flatten little more, and cost more.
const MOST_POINTS: usize = 512;
/// Fewest points that are worth a transform.
const FEWEST_POINTS: usize = 16;
/// The widths of trellis codes, each under its index.
const WIDTHS: [Bits; 3] = [Bits::TWO, Bits::THREE, Bits::FOUR];
/// Ranges that GPTQ tries for a group of integers.
const SCALE_STEPS: usize = 10;

impl Method for Spectral {
    fn name(&self) -> &'static str {
        "spectral"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[Setting::ActOrder, Setting::ScaleSteps, Setting::Seed]
    }

    fn requirements(&self) -> Requirements {
        Requirements::ALL
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        let rounding = Rounding::Gptq(gptq_options(settings, SCALE_STEPS));
        let linears = LINEAR_ROLES.map(|role| {
            let channels = config.linear_shape(role)[1];
            let bits = if reads_into_scores(role) { wider(settings.bits) } else { settings.bits };
            let segments = vec![segment(channels, bits, settings.group_size)];
            LinearPlan { order: OrderPlan::AsIs, segments, clip: false, rounding, refit: true }
        });
        let basis = Basis::Hadamard { seed: settings.seed, steps: 0 };
        Ok(QuantPlan {
            residual: Some(ResidualRotation { placement: Placement::Absorbed, basis }),
            heads: Some(HeadRotation { scope: HeadScope::EachHead, basis }),
            down_hadamard: down_points(config),
            codes: codes()?,
            ..QuantPlan::of_linears(linears)
        })
    }
}

/// The roles that are worth a bit more than the others: few weights, and errors that attention magnifies.
fn reads_into_scores(role: Role) -> bool {
    matches!(role, Role::Query | Role::Key | Role::Value)
}

fn wider(bits: Bits) -> Bits {
    Bits::ALL.into_iter().find(|&wider| wider > bits).unwrap_or(bits)
}

/// One scale for each row where there is a trellis code of that width; groups of integers otherwise.
fn segment(channels: usize, bits: Bits, group_size: usize) -> Segment {
    match (0_u32..).zip(WIDTHS).find(|&(_, width)| width == bits) {
        Some((id, _)) => Segment::trellis(channels, bits, TABLE.window(), id, channels),
        None => Segment::asymmetric(channels, bits, group_size),
    }
}

/// Two tables of 64 bytes: they fit vector registers.
const TABLE: GaussianTable = GaussianTable::Sum12;

fn codes() -> Result<TrellisCodes, MethodError> {
    let codes = WIDTHS.map(|bits| TrellisCode::gaussian(bits.get(), TABLE));
    Ok(TrellisCodes::new(codes.into_iter().collect::<Result<_, _>>()?))
}

/// The longest transform that divides the down input.
fn down_points(config: &ModelConfig) -> Option<usize> {
    let longest = 1 << config.intermediate_size.trailing_zeros();
    Some(longest.min(MOST_POINTS)).filter(|&points| points >= FEWEST_POINTS)
}
