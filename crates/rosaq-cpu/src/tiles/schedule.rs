//! How the bits of a tile's trellis codes enter states whose bits never move.
//!
//! A state is 12 bits, of which the even ones index one table and the odd ones another. A code of `b` bits shifts the state by `b`
//! places, so even and odd bits are two streams (which change places at each row if `b` is odd), and each table is indexed by the
//! last six bits of one of them. Instead of shifting them, a stream's bit `p` stays at place `p mod 6` of a byte until the bit six
//! later takes its place: a row puts its bits over the oldest ones, and looks them up in a table whose entries are permuted to
//! suit. A byte of codes can then hold six bits of a stream in the places where they are wanted; what stands in its other two
//! bits is shifted there first.

use super::trellis::TILE_ROWS;

/// Bits of a stream that a state holds.
pub(crate) const PLACES: usize = 6;
/// Bits of a code at most.
pub(crate) const MAX_BITS: usize = 6;
/// Steps in which a row's bits of one stream enter it, at most.
const MAX_STEPS: usize = 3;

/// Bits that enter a stream at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The vector of codes they are in.
    pub(crate) vector: usize,
    /// How far right they are shifted; left if negative.
    pub(crate) shift: isize,
    /// The places they take.
    pub(crate) mask: u8,
}

/// What one row does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPlan {
    /// Of each stream.
    pub(crate) steps: [[Option<Step>; MAX_STEPS]; 2],
    /// Of each stream, the vector that holds all six of its bits after this row where they are wanted: it needs no steps.
    pub(crate) whole: [Option<usize>; 2],
    /// The stream that the even bits are in, and the one of the odd ones.
    pub(crate) stream: [usize; 2],
    /// The place behind the newest bit of each of these.
    pub(crate) turn: [usize; 2],
}

/// What the rows of a tile do, and where their bits stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rows: [RowPlan; TILE_ROWS],
    /// Of each row and each bit of its code: the vector, and the bit of its bytes.
    pub(crate) places: [[(usize, usize); MAX_BITS]; TILE_ROWS],
}

/// Tiles after which the places are the same again.
pub(crate) const fn period(bits: usize) -> usize {
    if bits.is_multiple_of(3) { 1 } else { 3 }
}

/// Bits of a stream before `row`, which counts from any even row. Negative rows come before it.
const fn bits_before(bits: usize, stream: usize, row: isize) -> isize {
    let pairs = row.div_euclid(2) * bits.cast_signed();
    if row.rem_euclid(2) == 0 { pairs } else { pairs + bits_of(bits, stream, 0).cast_signed() }
}

/// Bits that `row` puts into a stream.
const fn bits_of(bits: usize, stream: usize, row: isize) -> usize {
    if half_in(bits, stream, row) == 0 { bits.div_ceil(2) } else { bits / 2 }
}

/// Which half of the code of `row` is in a stream, 0 for the even bits; and the other way round, the stream of a half.
const fn half_in(bits: usize, stream: usize, row: isize) -> usize {
    if bits.is_multiple_of(2) { stream } else { stream ^ row.rem_euclid(2).cast_unsigned() }
}

/// Where bit `bit` of the code of `row` goes: the stream, and the place in it. The highest bit is the oldest.
pub(crate) const fn place_in_state(bits: usize, row: isize, bit: usize) -> (usize, usize) {
    let stream = half_in(bits, bit % 2, row);
    let older = bits_of(bits, stream, row) - 1 - bit / 2;
    let position = bits_before(bits, stream, row) + older.cast_signed();
    (stream, position.rem_euclid(PLACES.cast_signed()).cast_unsigned())
}

/// Bits of one row and stream that stand side by side, in places from `place` on: `n` of them, `first` the number of the first one.
#[derive(Clone, Copy)]
struct Run {
    row: usize,
    stream: usize,
    /// Of the oldest, counted among the row's bits in this stream.
    first: usize,
    place: usize,
    n: usize,
}

const NO_RUN: Run = Run { row: 0, stream: 0, first: 0, place: 0, n: 0 };
/// Each bit may become a run of its own.
const MAX_RUNS: usize = TILE_ROWS * MAX_BITS;

impl Schedule {
    /// For codes of `bits` in tiles whose number is `tile` modulo [`period`].
    pub(crate) const fn of(bits: usize, tile: usize) -> Self {
        let mut building = Building::new(bits, tile);
        let (runs, n_runs) = building.runs();
        // First what can stay where it is wanted, then the rest where there is room, the longest first.
        let mut rest = [NO_RUN; MAX_RUNS];
        let mut n_rest = 0;
        let mut i = 0;
        while i < n_runs {
            if !building.put_in_place(runs[i]) {
                rest[n_rest] = runs[i];
                n_rest += 1;
            }
            i += 1;
        }
        let mut n = PLACES;
        while n > 0 {
            let mut i = 0;
            while i < n_rest {
                let run = rest[i];
                if run.n == n && !building.put_anywhere(run) {
                    // There is room for all bits, if not side by side.
                    rest[i].n = n - 1;
                    rest[n_rest] =
                        Run { first: run.first + n - 1, place: run.place + n - 1, n: 1, ..run };
                    n_rest += 1;
                }
                i += 1;
            }
            n -= 1;
        }
        building.find_whole();
        building.schedule
    }
}

/// A schedule half done.
struct Building {
    bits: usize,
    /// Rows before the tile.
    first_row: isize,
    schedule: Schedule,
    /// Bits of each vector's bytes that are taken.
    taken: [u8; MAX_BITS],
}

impl Building {
    const fn new(bits: usize, tile: usize) -> Self {
        let first_row = (tile * TILE_ROWS).cast_signed();
        let none = RowPlan {
            steps: [[None; MAX_STEPS]; 2],
            whole: [None; 2],
            stream: [0; 2],
            turn: [0; 2],
        };
        let mut schedule =
            Schedule { rows: [none; TILE_ROWS], places: [[(0, 0); MAX_BITS]; TILE_ROWS] };
        let mut row = 0;
        while row < TILE_ROWS {
            let at = first_row + row.cast_signed();
            let mut half = 0;
            while half < 2 {
                let stream = half_in(bits, half, at);
                let end = bits_before(bits, stream, at + 1);
                schedule.rows[row].stream[half] = stream;
                schedule.rows[row].turn[half] =
                    end.rem_euclid(PLACES.cast_signed()).cast_unsigned();
                half += 1;
            }
            row += 1;
        }
        Self { bits, first_row, schedule, taken: [0; MAX_BITS] }
    }

    /// All bits of the tile, row by row.
    const fn runs(&self) -> ([Run; MAX_RUNS], usize) {
        let (mut runs, mut n_runs) = ([NO_RUN; MAX_RUNS], 0);
        let mut row = 0;
        while row < TILE_ROWS {
            let mut stream = 0;
            while stream < 2 {
                let at = self.first_row + row.cast_signed();
                let n = bits_of(self.bits, stream, at);
                let before = bits_before(self.bits, stream, at);
                let place = before.rem_euclid(PLACES.cast_signed()).cast_unsigned();
                let until_turn = if n < PLACES - place { n } else { PLACES - place };
                if until_turn > 0 {
                    runs[n_runs] = Run { row, stream, first: 0, place, n: until_turn };
                    n_runs += 1;
                }
                if n > until_turn {
                    let n = n - until_turn;
                    runs[n_runs] = Run { row, stream, first: until_turn, place: 0, n };
                    n_runs += 1;
                }
                stream += 1;
            }
            row += 1;
        }
        (runs, n_runs)
    }

    /// Notes where a state is what one vector holds.
    const fn find_whole(&mut self) {
        // The vector that each place's bit came from unshifted, from one row to the next.
        let mut sources = [[None; PLACES]; 2];
        let mut row = 0;
        while row < TILE_ROWS {
            let mut stream = 0;
            while stream < 2 {
                let plan = &mut self.schedule.rows[row];
                let mut step = 0;
                while step < MAX_STEPS {
                    if let Some(Step { vector, shift, mask }) = plan.steps[stream][step] {
                        let mut place = 0;
                        while place < PLACES {
                            if mask >> place & 1 == 1 {
                                sources[stream][place] =
                                    if shift == 0 { Some(vector) } else { None };
                            }
                            place += 1;
                        }
                    }
                    step += 1;
                }
                plan.whole[stream] = only_one(&sources[stream]);
                stream += 1;
            }
            row += 1;
        }
    }

    const fn put_in_place(&mut self, run: Run) -> bool {
        let mut vector = 0;
        while vector < self.bits {
            if self.put(run, vector, run.place) {
                return true;
            }
            vector += 1;
        }
        false
    }

    const fn put_anywhere(&mut self, run: Run) -> bool {
        let mut vector = 0;
        while vector < self.bits {
            let mut at = 0;
            while at + run.n <= 8 {
                if self.put(run, vector, at) {
                    return true;
                }
                at += 1;
            }
            vector += 1;
        }
        false
    }

    /// Puts a run's bits into those from `at` on of a vector's bytes, if they are free.
    const fn put(&mut self, run: Run, vector: usize, at: usize) -> bool {
        let ones: u8 = (1 << run.n) - 1;
        if self.taken[vector] & (ones << at) != 0 {
            return false;
        }
        self.taken[vector] |= ones << at;
        let half = half_in(self.bits, run.stream, self.first_row + run.row.cast_signed());
        let of_half = if half == 0 { self.bits.div_ceil(2) } else { self.bits / 2 };
        let mut i = 0;
        while i < run.n {
            let bit = 2 * (of_half - 1 - (run.first + i)) + half;
            self.schedule.places[run.row][bit] = (vector, at + i);
            i += 1;
        }
        let steps = &mut self.schedule.rows[run.row].steps[run.stream];
        let mut free = 0;
        while steps[free].is_some() {
            free += 1;
        }
        let shift = at.cast_signed() - run.place.cast_signed();
        steps[free] = Some(Step { vector, shift, mask: ones << run.place });
        true
    }
}

/// The vector that all places have in common.
const fn only_one(sources: &[Option<usize>; PLACES]) -> Option<usize> {
    let Some(first) = sources[0] else { return None };
    let mut place = 1;
    while place < PLACES {
        match sources[place] {
            Some(vector) if vector == first => {}
            _ => return None,
        }
        place += 1;
    }
    Some(first)
}

/// A table of entries by six bits, the newest lowest, permuted for a stream whose newest bit stands before place `turn`.
pub(crate) fn turned(entries: &[i8; 64], turn: usize) -> [i8; 64] {
    std::array::from_fn(|state| {
        let idx = (0..PLACES).map(|age| {
            let place = (turn + 2 * PLACES - 1 - age) % PLACES;
            (state >> place & 1) << age
        });
        entries[idx.sum::<usize>()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_a_place_and_goes_where_it_belongs() {
        for bits in 1..=MAX_BITS {
            for tile in 0..2 * period(bits) {
                let schedule = Schedule::of(bits, tile);
                let mut taken = [0_u8; MAX_BITS];
                for (row, places) in schedule.places.iter().enumerate() {
                    for (bit, &(vector, at)) in places.iter().enumerate().take(bits) {
                        assert_eq!(taken[vector] >> at & 1, 0, "{bits} bits, row {row}, bit {bit}");
                        taken[vector] |= 1 << at;
                        let whole_row = (tile * TILE_ROWS + row).cast_signed();
                        let (stream, place) = place_in_state(bits, whole_row, bit);
                        let bring = schedule.rows[row].steps[stream].iter().flatten().filter(|s| {
                            let here = s.vector == vector && s.mask >> place & 1 == 1;
                            here && at.cast_signed() - s.shift == place.cast_signed()
                        });
                        assert_eq!(bring.count(), 1, "{bits} bits, row {row}, bit {bit}");
                    }
                }
                let full = [0xff; MAX_BITS];
                assert_eq!(taken[..bits], full[..bits], "{bits} bits, tile {tile}");
                let masks = schedule.rows.iter().flat_map(|row| row.steps.iter().flatten());
                let n_bits: u32 = masks.flatten().map(|step| step.mask.count_ones()).sum();
                assert_eq!(n_bits as usize, bits * TILE_ROWS);
            }
            assert_eq!(
                Schedule::of(bits, 0).places,
                Schedule::of(bits, period(bits)).places,
                "{bits} bits"
            );
        }
    }

    /// Three bits, of which most models' codes are, take the least there is: a step a row and stream, and four shifts.
    #[test]
    fn three_bits_take_sixteen_steps() {
        let schedule = Schedule::of(3, 0);
        let steps: Vec<Step> = schedule
            .rows
            .iter()
            .flat_map(|row| row.steps.iter().flatten().flatten().copied())
            .collect();
        assert_eq!(steps.len(), 2 * TILE_ROWS);
        assert_eq!(steps.iter().filter(|step| step.shift != 0).count(), 4);
        let whole: Vec<_> = schedule.rows.iter().map(|row| row.whole).collect();
        assert_eq!(whole[3], [Some(0), Some(1)]);
        assert_eq!(whole.iter().flatten().flatten().count(), 3);
    }

    #[test]
    fn a_turned_table_reads_states_that_stay_in_place() {
        let entries: [i8; 64] = std::array::from_fn(|i| i.to_le_bytes()[0].cast_signed());
        assert_eq!(turned(&entries, 0)[0b10_0000], 1, "the newest bit stands last");
        assert_eq!(turned(&entries, 2)[0b00_0010], 1);
        assert_eq!(turned(&entries, 2)[0b00_0100], 32, "the oldest behind it");
    }
}
