// The gate of the MLP.
#include "values.cuh"

// out = silu(gate) * up, silu(g) = g / (1 + exp(-g)), in f32. Grid [tokens], 256 threads. `out` may be `gate`.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_silu_mul(const u16* gate, // f16 [tokens][stride]
               const u16* up,   // f16 [tokens][stride]
               u16* out,        // f16 [tokens][stride]
               u32 channels, u32 stride) {
    const size_t row = static_cast<size_t>(blockIdx.x) * stride;
    for (u32 c = threadIdx.x; c < channels; c += ELEMENTWISE_THREADS) {
        const float g = from_f16(gate[row + c]);
        out[row + c] = to_f16(g / (1.0f + expf(-g)) * from_f16(up[row + c]));
    }
}
