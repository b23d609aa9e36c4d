// The PTX instructions that the kernels are made of, one function each.
#pragma once
#include "segment.cuh"

// 16 bytes of weights: read once, so kept out of the first-level cache.
__device__ __forceinline__ uint4 load_weights(const u8* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// The same into four registers, in the lanes that want it; without a branch.
__device__ __forceinline__ void load_weights_if(bool wanted, u32* to, const u8* from) {
    asm volatile("{ .reg .pred wanted; setp.ne.u32 wanted, %5, 0;\n"
                 "@wanted ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4]; }"
                 : "+r"(to[0]), "+r"(to[1]), "+r"(to[2]), "+r"(to[3]) : "l"(from), "r"(static_cast<u32>(wanted)));
}

__device__ __forceinline__ uint2 load_8_bytes(const u8* from) {
    uint2 v;
    asm volatile("ld.global.nc.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    return v;
}

__device__ __forceinline__ u32 load_4_bytes(const u8* from) {
    u32 v;
    asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(from));
    return v;
}

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

// Copies `n_bytes` (0 to 16) to shared memory and fills the rest of the 16 bytes with zeros.
__device__ __forceinline__ void copy_async(u32 to, const void* from, u32 n_bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(n_bytes)
                 : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N groups of this thread's copies are under way.
template <int N>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of f16; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(u32 (&to)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address) : "memory");
}

// sum[16 x 8] += a[16 x 16] b[16 x 8], in f32.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// (bits & MASK) | magic. Constants are immediates: as registers they would live through all loops.
template <u32 MASK>
__device__ __forceinline__ u32 pick(u32 bits, u32 magic) {
    u32 picked;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(picked) : "r"(bits), "n"(MASK), "r"(magic));
    return picked;
}

template <u32 MASK, u32 MAGIC>
__device__ __forceinline__ u32 pick(u32 bits) {
    u32 picked;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(picked) : "r"(bits), "n"(MASK), "n"(MAGIC));
    return picked;
}

// Bits of `low` where MASK is set, of `high` where it is not.
template <u32 MASK>
__device__ __forceinline__ u32 join(u32 low, u32 high) {
    u32 joined;
    asm("lop3.b32 %0, %1, %2, %3, 0xE4;" : "=r"(joined) : "r"(low), "r"(high), "n"(MASK));
    return joined;
}

// Bytes of low (0 to 3) and HIGH (4 to 7), chosen by the four nibbles of SELECTOR.
template <u32 SELECTOR, u32 HIGH>
__device__ __forceinline__ u32 permute(u32 low) {
    u32 bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "n"(HIGH), "n"(SELECTOR));
    return bytes;
}

// The same of two registers: bytes 0 to 3 are `low`, 4 to 7 `high`.
template <u32 SELECTOR>
__device__ __forceinline__ u32 permute_two(u32 low, u32 high) {
    u32 bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "n"(SELECTOR));
    return bytes;
}

// Four bytes of a table of eight, by the lower three bits of the lower four nibbles of `codes`, whose
// bits 3 are zero.
__device__ __forceinline__ u32 look_up_bytes(u32 low, u32 high, u32 codes) {
    u32 bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(codes));
    return bytes;
}

// What `lane` gives.
__device__ __forceinline__ u32 from_lane(u32 value, u32 lane) {
    u32 found;
    asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(found) : "r"(value), "r"(lane));
    return found;
}

// Word `index` of a table in shared memory.
__device__ __forceinline__ u32 load_word(u32 table, u32 index) {
    u32 word;
    asm volatile("{ .reg .b32 at; shl.b32 at, %1, 2; add.u32 at, at, %2; ld.shared.u32 %0, [at]; }"
                 : "=r"(word) : "r"(index), "r"(table) : "memory");
    return word;
}

// Pairs of f16.
__device__ __forceinline__ u32 add_pairs(u32 a, u32 b) {
    u32 c;
    asm("add.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

__device__ __forceinline__ u32 subtract_pairs(u32 a, u32 b) {
    u32 c;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

__device__ __forceinline__ u32 multiply_pairs(u32 a, u32 b) {
    u32 c;
    asm("mul.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

template <u32 B>
__device__ __forceinline__ u32 subtract_constant(u32 a) {
    u32 c;
    asm("{ .reg .b32 b; mov.b32 b, %2; sub.f16x2 %0, %1, b; }" : "=r"(c) : "r"(a), "n"(B));
    return c;
}

// a * B - c
template <u32 B>
__device__ __forceinline__ u32 multiply_subtract_pairs(u32 a, u32 c) {
    u32 d;
    asm("{ .reg .b32 b, n; mov.b32 b, %2; neg.f16x2 n, %3; fma.rn.f16x2 %0, %1, b, n; }" : "=r"(d) : "r"(a), "n"(B), "r"(c));
    return d;
}

__device__ __forceinline__ float low_half(u32 pair) {
    float value;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l; }" : "=f"(value) : "r"(pair));
    return value;
}

__device__ __forceinline__ float high_half(u32 pair) {
    float value;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(pair));
    return value;
}

__device__ __forceinline__ u16 to_half(float value) {
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}
