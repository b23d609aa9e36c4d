//! Products on a device, timed.

use std::time::Instant;

use rosaq_cuda::{CudaDevice, CudaError, CudaLinear, Rows, Workspace};
use serde::Serialize;

use crate::Case;

/// Bytes of weights that are multiplied one after the other, so that none is left in a cache: several times the largest.
const WEIGHT_BYTES: usize = 512 << 20;
/// Copies of the weights at most.
const MOST_COPIES: usize = 128;
/// Seconds that are measured, if one product takes less.
const SECONDS: f64 = 0.2;

/// How long a product took.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// What it is.
    pub name: String,
    /// Rows and columns of the weight.
    pub shape: [usize; 2],
    /// Rows of x.
    pub batch: usize,
    /// Seconds of a product, the mean of many that follow one another.
    pub seconds: f64,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// Operations: two a weight and row of x.
    pub operations: f64,
    /// `norm(found - expected) / norm(expected)`.
    pub relative_error: f64,
}

impl Timed {
    /// Multiplies `case` on a device, again and again.
    ///
    /// # Errors
    /// The device's.
    pub fn on(device: &CudaDevice, case: &Case) -> Result<Self, CudaError> {
        let weight_bytes = case.linear.image.len();
        let n_copies = (WEIGHT_BYTES / weight_bytes.max(1)).clamp(1, MOST_COPIES);
        let x = device.upload(&case.x)?;
        let rows = Rows { values: &x, stride: case.x_stride, batch: case.batch };
        let mut y = device.f32_rows(case.batch, case.linear.out_features)?;
        let mut workspace = Workspace::new(device)?;
        let first = CudaLinear::upload(device, case.linear.clone())?;
        // Compiles, finds memory, and is checked.
        device.multiply(&first, rows, y.as_output(), &mut workspace)?;
        let relative_error = case.relative_error(&y.to_vec()?);
        let start = Instant::now();
        device.multiply(&first, rows, y.as_output(), &mut workspace)?;
        device.synchronize()?;
        let once = start.elapsed().as_secs_f64();
        let rounds = (SECONDS / once.max(1e-9)).min(10_000.0).ceil();
        let mut copies = vec![first];
        // What is measured once alone needs no others.
        while copies.len() < n_copies && rounds > 1.0 {
            copies.push(CudaLinear::upload(device, case.linear.clone())?);
        }
        let start = Instant::now();
        let mut n = 0.0;
        for linear in copies.iter().cycle() {
            device.multiply(linear, rows, y.as_output(), &mut workspace)?;
            n += 1.0;
            if n >= rounds {
                break;
            }
        }
        device.synchronize()?;
        Ok(Self {
            name: case.name.clone(),
            shape: [case.linear.out_features, case.linear.in_features],
            batch: case.batch,
            seconds: start.elapsed().as_secs_f64() / n,
            weight_bytes,
            operations: 2.0 * case.n_weights() as f64 * case.batch as f64,
            relative_error,
        })
    }
}
