//! A model family as a table of data.

use std::path::Path;

use crate::{FAMILIES, ModelError, Role};

/// Tensor name patterns by role; `{}` stands for the layer index, and `.weight` or `.bias` is part of the pattern's use.
///
/// A pattern names the module; [`Self::weight`] and [`Self::bias`] append the parameter.
#[derive(Debug)]
pub struct NameTable {
    /// Pairs of role and module pattern. A role that a family lacks is not listed.
    pub modules: &'static [(Role, &'static str)],
}

impl NameTable {
    fn module(&self, role: Role, layer: usize) -> Option<String> {
        let (_, pattern) = self.modules.iter().find(|(r, _)| *r == role)?;
        Some(pattern.replace("{}", &layer.to_string()))
    }

    /// Name of the weight tensor of `role` in `layer` (ignored by roles outside the blocks).
    #[must_use]
    pub fn weight(&self, role: Role, layer: usize) -> Option<String> {
        self.module(role, layer).map(|m| m + ".weight")
    }

    /// Name of the bias tensor of `role` in `layer`.
    #[must_use]
    pub fn bias(&self, role: Role, layer: usize) -> Option<String> {
        self.module(role, layer).map(|m| m + ".bias")
    }
}

/// One family of architectures: everything that differs between families, as data.
#[derive(Debug)]
pub struct Family {
    /// Name in messages and reports; also Hugging Face's `model_type`.
    pub name: &'static str,
    /// Hugging Face's architecture string.
    pub architecture: &'static str,
    /// Value of `general.architecture` in GGUF files, where the family has its own.
    pub gguf_architecture: Option<&'static str>,
    /// Names in Hugging Face checkpoints.
    pub hf_names: &'static NameTable,
    /// Names in GGUF files.
    pub gguf_names: &'static NameTable,
    /// Whether GGUF files hold query and key rows in interleaved rotary order, to be undone on load.
    pub gguf_interleaved_rope: bool,
    /// Linears that always carry a bias.
    pub biased: &'static [Role],
    /// Whether `attention_bias` (q, k, v, o) in the configuration is honored.
    pub reads_attention_bias: bool,
    /// Whether `mlp_bias` (gate, up, down) in the configuration is honored.
    pub reads_mlp_bias: bool,
    /// Whether queries and keys pass a per-head `RMSNorm` before the rotary embedding.
    pub has_qk_norm: bool,
    /// Whether `sliding_window` in the configuration limits every layer's attention.
    pub reads_sliding_window: bool,
    /// `tie_word_embeddings` when the configuration is silent (the library's default for the family).
    pub tied_by_default: bool,
}

/// The family whose Hugging Face architecture string is `architecture`; `path` serves messages.
///
/// # Errors
/// [`ModelError::UnknownArchitecture`], which lists what is known.
pub fn find_architecture(architecture: &str, path: &Path) -> Result<&'static Family, ModelError> {
    FAMILIES
        .iter()
        .find(|f| f.architecture == architecture)
        .copied()
        .ok_or_else(|| unknown(architecture, path))
}

/// The family of a GGUF file's `general.architecture`; `path` serves messages.
///
/// # Errors
/// [`ModelError::UnknownArchitecture`], which lists what is known.
pub fn find_gguf_architecture(
    architecture: &str,
    path: &Path,
) -> Result<&'static Family, ModelError> {
    FAMILIES
        .iter()
        .find(|f| f.gguf_architecture == Some(architecture))
        .copied()
        .ok_or_else(|| unknown(architecture, path))
}

/// Names of all families, for messages.
#[must_use]
pub fn known_families() -> String {
    let known: Vec<_> =
        FAMILIES.iter().map(|f| format!("{} ({})", f.name, f.architecture)).collect();
    known.join(", ")
}

fn unknown(architecture: &str, path: &Path) -> ModelError {
    ModelError::UnknownArchitecture {
        path: path.to_owned(),
        found: architecture.to_owned(),
        known: known_families(),
    }
}
