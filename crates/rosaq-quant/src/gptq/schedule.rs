//! Which channel is rounded when, and which channels wait for which updates.

use std::ops::Range;

use rosaq_pack::{Segment, SegmentKind};
use rosaq_trellis::TrellisCode;

use crate::{Grid, QuantError, TrellisCodes};

/// Channels whose errors are passed on to all later ones in one product: the lazy batch of GPTQ (arXiv 2210.17323, section
/// 3.3, `B = 128`).
const BLOCK: usize = 128;
/// Channels whose errors are passed on within a block in one product; below this, one by one.
const PIECE: usize = 32;

/// The order of rounding. Positions are *reversed*: the channel rounded first has the last one.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    /// The stored channel at each position.
    pub(super) channels: Vec<usize>,
    /// Where each stored channel's value goes.
    pub(super) slots: Vec<Slot>,
    /// Every group, segment after segment.
    pub(super) groups: Vec<Group<'a>>,
    /// Channels of all f16 segments.
    pub(super) n_f16: usize,
    /// In the order of rounding, that is from the last positions down. A group that is fitted on the way lies in one block,
    /// or begins one.
    pub(super) blocks: Vec<Block>,
}

/// Where the value of one stored channel goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    /// The index among the f16 channels.
    F16(usize),
    /// The index of its group.
    Group(usize),
}

/// Stored channels that share a scale in each row.
#[derive(Debug, Clone)]
pub(super) struct Group<'a> {
    pub(super) channels: Range<usize>,
    pub(super) coder: Coder<'a>,
}

/// What chooses the codes of a group.
#[derive(Debug, Clone, Copy)]
pub(super) enum Coder<'a> {
    /// Each weight by itself.
    Grid(Grid),
    /// The weights of all rows together.
    Trellis(&'a TrellisCode),
}

impl Group<'_> {
    pub(super) fn is_trellis(&self) -> bool {
        matches!(self.coder, Coder::Trellis(_))
    }
}

/// Up to `BLOCK` positions.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) positions: Range<usize>,
    pub(super) pieces: Vec<Piece>,
}

/// Up to `PIECE` positions.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) positions: Range<usize>,
    /// The group that begins here and is to be fitted first.
    pub(super) fit: Option<usize>,
}

impl<'a> Schedule<'a> {
    /// Orders the channels of `segments`, which carry `energies`.
    pub(super) fn new(
        segments: &[Segment],
        energies: &[f64],
        act_order: bool,
        codes: &'a TrellisCodes,
    ) -> Result<Self, QuantError> {
        let mut groups = Vec::new();
        let mut slots = Vec::with_capacity(energies.len());
        let mut n_f16 = 0;
        for segment in segments {
            let end = slots.len() + segment.channels;
            if segment.kind == SegmentKind::F16 {
                slots.extend((n_f16..).take(segment.channels).map(Slot::F16));
                n_f16 += segment.channels;
                continue;
            }
            let unsupported =
                || QuantError::UnsupportedSegment { kind: format!("{:?}", segment.kind) };
            let coder = match segment.kind {
                SegmentKind::Trellis { id, .. } => codes.get(id).map(Coder::Trellis),
                kind => Grid::of(kind).map(Coder::Grid),
            };
            let coder = coder.ok_or_else(unsupported)?;
            while slots.len() < end {
                let channels = slots.len()..end.min(slots.len().saturating_add(segment.group_size));
                slots.resize(channels.end, Slot::Group(groups.len()));
                groups.push(Group { channels, coder });
            }
        }
        let mut channels: Vec<usize> = (0..energies.len()).collect();
        if act_order {
            channels.sort_by(|&a, &b| energies[b].total_cmp(&energies[a]));
        }
        channels.sort_by_key(|&channel| matches!(slots[channel], Slot::F16(_)));
        channels.reverse();
        let fitted = if act_order { &[][..] } else { &groups };
        let blocks = blocks(channels.len(), fitted);
        Ok(Self { channels, slots, groups, n_f16, blocks })
    }
}

/// Cuts `n` positions, the last of which belong to `groups` that are fitted on the way, first group last.
fn blocks(n: usize, groups: &[Group<'_>]) -> Vec<Block> {
    let mut blocks = Blocks { done: Vec::new(), pieces: Vec::new(), start: n, end: n };
    for (idx, group) in groups.iter().enumerate() {
        blocks.reserve(group.channels.len());
        let mut fit = Some(idx);
        let mut left = group.channels.len();
        while left > 0 {
            left -= blocks.take(left, fit.take());
        }
    }
    while blocks.start > 0 {
        blocks.take(blocks.start, None);
    }
    blocks.close();
    blocks.done
}

/// Blocks in the making; the open one covers `start..end`.
struct Blocks {
    done: Vec<Block>,
    pieces: Vec<Piece>,
    start: usize,
    end: usize,
}

impl Blocks {
    /// Closes the block if another `len` positions would burst it.
    fn reserve(&mut self, len: usize) {
        if self.end - self.start + len > BLOCK {
            self.close();
        }
    }

    /// Appends a piece of at most `len` positions and says of how many.
    fn take(&mut self, len: usize, fit: Option<usize>) -> usize {
        let len = len.min(PIECE);
        self.reserve(len);
        let positions = self.start - len..self.start;
        self.start = positions.start;
        self.pieces.push(Piece { positions, fit });
        len
    }

    fn close(&mut self) {
        if self.start < self.end {
            let pieces = std::mem::take(&mut self.pieces);
            self.done.push(Block { positions: self.start..self.end, pieces });
            self.end = self.start;
        }
    }
}
