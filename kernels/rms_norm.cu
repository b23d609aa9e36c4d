// Root-mean-square normalization (arXiv 1910.07467, eq. 4) with its gain, of the residual and of single heads.
#include "values.cuh"

// hidden += branch, then out = hidden / sqrt(mean(hidden^2) + eps) * gain, for every token.
// Sums in f32, in an order that depends on `channels` alone. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_rms_norm(float* hidden,      // [tokens][channels], the residual, f32
               const float* branch, // [tokens][channels], what a branch adds, f32; or null for nothing
               const float* gain,  // [channels], f32
               u16* out,           // f16 [tokens][out_stride]; what is beyond `channels` becomes zero
               u32 channels, u32 out_stride, float eps) {
    __shared__ float sums[ELEMENTWISE_THREADS / 32];
    const size_t row = static_cast<size_t>(blockIdx.x) * channels;
    float sum = 0;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) {
        float value = hidden[row + c];
        if (branch != nullptr) {
            value += branch[row + c];
            hidden[row + c] = value;
        }
        sum += value * value;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (float part : sums) sum += part;
    const float factor = 1.0f / sqrtf(sum / static_cast<float>(channels) + eps);
    u16* to = out + static_cast<size_t>(blockIdx.x) * out_stride;
    // A thread reads back only what it wrote itself.
    for (u32 c = threadIdx.x; c < out_stride; c += ELEMENTWISE_THREADS)
        to[c] = c < channels ? to_f16(hidden[row + c] * factor * gain[c]) : 0;
}

// Every head of every token normalized by itself, in place, as Qwen3 does to queries and keys.
// Grid [heads, tokens], 32 threads.
extern "C" __global__ void __launch_bounds__(32)
rosaq_head_norm(u16* x,            // f16 [tokens][stride], heads one after another
                const float* gain, // [head_dim], f32, the same for all heads
                u32 head_dim, u32 stride, float eps) {
    u16* head = x + static_cast<size_t>(blockIdx.y) * stride + blockIdx.x * head_dim;
    float sum = 0;
    for (u32 c = threadIdx.x; c < head_dim; c += 32) {
        const float value = from_f16(head[c]);
        sum += value * value;
    }
    const float factor = 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(head_dim) + eps);
    for (u32 c = threadIdx.x; c < head_dim; c += 32) head[c] = to_f16(from_f16(head[c]) * factor * gain[c]);
}
