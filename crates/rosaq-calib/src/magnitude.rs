//! Mean magnitude of channels.

/// Sum of |x| per channel, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMagnitude {
    pub(crate) tokens: u64,
    pub(crate) sums: Vec<f64>,
}

impl ChannelMagnitude {
    /// Nothing seen yet of `channels` channels.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self { tokens: 0, sums: vec![0.0; channels] }
    }

    /// Adds rows of `x`, row-major `[tokens, channels]`.
    pub fn accumulate(&mut self, x: &[f32]) {
        for row in x.chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(value.abs());
            }
            self.tokens += 1;
        }
    }

    /// Mean |x| of every channel; zero when nothing was seen.
    #[must_use]
    pub fn means(&self) -> Vec<f64> {
        let tokens = self.tokens.max(1) as f64;
        self.sums.iter().map(|sum| sum / tokens).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_absolute_values() {
        let mut magnitude = ChannelMagnitude::new(2);
        magnitude.accumulate(&[1.0, -4.0, -3.0, 0.0]);
        assert_eq!(magnitude.means(), [2.0, 2.0]);
        assert_eq!(ChannelMagnitude::new(1).means(), [0.0]);
    }
}
