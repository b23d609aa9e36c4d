//! Instructions that only touch registers, and exchanges between lanes.

use super::shared::Shared;
use super::warp::{Warp, World};
use crate::fault::FaultKind;
use crate::number::{
    Col, Lane, Rounding, add_to_odd, compare_halves, convert, flush, halves, rounded_f32, saturate,
};
use crate::program::{Inst, Op, ShuffleMode};

impl Warp {
    pub(super) fn execute(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        (op, inst): (Op, &Inst),
        mask: u32,
    ) -> Result<(), FaultKind> {
        match op {
            Op::Load(access) => return self.load(world, shared, (access, inst), mask),
            Op::Store(access) => return self.store(world, shared, (access, inst), mask),
            Op::AtomicAdd(offset) => return self.atomic_add(world, (offset, inst), mask),
            Op::CopyAsync { to, from } => {
                return self.copy(world, shared, (inst, to, from), mask);
            }
            Op::CommitCopies => {
                self.whole("cp.async.commit_group", mask)?;
                let group = std::mem::take(&mut self.open);
                self.groups.push_back(group);
            }
            Op::WaitCopies(n) => return self.wait(shared, n, mask),
            Op::LoadMatrix { n, is_transposed, offset } => {
                return self.load_matrix(world, shared, (inst, n, is_transposed, offset), mask);
            }
            Op::Multiply => return self.multiply(inst, mask),
            Op::Shuffle { mode, to } => return self.shuffle(inst, (mode, to), mask),
            Op::WarpSync => return self.members(inst.src[0], "bar.warp.sync", mask),
            Op::Trap => {
                self.lane = Some(mask.trailing_zeros());
                return Err(FaultKind::Trap);
            }
            // The memory is always consistent.
            Op::Fence | Op::Branch(_) | Op::Exit | Op::Barrier(_) => {}
            _ => self.compute(op, inst, mask),
        }
        Ok(())
    }

    fn source(&self, inst: &Inst, i: usize) -> &Col {
        &self.regs[inst.src[i] as usize]
    }

    fn sources(&self, inst: &Inst) -> [&Col; 4] {
        std::array::from_fn(|i| self.source(inst, i))
    }

    /// What changes registers and predicates alone.
    fn compute(&mut self, op: Op, inst: &Inst, mask: u32) {
        let mut out = [0; 32];
        match op {
            Op::Map(f) => f(self.sources(inst), &mut out),
            Op::Halves(spec) => halves(spec, self.sources(inst), &mut out),
            Op::Lop3(table) => lop3(table, self.sources(inst), &mut out),
            Op::Convert(how) => {
                let a = self.source(inst, 0);
                out = std::array::from_fn(|lane| convert(how, a[lane]));
            }
            Op::ConvertPair(how) => {
                let [high, low, ..] = self.sources(inst);
                out = std::array::from_fn(|lane| {
                    convert(how, high[lane]) << 16 | convert(how, low[lane])
                });
            }
            Op::Select(guard) => {
                let lanes = self.guard(guard);
                let [a, b, ..] = self.sources(inst);
                out = std::array::from_fn(|i| if lanes >> i & 1 == 1 { a[i] } else { b[i] });
            }
            Op::Pack { bits } => {
                for i in 0..usize::from(inst.n_src) {
                    let part = self.source(inst, i);
                    for lane in 0..32 {
                        out[lane] |= part[lane] << (usize::from(bits) * i);
                    }
                }
            }
            Op::Unpack { bits } => return self.unpack(inst, bits, mask),
            Op::RoundedF32 { n_operands, is_product, rounding, flushes, saturates } => {
                let s = self.sources(inst);
                out = std::array::from_fn(|lane| {
                    let of = |i: usize| f32::take(s[i][lane]);
                    let operands = (of(0), of(1), (n_operands == 3).then(|| of(2)));
                    rounded(operands, is_product, rounding, flushes, saturates).put()
                });
            }
            Op::Compare { .. } | Op::CompareHalves { .. } | Op::Predicate { .. } => {
                return self.compare(op, inst, mask);
            }
            _ => return,
        }
        self.set(inst.dst[0], &out, mask);
    }

    fn unpack(&mut self, inst: &Inst, bits: u8, mask: u32) {
        let value = *self.source(inst, 0);
        let ones = (1_u64 << bits) - 1;
        for i in 0..usize::from(inst.n_dst) {
            let shift = usize::from(bits) * i;
            self.set(inst.dst[i], &value.map(|value| value >> shift & ones), mask);
        }
    }

    fn compare(&mut self, op: Op, inst: &Inst, mask: u32) {
        let [a, b, ..] = self.sources(inst);
        let (first, second, joined, with, targets) = match op {
            Op::Compare { f, joined, with, p, q } => {
                let holds = f(a, b);
                (holds, !holds, joined, with, [p, q])
            }
            Op::CompareHalves { kind, is_pair, holds, joined, with, targets } => {
                let (low, high) = compare_halves(kind, [a, b, a, a], holds);
                (low, if is_pair { high } else { !low }, joined, with, targets)
            }
            Op::Predicate { joined, a, b, to } => {
                let (a, b) = (self.guard(a), self.guard(b));
                return self.set_pred(to, joined.apply(a, b), mask);
            }
            _ => return,
        };
        let with = self.guard(with);
        self.set_pred(targets[0], joined.apply(first, with), mask);
        self.set_pred(targets[1], joined.apply(second, with), mask);
    }

    /// Refuses a mask of members that is not exactly the lanes that execute.
    fn members(&mut self, slot: u32, name: &'static str, mask: u32) -> Result<(), FaultKind> {
        let members = &self.regs[slot as usize];
        let disagrees =
            |&lane: &u32| mask >> lane & 1 == 1 && members[lane as usize] as u32 != mask;
        if (0..32).any(|lane| disagrees(&lane)) {
            let live = self.live;
            return Err(FaultKind::Divergent { instruction: name, lanes: mask, live });
        }
        Ok(())
    }

    fn shuffle(
        &mut self,
        inst: &Inst,
        (mode, to): (ShuffleMode, u32),
        mask: u32,
    ) -> Result<(), FaultKind> {
        self.members(inst.src[3], "shfl.sync", mask)?;
        let [value, by, clamp, _] = self.sources(inst);
        let mut out = [0; 32];
        let mut found = 0_u32;
        for lane in 0..32_u32 {
            let (by, clamp) = (by[lane as usize] as u32, clamp[lane as usize] as u32);
            let segment = clamp >> 8 & 31;
            let (least, last) = (lane & segment, (lane & segment) | (clamp & 31 & !segment));
            let (from, holds) = match mode {
                ShuffleMode::Up => {
                    let from = lane.wrapping_sub(by & 31);
                    (from, from as i32 >= last as i32)
                }
                ShuffleMode::Down => (lane + (by & 31), lane + (by & 31) <= last),
                ShuffleMode::Butterfly => (lane ^ (by & 31), lane ^ (by & 31) <= last),
                ShuffleMode::Index => {
                    let from = least | (by & 31 & !segment);
                    (from, from <= last)
                }
            };
            let from = if holds { from } else { lane };
            found |= u32::from(holds) << lane;
            out[lane as usize] = value[from as usize];
            if mask >> lane & 1 == 1 && mask >> from & 1 == 0 {
                self.lane = Some(lane);
                let (instruction, live) = ("shfl.sync", self.live);
                return Err(FaultKind::Divergent { instruction, lanes: mask, live });
            }
        }
        self.set(inst.dst[0], &out, mask);
        self.set_pred(to, found, mask);
        Ok(())
    }
}

/// Any function of three bits, by its truth table.
fn lop3(table: u8, [a, b, c, _]: [&Col; 4], out: &mut Col) {
    for row in 0..8 {
        if table >> row & 1 == 0 {
            continue;
        }
        // Ones where an operand is to be inverted.
        let inverted = |bit: u8| if row & bit == 0 { u64::from(u32::MAX) } else { 0 };
        let (x, y, z) = (inverted(4), inverted(2), inverted(1));
        for lane in 0..32 {
            out[lane] |= (a[lane] ^ x) & (b[lane] ^ y) & (c[lane] ^ z);
        }
    }
}

fn rounded(
    (a, b, c): (f32, f32, Option<f32>),
    is_product: bool,
    rounding: Rounding,
    flushes: bool,
    saturates: bool,
) -> f32 {
    let of = |x: f32| f64::from(if flushes { flush(x) } else { x });
    let exact = if is_product {
        let product = of(a) * of(b);
        c.map_or(product, |c| add_to_odd(product, of(c)))
    } else {
        add_to_odd(of(a), of(b))
    };
    let result = rounded_f32(exact, rounding);
    let result = if flushes { flush(result) } else { result };
    if saturates { saturate(result) } else { result }
}
