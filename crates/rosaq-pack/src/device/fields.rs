//! Where the bits of a lane's codes stand.
//!
//! A lane's quantum is 32 weights, as pairs that fill one register of mma's operand A each: two k16
//! steps x two tiles of 16 rows x four registers. Registers 0 and 2 are of one row, 1 and 3 of the row
//! after it; 2 and 3 are of the channels eight further on. Its words hold integer codes of a pair at the
//! same bits of their two halves, codes of a codebook in nibbles beside each other, and of a trellis the
//! four rows of one channel after another, the last row lowest.

use super::DeviceKind;

/// Pairs of a quantum.
pub(super) const PAIRS: usize = 16;

/// One register of operand A.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// k16 step within the quantum.
    k: usize,
    /// Tile of 16 rows.
    tile: usize,
    /// Register of the fragment.
    register: usize,
}

impl Pair {
    /// The pair of a number below [`PAIRS`].
    pub(super) const fn of(number: usize) -> Self {
        Self { k: number / 8, tile: number / 4 % 2, register: number % 4 }
    }

    /// The row within the block of 32, for a lane.
    pub(super) const fn row(self, lane: usize) -> usize {
        lane / 4 * 4 + self.row_of_lane()
    }

    /// The first of the two channels within the quantum of 32, for a lane.
    pub(super) const fn channel(self, lane: usize) -> usize {
        16 * self.k + 8 * (self.register / 2) + 2 * (lane % 4)
    }

    /// Which of the four k16 steps and tiles.
    const fn tile_word(self) -> usize {
        2 * self.k + self.tile
    }

    /// Which of a lane's four rows.
    const fn row_of_lane(self) -> usize {
        2 * self.tile + self.register % 2
    }

    /// Which of the four pairs of that row.
    const fn slot(self) -> usize {
        2 * self.k + self.register / 2
    }
}

/// Some bits of a code: bits `from` to `from + width` stand at bit `shift` of `word`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) word: usize,
    shift: usize,
    from: usize,
    width: usize,
}

impl Run {
    const fn new(word: usize, shift: usize, from: usize, width: usize) -> Self {
        Self { word, shift, from, width }
    }

    /// The bits of a code, in place.
    pub(super) fn put(self, code: u16) -> u32 {
        (u32::from(code) >> self.from & ((1 << self.width) - 1)) << self.shift
    }

    /// A code's bits of a word.
    pub(super) fn take(self, word: u32) -> u16 {
        let bits = (word >> self.shift & ((1 << self.width) - 1)) << self.from;
        #[expect(clippy::cast_possible_truncation, reason = "a code has at most 16 bits")]
        let bits = bits as u16;
        bits
    }
}

/// The runs that the code of half `half` of a pair consists of.
pub(super) fn runs(kind: DeviceKind, pair: Pair, half: usize) -> Vec<Run> {
    match kind {
        DeviceKind::F16 => {
            vec![Run::new(4 * pair.tile_word() + pair.register, 16 * half, 0, 16)]
        }
        DeviceKind::Int(bits) => {
            let mut runs = integers(bits.get(), pair);
            runs.iter_mut().for_each(|run| run.shift += 16 * half);
            runs
        }
        DeviceKind::Codebook(bits) => levels(bits.get(), pair, half),
        DeviceKind::Trellis(bits) => states(bits.count(), pair, half),
    }
}

/// Fields in a half of a word.
fn integers(bits: u8, pair: Pair) -> Vec<Run> {
    let Pair { k, tile, register } = pair;
    let word = pair.tile_word();
    let nibble = Run::new(word, 4 * (register % 2) + 8 * (register / 2), 0, 4);
    match bits {
        2 => vec![Run::new(k, 4 * tile + 2 * (register % 2) + 8 * (register / 2), 0, 2)],
        3 => three_bits(pair),
        5 => vec![nibble, Run::new(4, [4, 8, 0, 12][register] + word, 4, 1)],
        6 => vec![nibble, Run::new(4 + k, [[4, 8, 6, 10], [0, 12, 2, 14]][tile][register], 4, 2)],
        8 => vec![Run::new(2 * word + register / 2, 8 * (register % 2), 0, 8)],
        _ => vec![nibble],
    }
}

/// Five fields of three bits fill a half but for its top bit; those of three words are a sixteenth
/// field.
fn three_bits(pair: Pair) -> Vec<Run> {
    let field = |word, shift| vec![Run::new(word, shift, 0, 3)];
    match (pair.row_of_lane(), pair.slot()) {
        (0, 3) => (0..3).map(|bit| Run::new(bit, 15, bit, 1)).collect(),
        (1, 3) => field(0, 9),
        (2, 3) => field(0, 12),
        (3, slot) => field(1 + slot % 2, 9 + 3 * (slot / 2)),
        (row, slot) => field(slot, 3 * row),
    }
}

/// Nibbles, for the look-up four at a time. Those of three bits leave room for a fourth word's codes,
/// those of two bits for another word's.
fn levels(bits: u8, pair: Pair, half: usize) -> Vec<Run> {
    let (word, at) = (pair.tile_word(), 4 * (2 * pair.register + half));
    match (bits, word) {
        (2, _) => vec![Run::new(word / 2, at + 2 * (word % 2), 0, 2)],
        (3, 3) => (0..3).map(|bit| Run::new(bit, at + 3, bit, 1)).collect(),
        (3, _) => vec![Run::new(word, at, 0, 3)],
        _ => vec![Run::new(word, at, 0, 4)],
    }
}

/// One run of bits over all words, cut where words end.
fn states(bits: usize, pair: Pair, half: usize) -> Vec<Run> {
    let channel = 4 * pair.k + 2 * (pair.register / 2) + half;
    let at = bits * (4 * channel + 3 - pair.row_of_lane());
    let of_first = bits.min(32 - at % 32);
    let mut runs = vec![Run::new(at / 32, at % 32, 0, of_first)];
    if of_first < bits {
        runs.push(Run::new(at / 32 + 1, 0, of_first, bits - of_first));
    }
    runs
}
