// From the sums of warps to y: over the warps along K, then over the CTAs along K.
#pragma once
#include "unit.cuh"

// Adds the sums of the warps along K to those of the first ones, in order, through `shared`.
template <class S>
__device__ __forceinline__ void add_warps_along_k(Sums<S>& sums, float4* shared, u32 warp_k, u32 thread) {
    constexpr int N = 2 * S::N_BATCH_TILES, ROW = 32 * S::WARPS_N;
    float4* own = shared + thread;
#pragma unroll
    for (u32 k = 1; k < S::WARPS_K; ++k) {
        __syncthreads();
        if (warp_k == k) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const float(&s)[4] = sums[i / S::N_BATCH_TILES][i % S::N_BATCH_TILES];
                own[i * ROW] = make_float4(s[0], s[1], s[2], s[3]);
            }
        }
        __syncthreads();
        if (warp_k == 0) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                float(&s)[4] = sums[i / S::N_BATCH_TILES][i % S::N_BATCH_TILES];
                const float4 other = own[i * ROW];
                s[0] += other.x, s[1] += other.y, s[2] += other.z, s[3] += other.w;
            }
        }
    }
}

// Adds the sums of the CTAs along K, in order, in whichever of them comes last; false in the others.
// `partials` is f32 [row tiles][splits][2 batch tiles][32 WARPS_N threads][4].
template <class S>
__device__ __forceinline__ bool add_splits(const Linear& linear, Sums<S>& sums, u32* is_last, u32 warp_k, u32 thread) {
    constexpr int N = 2 * S::N_BATCH_TILES, ROW = 32 * S::WARPS_N;
    float4* tile = reinterpret_cast<float4*>(linear.partials) + static_cast<u64>(blockIdx.x) * gridDim.y * N * ROW + thread;
    if (warp_k == 0) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float(&s)[4] = sums[i / S::N_BATCH_TILES][i % S::N_BATCH_TILES];
            __stcg(tile + (blockIdx.y * N + i) * ROW, make_float4(s[0], s[1], s[2], s[3]));
        }
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const u32 ticket = atomicAdd(linear.tickets + blockIdx.x, 1);
        *is_last = ticket == gridDim.y - 1;
        if (ticket == gridDim.y - 1) linear.tickets[blockIdx.x] = 0;
    }
    __syncthreads();
    if (*is_last == 0) return false;
    __threadfence();
    if (warp_k != 0) return true;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        float(&s)[4] = sums[i / S::N_BATCH_TILES][i % S::N_BATCH_TILES];
        s[0] = s[1] = s[2] = s[3] = 0;
        for (u32 split = 0; split < gridDim.y; ++split) {
            const float4 other = __ldcg(tile + (split * N + i) * ROW);
            s[0] += other.x, s[1] += other.y, s[2] += other.z, s[3] += other.w;
        }
    }
    return true;
}

// Writes four consecutive rows of one column of x.
__device__ __forceinline__ void store_rows(const Linear& linear, u32 n, u32 row, const float (&v)[4]) {
    const u64 at = static_cast<u64>(n) * linear.y_stride + row;
    const bool whole = row + 4 <= linear.out_features && linear.y_stride % 4 == 0;
    if (linear.y_is_f32 != 0) {
        float* y = static_cast<float*>(linear.y) + at;
        if (whole) {
            *reinterpret_cast<float4*>(y) = make_float4(v[0], v[1], v[2], v[3]);
        } else {
            for (u32 i = 0; i < 4; ++i) if (row + i < linear.out_features) y[i] = v[i];
        }
    } else {
        u16* y = static_cast<u16*>(linear.y) + at;
        if (whole) {
            *reinterpret_cast<ushort4*>(y) = make_ushort4(to_half(v[0]), to_half(v[1]), to_half(v[2]), to_half(v[3]));
        } else {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) if (row + i < linear.out_features) y[i] = to_half(v[i]);
        }
    }
}

template <class S>
__device__ __forceinline__ void store(const Linear& linear, const Sums<S>& sums, u32 block) {
    const u32 lane = threadIdx.x % 32, row = block * BLOCK_ROWS + lane / 4 * 4;
#pragma unroll
    for (int n = 0; n < S::N_BATCH_TILES; ++n) {
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
            const u32 column = 8 * n + 2 * (lane % 4) + odd;
            const float v[4] = {sums[0][n][odd], sums[0][n][2 + odd], sums[1][n][odd], sums[1][n][2 + odd]};
            if (column < linear.batch) store_rows(linear, column, row, v);
        }
    }
}
