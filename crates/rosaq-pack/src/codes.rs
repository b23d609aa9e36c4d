//! Codes into bytes and back: dense, little-endian, low bits first.
//!
//! Code `i` of a width `b` occupies bits `i * b .. (i + 1) * b` of the byte string, bit 0 being the
//! lowest bit of the first byte. Eight codes fill exactly `b` bytes, so the loops below turn eight
//! codes at a time between one byte each and `b` bits each inside a single `u64`.

use crate::Bits;

/// Codes in a block: eight codes of `b` bits fill `b` bytes for every width.
const BLOCK: usize = 8;

/// Bytes that `n_codes` codes take, the last byte padded with zero bits.
#[must_use]
pub const fn packed_len(n_codes: usize, bits: Bits) -> usize {
    // Split before multiplying: the result is at most `n_codes`, so nothing overflows.
    (n_codes / BLOCK) * bits.count() + ((n_codes % BLOCK) * bits.count()).div_ceil(8)
}

/// Packs one code per byte into `bits` bits per code; unused bits of the last byte become zero.
///
/// # Panics
/// If `out` is not `packed_len(codes.len(), bits)` bytes long, or a code exceeds `bits.max_code()`.
pub fn pack(codes: &[u8], bits: Bits, out: &mut [u8]) {
    let expected = packed_len(codes.len(), bits);
    assert_eq!(out.len(), expected, "{} codes of {bits} bits: output length", codes.len());
    match bits.get() {
        1 => pack_width::<1>(codes, out),
        2 => pack_width::<2>(codes, out),
        3 => pack_width::<3>(codes, out),
        4 => pack_width::<4>(codes, out),
        5 => pack_width::<5>(codes, out),
        6 => pack_width::<6>(codes, out),
        _ => out.copy_from_slice(codes),
    }
}

/// Unpacks `out.len()` codes into one byte each.
///
/// # Panics
/// If `packed` is not `packed_len(out.len(), bits)` bytes long.
pub fn unpack_into(packed: &[u8], bits: Bits, out: &mut [u8]) {
    let expected = packed_len(out.len(), bits);
    assert_eq!(packed.len(), expected, "{} codes of {bits} bits: input length", out.len());
    match bits.get() {
        1 => unpack_width::<1>(packed, out),
        2 => unpack_width::<2>(packed, out),
        3 => unpack_width::<3>(packed, out),
        4 => unpack_width::<4>(packed, out),
        5 => unpack_width::<5>(packed, out),
        6 => unpack_width::<6>(packed, out),
        _ => out.copy_from_slice(packed),
    }
}

/// The code at position `index` of a packed byte string.
///
/// # Panics
/// If the code lies outside `packed`.
#[must_use]
pub fn code_at(packed: &[u8], bits: Bits, index: usize) -> u8 {
    let bit = (index % BLOCK) * bits.count();
    let byte = (index / BLOCK) * bits.count() + bit / 8;
    let shift = bit % 8;
    let low = packed[byte] >> shift;
    let code = if shift + bits.count() > 8 { low | packed[byte + 1] << (8 - shift) } else { low };
    code & bits.max_code()
}

fn pack_width<const B: usize>(codes: &[u8], out: &mut [u8]) {
    let (blocks, tail) = codes.as_chunks::<BLOCK>();
    let (packed_blocks, packed_tail) = out.as_chunks_mut::<B>();
    let mut seen = 0;
    // A tail of six or seven codes may fill `B` bytes, so one packed block can belong to the tail.
    for (block, packed) in blocks.iter().zip(packed_blocks.iter_mut()) {
        let word = u64::from_le_bytes(*block);
        seen |= word;
        packed.copy_from_slice(&squeeze::<B>(word).to_le_bytes()[..B]);
    }
    let mut last = [0; BLOCK];
    last[..tail.len()].copy_from_slice(tail);
    let word = u64::from_le_bytes(last);
    seen |= word;
    let squeezed = squeeze::<B>(word).to_le_bytes();
    match packed_blocks.get_mut(blocks.len()) {
        Some(packed) => packed.copy_from_slice(&squeezed[..B]),
        None => packed_tail.copy_from_slice(&squeezed[..packed_tail.len()]),
    }
    assert!(seen & !(mask(B) * EVERY_BYTE) == 0, "a code exceeds {B} bits");
}

fn unpack_width<const B: usize>(packed: &[u8], out: &mut [u8]) {
    let (blocks, tail) = out.as_chunks_mut::<BLOCK>();
    // Whole words are read where eight bytes are left: only the low `B` of them count.
    let n_words = if packed.len() < 8 { 0 } else { ((packed.len() - 8) / B + 1).min(blocks.len()) };
    let (by_word, by_bytes) = blocks.split_at_mut(n_words);
    for (block, word) in by_word.iter_mut().zip(packed.windows(8).step_by(B)) {
        let word = word.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        *block = spread::<B>(word).to_le_bytes();
    }
    let mut rest = packed[n_words * B..].chunks(B);
    for (block, bytes) in by_bytes.iter_mut().zip(rest.by_ref()) {
        *block = spread::<B>(word_of(bytes)).to_le_bytes();
    }
    if let Some(bytes) = rest.next() {
        tail.copy_from_slice(&spread::<B>(word_of(bytes)).to_le_bytes()[..tail.len()]);
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// A one in every byte, every second byte, every fourth byte of a word.
const EVERY_BYTE: u64 = u64::MAX / 0xFF;
const EVERY_PAIR: u64 = u64::MAX / 0xFFFF;
const EVERY_QUAD: u64 = u64::MAX / 0xFFFF_FFFF;

const fn mask(n_bits: usize) -> u64 {
    (1 << n_bits) - 1
}

/// Eight adjacent fields of `B` bits, moved apart to one byte each: halves, then quarters, then
/// single fields.
const fn spread<const B: usize>(word: u64) -> u64 {
    let word = (word & mask(4 * B)) | ((word >> (4 * B) & mask(4 * B)) << 32);
    let pairs = mask(2 * B) * EVERY_QUAD;
    let word = (word & pairs) | ((word >> (2 * B) & pairs) << 16);
    let fields = mask(B) * EVERY_PAIR;
    (word & fields) | ((word >> B & fields) << 8)
}

/// The inverse of [`spread`]; bits above `B` in a byte are dropped.
const fn squeeze<const B: usize>(word: u64) -> u64 {
    let fields = mask(B) * EVERY_PAIR;
    let word = (word & fields) | ((word >> 8 & fields) << B);
    let pairs = mask(2 * B) * EVERY_QUAD;
    let word = (word & pairs) | ((word >> 16 & pairs) << (2 * B));
    (word & mask(4 * B)) | ((word >> 32 & mask(4 * B)) << (4 * B))
}
