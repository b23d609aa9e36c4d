//! The least time of a product by a device's peaks.

use serde::Serialize;

use crate::Counts;

/// Peaks from a data sheet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Device {
    /// As it is sold.
    pub name: &'static str,
    /// DRAM, GB/s.
    pub gb_per_s: f64,
    /// Multiprocessors, each of which issues four instructions of a warp in a cycle.
    pub n_multiprocessors: u32,
    /// Clock under load, GHz.
    pub ghz: f64,
    /// Tensor cores, f16 with sums in f32, dense, TFLOP/s. On the H100 `mma.sync` reaches about 62 % of what stands here.
    pub tensor_tflops: f64,
}

/// The devices that predictions are made for.
pub const DEVICES: [Device; 4] = [
    Device {
        name: "RTX A6000",
        gb_per_s: 768.0,
        n_multiprocessors: 84,
        ghz: 1.8,
        tensor_tflops: 154.8,
    },
    Device {
        name: "A100 40 GB",
        gb_per_s: 1555.0,
        n_multiprocessors: 108,
        ghz: 1.41,
        tensor_tflops: 312.0,
    },
    Device {
        name: "RTX 4090",
        gb_per_s: 1008.0,
        n_multiprocessors: 128,
        ghz: 2.52,
        tensor_tflops: 165.2,
    },
    Device {
        name: "H100 SXM",
        gb_per_s: 3350.0,
        n_multiprocessors: 132,
        ghz: 1.755,
        tensor_tflops: 989.4,
    },
];

/// What takes longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Bytes from DRAM.
    Memory,
    /// Instructions issued.
    Instructions,
    /// Products on tensor cores.
    Tensor,
}

/// The least time of a product, if all of the device works at its peak. A prediction, not a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Which device.
    pub device: &'static str,
    /// Seconds.
    pub seconds: f64,
    /// What takes that long.
    pub bound: Bound,
    /// The same bound of a product with f16 weights, read once and multiplied with no instruction besides, over `seconds`.
    pub speedup_over_f16: f64,
}

/// The bound of `counts` on `device`.
#[must_use]
pub fn predict(device: &Device, counts: &Counts) -> Prediction {
    let weights = counts.n_weights as f64;
    let instructions_per_s = f64::from(device.n_multiprocessors) * 4.0 * 32.0 * device.ghz * 1e9;
    let memory = |bytes: f64| bytes / (device.gb_per_s * 1e9);
    // Tensor cores multiply eight rows of x at least.
    let rows = counts.batch.next_multiple_of(8) as f64;
    let tensor = 2.0 * weights * rows / (device.tensor_tflops * 1e12);
    let (seconds, bound) = [
        (memory(counts.unique_bytes as f64), Bound::Memory),
        (weights * counts.instructions_per_weight / instructions_per_s, Bound::Instructions),
        (tensor, Bound::Tensor),
    ]
    .into_iter()
    .fold((0.0, Bound::Memory), |most, one| if one.0 > most.0 { one } else { most });
    let f16 = memory(2.0 * weights).max(tensor);
    Prediction { device: device.name, seconds, bound, speedup_over_f16: f16 / seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A weight takes 17/32 of a byte.
    fn counts(batch: usize, instructions_per_weight: f64) -> Counts {
        let n_weights = 1 << 24;
        Counts {
            name: String::new(),
            n_weights,
            batch,
            minimal_bytes: 0,
            unique_bytes: 17 << 19,
            requested_bytes: 0,
            useful_part_of_weights: 1.0,
            waves_of_ldmatrix: 4.0,
            instructions_per_weight,
            relative_error: 0.0,
        }
    }

    #[test]
    fn the_slowest_part_decides() {
        let [a6000, ..] = DEVICES;
        // 17/32 of a byte: 1.45e12 weights a second.
        let memory = predict(&a6000, &counts(1, 2.0));
        assert_eq!(memory.bound, Bound::Memory);
        assert!((memory.seconds * 1.4457e12 / f64::from(1 << 24) - 1.0).abs() < 1e-3);
        assert!((memory.speedup_over_f16 - 2.0 / 0.531_25).abs() < 1e-6);
        assert_eq!(predict(&a6000, &counts(1, 20.0)).bound, Bound::Instructions);
        let tensor = predict(&a6000, &counts(512, 2.0));
        assert_eq!(tensor.bound, Bound::Tensor);
        assert!((tensor.speedup_over_f16 - 1.0).abs() < 1e-9);
    }
}
