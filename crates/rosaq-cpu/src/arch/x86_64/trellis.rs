//! Trellis codes by AVX2: 32 channels at a time, a byte for the even and one for the odd bits of each state.
//!
//! A shift by `b` moves every bit `b` places up: even ones stay even if `b` is, and become odd ones otherwise. So two bytes
//! follow a state of 12 bits, and each indexes a table of 64 entries, which four shuffles of 16 look up.

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx2::Avx2;
use crate::trellis::SumTrellis;

/// Channels of a vector.
const LANES: usize = 32;
/// Tokens that share a decoded row in registers.
const TOKENS: usize = 4;

/// Adds the product of rows `rows` of a segment with each token to `out` `[rows, tokens]`.
///
/// `x` holds one slice of the segment's channels a token. Accumulates in f32.
pub(crate) fn add_rows(
    _proof: Avx2,
    segment: &SumTrellis<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    // SAFETY: the first argument proves AVX2 and FMA.
    unsafe {
        match segment.bits.get() {
            1 => walk::<1>(segment, x, rows, out),
            2 => walk::<2>(segment, x, rows, out),
            3 => walk::<3>(segment, x, rows, out),
            4 => walk::<4>(segment, x, rows, out),
            5 => walk::<5>(segment, x, rows, out),
            _ => walk::<6>(segment, x, rows, out),
        }
    }
}

/// The states of all channels of a segment, and the row they stand at.
struct States {
    /// Even and odd bits of 32 channels.
    bits: Vec<[[u8; LANES]; 2]>,
    /// Entries of the row.
    values: Vec<[i8; LANES]>,
    /// The row's codes, with room for whole vectors behind them.
    codes: Vec<u8>,
}

#[target_feature(enable = "avx2,fma")]
fn walk<const B: usize>(
    segment: &SumTrellis<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    let SumTrellis { linear, segment_idx, channels, .. } = *segment;
    let n_blocks = channels.div_ceil(LANES);
    let mut states = States {
        bits: vec![[[0; LANES]; 2]; n_blocks],
        values: vec![[0; LANES]; n_blocks],
        codes: vec![0; n_blocks * LANES / 8 * B + 16],
    };
    // Activations past the last channel are zero, whatever is decoded there.
    let padded: Vec<f32> = x
        .iter()
        .flat_map(|x| {
            x.iter().copied().chain(std::iter::repeat_n(0.0, n_blocks * LANES - channels))
        })
        .collect();
    let padded = padded.as_chunks::<LANES>().0;
    let tables = Tables::new(segment);
    let n_rows = linear.out_features;
    let back = segment.n_warm_up();
    for row in (rows.start + n_rows * back - back)..(rows.start + n_rows * back) {
        states.shift_in::<B>(linear.codes_of(segment_idx, row % n_rows), &tables);
    }
    for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
        states.shift_in::<B>(linear.codes_of(segment_idx, row), &tables);
        let scale = linear.scales_of(segment_idx, row)[0].to_f32();
        let tokens = out.chunks_mut(TOKENS).zip(padded.chunks(TOKENS * n_blocks));
        for (out, x) in tokens {
            match out {
                [a, b, c, d] => {
                    let sums = dot::<TOKENS, 2>(&states.values, x);
                    for (out, sum) in [a, b, c, d].into_iter().zip(sums) {
                        *out += scale * sum;
                    }
                }
                few => {
                    for (out, x) in few.iter_mut().zip(x.chunks_exact(n_blocks)) {
                        *out += scale * dot::<1, 4>(&states.values, x)[0];
                    }
                }
            }
        }
    }
}

impl States {
    /// Takes the next row's codes in and looks its entries up.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn shift_in<const B: usize>(&mut self, codes: &[u8], tables: &Tables) {
        self.codes[..codes.len()].copy_from_slice(codes);
        let blocks = self.bits.iter_mut().zip(&mut self.values);
        for (idx, ([even_bits, odd_bits], values)) in blocks.enumerate() {
            let codes = unpack::<B>(&self.codes[idx * LANES / 8 * B..]);
            let (even, odd) = (load(even_bits), load(odd_bits));
            let (low, high) = apart::<B>(codes);
            // What was even becomes odd where the shift is odd.
            let (from_even, from_odd) = if B.is_multiple_of(2) { (even, odd) } else { (odd, even) };
            let even = _mm256_or_si256(shift_left(from_even, B.div_ceil(2)), low);
            let odd = _mm256_or_si256(shift_left(from_odd, B / 2), high);
            let six_bits = _mm256_set1_epi8(0x3F);
            let (even, odd) = (_mm256_and_si256(even, six_bits), _mm256_and_si256(odd, six_bits));
            store(even_bits, even);
            store(odd_bits, odd);
            let sum = _mm256_add_epi8(look_up(&tables.even, even), look_up(&tables.odd, odd));
            store(values, sum);
        }
    }
}

/// Both tables, sixteen entries a vector, in both halves.
struct Tables {
    even: [__m256i; 4],
    odd: [__m256i; 4],
}

impl Tables {
    #[target_feature(enable = "avx2")]
    fn new(segment: &SumTrellis<'_>) -> Self {
        let spread = |table: &[i8; 64]| {
            let parts = table.as_chunks::<16>().0;
            std::array::from_fn(|i| {
                // SAFETY: an array of 16 bytes, which an unaligned load reads.
                let part = unsafe { _mm_loadu_si128(parts[i].as_ptr().cast()) };
                _mm256_broadcastsi128_si256(part)
            })
        };
        Self { even: spread(&segment.even), odd: spread(&segment.odd) }
    }
}

/// Where codes of `B` bits stand in packed bytes, for the first and the last eight of sixteen.
struct Fields<const B: usize>;

impl<const B: usize> Fields<B> {
    /// The byte that a code begins in, and the next.
    const PLACES: [[u8; 16]; 2] = {
        let (mut places, mut code) = ([[0; 16]; 2], 0);
        while code < 16 {
            #[expect(clippy::cast_possible_truncation, reason = "bytes of a vector")]
            let byte = (code * B / 8) as u8;
            places[code / 8][code % 8 * 2] = byte;
            places[code / 8][code % 8 * 2 + 1] = byte + 1;
            code += 1;
        }
        places
    };
    /// What moves the code's lowest bit to bit 8.
    const FACTORS: [[i16; 8]; 2] = {
        let (mut factors, mut code) = ([[0; 8]; 2], 0);
        while code < 16 {
            factors[code / 8][code % 8] = 1 << (8 - code * B % 8);
            code += 1;
        }
        factors
    };
}

/// Thirty-two codes of `B` bits, one a byte; reads `2 B + 16` bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn unpack<const B: usize>(bytes: &[u8]) -> __m256i {
    // Sixteen codes for each half, in two bytes each: those that hold a code from its lowest bit on.
    let halves = _mm256_set_m128i(super::load_16(bytes, 2 * B), super::load_16(bytes, 0));
    let eight = |half: usize| {
        // SAFETY: arrays of 16 bytes, which unaligned loads read.
        let (mask, factor) = unsafe {
            let (masks, factors) = (&Fields::<B>::PLACES, &Fields::<B>::FACTORS);
            (
                _mm_loadu_si128(masks[half].as_ptr().cast()),
                _mm_loadu_si128(factors[half].as_ptr().cast()),
            )
        };
        let pairs = _mm256_shuffle_epi8(halves, _mm256_broadcastsi128_si256(mask));
        // The code's lowest bit goes to bit 8, and what is above the code is cut off below.
        let placed = _mm256_mullo_epi16(pairs, _mm256_broadcastsi128_si256(factor));
        _mm256_srli_epi16::<8>(placed)
    };
    let codes = _mm256_packus_epi16(eight(0), eight(1));
    #[expect(clippy::cast_possible_truncation, reason = "at most six bits")]
    let mask = ((1_u32 << B) - 1) as i8;
    _mm256_and_si256(codes, _mm256_set1_epi8(mask))
}

/// The even bits of codes of `B` bits moved together, and the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn apart<const B: usize>(codes: __m256i) -> (__m256i, __m256i) {
    let bit = |from: usize, to: usize| {
        if from >= B {
            return _mm256_setzero_si256();
        }
        _mm256_and_si256(shift_right(codes, from - to), _mm256_set1_epi8(1 << to))
    };
    let all = |first: usize| {
        let two = _mm256_or_si256(bit(first, 0), bit(first + 2, 1));
        _mm256_or_si256(two, bit(first + 4, 2))
    };
    (all(0), all(1))
}

/// Bytes below 64 shifted left.
#[inline]
#[target_feature(enable = "avx2")]
fn shift_left(bytes: __m256i, n: usize) -> __m256i {
    match n {
        0 => bytes,
        1 => _mm256_add_epi8(bytes, bytes),
        2 => _mm256_slli_epi16::<2>(bytes),
        // Bit 5 would overflow into the next byte.
        _ => _mm256_slli_epi16::<3>(_mm256_and_si256(bytes, _mm256_set1_epi8(0x1F))),
    }
}

/// Bytes shifted right; bits of the next byte come in from above, which the callers mask.
#[inline]
#[target_feature(enable = "avx2")]
fn shift_right(bytes: __m256i, n: usize) -> __m256i {
    match n {
        0 => bytes,
        1 => _mm256_srli_epi16::<1>(bytes),
        2 => _mm256_srli_epi16::<2>(bytes),
        _ => _mm256_srli_epi16::<3>(bytes),
    }
}

/// The entries that six bits name.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: &[__m256i; 4], idxs: __m256i) -> __m256i {
    let low = _mm256_and_si256(idxs, _mm256_set1_epi8(0x0F));
    // Bits 4 and 5 come to stand on top of their bytes, where a blend looks.
    let (fourth, fifth) = (_mm256_slli_epi16::<3>(idxs), _mm256_slli_epi16::<2>(idxs));
    let part = |i: usize| _mm256_shuffle_epi8(table[i], low);
    let first = _mm256_blendv_epi8(part(0), part(1), fourth);
    let second = _mm256_blendv_epi8(part(2), part(3), fourth);
    _mm256_blendv_epi8(first, second, fifth)
}

/// Sums of entries times activations `[tokens, blocks]` of `T` tokens, in `C` chains each, which hide the latency of additions.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot<const T: usize, const C: usize>(values: &[[i8; LANES]], x: &[[f32; LANES]]) -> [f32; T] {
    let mut sums = [[_mm256_setzero_ps(); C]; T];
    let n_blocks = values.len();
    for (block, values) in values.iter().enumerate() {
        for part in 0..4 {
            // SAFETY: eight of the array's 32 bytes from `8 * part` on; then eight of an array's 32 floats.
            let eight = unsafe { _mm_loadl_epi64(values.as_ptr().add(8 * part).cast()) };
            let eight = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
            for (token, sums) in sums.iter_mut().enumerate() {
                let x = &x[token * n_blocks + block];
                // SAFETY: as above.
                let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * part)) };
                sums[part % C] = _mm256_fmadd_ps(eight, x, sums[part % C]);
            }
        }
    }
    sums.map(|chains| {
        let sum = chains.into_iter().fold(_mm256_setzero_ps(), |a, b| _mm256_add_ps(a, b));
        super::avx2::sum_lanes(sum)
    })
}

/// Signed or not.
trait Byte {}

impl Byte for u8 {}
impl Byte for i8 {}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; LANES]) -> __m256i {
    // SAFETY: an array of 32 bytes, which an unaligned load reads.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<T: Byte>(bytes: &mut [T; LANES], vector: __m256i) {
    // SAFETY: an array of 32 bytes, which an unaligned store writes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}
