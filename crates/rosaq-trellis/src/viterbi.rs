//! The shortest path through the trellis.
//!
//! All states with the same low `window - bits` bits have the same successors, so only the best of
//! each such class of `2^bits` is kept: a *front* has one metric for each of the `2^(window - bits)`
//! classes. From front to front every state costs two fused multiply-adds and a minimum. Fronts are
//! kept instead of back pointers; on the way back the best predecessor is found again among `2^bits`.

use pulp::{Arch, Simd, WithSimd};

/// How much a value `v` at one place costs: `square * v^2 + linear * v`, in units of table entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) square: f32,
    pub(crate) linear: f32,
}

/// Where a path begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// In any state.
    Free,
    /// In any state of one class, given by its low `window - bits` bits.
    Class(usize),
}

/// Values of a trellis in the orders that the search reads them in, and its memory.
#[derive(Clone, Debug)]
pub(crate) struct Viterbi {
    bits: u32,
    window: u32,
    arch: Arch,
    values: Vec<f32>,
    kernel_values: Vec<f32>,
    fronts: Vec<f32>,
}

/// Front metrics and values that are handled at a time: one vector of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Values between two subtractions of the least metric: metrics are then far below 2^24 times the
/// cost of one value, so that f32 resolves it.
const RENORMALIZE: usize = 8;

/// The arguments of one search, compiled once for each instruction set.
struct Search<'a> {
    viterbi: &'a mut Viterbi,
    terms: &'a [Term],
    start: Boundary,
    end: Boundary,
    states: &'a mut [u16],
}

impl WithSimd for Search<'_> {
    type Output = ();

    /// Everything below is inlined here, and so compiled with the instructions that `S` stands for.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.viterbi.bits {
            1 => self.run::<2>(),
            2 => self.run::<4>(),
            3 => self.run::<8>(),
            4 => self.run::<16>(),
            5 => self.run::<32>(),
            6 => self.run::<64>(),
            bits => unreachable!("{bits} bits were refused when the code was made"),
        }
    }
}

impl Search<'_> {
    #[inline(always)]
    fn run<const BRANCHES: usize>(self) {
        let Self { viterbi, terms, start, end, states } = self;
        viterbi.begin(start, terms.len());
        if viterbi.n_lanes() == LANES {
            viterbi.advance::<BRANCHES, LANES>(terms);
        } else {
            viterbi.advance::<BRANCHES, BRANCHES>(terms);
        }
        viterbi.go_back::<BRANCHES>(terms, end, states);
    }
}

impl Viterbi {
    /// A search in the trellis whose state `s` stands for `values[s]`; `2^window` values.
    pub(crate) fn new(bits: u8, window: u8, values: Vec<f32>) -> Self {
        let mut viterbi = Self {
            bits: bits.into(),
            window: window.into(),
            arch: Arch::new(),
            kernel_values: Vec::new(),
            values: Vec::new(),
            fronts: Vec::new(),
        };
        viterbi.set_values(values);
        viterbi
    }

    /// Puts other values in the place of those there.
    pub(crate) fn set_values(&mut self, values: Vec<f32>) {
        assert_eq!(
            values.len(),
            1 << self.window,
            "one value for each of 2^{} states",
            self.window
        );
        self.values = values;
        self.arrange_values();
    }

    #[cfg(test)]
    pub(crate) fn set_arch(&mut self, arch: Arch) {
        self.arch = arch;
    }

    /// Values that a window reaches over.
    pub(crate) fn reach(&self) -> usize {
        self.window.div_ceil(self.bits) as usize
    }

    /// The class of a state: its low `window - bits` bits.
    pub(crate) fn class(&self, state: u16) -> usize {
        usize::from(state) & (self.n_classes() - 1)
    }

    /// The states along the cheapest path between two boundaries, one for each term.
    pub(crate) fn search(
        &mut self,
        terms: &[Term],
        [start, end]: [Boundary; 2],
        states: &mut [u16],
    ) {
        assert_eq!(terms.len(), states.len(), "{} terms, {} states", terms.len(), states.len());
        self.arch.dispatch(Search { viterbi: self, terms, start, end, states });
    }

    fn n_classes(&self) -> usize {
        1 << (self.window - self.bits)
    }

    /// Classes that are handled together.
    fn n_lanes(&self) -> usize {
        // Windows too short for a vector occur in tests alone; 5 and 6 bits have more branches than a vector has lanes.
        if self.n_classes() < LANES { 1 << self.bits } else { LANES.max(1 << self.bits) }
    }

    /// Values in the order of the kernel: block of classes, oldest bits, class within the block.
    fn arrange_values(&mut self) {
        let (n_classes, n_lanes) = (self.n_classes(), self.n_lanes());
        self.kernel_values.clear();
        for block in (0..n_classes).step_by(n_lanes) {
            for oldest in 0..1 << self.bits {
                let first = oldest * n_classes + block;
                self.kernel_values.extend_from_slice(&self.values[first..first + n_lanes]);
            }
        }
    }

    /// Makes room for the fronts before each of `n` values and the one after the last; fills the first.
    fn begin(&mut self, start: Boundary, n: usize) {
        let n_classes = self.n_classes();
        let n_metrics = (n + 1) * n_classes;
        if self.fronts.len() < n_metrics {
            self.fronts.resize(n_metrics, 0.0);
        }
        let first = &mut self.fronts[..n_classes];
        match start {
            Boundary::Free => first.fill(0.0),
            Boundary::Class(class) => {
                first.fill(f32::INFINITY);
                first[class] = 0.0;
            }
        }
    }

    #[inline(always)]
    fn advance<const BRANCHES: usize, const WIDTH: usize>(&mut self, terms: &[Term]) {
        let n_classes = self.n_classes();
        for (place, &term) in terms.iter().enumerate() {
            let (before, after) =
                self.fronts[place * n_classes..][..2 * n_classes].split_at_mut(n_classes);
            next_front::<BRANCHES, WIDTH>(&self.kernel_values, term, before, after);
            if place % RENORMALIZE == RENORMALIZE - 1 {
                subtract_least::<WIDTH>(after);
            }
        }
    }

    #[inline(always)]
    fn go_back<const BRANCHES: usize>(&self, terms: &[Term], end: Boundary, states: &mut [u16]) {
        let n_classes = self.n_classes();
        let mut class = match end {
            Boundary::Class(class) => class,
            Boundary::Free => least_index(&self.fronts[terms.len() * n_classes..][..n_classes]),
        };
        for (place, (&term, state)) in terms.iter().zip(states).enumerate().rev() {
            let front = &self.fronts[place * n_classes..][..n_classes];
            let best = self.best_state::<BRANCHES>(term, front, class);
            *state = u16::try_from(best).expect("a state has at most 12 bits");
            class = best >> self.bits;
        }
    }

    /// The cheapest of the states of `class` behind `front`.
    #[inline(always)]
    fn best_state<const BRANCHES: usize>(&self, term: Term, front: &[f32], class: usize) -> usize {
        let n_classes = front.len();
        let mut metrics = [0.0; BRANCHES];
        for (oldest, metric) in metrics.iter_mut().enumerate() {
            let state = oldest * n_classes + class;
            *metric = add_cost(front[state >> self.bits], term, self.values[state]);
        }
        least_index(&metrics) * n_classes + class
    }
}

/// The metric of a state, from that of its predecessor's class.
#[inline(always)]
fn add_cost(metric: f32, term: Term, value: f32) -> f32 {
    value.mul_add(value.mul_add(term.square, term.linear), metric)
}

/// One step of the search: metrics of all classes after a value from those before it.
///
/// `values` as [`Viterbi::arrange_values`] orders them, in blocks of `WIDTH` classes.
#[inline(always)]
fn next_front<const BRANCHES: usize, const WIDTH: usize>(
    values: &[f32],
    term: Term,
    before: &[f32],
    after: &mut [f32],
) {
    // Predecessors of a block of classes, for each setting of the oldest bits.
    let n_predecessors = WIDTH / BRANCHES;
    let stride = before.len() / BRANCHES;
    let blocks = after.chunks_exact_mut(WIDTH).zip(values.chunks_exact(WIDTH * BRANCHES));
    for (block, (after, values)) in blocks.enumerate() {
        let mut least = [f32::INFINITY; WIDTH];
        for (oldest, values) in values.chunks_exact(WIDTH).enumerate() {
            let first = oldest * stride + block * n_predecessors;
            let before = &before[first..first + n_predecessors];
            for lane in 0..WIDTH {
                let metric = add_cost(before[lane / BRANCHES], term, values[lane]);
                // Unlike `f32::min` this is one instruction; metrics are never NaN.
                least[lane] = if metric < least[lane] { metric } else { least[lane] };
            }
        }
        after.copy_from_slice(&least);
    }
}

/// Moves all metrics so that the least is zero.
#[inline(always)]
fn subtract_least<const WIDTH: usize>(front: &mut [f32]) {
    let mut least = [f32::INFINITY; WIDTH];
    for chunk in front.chunks_exact(WIDTH) {
        for (least, &metric) in least.iter_mut().zip(chunk) {
            *least = if metric < *least { metric } else { *least };
        }
    }
    let least = least.iter().copied().fold(f32::INFINITY, f32::min);
    for metric in front {
        *metric -= least;
    }
}

/// Position of the first of the least metrics.
#[inline(always)]
fn least_index(metrics: &[f32]) -> usize {
    let mut best = 0;
    for (index, &metric) in metrics.iter().enumerate() {
        if metric < metrics[best] {
            best = index;
        }
    }
    best
}
