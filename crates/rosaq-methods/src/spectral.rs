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

use crate::allocation::{Allocation, Width};
use crate::gptq::gptq_options;
use crate::plan::UNSCALED;
use crate::{
    Basis, HeadRotation, HeadScope, LinearPlan, Method, MethodError, MethodSettings, OrderPlan,
    Part, QuantPlan, ResidualRotation, Rounding, Sensitivity, Setting,
};

pub(crate) struct Spectral;

/// Most points of a transform before `down`: more flatten little more, and cost more.
const MOST_POINTS: usize = 512;
/// Fewest points that are worth a transform.
const FEWEST_POINTS: usize = 16;
/// The widths of trellis codes, each under its index.
const TRELLIS_WIDTHS: [Bits; 6] =
    [Bits::ONE, Bits::TWO, Bits::THREE, Bits::FOUR, Bits::FIVE, Bits::SIX];
/// The widths of an allocation, with their distortion of a Gaussian: of the trellis codes as measured where their tables are
/// tested; of 8 bits for a uniform grid over 6.4 standard deviations, about the range of a row: `(6.4 / 255)^2 / 12`.
const TRELLIS: [Width; 7] = [
    Width { bits: Bits::ONE, distortion: 0.2726 },
    Width { bits: Bits::TWO, distortion: 0.0724 },
    Width { bits: Bits::THREE, distortion: 0.0191 },
    Width { bits: Bits::FOUR, distortion: 0.005_09 },
    Width { bits: Bits::FIVE, distortion: 0.001_36 },
    Width { bits: Bits::SIX, distortion: 0.000_4 },
    Width { bits: Bits::EIGHT, distortion: 0.000_052 },
];
/// The same for integers in groups, which stand in for trellis codes: those of the best uniform grid for a Gaussian.
const INTEGERS: [Width; 6] = [
    Width { bits: Bits::TWO, distortion: 0.1188 },
    Width { bits: Bits::THREE, distortion: 0.0374 },
    Width { bits: Bits::FOUR, distortion: 0.0115 },
    Width { bits: Bits::FIVE, distortion: 0.003_5 },
    Width { bits: Bits::SIX, distortion: 0.001_04 },
    Width { bits: Bits::EIGHT, distortion: 0.000_09 },
];
/// Channels of a group of these.
const GROUP: usize = 128;
/// The averages that can be asked for, bits a weight.
const FROM: f64 = 2.0;
const TO: f64 = 8.0;
/// Ranges that GPTQ tries for a group of integers.
const SCALE_STEPS: usize = 10;

impl Method for Spectral {
    fn name(&self) -> &'static str {
        "spectral"
    }

    fn heeds(&self) -> &'static [Setting] {
        &[
            Setting::ActOrder,
            Setting::ScaleSteps,
            Setting::Seed,
            Setting::TargetBits,
            Setting::Without,
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements::ALL
    }

    fn wants_gradients(&self) -> bool {
        true
    }

    fn bears_rounded_statistics(&self) -> bool {
        true
    }

    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError> {
        self.plan_by_sensitivity(config, settings, &Sensitivity::usual(config))
    }

    fn plan_by_sensitivity(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
        sensitivity: &Sensitivity,
    ) -> Result<QuantPlan, MethodError> {
        let has = |part| !settings.without.contains(&part);
        let basis = Basis::Hadamard { seed: settings.seed, steps: 0 };
        let rotated = has(Part::Rotation);
        let mut plan = QuantPlan {
            residual: rotated.then_some(ResidualRotation { placement: Placement::Absorbed, basis }),
            heads: rotated.then_some(HeadRotation { scope: HeadScope::EachHead, basis }),
            scaled: UNSCALED,
            down_hadamard: down_points(config).filter(|_| has(Part::DownHadamard)),
            linears: Vec::new(),
            codes: if has(Part::Trellis) { codes()? } else { TrellisCodes::default() },
            weighs_outputs: has(Part::OutputWeights) && has(Part::Trellis),
        };
        let usual = Sensitivity::usual(config);
        let sensitivity = if has(Part::Sensitivity) { sensitivity } else { &usual };
        let kind = Kind::of(settings);
        let segments = match settings.target_bits {
            Some(bits) => kind.allocated(config, sensitivity, plan.shared_bytes(config), bits)?,
            None => vec![kind.fixed(config, settings)],
        };
        let rounding = Rounding::Gptq(gptq_options(settings, SCALE_STEPS));
        let linear = |segments| LinearPlan {
            order: OrderPlan::AsIs,
            segments,
            clip: None,
            rounding,
            refit: has(Part::Refit),
        };
        plan.linears = segments.into_iter().map(|block| block.map(linear)).collect();
        Ok(plan)
    }

    fn expected_divergence(&self, plan: &QuantPlan, sensitivity: &Sensitivity) -> Option<f64> {
        sensitivity.divergence(plan, |found| {
            [Kind::Trellis, Kind::Integers].into_iter().find_map(|kind| {
                let is_it = |w: &&Width| kind.segment(found.channels, w.bits) == *found;
                kind.widths().iter().find(is_it).map(|width| width.distortion)
            })
        })
    }
}

/// What weights are rounded to.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Trellis codes, one scale for each row.
    Trellis,
    /// Integers in groups.
    Integers,
}

impl Kind {
    fn of(settings: &MethodSettings) -> Self {
        if settings.without.contains(&Part::Trellis) { Self::Integers } else { Self::Trellis }
    }

    fn widths(self) -> &'static [Width] {
        match self {
            Self::Trellis => &TRELLIS,
            Self::Integers => &INTEGERS,
        }
    }

    /// Channels of a width; integers stand in where no trellis code is as wide.
    fn segment(self, channels: usize, bits: Bits) -> Segment {
        match (self, (0_u32..).zip(TRELLIS_WIDTHS).find(|&(_, width)| width == bits)) {
            (Self::Integers, _) => Segment::asymmetric(channels, bits, GROUP),
            (Self::Trellis, Some((id, _))) => {
                Segment::trellis(channels, bits, TABLE.window(), id, channels)
            }
            (Self::Trellis, None) => Segment::asymmetric(channels, bits, channels),
        }
    }

    /// The width asked for, and a bit more where it is worth most, in every block.
    fn fixed(self, config: &ModelConfig, settings: &MethodSettings) -> [Vec<Segment>; 7] {
        LINEAR_ROLES.map(|role| {
            let bits = if reads_into_scores(role) { wider(settings.bits) } else { settings.bits };
            vec![self.segment(config.linear_shape(role)[1], bits)]
        })
    }

    /// Widths by sensitivity that take `target` bits a weight together, `shared_bytes` of what is stored once included.
    fn allocated(
        self,
        config: &ModelConfig,
        sensitivity: &Sensitivity,
        shared_bytes: u64,
        target: f64,
    ) -> Result<Vec<[Vec<Segment>; 7]>, MethodError> {
        let weights = config.quantizable_weights() as f64;
        let segment = |channels, bits| self.segment(channels, bits);
        let among = |widths| Allocation { config, sensitivity, widths, segment: &segment };
        // One bit does more harm than its distortion says, and serves where two are too many.
        let all = self.widths();
        let usual =
            all.iter().position(|width| width.bits >= Bits::TWO).map_or(all, |at| &all[at..]);
        let refused = |reason| MethodError::Setting {
            flag: "target-bits",
            value: format!("{target:.3}"),
            reason,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        let budget = match target {
            FROM..=TO => (weights * target / 8.0) as u64,
            _ => return Err(refused("the average is from 2 to 8 bits a weight".to_owned())),
        };
        let segments = budget
            .checked_sub(shared_bytes)
            .and_then(|left| among(usual).segments(left).or_else(|| among(all).segments(left)));
        segments.ok_or_else(|| {
            let bits = (8 * (among(all).least_bytes() + shared_bytes)) as f64 / weights;
            refused(format!("the least for this model is {bits:.3} bits a weight"))
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

/// Two tables of 64 bytes: they fit vector registers.
const TABLE: GaussianTable = GaussianTable::Sum12;

fn codes() -> Result<TrellisCodes, MethodError> {
    let codes = TRELLIS_WIDTHS.map(|bits| TrellisCode::gaussian(bits.get(), TABLE));
    Ok(TrellisCodes::new(codes.into_iter().collect::<Result<_, _>>()?))
}

/// The longest transform that divides the down input.
fn down_points(config: &ModelConfig) -> Option<usize> {
    let longest = 1 << config.intermediate_size.trailing_zeros();
    Some(longest.min(MOST_POINTS)).filter(|&points| points >= FEWEST_POINTS)
}
