//! Which kernel multiplies a packed linear, and on which grid.

use std::ops::Range;

use rosaq_pack::device::{DeviceKind, DeviceLinear};

/// Most rows of x that one launch multiplies.
pub const MAX_BATCH: usize = 128;
/// Threads of a CTA, in every kernel.
pub const THREADS: u32 = 256;

/// A launch of one linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearPlan {
    /// Name of the entry.
    pub kernel: &'static str,
    /// CTAs: tiles of rows, splits of K.
    pub grid: [u32; 2],
    /// Dynamic shared memory, in bytes.
    pub shared_bytes: u32,
    /// f32 values of the workspace for partial sums; zero where K is not split.
    pub n_partials: usize,
    /// Tickets that the launch needs, all zero before and after it.
    pub n_tickets: usize,
}

/// Most rows of x that one launch multiplies by this linear: 64 where there is a trellis.
#[must_use]
pub fn max_batch(linear: &DeviceLinear) -> usize {
    let is_trellis = |kind| matches!(kind, DeviceKind::Trellis(_));
    if linear.segments.iter().any(|segment| is_trellis(segment.kind)) { 64 } else { MAX_BATCH }
}

/// Cuts a batch into what one launch multiplies each.
pub fn cut_batch(linear: &DeviceLinear, batch: usize) -> impl Iterator<Item = Range<usize>> {
    let most = max_batch(linear);
    (0..batch).step_by(most).map(move |from| from..batch.min(from + most))
}

/// What an instance in `kernels/decode.cu` or `kernels/gemm.cu` is made for.
#[derive(Clone, Copy)]
struct Shape {
    kernel: &'static str,
    /// Rows of x.
    batch: usize,
    /// Rows of the weight of a CTA.
    rows: usize,
    /// Units along K of a step.
    units: usize,
    /// Slots of X.
    stages: usize,
    /// CTAs that a multiprocessor holds.
    resident: usize,
}

const SHAPES: [Shape; 4] = [
    Shape { kernel: "rosaq_decode", batch: 8, rows: 128, units: 2, stages: 4, resident: 2 },
    Shape { kernel: "rosaq_gemm_32", batch: 32, rows: 256, units: 1, stages: 4, resident: 1 },
    Shape { kernel: "rosaq_gemm_64", batch: 64, rows: 256, units: 1, stages: 4, resident: 1 },
    Shape { kernel: "rosaq_gemm_128", batch: 128, rows: 256, units: 1, stages: 3, resident: 1 },
];
/// Bytes of a unit's row of x: 128 f16 values.
const X_ROW_BYTES: usize = 256;

/// The launch for `batch` rows of x on a device with so many multiprocessors.
///
/// K is split so that every multiprocessor has work, but no further than its steps.
///
/// # Panics
/// If `batch` is 0 or more than [`max_batch`].
#[must_use]
pub fn linear_plan(linear: &DeviceLinear, batch: usize, n_multiprocessors: usize) -> LinearPlan {
    let most = max_batch(linear);
    assert!((1..=most).contains(&batch), "a batch of {batch}, expected 1 to {most}");
    let shape = SHAPES.iter().find(|shape| batch <= shape.batch).expect("the last shape fits");
    let tiles = linear.out_features.div_ceil(shape.rows);
    let n_steps: usize = linear.segments.iter().map(|s| s.n_units.div_ceil(shape.units)).sum();
    let splits = (shape.resident * n_multiprocessors / tiles).clamp(1, n_steps.max(1));
    plan_of(*shape, tiles, splits)
}

impl LinearPlan {
    /// The same launch with K split into `splits`.
    ///
    /// # Panics
    /// If `splits` is 0.
    #[must_use]
    pub fn with_splits(self, splits: usize) -> Self {
        assert!(splits > 0, "K in no parts");
        let shape =
            SHAPES.iter().find(|shape| shape.kernel == self.kernel).expect("a known kernel");
        plan_of(*shape, self.n_tickets, splits)
    }
}

fn plan_of(shape: Shape, tiles: usize, splits: usize) -> LinearPlan {
    let small = |number: usize| u32::try_from(number).expect("a grid fits 32 bits");
    LinearPlan {
        kernel: shape.kernel,
        grid: [small(tiles), small(splits)],
        shared_bytes: small(shape.stages * shape.units * shape.batch * X_ROW_BYTES),
        n_partials: if splits > 1 { tiles * splits * shape.rows * shape.batch } else { 0 },
        n_tickets: tiles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_what_the_kernels_say() {
        let bytes = SHAPES.map(|shape| plan_of(shape, 1, 1).shared_bytes / 1024);
        assert_eq!(bytes, [16, 32, 64, 96]);
    }

    #[test]
    fn large_batches_are_cut() {
        let of = |segments| DeviceLinear {
            out_features: 1,
            in_features: 1,
            segments,
            image: Vec::new(),
        };
        assert_eq!(cut_batch(&of(Vec::new()), 130).collect::<Vec<_>>(), [0..128, 128..130]);
        assert_eq!(cut_batch(&of(Vec::new()), 5).next(), Some(0..5));
    }

    #[test]
    fn workspaces_hold_every_split() {
        let plan = plan_of(SHAPES[0], 3, 1).with_splits(4);
        assert_eq!((plan.grid, plan.n_partials, plan.n_tickets), ([3, 4], 3 * 4 * 128 * 8, 3));
    }
}
