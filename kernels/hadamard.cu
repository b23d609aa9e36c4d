// Online Walsh-Hadamard transform of a linear's input, in blocks.
#include "values.cuh"

extern __shared__ float block_values[];

// Every `points` consecutive channels become their Walsh-Hadamard transform over sqrt(points), in place; in f32.
// `points` is a power of two from 2 to 8192 that divides the channels.
// Grid [channels / points, tokens], 256 threads, 4 * points bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_hadamard(u16* x, // f16 [tokens][stride]
               u32 points, u32 stride) {
    u16* block = x + static_cast<size_t>(blockIdx.y) * stride + static_cast<size_t>(blockIdx.x) * points;
    for (u32 c = threadIdx.x; c < points; c += ELEMENTWISE_THREADS) block_values[c] = from_f16(block[c]);
    for (u32 half = 1; half < points; half *= 2) {
        __syncthreads();
        for (u32 pair = threadIdx.x; pair < points / 2; pair += ELEMENTWISE_THREADS) {
            const u32 low = pair % half, first = (pair - low) * 2 + low;
            const float a = block_values[first], b = block_values[first + half];
            block_values[first] = a + b;
            block_values[first + half] = a - b;
        }
    }
    __syncthreads();
    const float scale = 1.0f / sqrtf(static_cast<float>(points));
    for (u32 c = threadIdx.x; c < points; c += ELEMENTWISE_THREADS) block[c] = to_f16(block_values[c] * scale);
}
