//! The list of methods, and a plan by any of them.

use rosaq_model::ModelConfig;

use crate::awq::Awq;
use crate::fp16::Fp16;
use crate::gptq::Gptq;
use crate::mixed::Mixed;
use crate::rosaq::Rosaq;
use crate::rtn::Rtn;
use crate::spectral::Spectral;
use crate::spinquant::SpinQuant;
use crate::{Method, MethodError, MethodSettings, QuantPlan, Setting};

/// Every method, in the order of tables.
pub const METHODS: &[&dyn Method] =
    &[&Fp16, &Rtn, &Gptq, &Awq, &SpinQuant, &Mixed, &Rosaq, &Spectral];

/// The method called `name`.
///
/// # Errors
/// [`MethodError::UnknownMethod`] with the list of names.
pub fn find(name: &str) -> Result<&'static dyn Method, MethodError> {
    let unknown = || MethodError::UnknownMethod { name: name.to_owned(), known: known_methods() };
    METHODS.iter().copied().find(|m| m.name() == name).ok_or_else(unknown)
}

/// All names, for messages.
#[must_use]
pub fn known_methods() -> String {
    METHODS.iter().map(|m| m.name()).collect::<Vec<_>>().join(", ")
}

/// The names of those to whom `setting` means something, for messages.
#[must_use]
pub fn heeding(setting: Setting) -> String {
    let heed = METHODS.iter().filter(|m| m.heeds().contains(&setting));
    heed.map(|m| m.name()).collect::<Vec<_>>().join(", ")
}

/// The first of the given settings that means nothing to any of `methods`. A seed never counts as such: it does no harm where
/// nothing is random.
#[must_use]
pub fn unheeded(settings: &MethodSettings, methods: &[&dyn Method]) -> Option<Setting> {
    let heeded = |setting: &Setting| methods.iter().any(|method| method.heeds().contains(setting));
    let given = settings.given().into_iter();
    given.filter(|&setting| setting != Setting::Seed).find(|setting| !heeded(setting))
}

/// What `method` does at `settings`.
///
/// # Errors
/// A setting that means nothing to the method ([`unheeded`]), or that the method or the model cannot follow.
pub fn plan(
    method: &dyn Method,
    config: &ModelConfig,
    settings: &MethodSettings,
) -> Result<QuantPlan, MethodError> {
    if let Some(setting) = unheeded(settings, &[method]) {
        return Err(MethodError::Unheeded {
            flag: setting.flag(),
            method: method.name(),
            heeding: heeding(setting),
        });
    }
    method.plan(config, settings)
}
