// Trellis codes to the fragments of mma.
//
// A trellis runs down the rows of a channel, and a lane's four rows follow each other. Its words hold, for
// each of its channels, the codes of these rows, the last row's lowest: together with the words of lanes
// before it, a run of bits in which the state of row i is bits BITS (3 - i) to BITS (3 - i) + 11.
#pragma once
#include "integers.cuh"

constexpr u32 N_STATES = 4096;

// How many lanes back the bits of a state reach, when a lane has four rows.
template <int BITS>
constexpr int LANES_BACK = BITS >= 3 ? 1 : BITS == 2 ? 2 : 3;

// 32 bits from bit AT of the words on; what stands beyond the N words is of no use.
template <int AT, int N>
__device__ __forceinline__ u32 bits_from(const u32* words) {
    if constexpr (AT < 0) return words[0] << -AT;
    else if constexpr (AT % 32 == 0) return words[AT / 32];
    else if constexpr (AT / 32 + 1 < N) return __funnelshift_r(words[AT / 32], words[AT / 32 + 1], AT % 32);
    else return words[AT / 32] >> (AT % 32);
}

// A quantum's words of this lane and of lanes before it: [lanes back][word].
template <int BITS>
using Rows = u32[LANES_BACK<BITS> + 1][BITS];

// The bits of channel CHANNEL of a quantum: its own 4 BITS, above them those of lanes before, above these
// anything.
template <int BITS, int CHANNEL>
__device__ __forceinline__ u32 bits_of(const Rows<BITS>& words) {
    constexpr int AT = 4 * BITS * CHANNEL, WORD = AT / 32, BYTE = AT / 8 % 4;
    if constexpr (BITS == 1) {
        // Nibbles of this lane and the one before make bytes, as do those of the two before these.
        constexpr bool ODD = CHANNEL % 2;
        const u32 near = ODD ? join<0x0f0f0f0f>(words[0][0] >> 4, words[1][0]) : join<0x0f0f0f0f>(words[0][0], words[1][0] << 4);
        const u32 far = ODD ? join<0x0f0f0f0f>(words[2][0] >> 4, words[3][0]) : join<0x0f0f0f0f>(words[2][0], words[3][0] << 4);
        return permute_two<(CHANNEL / 2) * 0x11 + 0x40>(near, far);
    } else if constexpr (BITS == 2) {
        const u32 near = permute_two<BYTE * 0x11 + 0x40>(words[0][WORD], words[1][WORD]);
        return permute_two<0x0010 + ((4 + BYTE) << 8)>(near, words[2][WORD]);
    } else if constexpr (BITS == 4) {
        return permute_two<BYTE == 0 ? 0x5410 : 0x7632>(words[0][WORD], words[1][WORD]);
    } else if constexpr (BITS == 6) {
        // Three bytes, and the lowest one of the lane before, which stands at the same place.
        constexpr u32 FOUR = BYTE * 0x111 + 0x4210 + (BYTE << 12);
        if constexpr (BYTE < 2) return permute_two<FOUR>(words[0][WORD], words[1][WORD]);
        else return permute_two<0x0210 + ((4 + BYTE) << 12)>(permute_two<BYTE * 0x111 + 0x0210>(words[0][WORD], words[0][WORD + 1]), words[1][WORD]);
    } else {
        return join<(1u << 4 * BITS) - 1>(bits_from<AT, BITS>(words[0]), bits_from<AT - 4 * BITS, BITS>(words[1]));
    }
}

// Levels of row ROW of two channels. Words of the table hold a level twice.
template <int BITS, int ROW>
__device__ __forceinline__ u32 levels_of(u32 table, u32 first, u32 second) {
    constexpr int S = BITS * (3 - ROW);
    const u32 a = load_word(table, pick<N_STATES - 1>(first >> S, 0)), b = load_word(table, pick<N_STATES - 1>(second >> S, 0));
    return permute_two<0x5410>(a, b);
}

// PAIR: which two channels of the eight, k16 step PAIR / 2.
template <int BITS, int PAIR = 0>
__device__ __forceinline__ void unpack_states(const Rows<BITS>& words, u32 table, Fragments& a) {
    const u32 first = bits_of<BITS, 2 * PAIR>(words), second = bits_of<BITS, 2 * PAIR + 1>(words);
    constexpr int K = PAIR / 2, J = 2 * (PAIR % 2);
    a[K][0][J] = levels_of<BITS, 0>(table, first, second);
    a[K][0][J + 1] = levels_of<BITS, 1>(table, first, second);
    a[K][1][J] = levels_of<BITS, 2>(table, first, second);
    a[K][1][J + 1] = levels_of<BITS, 3>(table, first, second);
    if constexpr (PAIR < 3) unpack_states<BITS, PAIR + 1>(words, table, a);
}

// The quantum of `own` words; `before` are those of the block of rows before, in the last lanes.
template <int BITS>
__device__ __forceinline__ void unpack_trellis(const u32* own, const u32* before, u32 table, Fragments& a) {
    const u32 lane = threadIdx.x % 32;
    Rows<BITS> words;
#pragma unroll
    for (int i = 0; i < BITS; ++i) {
        words[0][i] = own[i];
#pragma unroll
        for (u32 back = 1; back <= LANES_BACK<BITS>; ++back) {
            const u32 given = lane >= 32 - 4 * back ? before[i] : own[i];
            words[back][i] = from_lane(given, (lane - 4 * back) % 32);
        }
    }
    unpack_states<BITS>(words, table, a);
}

// Bits 0, 2, 4, ... of a state moved together.
__device__ __forceinline__ u32 every_other_bit(u32 state) {
    u32 found = 0;
#pragma unroll
    for (int i = 0; i < 6; ++i) found |= (state >> i) & (1u << i);
    return found;
}

// Fills the shared table of all states: from 4096 levels, or from sums of 64 by the even and 64 by the
// odd bits of the state.
__device__ __forceinline__ void expand_levels(u32* states, const u16* levels, u32 n_levels) {
    __syncthreads();
    for (u32 state = threadIdx.x; state < N_STATES; state += blockDim.x) {
        u32 level = n_levels == N_STATES ? levels[state] : levels[every_other_bit(state)];
        if (n_levels != N_STATES) level = add_pairs(level, levels[64 + every_other_bit(state >> 1)]);
        states[state] = level * 0x10001;
    }
    __syncthreads();
}
