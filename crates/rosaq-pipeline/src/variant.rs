//! What a comparison compares, and how its parts are called.

use rosaq_methods::{Method, MethodSettings, OutputRotation};
use rosaq_saliency::SaliencyRule;

/// One row to be: a method at a width.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The method's name.
    pub method: String,
    /// Its settings.
    pub settings: MethodSettings,
}

impl Variant {
    /// `method` with what of `settings` means something to it, so that settings meant for others make no second row.
    #[must_use]
    pub fn new(method: &dyn Method, settings: &MethodSettings) -> Self {
        Self { method: method.name().to_owned(), settings: settings.heeded_by(method) }
    }
}

/// A name that tells apart every combination of settings, so that comparisons can share a directory.
pub(crate) fn directory_name(variant: &Variant) -> String {
    let s = &variant.settings;
    let width = match s.target_bits {
        Some(target) => format!("{target}bits"),
        None => format!("int{}-g{}", s.bits.get(), s.group_size),
    };
    let mut parts = vec![format!("{}-{width}", variant.method)];
    parts.extend(differences(s).into_iter().map(|part| part.replace([' ', '='], "")));
    parts.join("-")
}

/// What was set beyond width and group size, in words.
pub(crate) fn differences(s: &MethodSettings) -> Vec<String> {
    let mut parts = Vec::new();
    if s.preset.is_some() {
        parts.push("paper".to_owned());
    }
    parts.extend(s.placement.map(|placement| placement.to_string()));
    parts.extend(s.salient.map(|k| format!("k{k}")));
    parts.extend(s.salient_per_head.map(|k| format!("h{k}")));
    if s.saliency != SaliencyRule::Top {
        parts.push(s.saliency.to_string());
    }
    match s.output_rotation {
        OutputRotation::HeadWise => {}
        OutputRotation::Global => parts.push("o global".to_owned()),
        OutputRotation::None => parts.push("o none".to_owned()),
    }
    if s.act_order {
        parts.push("actorder".to_owned());
    }
    parts.extend(s.scale_steps.map(|steps| format!("s{steps}")));
    parts.extend(s.learning_steps.map(|steps| format!("l{steps}")));
    parts.extend(s.without.iter().map(|part| format!("without {part}")));
    if s.seed != 0 {
        parts.push(format!("seed{}", s.seed));
    }
    parts
}
