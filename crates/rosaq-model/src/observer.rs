//! How the runtime hands activations to whoever collects statistics.

use crate::ActivationSite;

/// Receives the activations of one block while a forward pass runs.
pub trait ActivationObserver {
    /// Sees `x`, row-major `[tokens, channels]` f32, at `site`. Called once per batch of tokens, in token order.
    fn observe(&mut self, site: ActivationSite, tokens: usize, x: &[f32]);

    /// Sees the residual stream behind the block, row-major `[tokens, hidden_size]`, of the tokens whose sites were observed
    /// last.
    fn residual(&mut self, _tokens: usize, _hidden: &[f32]) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct IgnoreActivations;

impl ActivationObserver for IgnoreActivations {
    fn observe(&mut self, _site: ActivationSite, _tokens: usize, _x: &[f32]) {}
}
