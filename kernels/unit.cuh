// One unit of weights times X.
#pragma once
#include "codebook.cuh"
#include "pipeline.cuh"
#include "trellis.cuh"

// Sums of a warp: [tile of 16 rows][batch tile][register of mma's accumulator]. Registers 0 and 1
// belong to row 4 (lane / 4) + 2 tile of the block, 2 and 3 to the row after it; even and odd ones
// to rows 2 (lane % 4) and 2 (lane % 4) + 1 of the batch tile.
template <class S>
using Sums = float[2][S::N_BATCH_TILES][4];

// Up to 8 batch rows, a group of a whole unit is summed apart and then scaled in f32. Above, registers
// are short, and a scaled fragment serves many batch tiles.
template <class S>
constexpr bool SCALES_SUMS = S::N_BATCH_TILES == 1;

// What a lane knows of a group: f16 scales of its four rows, and their zero points as bytes.
struct Group {
    uint2 scales;
    u32 zeros;
};

// Where the groups of a lane's next unit lie.
struct Groups {
    const u8* scales;
    const u8* zeros;
    u32 zero_stride;

    template <u32 KIND>
    __device__ __forceinline__ Group load(u32 group) const {
        return Group{load_8_bytes(scales + group * (2 * BLOCK_ROWS)),
                     is_integers(KIND) ? load_4_bytes(zeros + group * zero_stride) : 0};
    }

    __device__ __forceinline__ void advance(u32 n_groups) {
        scales += n_groups * (2 * BLOCK_ROWS);
        zeros += n_groups * zero_stride;
    }
};

// Pieces of 16 bytes of a lane's unit.
template <u32 KIND>
constexpr int PIECES = KIND == KIND_FP16 ? 4 : kind_bits(KIND);

// A lane's words of one unit, and where those of its next unit lie. A piece is loaded anew as soon as
// its last word has been used, so that it has a whole unit's time to come.
template <u32 KIND, int WARPS_K>
struct Words {
    u32 words[4 * PIECES<KIND>];
    const u8* from;
    // Of a trellis: the same of the block of rows before, in the last lanes.
    u32 before[is_trellis(KIND) ? 4 * PIECES<KIND> : 1];
    u64 block_bytes;

    static __device__ __forceinline__ void put(u32* words, uint4 piece) {
        words[0] = piece.x, words[1] = piece.y, words[2] = piece.z, words[3] = piece.w;
    }

    __device__ __forceinline__ void load_piece(int i) {
        put(words + 4 * i, load_weights(from + 512 * i));
        if constexpr (is_trellis(KIND)) {
            load_weights_if(threadIdx.x % 32 >= 32 - 4 * LANES_BACK<kind_bits(KIND)>, before + 4 * i, from - block_bytes + 512 * i);
        }
    }

    __device__ __forceinline__ void load() {
#pragma unroll
        for (int i = 0; i < PIECES<KIND>; ++i) load_piece(i);
        advance();
    }

    __device__ __forceinline__ void advance() { from += 512 * PIECES<KIND> * WARPS_K; }

    // Loads what quantum QUANTUM (of QUANTA) was the last to use.
    template <int QUANTUM, int QUANTA>
    __device__ __forceinline__ void refill() {
        constexpr int USED = QUANTUM * PIECES<KIND> / QUANTA, NOW = (QUANTUM + 1) * PIECES<KIND> / QUANTA;
#pragma unroll
        for (int i = USED; i < NOW; ++i) load_piece(i);
        if constexpr (QUANTUM + 1 == QUANTA) advance();
    }
};

// What codes of a segment are looked up in: registers of a codebook, the shared address of a trellis.
struct Table {
    Levels levels;
    u32 states;
};

// Fragments of one quantum, less the zero points (of integers) of the groups of its two k16 steps.
template <u32 KIND, int QUANTUM, int WARPS_K>
__device__ __forceinline__ void unpack(const Words<KIND, WARPS_K>& words, u32 zeros, u32 more_zeros, const Table& table,
                                       Fragments& a) {
    constexpr int BITS = kind_bits(KIND);
    const u32* own = words.words + QUANTUM * BITS;
    if constexpr (is_codebook(KIND)) {
        unpack_levels<BITS>(own, table.levels, a);
    } else if constexpr (is_trellis(KIND)) {
        unpack_trellis<BITS>(own, words.before + QUANTUM * BITS, table.states, a);
    } else {
        const Integers<BITS> z[2] = {Integers<BITS>(zeros), Integers<BITS>(more_zeros)};
        Integers<BITS>::unpack(own, z, a);
    }
}

// sums += a x, over the two k16 steps of quantum `quantum`.
template <class S>
__device__ __forceinline__ void multiply_quantum(const Fragments& a, u32 x, u32 quantum, Sums<S>& sums) {
    u32 b[4];
    if constexpr (S::N_BATCH_TILES == 1) {
        load_x<S>(b, x, 2 * quantum, 0);
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            multiply_add(sums[0][0], a[k][0], b[2 * k], b[2 * k + 1]);
            multiply_add(sums[1][0], a[k][1], b[2 * k], b[2 * k + 1]);
        }
    } else {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
#pragma unroll
            for (int n = 0; n < S::N_BATCH_TILES; n += 2) {
                load_x<S>(b, x, 2 * quantum + k, n);
#pragma unroll
                for (int tile = 0; tile < 2; ++tile) {
                    multiply_add(sums[tile][n], a[k][tile], b[0], b[1]);
                    multiply_add(sums[tile][n + 1], a[k][tile], b[2], b[3]);
                }
            }
        }
    }
}

// sums += scale of the row * part
template <class S>
__device__ __forceinline__ void add_scaled(Sums<S>& sums, const Sums<S>& part, uint2 scales) {
    const float s[4] = {low_half(scales.x), high_half(scales.x), low_half(scales.y), high_half(scales.y)};
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
        for (int n = 0; n < S::N_BATCH_TILES; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[tile][n][i] = fmaf(s[2 * tile + i / 2], part[tile][n][i], sums[tile][n][i]);
        }
    }
}

// Multiplies fragments of k16 step K by the scales of their rows, in f16.
__device__ __forceinline__ void scale_fragments(u32 (&a)[2][4], uint2 scales) {
    const u32 s[4] = {permute<0x1010, 0>(scales.x), permute<0x3232, 0>(scales.x),
                      permute<0x1010, 0>(scales.y), permute<0x3232, 0>(scales.y)};
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
        for (int j = 0; j < 4; ++j) a[tile][j] = multiply_pairs(a[tile][j], s[2 * tile + j % 2]);
    }
}

// A unit whose channels are one group, quantum by quantum: sums without scales.
template <class S, u32 KIND, int QUANTUM = 0>
__device__ __forceinline__ void multiply_group(Words<KIND, S::WARPS_K>& words, bool more, u32 zeros, const Table& table,
                                               u32 x, Sums<S>& sums) {
    Fragments a;
    unpack<KIND, QUANTUM>(words, zeros, zeros, table, a);
    if (more) words.template refill<QUANTUM, 4>();
    multiply_quantum<S>(a, x, QUANTUM, sums);
    if constexpr (QUANTUM < 3) multiply_group<S, KIND, QUANTUM + 1>(words, more, zeros, table, x, sums);
}

// A unit of 1, 2, 4 or 8 groups: fragments are scaled.
template <class S, u32 KIND, int QUANTUM = 0>
__device__ __forceinline__ void multiply_groups(Words<KIND, S::WARPS_K>& words, bool more, const Groups& groups,
                                                u32 n_groups, const Table& table, u32 x, Sums<S>& sums) {
    // With groups of 16, the second k16 step is of another group than the first.
    const Group first = groups.load<KIND>(QUANTUM * n_groups / 4);
    const Group second = n_groups == 8 ? groups.load<KIND>(2 * QUANTUM + 1) : first;
    Fragments a;
    unpack<KIND, QUANTUM>(words, first.zeros, second.zeros, table, a);
    scale_fragments(a[0], first.scales);
    scale_fragments(a[1], second.scales);
    if (more) words.template refill<QUANTUM, 4>();
    multiply_quantum<S>(a, x, QUANTUM, sums);
    if constexpr (QUANTUM < 3) multiply_groups<S, KIND, QUANTUM + 1>(words, more, groups, n_groups, table, x, sums);
}

template <class S>
__device__ __forceinline__ void multiply_fp16(Words<KIND_FP16, S::WARPS_K>& words, bool more, u32 x, Sums<S>& sums) {
    Fragments a;
#pragma unroll
    for (int i = 0; i < 16; ++i) a[i / 8][i / 4 % 2][i % 4] = words.words[i];
    multiply_quantum<S>(a, x, 0, sums);
    if (more) words.template refill<0, 1>();
}
