// Codes into a table of f16 levels to the fragments of mma. The table stays in registers, and PRMT looks
// four bytes up at a time.
#pragma once
#include "integers.cuh"

// Low and high bytes of the levels, four to a word.
struct Levels {
    u32 low[4], high[4];

    __device__ __forceinline__ void load(const u8* table) {
        const uint4 l = *reinterpret_cast<const uint4*>(table), h = *reinterpret_cast<const uint4*>(table + 16);
        low[0] = l.x, low[1] = l.y, low[2] = l.z, low[3] = l.w;
        high[0] = h.x, high[1] = h.y, high[2] = h.z, high[3] = h.w;
    }
};

// A word whose nibbles are the eight codes of (k16 step, tile) UNIT / 2, UNIT % 2: nibbles 2 j and
// 2 j + 1 are register j.
template <int BITS, int UNIT>
__device__ __forceinline__ u32 nibbles_of(const u32* words) {
    if constexpr (BITS == 4) return words[UNIT];
    if constexpr (BITS == 2) return pick<0x33333333>(words[UNIT / 2] >> (2 * (UNIT % 2)), 0);
    // Three bits to a nibble; the fourth bits of three words are the codes of the fourth.
    if constexpr (UNIT < 3) return pick<0x77777777>(words[UNIT], 0);
    const u32 lower = pick<0x22222222>(words[1] >> 2, pick<0x11111111>(words[0] >> 3, 0));
    return pick<0x44444444>(words[2] >> 1, lower);
}

// Two registers of levels from the lower four nibbles of `codes`; of four bits, `upper` has in its
// nibbles what chooses between the lower and the upper eight levels.
template <int BITS>
__device__ __forceinline__ void look_up(const Levels& levels, u32 codes, u32 upper, u32& first, u32& second) {
    u32 low = look_up_bytes(levels.low[0], levels.low[1], codes);
    u32 high = look_up_bytes(levels.high[0], levels.high[1], codes);
    if constexpr (BITS == 4) {
        low = look_up_bytes(low, look_up_bytes(levels.low[2], levels.low[3], codes), upper);
        high = look_up_bytes(high, look_up_bytes(levels.high[2], levels.high[3], codes), upper);
    }
    first = permute_two<0x5140>(low, high);
    second = permute_two<0x7362>(low, high);
}

template <int BITS, int UNIT = 0>
__device__ __forceinline__ void unpack_levels(const u32* words, const Levels& levels, Fragments& a) {
    u32 codes = nibbles_of<BITS, UNIT>(words), upper = 0;
    if constexpr (BITS == 4) {
        // Byte i of the lower eight levels, or of the upper ones: 4 more.
        upper = pick<0x44444444>(codes >> 1, 0x32103210);
        codes = pick<0x77777777>(codes, 0);
    }
    u32(&to)[4] = a[UNIT / 2][UNIT % 2];
    look_up<BITS>(levels, codes, upper, to[0], to[1]);
    look_up<BITS>(levels, codes >> 16, upper >> 16, to[2], to[3]);
    if constexpr (UNIT < 3) unpack_levels<BITS, UNIT + 1>(words, levels, a);
}
