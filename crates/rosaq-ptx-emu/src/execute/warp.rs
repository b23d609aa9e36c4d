//! A warp: its registers, where its lanes are, and one instruction after the other.

use std::collections::VecDeque;

use super::Sizes;
use super::shared::Shared;
use crate::counters::Counters;
use crate::fault::FaultKind;
use crate::memory::Memory;
use crate::number::Col;
use crate::program::{Guard, Initial, Inst, Op, Program};

/// All lanes.
pub(super) const ALL: u32 = u32::MAX;

/// Lanes at one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fragment {
    pc: u32,
    lanes: u32,
}

/// An asynchronous copy that has not landed.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) to: u64,
    pub(super) bytes: [u8; 16],
}

/// Why a warp's turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Over,
    AtBarrier,
    Exited,
}

/// A fault, the line that is to blame, and its first lane.
pub(super) struct WarpFault {
    pub(super) kind: FaultKind,
    pub(super) line: u32,
    pub(super) lane: Option<u32>,
}

/// What all instructions may need besides their warp's registers.
pub(super) struct World<'a> {
    pub(super) program: &'a Program,
    pub(super) params: &'a [u8],
    pub(super) memory: &'a mut Memory,
    pub(super) counters: &'a mut Counters,
}

#[derive(Debug)]
pub(super) struct Warp {
    pub(super) number: u32,
    pub(super) regs: Vec<Col>,
    pub(super) preds: Vec<u32>,
    /// The last one has the smallest program counter, and runs: lanes that have left a branch
    /// behind wait until the others are there too.
    fragments: Vec<Fragment>,
    /// Lanes that have not exited.
    pub(super) live: u32,
    pub(super) waits_at: Option<u8>,
    /// Copies not committed yet, and committed groups, the oldest first.
    pub(super) open: Vec<Copy>,
    pub(super) groups: VecDeque<Vec<Copy>>,
    /// The lane that an instruction failed in.
    pub(super) lane: Option<u32>,
}

impl Warp {
    pub(super) fn new(program: &Program, number: u32) -> Self {
        Self {
            number,
            regs: vec![[0; 32]; program.n_slots.max(1)],
            preds: vec![0; program.n_preds],
            fragments: Vec::new(),
            live: 0,
            waits_at: None,
            open: Vec::new(),
            groups: VecDeque::new(),
            lane: None,
        }
    }

    /// Puts the warp before the first instruction of a block.
    pub(super) fn begin(&mut self, program: &Program, sizes: &Sizes, block: [u32; 3]) {
        let n_threads = sizes.n_threads();
        let first = self.number * 32;
        self.live = if n_threads - first >= 32 { ALL } else { (1 << (n_threads - first)) - 1 };
        self.fragments = vec![Fragment { pc: 0, lanes: self.live }];
        self.waits_at = None;
        self.open.clear();
        self.groups.clear();
        self.preds[crate::program::ALWAYS as usize] = ALL;
        for &(slot, initial) in &program.initial {
            let number = self.number;
            let value = |lane| initial_value(initial, sizes, block, (number, lane));
            self.regs[slot as usize] = std::array::from_fn(|lane| value(lane as u32));
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.live == 0
    }

    /// Runs until the turn is over, after `budget` instructions at the latest.
    pub(super) fn run(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        budget: &mut u64,
    ) -> Result<Turn, WarpFault> {
        while let Some(&Fragment { pc, lanes }) = self.fragments.last() {
            if *budget == 0 {
                return Ok(Turn::Over);
            }
            *budget -= 1;
            let program = world.program;
            let Some(inst) = program.code.get(pc as usize) else {
                self.fragments.pop();
                continue;
            };
            world.counters.by_class[inst.class as usize] += 1;
            let mask = self.guard(inst.guard) & lanes;
            let turn = self
                .step(world, shared, inst, (pc, lanes, mask))
                .map_err(|kind| WarpFault { kind, line: inst.line, lane: self.lane })?;
            if turn == Some(Turn::AtBarrier) {
                return Ok(Turn::AtBarrier);
            }
        }
        self.live = 0;
        Ok(Turn::Exited)
    }

    fn step(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        inst: &Inst,
        (pc, lanes, mask): (u32, u32, u32),
    ) -> Result<Option<Turn>, FaultKind> {
        self.lane = None;
        match inst.op {
            Op::Branch(target) => {
                self.go(&[(target, mask), (pc + 1, lanes & !mask)]);
                return Ok(None);
            }
            Op::Exit => {
                self.live &= !mask;
                self.go(&[(pc + 1, lanes & !mask)]);
                return Ok(None);
            }
            Op::Barrier(number) if mask != 0 => {
                if mask != self.live {
                    let (instruction, live) = ("bar.sync", self.live);
                    return Err(FaultKind::Divergent { instruction, lanes: mask, live });
                }
                self.waits_at = Some(number);
                self.go(&[(pc + 1, lanes)]);
                return Ok(Some(Turn::AtBarrier));
            }
            _ if mask == 0 => {}
            op => self.execute(world, shared, (op, inst), mask)?,
        }
        if let [only] = self.fragments.as_mut_slice() {
            only.pc = pc + 1;
        } else {
            self.go(&[(pc + 1, lanes)]);
        }
        Ok(None)
    }

    /// Moves the running lanes on, and joins lanes that meet.
    fn go(&mut self, to: &[(u32, u32)]) {
        self.fragments.pop();
        for &(pc, lanes) in to {
            if lanes == 0 {
                continue;
            }
            let at = self.fragments.partition_point(|fragment| fragment.pc > pc);
            match self.fragments.get_mut(at) {
                Some(there) if there.pc == pc => there.lanes |= lanes,
                _ => self.fragments.insert(at, Fragment { pc, lanes }),
            }
        }
    }

    pub(super) fn guard(&self, guard: Guard) -> u32 {
        let lanes = self.preds[guard.pred as usize];
        if guard.is_negated { !lanes } else { lanes }
    }

    /// Refuses an instruction of whole warps unless all 32 lanes execute it.
    pub(super) fn whole(&self, instruction: &'static str, lanes: u32) -> Result<(), FaultKind> {
        if lanes == ALL {
            return Ok(());
        }
        Err(FaultKind::Divergent { instruction, lanes, live: self.live })
    }

    /// Writes a register in the lanes of `mask`.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, value: &Col, mask: u32) {
        let register = &mut self.regs[slot as usize];
        if mask == ALL {
            *register = *value;
            return;
        }
        for lane in 0..32 {
            if mask >> lane & 1 == 1 {
                register[lane] = value[lane];
            }
        }
    }

    pub(super) fn set_pred(&mut self, slot: u32, lanes: u32, mask: u32) {
        let pred = &mut self.preds[slot as usize];
        *pred = (*pred & !mask) | (lanes & mask);
    }
}

fn initial_value(initial: Initial, sizes: &Sizes, block: [u32; 3], at: (u32, u32)) -> u64 {
    let (warp, lane) = at;
    let thread = warp * 32 + lane;
    let below = (1_u32 << lane) - 1;
    let word = match initial {
        Initial::Bits(bits) => return bits,
        Initial::DynamicShared(offset) => return sizes.static_shared.wrapping_add_signed(offset),
        Initial::DynamicSharedBytes => sizes.dynamic_shared as u32,
        Initial::TotalSharedBytes => (sizes.static_shared + sizes.dynamic_shared) as u32,
        Initial::Thread(0) => thread % sizes.block[0],
        Initial::Thread(1) => thread / sizes.block[0] % sizes.block[1],
        Initial::Thread(_) => thread / sizes.block[0] / sizes.block[1],
        Initial::Block(d) => block[usize::from(d)],
        Initial::BlockSize(d) => sizes.block[usize::from(d)],
        Initial::GridSize(d) => sizes.grid[usize::from(d)],
        Initial::Lane => lane,
        Initial::Warp => warp,
        Initial::Warps => sizes.n_threads().div_ceil(32),
        Initial::MaskEqual => 1 << lane,
        Initial::MaskLess => below,
        Initial::MaskLessEqual => below | 1 << lane,
        Initial::MaskGreater => !(below | 1 << lane),
        Initial::MaskGreaterEqual => !below,
        Initial::Zero => 0,
    };
    u64::from(word)
}
