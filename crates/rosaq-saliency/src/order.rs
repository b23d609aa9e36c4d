//! The order in which a layer's channels are stored: salient first.

use crate::SalientSet;

/// A permutation of a layer's channels with the salient ones in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOrder {
    permutation: Vec<usize>,
    n_salient: usize,
}

impl ChannelOrder {
    /// Salient channels in the order of `salient`, then all others by ascending index.
    #[must_use]
    pub fn salient_first(salient: &SalientSet) -> Self {
        let mask = salient.mask();
        let rest = (0..salient.n_channels()).filter(|&channel| !mask[channel]);
        let permutation = salient.channels().iter().copied().chain(rest).collect();
        Self { permutation, n_salient: salient.len() }
    }

    /// For every position the original channel that stands there.
    #[must_use]
    pub fn permutation(&self) -> &[usize] {
        &self.permutation
    }

    /// For every original channel the position where it stands.
    #[must_use]
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.permutation.len()];
        for (position, &channel) in self.permutation.iter().enumerate() {
            inverse[channel] = position;
        }
        inverse
    }

    /// Number of salient channels; they stand at the positions below.
    #[must_use]
    pub fn n_salient(&self) -> usize {
        self.n_salient
    }

    /// Whether every channel stands where it was, so that no order need be stored.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.permutation.is_sorted()
    }
}

impl From<&SalientSet> for ChannelOrder {
    fn from(salient: &SalientSet) -> Self {
        Self::salient_first(salient)
    }
}
