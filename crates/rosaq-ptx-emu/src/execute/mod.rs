//! Blocks and their warps, which take turns.

mod accesses;
mod matrix;
mod registers;
mod shared;
mod warp;

use std::mem;
use std::sync::{Mutex, PoisonError};

use crate::counters::Counters;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Random};
use crate::memory::Memory;
use crate::program::Program;
use shared::Shared;
use warp::{Turn, Warp, WarpFault, World};

/// The most threads of a block, and bytes of its shared memory, on the devices that the kernels are
/// for.
const MAX_THREADS: u32 = 1024;
const MAX_SHARED: usize = 227 << 10;
/// The most instructions of warps of a launch: hours.
const MAX_INSTRUCTIONS: u64 = 1 << 36;
/// Longest turn of a warp under a seed.
const LONGEST_TURN: usize = 200;

/// Sizes of a launch.
pub(crate) struct Sizes {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) static_shared: u64,
    pub(crate) dynamic_shared: u64,
}

impl Sizes {
    pub(crate) const fn n_threads(&self) -> u32 {
        self.block[0] * self.block[1] * self.block[2]
    }

    const fn shared_bytes(&self) -> usize {
        (self.static_shared + self.dynamic_shared) as usize
    }
}

/// A block that runs.
#[derive(Debug)]
struct Block {
    /// Its place in the grid.
    at: [u32; 3],
    shared: Shared,
    warps: Vec<Warp>,
}

/// Blocks of a kernel that ran before, kept for the next launch: their registers are megabytes.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<Vec<Block>>);

impl Idle {
    /// Those that have the sizes of a launch.
    fn take(&self, sizes: &Sizes) -> Vec<Block> {
        let kept = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let n_warps = sizes.n_threads().div_ceil(32) as usize;
        let fits = |block: &Block| {
            block.warps.len() == n_warps && block.shared.n_bytes() == sizes.shared_bytes()
        };
        kept.into_iter().filter(fits).collect()
    }

    fn keep(&self, blocks: Vec<Block>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = blocks;
    }
}

/// Runs all blocks of a launch.
pub(crate) fn launch(
    program: &Program,
    kept: &Idle,
    launch: &Launch,
    memory: &mut Memory,
) -> Result<Counters, Fault> {
    let refused = |kind| fault(program, [0; 3], kind);
    let sizes = sizes(program, launch).map_err(|reason| refused(FaultKind::Launch(reason)))?;
    memory.begin_launch();
    let mut counters = Counters::default();
    let mut world = World { program, params: &launch.params, memory, counters: &mut counters };
    let mut random = Random(launch.seed);
    let mut waiting = order(launch, &mut random);
    let mut running: Vec<Block> = Vec::new();
    let mut idle = kept.take(&sizes);
    let mut left = MAX_INSTRUCTIONS;
    loop {
        while running.len() < launch.resident_blocks.max(1) {
            let Some(at) = waiting.pop() else { break };
            let mut block = idle.pop().unwrap_or_else(|| Block::new(program, &sizes));
            block.begin(program, &sizes, at);
            running.push(block);
        }
        if running.is_empty() {
            break;
        }
        let number = if launch.seed == 0 { 0 } else { random.below(running.len()) };
        let before = left;
        running[number].turn(&mut world, launch.seed, &mut random, &mut left)?;
        if left == 0 || before == 0 {
            return Err(refused(FaultKind::Endless(MAX_INSTRUCTIONS)));
        }
        if running[number].warps.iter().all(Warp::is_done) {
            idle.push(running.remove(number));
        }
    }
    kept.keep(idle);
    counters.unique_bytes = memory.unique_bytes();
    Ok(counters)
}

fn fault(program: &Program, block: [u32; 3], kind: FaultKind) -> Fault {
    Fault { kernel: program.name.clone(), line: 0, block, thread: None, kind }
}

/// Checks what a driver checks before a launch.
fn sizes(program: &Program, launch: &Launch) -> Result<Sizes, String> {
    let product = |sizes: [u32; 3]| sizes.iter().try_fold(1_u32, |n, &size| n.checked_mul(size));
    let threads = product(launch.block).filter(|n| (1..=MAX_THREADS).contains(n));
    let Some(threads) = threads else {
        return Err(format!("blocks of {:?} threads, at most {MAX_THREADS}", launch.block));
    };
    if product(launch.grid).is_none_or(|n| n == 0) {
        return Err(format!("a grid of {:?} blocks", launch.grid));
    }
    if program.most_threads.is_some_and(|most| threads > most) {
        return Err(format!("{threads} threads a block, and the kernel is made for fewer"));
    }
    if program.required_threads.is_some_and(|required| required != launch.block) {
        return Err(format!("blocks of {:?} threads, which the kernel is not for", launch.block));
    }
    if program.static_shared + launch.dynamic_shared > MAX_SHARED {
        let asked = program.static_shared + launch.dynamic_shared;
        return Err(format!("{asked} bytes of shared memory, at most {MAX_SHARED}"));
    }
    if launch.params.len() != program.param_bytes {
        let (found, wanted) = (launch.params.len(), program.param_bytes);
        return Err(format!("{found} bytes of parameters instead of {wanted}"));
    }
    Ok(Sizes {
        grid: launch.grid,
        block: launch.block,
        static_shared: program.static_shared as u64,
        dynamic_shared: launch.dynamic_shared as u64,
    })
}

/// All blocks, the first to run last.
fn order(launch: &Launch, random: &mut Random) -> Vec<[u32; 3]> {
    let [nx, ny, nz] = launch.grid;
    let mut blocks = Vec::new();
    for z in 0..nz {
        for y in 0..ny {
            blocks.extend((0..nx).map(|x| [x, y, z]));
        }
    }
    blocks.reverse();
    if launch.seed != 0 {
        for i in (1..blocks.len()).rev() {
            blocks.swap(i, random.below(i + 1));
        }
    }
    blocks
}

impl Block {
    fn new(program: &Program, sizes: &Sizes) -> Self {
        let n_warps = sizes.n_threads().div_ceil(32);
        Self {
            at: [0; 3],
            shared: Shared::new(sizes.shared_bytes(), program.shared_grain),
            warps: (0..n_warps).map(|number| Warp::new(program, number)).collect(),
        }
    }

    fn begin(&mut self, program: &Program, sizes: &Sizes, at: [u32; 3]) {
        self.at = at;
        self.shared.reset();
        for warp in &mut self.warps {
            warp.begin(program, sizes, at);
        }
    }

    /// One warp's turn, and what follows for the barrier that it reaches.
    fn turn(
        &mut self,
        world: &mut World<'_>,
        seed: u64,
        random: &mut Random,
        left: &mut u64,
    ) -> Result<(), Fault> {
        let can_run = |warp: &Warp| !warp.is_done() && warp.waits_at.is_none();
        let ready = self.warps.iter().filter(|warp| can_run(warp)).count();
        let chosen = if seed == 0 { 0 } else { random.below(ready.max(1)) };
        let longest = if seed == 0 { u64::MAX } else { 1 + random.below(LONGEST_TURN) as u64 };
        if let Some(warp) = self.warps.iter_mut().filter(|warp| can_run(warp)).nth(chosen) {
            let mut budget = longest.min(*left);
            let before = budget;
            let turn = warp.run(world, &mut self.shared, &mut budget);
            *left -= before - budget;
            if let Err(WarpFault { kind, line, lane }) = turn {
                let thread = lane.map(|lane| warp.number * 32 + lane);
                let kernel = world.program.name.clone();
                return Err(Fault { kernel, line, block: self.at, thread, kind });
            }
            if matches!(turn, Ok(Turn::Over)) {
                return Ok(());
            }
        }
        self.pass_barrier().map_err(|kind| fault(world.program, self.at, kind))
    }

    /// Lets the warps go on once all that have not exited wait.
    fn pass_barrier(&mut self) -> Result<(), FaultKind> {
        let mut at = None;
        for warp in self.warps.iter().filter(|warp| !warp.is_done()) {
            match (warp.waits_at, at) {
                (None, _) => return Ok(()),
                (Some(number), None) => at = Some(number),
                (Some(number), Some(other)) if number != other => {
                    return Err(FaultKind::Barriers(other, number));
                }
                _ => {}
            }
        }
        if at.is_some() {
            self.shared.pass_barrier();
            self.warps.iter_mut().for_each(|warp| warp.waits_at = None);
        }
        Ok(())
    }
}
