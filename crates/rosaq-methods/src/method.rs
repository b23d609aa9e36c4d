//! What a method is, and what a user may ask of it.

use rosaq_calib::Requirements;
use rosaq_model::ModelConfig;
use rosaq_pack::{Bits, PackError};
use rosaq_rotate::Placement;
use rosaq_saliency::SaliencyRule;

use crate::{MethodError, QuantPlan};

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
}

impl MethodSettings {
    /// Settings at `bits` in groups of `group_size`, everything else left to the method.
    ///
    /// # Errors
    /// If `bits` is none of 2, 3, 4, 5, 6, 8.
    pub fn new(bits: u8, group_size: usize) -> Result<Self, PackError> {
        Ok(Self {
            bits: Bits::try_from(bits)?,
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
        })
    }
}

/// A quantization method: a recipe, not a pipeline.
pub trait Method: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Whether it rotates the residual, so that a placement means something to it.
    fn rotates_residual(&self) -> bool {
        false
    }

    /// Which statistics the plan's execution needs.
    fn requirements(&self) -> Requirements;

    /// Decides rotation, segments and rounding for every linear of a model.
    ///
    /// # Errors
    /// Settings that the method or the model cannot follow.
    fn plan(
        &self,
        config: &ModelConfig,
        settings: &MethodSettings,
    ) -> Result<QuantPlan, MethodError>;
}

impl std::fmt::Debug for dyn Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Method({})", self.name())
    }
}
