//! Rotary position embedding: frequencies and their scaling.

/// How the rotary frequencies are changed for long contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Divisor of every frequency.
        factor: f64,
    },
    /// LLaMA 3.1: long wavelengths divided by `factor`, short ones kept, a smooth passage between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_positions / low_freq_factor` are divided whole.
        low_freq_factor: f64,
        /// Wavelengths below `original_positions / high_freq_factor` stay.
        high_freq_factor: f64,
        /// Context length of the first training.
        original_positions: f64,
    },
    /// A divisor for each frequency, as GGUF files store it in `rope_freqs.weight`.
    Divisors(Vec<f32>),
}

/// The `head_dim / 2` angular frequencies (radians per position) of rotary embedding, scaled.
///
/// Source: `RoFormer` (arXiv 2104.09864), eq. 15; the `llama3` rule as published with LLaMA 3.1.
#[must_use]
pub fn inverse_frequencies(head_dim: usize, theta: f64, scaling: &RopeScaling) -> Vec<f64> {
    let base = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64));
    match scaling {
        RopeScaling::None => base.collect(),
        RopeScaling::Linear { factor } => base.map(|f| f / factor).collect(),
        RopeScaling::Divisors(divisors) => {
            base.zip(divisors).map(|(f, &d)| f / f64::from(d)).collect()
        }
        &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => {
            base.map(|f| {
                let wavelength = std::f64::consts::TAU / f;
                if wavelength < original_positions / high_freq_factor {
                    return f;
                }
                if wavelength > original_positions / low_freq_factor {
                    return f / factor;
                }
                let kept = (original_positions / wavelength - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                (1.0 - kept) * f / factor + kept * f
            })
            .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_frequency_is_one_and_they_fall() {
        let f = inverse_frequencies(64, 10_000.0, &RopeScaling::None);
        assert_eq!(f.len(), 32);
        assert!((f[0] - 1.0).abs() < 1e-15);
        assert!(f.windows(2).all(|w| w[1] < w[0]));
    }

    #[test]
    fn llama3_keeps_short_and_divides_long_wavelengths() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_positions: 8192.0,
        };
        let plain = inverse_frequencies(128, 500_000.0, &RopeScaling::None);
        let scaled = inverse_frequencies(128, 500_000.0, &scaling);
        assert!((scaled[0] - plain[0]).abs() < 1e-15);
        assert!((scaled[63] - plain[63] / 8.0).abs() < 1e-18);
        assert!(scaled.windows(2).all(|w| w[1] < w[0]));
    }
}
