// What the elementwise kernels share: f16 in memory, f32 in registers, sums over a CTA.
#pragma once
#include "segment.cuh"

constexpr u32 FULL_WARP = 0xffffffff;
// Threads of a CTA of every elementwise kernel.
constexpr u32 ELEMENTWISE_THREADS = 256;

__device__ __forceinline__ float from_f16(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Rounded to nearest, ties to even; what is too large becomes infinite, so that the host can see it.
__device__ __forceinline__ u16 to_f16(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// The sum over a warp, in every lane; always in the same order.
__device__ __forceinline__ float warp_sum(float value) {
    for (u32 distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(FULL_WARP, value, distance);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (u32 distance = 16; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
    return value;
}
