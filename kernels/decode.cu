// Packed linears for a batch of 1 to 8, as in decoding. 256 threads multiply 128 rows of weights.
#include "linear.cuh"

using Decode = Shape<1, 4, 2, 4>;

// y[batch, N] = x[batch, K] w[N, K]^T; the arguments are those of struct Linear.
// Grid [N / 128 rounded up, splits], 256 threads, 16 KiB of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(Decode::THREADS, 2)
rosaq_decode(const u8* image, u32 n_segments, u32 out_features, u32 in_features, const u16* x, u32 x_stride,
             u32 batch, void* y, u32 y_stride, u32 y_is_f32, float* partials, u32* tickets) {
    const Linear linear{image, n_segments, out_features, in_features, x, x_stride,
                        batch, y, y_stride, y_is_f32, partials, tickets};
    multiply<Decode>(linear);
}
