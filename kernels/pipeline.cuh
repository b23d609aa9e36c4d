// The work of one CTA: steps over the units of all segments, and X for them in shared memory.
//
// A step is WARPS_K units, one for each warp along K, multiplied by all warps along N. X of a step
// comes by cp.async into one of STAGES slots, [warps along K][rows of x][16 pieces of 16 bytes];
// piece p of row n stands at p ^ (n % 8), so that ldmatrix reads without bank conflicts.
#pragma once
#include "ptx.cuh"

// N_BATCH_TILES: batch / 8, rounded up. A CTA multiplies 32 WARPS_N rows by 8 N_BATCH_TILES of x.
template <int N_BATCH_TILES_, int WARPS_N_, int WARPS_K_, int STAGES_>
struct Shape {
    static constexpr int N_BATCH_TILES = N_BATCH_TILES_, WARPS_N = WARPS_N_, WARPS_K = WARPS_K_, STAGES = STAGES_;
    static constexpr int THREADS = 32 * WARPS_N * WARPS_K;
    static constexpr int X_ROWS = 8 * N_BATCH_TILES;
    static constexpr int ROW_BYTES = 2 * UNIT_CHANNELS;
    static constexpr int UNIT_BYTES = X_ROWS * ROW_BYTES;
    static constexpr int STAGE_BYTES = WARPS_K * UNIT_BYTES;
    // At 128 rows of x, registers are too short for trellises.
    static constexpr bool HAS_TRELLISES = N_BATCH_TILES < 16;
    static constexpr int COPIES = STAGE_BYTES / 16 / THREADS;  // a thread and step
    static_assert(COPIES * 16 * THREADS == STAGE_BYTES, "every thread copies as much");
};

__device__ __forceinline__ u32 unit_channels(u32 kind) {
    return kind == KIND_FP16 ? FP16_UNIT_CHANNELS : UNIT_CHANNELS;
}

template <class S>
__device__ __forceinline__ u32 steps_of(const Segment& segment) {
    return (segment.n_units + S::WARPS_K - 1) / S::WARPS_K;
}

template <class S>
__device__ __forceinline__ u32 steps_of_all(const Linear& linear) {
    const Segment* segments = reinterpret_cast<const Segment*>(linear.image);
    u32 n_steps = 0;
    for (u32 i = 0; i < linear.n_segments; ++i) n_steps += steps_of<S>(segments[i]);
    return n_steps;
}

// Copies X of one step of a segment after the other into the ring of slots. A thread copies one piece
// of the same rows in every step.
template <class S, u32 CHANNELS>
struct XCopier {
    // Rows of x between the copies of a thread.
    static constexpr u32 ROW_STRIDE = S::THREADS / 16;

    const u16* from;  // this thread's first piece of the next step
    int left;         // channels from there to the end of the segment, if the piece is wanted
    u32 n_rows;       // rows of x from the one of this thread's first piece on
    u32 x_stride;
    u32 to;           // where the first piece goes, in slot 0
    u32 n_steps;      // that are still to be copied

    __device__ __forceinline__ XCopier(const Linear& linear, u32 shared, const Segment& segment, u32 first_step, u32 n_steps)
        : x_stride(linear.x_stride), n_steps(n_steps) {
        const u32 row = threadIdx.x / 16, piece = threadIdx.x % 16, n = row % S::X_ROWS;
        const u32 unit = first_step * S::WARPS_K + row / S::X_ROWS;
        const u32 of_segment = unit * CHANNELS + piece * 8, channel = segment.channel_start + of_segment;
        const bool wanted = n < linear.batch && piece * 8 < CHANNELS;
        n_rows = wanted ? linear.batch - n : 0;
        left = wanted ? static_cast<int>(segment.channels - of_segment) : -0x40000000;
        from = linear.x + static_cast<u64>(n) * linear.x_stride + channel;
        to = shared + row * S::ROW_BYTES + (piece ^ row % 8) * 16;
    }

    // Starts the copies of the next step, if there is one, as one group.
    __device__ __forceinline__ void advance(u32 slot) {
        if (n_steps > 0) {
            const int n_bytes = 2 * max(0, min(8, left));
#pragma unroll
            for (int i = 0; i < S::COPIES; ++i) {
                const u16* row = from + static_cast<u64>(i * ROW_STRIDE) * x_stride;
                copy_async(to + slot + i * ROW_STRIDE * S::ROW_BYTES, row, i == 0 || i * ROW_STRIDE < n_rows ? n_bytes : 0);
            }
            from += CHANNELS * S::WARPS_K;
            left -= static_cast<int>(CHANNELS * S::WARPS_K);
            --n_steps;
        }
        commit_copies();
    }
};

// The fragments of X for one k16 step: b[batch tile][register].
//
// One ldmatrix fetches four 8x8 matrices: both halves of k for two batch tiles, or, where there is
// but one batch tile, for two k16 steps (then `k16` is even and b has two entries, one a step).
// `x` is the address of the unit plus the offset of this lane, x_offset().
template <class S>
__device__ __forceinline__ void load_x(u32 (&b)[4], u32 x, u32 k16, u32 batch_tile) {
    // Of 16 pieces, the swizzle moves the lower three bits of the number, and bit 3 passes through.
    const u32 piece = 2 * k16;
    load_matrices(b, (x ^ (piece % 8) * 16) + piece / 8 * 128 + batch_tile * 8 * S::ROW_BYTES);
}

// Where this lane's row of its matrix begins in a unit of x. Units are aligned to 256 bytes, so bits
// of piece numbers can be flipped in the sum.
template <class S>
__device__ __forceinline__ u32 x_offset() {
    const u32 lane = threadIdx.x % 32, matrix = lane / 8;
    const u32 n = (S::N_BATCH_TILES == 1 ? 0 : matrix / 2 * 8) + lane % 8;
    return n * S::ROW_BYTES + ((S::N_BATCH_TILES == 1 ? matrix : matrix % 2) ^ lane % 8) * 16;
}
