//! Parts of a recipe that can be left out, to see what each is worth.

use std::fmt;
use std::str::FromStr;

/// A part of `spectral`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Rotations of the residual and of the value heads.
    Rotation,
    /// Transforms before `down`.
    DownHadamard,
    /// Trellis codes; integers in groups stand in for them.
    Trellis,
    /// Weights of outputs by their Fisher information.
    OutputWeights,
    /// Widths by measured sensitivities; what is usual stands in for them.
    Sensitivity,
    /// Scales fitted anew once the codes stand.
    Refit,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 6] = [
        Self::Rotation,
        Self::DownHadamard,
        Self::Trellis,
        Self::OutputWeights,
        Self::Sensitivity,
        Self::Refit,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Rotation => "rotation",
            Self::DownHadamard => "down-hadamard",
            Self::Trellis => "trellis",
            Self::OutputWeights => "output-weights",
            Self::Sensitivity => "sensitivity",
            Self::Refit => "refit",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no part.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown part `{found}`; known: rotation, down-hadamard, trellis, output-weights, sensitivity, refit"
)]
pub struct UnknownPart {
    /// The word.
    pub found: String,
}

impl FromStr for Part {
    type Err = UnknownPart;

    fn from_str(s: &str) -> Result<Self, UnknownPart> {
        let unknown = || UnknownPart { found: s.to_owned() };
        Self::ALL.into_iter().find(|part| part.name() == s).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_name_that_messages_list() {
        let message = "x".parse::<Part>().unwrap_err().to_string();
        for part in Part::ALL {
            assert_eq!(part.to_string().parse::<Part>().unwrap(), part);
            assert!(message.contains(part.name()), "{message}");
        }
    }
}
