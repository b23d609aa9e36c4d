//! The list of methods.

use crate::awq::Awq;
use crate::fp16::Fp16;
use crate::gptq::Gptq;
use crate::mixed::Mixed;
use crate::rosaq::Rosaq;
use crate::rtn::Rtn;
use crate::spectral::Spectral;
use crate::spinquant::SpinQuant;
use crate::{Method, MethodError};

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
