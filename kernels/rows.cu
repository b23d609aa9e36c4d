// Rows of activations moved, added to and put in another order.
#include "values.cuh"

// x += bias for every token, in place. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_add_bias(u16* x,            // f16 [tokens][stride]
               const float* bias, // [channels], f32
               u32 channels, u32 stride) {
    u16* row = x + static_cast<size_t>(blockIdx.x) * stride;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) row[c] = to_f16(from_f16(row[c]) + bias[c]);
}

// The same for f32. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_add_bias_f32(float* x,          // [tokens][stride]
                   const float* bias, // [channels], f32
                   u32 channels, u32 stride) {
    float* row = x + static_cast<size_t>(blockIdx.x) * stride;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) row[c] += bias[c];
}

// Channels in another order: y[token][c] = x[token][order[c]]. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_gather_channels(const u16* x,     // f16 [tokens][stride]
                      u16* y,           // f16 [tokens][stride], other memory than x
                      const u32* order, // [channels]
                      u32 channels, u32 stride) {
    const size_t row = static_cast<size_t>(blockIdx.x) * stride;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) y[row + c] = x[row + order[c]];
}

// Rows into a cache: y[rows[token]] = x[token]. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_scatter_rows(const u16* x,    // f16 [tokens][x_stride]
                   u16* y,          // f16 [rows][y_stride]
                   const u32* rows, // [tokens]
                   u32 channels, u32 x_stride, u32 y_stride) {
    const u16* from = x + static_cast<size_t>(blockIdx.x) * x_stride;
    u16* to = y + static_cast<size_t>(rows[blockIdx.x]) * y_stride;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) to[c] = from[c];
}

// f32 to f16, with zeros up to the stride. Grid [tokens], 256 threads.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_round_rows(const float* x, // [tokens][channels], f32
                 u16* y,         // f16 [tokens][y_stride]
                 u32 channels, u32 y_stride) {
    const float* from = x + static_cast<size_t>(blockIdx.x) * channels;
    u16* to = y + static_cast<size_t>(blockIdx.x) * y_stride;
    for (u32 c = threadIdx.x; c < y_stride; c += ELEMENTWISE_THREADS) to[c] = c < channels ? to_f16(from[c]) : 0;
}
