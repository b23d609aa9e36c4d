//! The rules by which salient channels are chosen, and their names.

use std::fmt;
use std::str::FromStr;

use crate::SaliencyError;

/// Which channels are salient, given one score per channel.
///
/// By name: `top`, `bottom`, `random`, `top-bottom`, `magnitude`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SaliencyRule {
    /// The largest scores; with eigenvalues as scores, the rule of ROSAQ (section 3.1.2).
    Top,
    /// The smallest scores (ROSAQ table 2).
    Bottom,
    /// One block of consecutive channels at a random place (ROSAQ table 2).
    Random {
        /// Seed of the `ChaCha8` generator that draws the place.
        seed: u64,
    },
    /// Half from the largest scores and half from the smallest, the odd one from the largest
    /// (ROSAQ table 2).
    TopBottom,
    /// The largest scores, which are mean magnitudes of the channels in the original basis: the
    /// rule of Mixed.
    Magnitude,
}

impl SaliencyRule {
    /// The same rule with another seed; rules without a random choice stay as they are.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        match self {
            Self::Random { .. } => Self::Random { seed },
            other => other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Bottom => "bottom",
            Self::Random { .. } => "random",
            Self::TopBottom => "top-bottom",
            Self::Magnitude => "magnitude",
        }
    }
}

impl fmt::Display for SaliencyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads a name; `random` gets seed 0, see [`SaliencyRule::with_seed`].
impl FromStr for SaliencyRule {
    type Err = SaliencyError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Top, Self::Bottom, Self::Random { seed: 0 }, Self::TopBottom, Self::Magnitude]
            .into_iter()
            .find(|rule| rule.name() == name)
            .ok_or_else(|| SaliencyError::UnknownRule { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["top", "bottom", "random", "top-bottom", "magnitude"] {
            let rule: SaliencyRule = name.parse().expect("a known name");
            assert_eq!(rule.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "largest".parse::<SaliencyRule>().expect_err("no such rule");
        assert_eq!(
            error.to_string(),
            "saliency rule `largest`: expected `top`, `bottom`, `random`, `top-bottom` or \
             `magnitude`"
        );
    }

    #[test]
    fn only_random_takes_a_seed() {
        assert_eq!(SaliencyRule::Random { seed: 0 }.with_seed(7), SaliencyRule::Random { seed: 7 });
        assert_eq!(SaliencyRule::Top.with_seed(7), SaliencyRule::Top);
    }
}
