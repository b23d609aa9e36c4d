//! Seeded numbers from a unit Gaussian.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `n` numbers from a unit Gaussian, by the polar method of Marsaglia; the same seed gives the same
/// numbers.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is intended")]
pub fn normal_samples(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut samples = Vec::with_capacity(n + 1);
    while samples.len() < n {
        let (x, y) = (signed_unit(&mut rng), signed_unit(&mut rng));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let radius = (-2.0 * square.ln() / square).sqrt();
            samples.extend([(x * radius) as f32, (y * radius) as f32]);
        }
    }
    samples.truncate(n);
    samples
}

/// A number from -1 to 1, of 53 random bits.
fn signed_unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
