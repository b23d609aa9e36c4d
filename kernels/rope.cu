// Rotary position embedding: channel i of a head pairs with i + half, as in rosaq-runtime's rope.rs.
#include "values.cuh"

// y = x with every head turned by the angles of its token's position. Grid [tokens], 256 threads.
// x and y may be the same memory if `y_rows` is null.
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
rosaq_rope(const u16* x,         // f16 [tokens][x_stride], heads of 2 * half channels one after another
           u16* y,               // f16 [rows][y_stride]
           const u32* y_rows,    // [tokens], the row of y that each token goes to, as in a cache; null: its own
           const float* cosines, // [positions][half], f32
           const float* sines,   // the same
           const u32* positions, // [tokens]
           u32 n_heads, u32 half, u32 x_stride, u32 y_stride) {
    const u32 token = blockIdx.x;
    const u32 row = y_rows != nullptr ? y_rows[token] : token;
    const u16* from = x + static_cast<size_t>(token) * x_stride;
    u16* to = y + static_cast<size_t>(row) * y_stride;
    const size_t angles = static_cast<size_t>(positions[token]) * half;
    for (u32 pair = threadIdx.x; pair < n_heads * half; pair += ELEMENTWISE_THREADS) {
        const u32 angle = pair % half, first = pair / half * 2 * half + angle;
        const float cosine = cosines[angles + angle], sine = sines[angles + angle];
        const float a = from_f16(from[first]), b = from_f16(from[first + half]);
        to[first] = to_f16(a * cosine - b * sine);
        to[first + half] = to_f16(b * cosine + a * sine);
    }
}
