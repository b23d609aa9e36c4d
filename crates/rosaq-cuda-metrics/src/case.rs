//! Linears with random weights, inputs for them, and what the product should be.

use std::sync::Arc;

use half::f16;
use rosaq_pack::device::{DeviceLinear, DeviceSegment};
use rosaq_pack::{Bits, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentValues};

/// Numbers that follow from a seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(bound)).expect("below a u32")
    }

    /// A number from -1 to 1.
    pub fn unit(&mut self) -> f32 {
        self.below(20_001) as f32 / 10_000.0 - 1.0
    }
}

/// A product to be computed.
#[derive(Debug)]
pub struct Case {
    /// What it is, in words.
    pub name: String,
    /// The weights, `[out, in]`.
    pub linear: DeviceLinear,
    /// Rows of x.
    pub batch: usize,
    /// Parts that K is split into.
    pub splits: usize,
    /// Sums go to y as they are, not rounded to f16.
    pub y_is_f32: bool,
    /// `[batch, x_stride]`; NaN beyond the channels, which kernels must not use.
    pub x: Vec<f16>,
    /// Values from a row of x to the next.
    pub x_stride: usize,
    /// `[batch, out]` in f64.
    pub expected: Vec<f64>,
}

impl Case {
    /// A linear of these segments, with everything in it at random.
    ///
    /// # Panics
    /// If no kernel reads such segments.
    #[must_use]
    pub fn new(out_features: usize, segments: &[Segment], batch: usize) -> Self {
        let mut random = Random::new(out_features as u64 * 131 + batch as u64);
        let linear = linear(out_features, segments, &mut random);
        let in_features = linear.in_features;
        let x_stride = in_features.next_multiple_of(8);
        let x: Vec<f16> = (0..batch * x_stride)
            .map(|at| if at % x_stride < in_features { random.unit() } else { f32::NAN })
            .map(f16::from_f32)
            .collect();
        let expected = product(&linear, &x, x_stride);
        let kinds: Vec<String> = segments.iter().map(name_of).collect();
        Self {
            name: format!("{out_features} x [{}], batch {batch}", kinds.join(", ")),
            linear: DeviceLinear::new(&linear).expect("a linear that kernels read"),
            batch,
            splits: 1,
            y_is_f32: false,
            x,
            x_stride,
            expected,
        }
    }

    /// The same with K split into `splits`.
    #[must_use]
    pub fn splits(mut self, splits: usize) -> Self {
        self.splits = splits;
        self.name += &format!(", {splits} splits");
        self
    }

    /// The same with results of f32.
    #[must_use]
    pub fn with_f32_sums(mut self) -> Self {
        self.y_is_f32 = true;
        self
    }

    /// Weights.
    #[must_use]
    pub fn n_weights(&self) -> usize {
        self.linear.out_features * self.linear.in_features
    }

    /// Bytes of x, y and the image without its table of segments, each once.
    #[must_use]
    pub fn minimal_bytes(&self) -> usize {
        let table = self.linear.segments.len() * DeviceSegment::BYTES;
        let y = self.expected.len() * if self.y_is_f32 { 4 } else { 2 };
        self.linear.image.len() - table + 2 * self.x.len() + y
    }

    /// `norm(found - expected) / norm(expected)`.
    ///
    /// # Panics
    /// If `found` is not `[batch, out]`.
    #[must_use]
    pub fn relative_error(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.expected.len(), "{}", self.name);
        let pairs = || found.iter().zip(&self.expected);
        let error: f64 = pairs().map(|(&f, e)| (f64::from(f) - e).powi(2)).sum();
        let energy: f64 = pairs().map(|(_, e)| e.powi(2)).sum();
        (error / energy).sqrt()
    }
}

fn name_of(segment: &Segment) -> String {
    let Segment { channels, kind, group_size } = *segment;
    match kind {
        SegmentKind::F16 => format!("{channels} f16"),
        SegmentKind::Int { bits, symmetric: true } => format!("{channels} sym{bits}/{group_size}"),
        SegmentKind::Int { bits, .. } => format!("{channels} int{bits}/{group_size}"),
        SegmentKind::Codebook { bits, .. } => format!("{channels} book{bits}/{group_size}"),
        SegmentKind::Trellis { bits, .. } => format!("{channels} trellis{bits}/{group_size}"),
        _ => "unknown".to_owned(),
    }
}

/// Tables by number: codebooks of 2, 3 and 4 bits, then trellises of two added tables, of 8 bits, of 12.
const TABLES: [usize; 6] = [4, 8, 16, 128, 256, 4096];

/// A codebook segment into the table of its width.
#[must_use]
pub fn codebook(channels: usize, bits: Bits, group_size: usize) -> Segment {
    Segment::codebook(channels, bits, u32::from(bits.get()) - 2, group_size)
}

/// A trellis segment as the method `spectral` makes it: a window of 12, two added tables.
///
/// # Panics
/// If there is no such width.
#[must_use]
pub fn trellis(channels: usize, bits: u8, group_size: usize) -> Segment {
    let bits = Bits::try_from(bits).expect("a legal width");
    Segment::trellis(channels, bits, 12, 3, group_size)
}

fn linear(out_features: usize, segments: &[Segment], random: &mut Random) -> PackedLinear {
    let tables = TABLES.map(|n| (0..n).map(|_| f16::from_f32(random.unit())).collect());
    let mut builder = PackedLinearBuilder::new(out_features).codebooks(Arc::new(tables.into()));
    for segment in segments {
        let n = out_features * segment.channels;
        let n_groups = out_features * segment.n_groups();
        let values = match segment.kind.bits() {
            None => SegmentValues::F16((0..n).map(|_| f16::from_f32(random.unit())).collect()),
            Some(bits) => {
                let max = u32::from(bits.max_code()) + 1;
                let mut codes =
                    |n| (0..n).map(|_| u8::try_from(random.below(max)).expect("a code")).collect();
                let zeros = codes(if segment.kind.has_zeros() { n_groups } else { 0 });
                let codes = codes(n);
                let scale = |_| f16::from_f32(0.1 * random.unit());
                SegmentValues::Codes { codes, scales: (0..n_groups).map(scale).collect(), zeros }
            }
        };
        builder = builder.segment(*segment, values);
    }
    builder.build().expect("a legal linear")
}

/// `x w^T` in f64, from the dequantized weight.
fn product(linear: &PackedLinear, x: &[f16], x_stride: usize) -> Vec<f64> {
    let n = linear.in_features;
    let mut weight = vec![0.0; linear.out_features * n];
    linear.dequantize_rows_into(0..linear.out_features, &mut weight);
    let dot =
        |x: &[f64], w: &[f32]| -> f64 { x.iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum() };
    let products = |x: &[f16]| -> Vec<f64> {
        let x: Vec<f64> = x[..n].iter().map(|x| x.to_f64()).collect();
        weight.chunks_exact(n).map(|w| dot(&x, w)).collect()
    };
    x.chunks_exact(x_stride).flat_map(products).collect()
}
