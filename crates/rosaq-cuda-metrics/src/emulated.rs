//! Launches of the committed PTX, as the host code plans them.

use std::sync::OnceLock;

use rosaq_cuda::{DECODE_PTX, GEMM_PTX, THREADS, cut_batch, linear_plan};
use rosaq_ptx_emu::{Counters, Fault, Launch, Memory, Module, Params};

use crate::Case;

/// What a product came to.
#[derive(Debug)]
pub struct Outcome {
    /// `[batch, out]`
    pub y: Vec<f32>,
    /// The launches left their tickets as they found them.
    pub tickets_are_zero: bool,
    counters: Counters,
}

impl Outcome {
    /// Wavefronts of an `ldmatrix`, in the mean.
    #[must_use]
    pub fn waves_of_ldmatrix(&self) -> f64 {
        self.counters.matrix_loads.per_request()
    }

    /// Wavefronts of a load from shared memory, in the mean.
    #[must_use]
    pub fn waves_of_shared_loads(&self) -> f64 {
        self.counters.shared_loads.per_request()
    }

    /// Bytes used of the sectors that loads of weights ask for.
    #[must_use]
    pub fn useful_part_of_weights(&self) -> f64 {
        let loads = &self.counters.streamed_loads;
        loads.bytes as f64 / (loads.sectors * 32) as f64
    }

    /// Bytes of sectors that were touched at all, the table of segments aside: what DRAM delivers.
    #[must_use]
    pub const fn unique_bytes(&self) -> u64 {
        self.counters.unique_bytes
    }

    /// Bytes of the sectors of all requests: what the second-level cache delivers.
    #[must_use]
    pub const fn requested_bytes(&self) -> u64 {
        self.counters.requested_bytes()
    }

    /// Instructions of warps.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.counters.all_instructions()
    }
}

/// Runs the product with blocks and warps in order.
///
/// # Errors
/// What a kernel did that it must not.
pub fn run(case: &Case) -> Result<Outcome, Fault> {
    run_seeded(case, 0)
}

/// Runs the product with blocks and warps taking turns at random.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// If the committed PTX is beyond what the emulator reads.
pub fn run_seeded(case: &Case, seed: u64) -> Result<Outcome, Fault> {
    static MODULES: OnceLock<[Module; 2]> = OnceLock::new();
    let parse = |text| Module::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let modules = MODULES.get_or_init(|| [parse(DECODE_PTX), parse(GEMM_PTX)]);
    launch(case, modules, seed)
}

/// Runs the product with another text in place of the decode kernel's.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// If the text is beyond what the emulator reads, or has no such kernel.
pub fn run_text(case: &Case, ptx: &str, seed: u64) -> Result<Outcome, Fault> {
    let module = Module::parse(ptx).unwrap_or_else(|error| panic!("{error}"));
    launch(case, &[module], seed)
}

fn launch(case: &Case, modules: &[Module], seed: u64) -> Result<Outcome, Fault> {
    let mut outcome =
        Outcome { y: Vec::new(), tickets_are_zero: true, counters: Counters::default() };
    for rows in cut_batch(&case.linear, case.batch) {
        let x = &case.x[rows.start * case.x_stride..rows.end * case.x_stride];
        launch_part(case, modules, (rows.len(), x), seed, &mut outcome)?;
    }
    Ok(outcome)
}

fn launch_part(
    case: &Case,
    modules: &[Module],
    (batch, x): (usize, &[half::f16]),
    seed: u64,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let linear = &case.linear;
    let plan = linear_plan(linear, batch, 1).with_splits(case.splits);
    let kernel = modules.iter().find_map(|module| module.kernel(plan.kernel));
    let kernel = kernel.expect("the kernel of the plan");
    let mut memory = Memory::default();
    let mut allocate = |bytes: usize| memory.allocate(bytes).expect("room");
    let y_bytes = batch * linear.out_features * if case.y_is_f32 { 4 } else { 2 };
    let (image, x_at, y) = (allocate(linear.image.len()), allocate(2 * x.len()), allocate(y_bytes));
    let (partials, tickets) = (allocate(4 * plan.n_partials), allocate(4 * plan.n_tickets));
    let x: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    for (at, bytes) in [
        (image, linear.image.as_slice()),
        (x_at, x.as_slice()),
        (tickets, vec![0; 4 * plan.n_tickets].as_slice()),
    ] {
        memory.write(at, bytes).expect("it was allocated");
    }
    let word = |n: usize| u32::try_from(n).expect("a small number");
    let params = Params::new()
        .address(image)
        .word(word(linear.segments.len()))
        .word(word(linear.out_features))
        .word(word(linear.in_features))
        .address(x_at)
        .word(word(case.x_stride))
        .word(word(batch))
        .address(y)
        .word(word(linear.out_features))
        .word(case.y_is_f32.into())
        .address(partials)
        .address(tickets);
    let launch = Launch {
        dynamic_shared: plan.shared_bytes as usize,
        params: params.into_bytes(),
        seed,
        ..Launch::new([plan.grid[0], plan.grid[1], 1], [THREADS, 1, 1])
    };
    let mut counters = kernel.launch(&launch, &mut memory)?;
    // The table of segments is no weight.
    let table = image..image + 64 * linear.segments.len() as u64;
    counters.unique_bytes -= memory.touched_bytes(table);
    outcome.counters.add(&counters);
    let mut found = vec![0; y_bytes];
    memory.read(y, &mut found).expect("it was allocated");
    outcome.y.extend(values(&found, case.y_is_f32));
    let mut left = vec![1; 4 * plan.n_tickets];
    memory.read(tickets, &mut left).expect("it was allocated");
    outcome.tickets_are_zero &= left.iter().all(|&byte| byte == 0);
    Ok(())
}

fn values(bytes: &[u8], are_f32: bool) -> Vec<f32> {
    if are_f32 {
        let quads = bytes.chunks_exact(4);
        return quads.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    }
    bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}
