//! What a user may ask of a method.

use std::collections::BTreeSet;

use rosaq_pack::{Bits, PackError};
use rosaq_rotate::Placement;
use rosaq_saliency::SaliencyRule;

use crate::{Method, Part};

/// A setting beyond width and group size. Not every method has a use for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// [`MethodSettings::salient`].
    Salient,
    /// [`MethodSettings::salient_per_head`].
    SalientPerHead,
    /// [`MethodSettings::saliency`].
    Saliency,
    /// [`MethodSettings::placement`].
    Rotation,
    /// [`MethodSettings::output_rotation`].
    OutputRotation,
    /// [`MethodSettings::preset`].
    Preset,
    /// [`MethodSettings::act_order`].
    ActOrder,
    /// [`MethodSettings::scale_steps`].
    ScaleSteps,
    /// [`MethodSettings::learning_steps`].
    LearningSteps,
    /// [`MethodSettings::seed`].
    Seed,
    /// [`MethodSettings::target_bits`].
    TargetBits,
    /// [`MethodSettings::without`].
    Without,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 12] = [
        Self::Salient,
        Self::SalientPerHead,
        Self::Saliency,
        Self::Rotation,
        Self::OutputRotation,
        Self::Preset,
        Self::ActOrder,
        Self::ScaleSteps,
        Self::LearningSteps,
        Self::Seed,
        Self::TargetBits,
        Self::Without,
    ];

    /// Its flag on the command line, without dashes.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Salient => "salient",
            Self::SalientPerHead => "salient-per-head",
            Self::Saliency => "saliency",
            Self::Rotation => "rotation",
            Self::OutputRotation => "output-rotation",
            Self::Preset => "preset",
            Self::ActOrder => "act-order",
            Self::ScaleSteps => "scale-steps",
            Self::LearningSteps => "learning-steps",
            Self::Seed => "seed",
            Self::TargetBits => "target-bits",
            Self::Without => "without",
        }
    }
}

/// A named set of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Appendix G of the ROSAQ paper: 128 salient channels, 32 per head, layer-wise eigenbases.
    Paper,
}

/// What is rotated at the output projection: the ablation of the ROSAQ paper's table 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputRotation {
    /// A basis for each value head, absorbed: ROSAQ.
    HeadWise,
    /// One basis over all heads, applied at run time.
    Global,
    /// None: the salient channels are those of largest mean magnitude.
    None,
}

/// What the user asks for. `None` leaves the choice to the method.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodSettings {
    /// Code width.
    pub bits: Bits,
    /// Channels that share a scale.
    pub group_size: usize,
    /// Salient channels of linears that read the residual.
    pub salient: Option<usize>,
    /// Salient channels of each head at the output projection.
    pub salient_per_head: Option<usize>,
    /// How salient channels are chosen.
    pub saliency: SaliencyRule,
    /// Where the residual rotation is placed.
    pub placement: Option<Placement>,
    /// What is rotated at the output projection.
    pub output_rotation: OutputRotation,
    /// A named set of settings; single settings override it.
    pub preset: Option<Preset>,
    /// GPTQ rounds the channels of largest energy first, in groups fitted beforehand.
    pub act_order: bool,
    /// Ranges that GPTQ tries for each group; 0 takes the whole range.
    pub scale_steps: Option<usize>,
    /// Steps in which rotations are learned; 0 leaves them as they start.
    pub learning_steps: Option<usize>,
    /// Seed of random rotations.
    pub seed: u64,
    /// Stored bits a weight of the linears, everything counted; the code width then means nothing.
    pub target_bits: Option<f64>,
    /// Parts of the recipe that are left out.
    pub without: BTreeSet<Part>,
}

impl MethodSettings {
    /// Settings at `bits` in groups of `group_size`, everything else left to the method.
    ///
    /// # Errors
    /// If `bits` is none of 2, 3, 4, 5, 6, 8.
    pub fn new(bits: u8, group_size: usize) -> Result<Self, PackError> {
        Ok(Self::plain(Bits::of_grid(bits)?, group_size))
    }

    /// What was set away from the defaults.
    #[must_use]
    pub fn given(&self) -> Vec<Setting> {
        let (default, mut rest, mut given) =
            (Self::plain(self.bits, self.group_size), self.clone(), Vec::new());
        for setting in Setting::ALL {
            let before = rest.clone();
            rest.reset(setting, &default);
            if rest != before {
                given.push(setting);
            }
        }
        given
    }

    /// The same settings without those that mean nothing to `method`.
    #[must_use]
    pub fn heeded_by(&self, method: &dyn Method) -> Self {
        let (default, mut heeded) = (Self::plain(self.bits, self.group_size), self.clone());
        for setting in Setting::ALL.into_iter().filter(|s| !method.heeds().contains(s)) {
            heeded.reset(setting, &default);
        }
        heeded
    }

    /// Everything beyond width and group size left to the method.
    fn plain(bits: Bits, group_size: usize) -> Self {
        Self {
            bits,
            group_size,
            salient: None,
            salient_per_head: None,
            saliency: SaliencyRule::Top,
            placement: None,
            output_rotation: OutputRotation::HeadWise,
            preset: None,
            act_order: false,
            scale_steps: None,
            learning_steps: None,
            seed: 0,
            target_bits: None,
            without: BTreeSet::new(),
        }
    }

    fn reset(&mut self, setting: Setting, default: &Self) {
        match setting {
            Setting::Salient => self.salient = default.salient,
            Setting::SalientPerHead => self.salient_per_head = default.salient_per_head,
            Setting::Saliency => self.saliency = default.saliency,
            Setting::Rotation => self.placement = default.placement,
            Setting::OutputRotation => self.output_rotation = default.output_rotation,
            Setting::Preset => self.preset = default.preset,
            Setting::ActOrder => self.act_order = default.act_order,
            Setting::ScaleSteps => self.scale_steps = default.scale_steps,
            Setting::LearningSteps => self.learning_steps = default.learning_steps,
            Setting::Seed => self.seed = default.seed,
            Setting::TargetBits => self.target_bits = default.target_bits,
            Setting::Without => self.without.clone_from(&default.without),
        }
    }
}
