// Y = X W^T for a packed linear of any segments: what decode.cu and gemm.cu are instances of.
#pragma once
#include "reduce.cuh"

// What a warp carries from segment to segment.
template <class S>
struct Work {
    const Linear& linear;
    Sums<S>& sums;
    u32 shared;  // address of the ring of X
    u32* states; // the shared table of trellis states
    u32 block;   // block of 32 rows
    u32 warp_k;
};

// Multiplies one unit and loads what the next one needs, if there is `more`.
template <class S, u32 KIND, bool ONE_GROUP>
__device__ __forceinline__ void multiply_unit(Words<KIND, S::WARPS_K>& words, Groups& groups, Group& group, u32 n_groups,
                                              const Table& table, bool more, u32 x, Sums<S>& sums) {
    if constexpr (KIND == KIND_FP16) {
        multiply_fp16<S>(words, more, x, sums);
    } else if constexpr (ONE_GROUP) {
        Sums<S> part = {};
        multiply_group<S, KIND>(words, more, group.zeros, table, x, part);
        add_scaled<S>(sums, part, group.scales);
        if (more) group = groups.load<KIND>(0);
        groups.advance(S::WARPS_K);
    } else {
        multiply_groups<S, KIND>(words, more, groups, n_groups, table, x, sums);
        groups.advance(S::WARPS_K * n_groups);
    }
}

// Steps `from` to `to` of one segment. Weights of the next step are on their way while those of
// this one are multiplied.
template <class S, u32 KIND, bool ONE_GROUP>
__device__ __forceinline__ void run(Work<S>& work, const Segment& segment, u32 from, u32 to) {
    const u32 lane = threadIdx.x % 32, n_groups = segment.n_groups;
    // Warps beyond the last row copy X and keep the barriers, no more.
    const u32 n_units = work.block * BLOCK_ROWS < work.linear.out_features ? segment.n_units : 0;
    u32 unit = from * S::WARPS_K + work.warp_k;
    const u64 first = static_cast<u64>(work.block) * segment.n_units + unit;
    // The codes of a trellis have a block before the first one: the end of the ring of rows.
    const u64 block_bytes = static_cast<u64>(segment.n_units) * (512 * PIECES<KIND>);
    Words<KIND, S::WARPS_K> words{};
    words.from = work.linear.image + segment.codes + first * (512 * PIECES<KIND>) + lane * 16 +
                 (is_trellis(KIND) ? block_bytes : 0);
    words.block_bytes = block_bytes;
    Groups groups{work.linear.image + segment.scales + first * n_groups * (2 * BLOCK_ROWS) + lane / 4 * 8,
                  work.linear.image + segment.zeros + first * n_groups * segment.zero_stride + lane / 4 * 4,
                  segment.zero_stride};
    constexpr u32 RING = S::STAGES * S::STAGE_BYTES;
    XCopier<S, KIND == KIND_FP16 ? FP16_UNIT_CHANNELS : UNIT_CHANNELS> copier(work.linear, work.shared, segment, from, to - from);
    // Other warps may still read X of the segment before.
    __syncthreads();
#pragma unroll
    for (int i = 0; i < S::STAGES - 1; ++i) copier.advance(i * S::STAGE_BYTES);
    Table table;
    if constexpr (is_codebook(KIND)) table.levels.load(work.linear.image + segment.table);
    if constexpr (is_trellis(KIND)) {
        table.states = shared_address(work.states);
        expand_levels(work.states, reinterpret_cast<const u16*>(work.linear.image + segment.table), segment.n_levels);
    }
    Group group{};
    if (unit < n_units) {
        words.load();
        if constexpr (ONE_GROUP && KIND != KIND_FP16) {
            group = groups.load<KIND>(0);
            groups.advance(S::WARPS_K);
        }
    }
    // Units at which this warp has no more.
    const u32 past = min(n_units, to * S::WARPS_K);
    const u32 own_x = work.shared + work.warp_k * S::UNIT_BYTES + x_offset<S>();
    u32 slot = 0, last_slot = RING - S::STAGE_BYTES;
#pragma unroll 1
    for (u32 step = from; step < to; ++step) {
        wait_for_copies<S::STAGES - 2>();
        __syncthreads();
        copier.advance(last_slot);
        const u32 x = own_x + slot;
        last_slot = slot;
        slot = slot == RING - S::STAGE_BYTES ? 0 : slot + S::STAGE_BYTES;
        const u32 following = unit + S::WARPS_K;
        if (unit < past)
            multiply_unit<S, KIND, ONE_GROUP>(words, groups, group, n_groups, table, following < past, x, work.sums);
        unit = following;
    }
}

template <class S, u32 KIND>
__device__ __forceinline__ void run_codes(Work<S>& work, const Segment& segment, u32 from, u32 to) {
    if (SCALES_SUMS<S> && segment.n_groups == 1) run<S, KIND, SCALES_SUMS<S>>(work, segment, from, to);
    else run<S, KIND, false>(work, segment, from, to);
}

template <class S>
__device__ __forceinline__ void run_trellis(Work<S>& work, const Segment& segment, u32 from, u32 to) {
    switch (segment.kind) {
        case KIND_TRELLIS + 1: return run_codes<S, KIND_TRELLIS + 1>(work, segment, from, to);
        case KIND_TRELLIS + 2: return run_codes<S, KIND_TRELLIS + 2>(work, segment, from, to);
        case KIND_TRELLIS + 3: return run_codes<S, KIND_TRELLIS + 3>(work, segment, from, to);
        case KIND_TRELLIS + 4: return run_codes<S, KIND_TRELLIS + 4>(work, segment, from, to);
        case KIND_TRELLIS + 5: return run_codes<S, KIND_TRELLIS + 5>(work, segment, from, to);
        case KIND_TRELLIS + 6: return run_codes<S, KIND_TRELLIS + 6>(work, segment, from, to);
    }
}

template <class S>
__device__ __forceinline__ void run_segment(Work<S>& work, const Segment& segment, u32 from, u32 to) {
    switch (segment.kind) {
        case KIND_FP16: return run<S, KIND_FP16, true>(work, segment, from, to);
        case 2: return run_codes<S, 2>(work, segment, from, to);
        case 3: return run_codes<S, 3>(work, segment, from, to);
        case 4: return run_codes<S, 4>(work, segment, from, to);
        case 5: return run_codes<S, 5>(work, segment, from, to);
        case 6: return run_codes<S, 6>(work, segment, from, to);
        case 8: return run_codes<S, 8>(work, segment, from, to);
        case KIND_CODEBOOK + 2: return run_codes<S, KIND_CODEBOOK + 2>(work, segment, from, to);
        case KIND_CODEBOOK + 3: return run_codes<S, KIND_CODEBOOK + 3>(work, segment, from, to);
        case KIND_CODEBOOK + 4: return run_codes<S, KIND_CODEBOOK + 4>(work, segment, from, to);
        default: if constexpr (S::HAS_TRELLISES) run_trellis<S>(work, segment, from, to);
    }
}

// Aligned so that the swizzle may flip bits of addresses.
extern __shared__ __align__(128) uint4 shared_memory[];

// A grid of [row tiles of 32 WARPS_N][splits of K], each CTA with STAGES STAGE_BYTES of shared memory.
template <class S>
__device__ __forceinline__ void multiply(const Linear& linear) {
    __shared__ u32 is_last;
    __shared__ u32 states[S::HAS_TRELLISES ? N_STATES : 1];
    const u32 warp = threadIdx.x / 32, warp_k = warp / S::WARPS_N;
    const u32 n_steps = steps_of_all<S>(linear);
    const u32 begin = static_cast<u64>(n_steps) * blockIdx.y / gridDim.y;
    const u32 end = static_cast<u64>(n_steps) * (blockIdx.y + 1) / gridDim.y;
    Sums<S> sums = {};
    Work<S> work{linear, sums, shared_address(shared_memory), states, blockIdx.x * S::WARPS_N + warp % S::WARPS_N, warp_k};
    u32 first = 0;
    for (u32 i = 0; i < linear.n_segments && first < end; ++i) {
        const Segment segment = reinterpret_cast<const Segment*>(linear.image)[i];
        const u32 past = first + steps_of<S>(segment);
        if (begin < past) run_segment<S>(work, segment, max(begin, first) - first, min(end, past) - first);
        first = past;
    }
    wait_for_copies<0>();
    const u32 thread = threadIdx.x % (32 * S::WARPS_N);
    add_warps_along_k<S>(sums, reinterpret_cast<float4*>(shared_memory), warp_k, thread);
    if (gridDim.y > 1 && !add_splits<S>(linear, sums, &is_last, warp_k, thread)) return;
    if (warp_k == 0) store<S>(linear, sums, work.block);
}
