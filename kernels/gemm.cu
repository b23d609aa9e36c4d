// Packed linears for batches of 9 to 128, as in decoding many sequences and in prefill, where the host
// loops over 128 rows of x at a time. 256 threads multiply 256 rows of weights.
#include "linear.cuh"

// y[batch, N] = x[batch, K] w[N, K]^T; the arguments are those of struct Linear.
// Grid [N / 256 rounded up, splits], 256 threads, STAGES * STAGE_BYTES of dynamic shared memory:
// 32, 64 and 96 KiB, the first two beside 16 KiB of static. The last knows no trellises.
#define ROSAQ_GEMM(BATCH, STAGES)                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 1)                               \
    rosaq_gemm_##BATCH(const u8* image, u32 n_segments, u32 out_features, u32 in_features, const u16* x, \
                       u32 x_stride, u32 batch, void* y, u32 y_stride, u32 y_is_f32, float* partials,    \
                       u32* tickets) {                                                                   \
        const Linear linear{image, n_segments, out_features, in_features, x, x_stride,                   \
                            batch, y, y_stride, y_is_f32, partials, tickets};                            \
        multiply<Shape<BATCH / 8, 8, 1, STAGES>>(linear);                                                \
    }

ROSAQ_GEMM(32, 4)
ROSAQ_GEMM(64, 4)
ROSAQ_GEMM(128, 3)
