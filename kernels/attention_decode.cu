// Attention of single queries over a cache, heads in groups that share keys and values.
//
// One CTA handles one key-value head of one query token. Its four warps take tiles of 32 keys in turn: a lane computes the
// score of one key for QUERIES heads at once, then the warp adds the values, a lane holding every 32nd channel. Maximum and
// sum are carried along (the online softmax of FlashAttention, arXiv 2205.14135), so that keys and values are read once for
// QUERIES heads. In the end the warps' parts are put together in order.
#include "values.cuh"

constexpr u32 ATTENTION_WARPS = 4;
constexpr u32 QUERIES = 4; // heads at once

// Arguments of every entry.
struct Attention {
    const u16* queries; // f16 [tokens][n_heads * head_dim] in rows of `stride`
    const u16* keys;    // f16 [rows][n_kv_heads * head_dim], 16-byte aligned
    const u16* values;  // the same
    const u32* starts;  // [tokens], the first row of the cache that the token sees
    const u32* counts;  // [tokens], the rows that it sees, at least 1
    u16* out;           // f16 [tokens][n_heads * head_dim] in rows of `stride`; not `queries`
    u32 n_heads, n_kv_heads;
    u32 head_dim;       // a multiple of 8
    u32 stride;
    float scale;        // 1 / sqrt(head_dim)
};

// A warp's part of the softmax of QUERIES heads.
template <u32 SLICES>
struct Part {
    float max[QUERIES], sum[QUERIES], values[QUERIES][SLICES];
};

// The scores of this lane's key, eight channels at a time.
__device__ __forceinline__ void score(const u16* key, const float* queries, u32 head_dim, float (&scores)[QUERIES]) {
    for (u32 c = 0; c < head_dim; c += 8) {
        const uint4 words = *reinterpret_cast<const uint4*>(key + c);
        const u32 pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            const float k = from_f16(static_cast<u16>(pairs[i / 2] >> (16 * (i % 2))));
#pragma unroll
            for (u32 q = 0; q < QUERIES; q++) scores[q] += k * queries[q * head_dim + c + i];
        }
    }
}

// Adds a tile of up to 32 keys, whose scores the lanes hold.
template <u32 SLICES>
__device__ __forceinline__ void add_tile(Part<SLICES>& part, const float (&scores)[QUERIES], const u16* values, u32 n_keys,
                                         u32 kv_stride, u32 head_dim) {
    const u32 lane = threadIdx.x % 32;
    float weights[QUERIES];
#pragma unroll
    for (u32 q = 0; q < QUERIES; q++) {
        const float max = fmaxf(part.max[q], warp_max(scores[q]));
        const float shrink = expf(part.max[q] - max);
        weights[q] = expf(scores[q] - max);
        part.max[q] = max;
        part.sum[q] = part.sum[q] * shrink + warp_sum(weights[q]);
#pragma unroll
        for (u32 s = 0; s < SLICES; s++) part.values[q][s] *= shrink;
    }
    for (u32 key = 0; key < n_keys; key++) {
        float weight[QUERIES];
#pragma unroll
        for (u32 q = 0; q < QUERIES; q++) weight[q] = __shfl_sync(FULL_WARP, weights[q], key);
        const u16* row = values + static_cast<size_t>(key) * kv_stride;
#pragma unroll
        for (u32 s = 0; s < SLICES; s++) {
            const u32 c = s * 32 + lane;
            const float v = c < head_dim ? from_f16(row[c]) : 0.0f;
#pragma unroll
            for (u32 q = 0; q < QUERIES; q++) part.values[q][s] += weight[q] * v;
        }
    }
}

// Puts the parts of all warps together and writes the heads' output.
template <u32 SLICES>
__device__ __forceinline__ void merge(const Part<SLICES>& part, u16* out, u32 n_queries, u32 head_dim) {
    __shared__ float max[ATTENTION_WARPS][QUERIES], sum[ATTENTION_WARPS][QUERIES];
    __shared__ float values[ATTENTION_WARPS][QUERIES][SLICES * 32];
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (u32 q = 0; q < QUERIES; q++) {
        if (lane == 0) {
            max[warp][q] = part.max[q];
            sum[warp][q] = part.sum[q];
        }
#pragma unroll
        for (u32 s = 0; s < SLICES; s++) values[warp][q][s * 32 + lane] = part.values[q][s];
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n_queries * head_dim; i += ATTENTION_WARPS * 32) {
        const u32 q = i / head_dim, c = i % head_dim;
        float top = max[0][q], total = 0, value = 0;
        for (u32 w = 1; w < ATTENTION_WARPS; w++) top = fmaxf(top, max[w][q]);
        for (u32 w = 0; w < ATTENTION_WARPS; w++) {
            const float share = expf(max[w][q] - top); // 0 for a warp that saw no key
            total += share * sum[w][q];
            value += share * values[w][q][c];
        }
        out[i] = to_f16(value / total);
    }
    __syncthreads(); // the next heads use the same shared memory
}

template <u32 SLICES>
__device__ __forceinline__ void attend(const Attention& a) {
    __shared__ float queries[QUERIES * SLICES * 32];
    const u32 kv_head = blockIdx.x, token = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 group = a.n_heads / a.n_kv_heads, kv_stride = a.n_kv_heads * a.head_dim, count = a.counts[token];
    const size_t first = static_cast<size_t>(a.starts[token]) * kv_stride + kv_head * a.head_dim;
    for (u32 from = 0; from < group; from += QUERIES) {
        const u32 n_queries = min(QUERIES, group - from);
        const size_t heads = static_cast<size_t>(token) * a.stride + (kv_head * group + from) * a.head_dim;
        for (u32 i = threadIdx.x; i < QUERIES * a.head_dim; i += ATTENTION_WARPS * 32)
            queries[i] = i < n_queries * a.head_dim ? from_f16(a.queries[heads + i]) * a.scale : 0.0f;
        __syncthreads();
        Part<SLICES> part = {};
        // Finite, so that a warp without keys never subtracts infinities.
        for (float& max : part.max) max = -1e30f;
        for (u32 tile = warp * 32; tile < count; tile += ATTENTION_WARPS * 32) {
            const u32 n_keys = min(32u, count - tile);
            const size_t row = first + static_cast<size_t>(tile) * kv_stride;
            float scores[QUERIES] = {};
            if (lane < n_keys) {
                score(a.keys + row + static_cast<size_t>(lane) * kv_stride, queries, a.head_dim, scores);
            } else {
                for (float& s : scores) s = -__int_as_float(0x7f800000); // weight 0
            }
            add_tile<SLICES>(part, scores, a.values + row, n_keys, kv_stride, a.head_dim);
        }
        merge<SLICES>(part, a.out + heads, n_queries, a.head_dim);
    }
}

// softmax(scale q k^T) v for every token and head; the arguments are those of struct Attention.
// Grid [n_kv_heads, tokens], 128 threads. One entry for heads of up to 64, 128 and 256 channels.
#define ATTENTION_ENTRY(MAX_HEAD_DIM)                                                                                   \
    extern "C" __global__ void __launch_bounds__(ATTENTION_WARPS * 32) rosaq_attention_##MAX_HEAD_DIM(                  \
        const u16* queries, const u16* keys, const u16* values, const u32* starts, const u32* counts, u16* out,        \
        u32 n_heads, u32 n_kv_heads, u32 head_dim, u32 stride, float scale) {                                          \
        const Attention attention{queries, keys, values, starts, counts, out,                                          \
                                  n_heads, n_kv_heads, head_dim, stride, scale};                                       \
        attend<MAX_HEAD_DIM / 32>(attention);                                                                          \
    }

ATTENTION_ENTRY(64)
ATTENTION_ENTRY(128)
ATTENTION_ENTRY(256)
