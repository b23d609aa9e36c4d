// Integer codes to the f16 fragments of mma, exactly: value = code - zero point.
//
// An integer field at bit S of a half becomes 1024 + 2^S code by OR-ing it into 0x6400, and one exact
// instruction turns that into code - zero point.
#pragma once
#include "ptx.cuh"

// A lane's quantum is 32 weights: [k16 step][tile of 16 rows][register of mma's operand A], two to a
// register. It takes as many words as a code has bits.
using Fragments = u32[2][2][4];

constexpr u32 MAGIC = 0x64006400;       // 1024, 1024
constexpr u32 MAGIC_BYTES = 0x64646464; // high bytes of it

__host__ __device__ constexpr u32 both(u32 half) { return half << 16 | half; }

// 2^-S
template <int S>
constexpr u32 INVERSE = both((15 - S) << 10);

// 1024 - 1024 / 2^S in f16, for the shifts that occur
template <int S>
constexpr u32 MAGIC_EXCESS = both(S == 1 ? 0x6000 : S == 2 ? 0x6200 : S == 3 ? 0x6300 : S == 4 ? 0x6380 : 0x63E0);

// What a field at bit S stands for when its code is the zero point of row ROW.
template <int ROW, int S>
__device__ __forceinline__ u32 zero_at(u32 zeros) {
    u32 zero = permute<0x4040 + ROW * 0x0101, MAGIC_BYTES>(zeros);
    if constexpr (S != 0) zero = subtract_constant<MAGIC_EXCESS<S>>(zero);
    return zero;
}

// Field with its magic, less the zero point.
template <int S>
__device__ __forceinline__ u32 less_zero(u32 field, u32 zero) {
    if constexpr (S == 0) return subtract_pairs(field, zero);
    else return multiply_subtract_pairs<INVERSE<S>>(field, zero);
}

// The field of WIDTH bits at bit S of both halves, less the zero point.
template <int S, int WIDTH>
__device__ __forceinline__ u32 field(u32 word, u32 zero) {
    return less_zero<S>(pick<both(((1 << WIDTH) - 1) << S), MAGIC>(word), zero);
}

// Zero points of a lane's rows, as they are subtracted. unpack() takes those of both k16 steps.
template <int BITS>
struct Integers;

template <>
struct Integers<2> {
    // Zero points of rows 0 to 3, at bits 0, 2, 4 and 6.
    u32 z0, z1, z2, z3;
    __device__ __forceinline__ explicit Integers(u32 zeros)
        : z0(zero_at<0, 0>(zeros)), z1(zero_at<1, 2>(zeros)), z2(zero_at<2, 4>(zeros)), z3(zero_at<3, 6>(zeros)) {}

    static __device__ __forceinline__ void unpack(const u32* words, const Integers (&z)[2], Fragments& a) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
                u32 word = words[k] >> (4 * j);
                a[k][0][j] = field<0, 2>(word, z[k].z0);
                a[k][0][j + 1] = field<2, 2>(word, z[k].z1);
                a[k][1][j] = field<4, 2>(word, z[k].z2);
                a[k][1][j + 1] = field<6, 2>(word, z[k].z3);
            }
        }
    }
};

template <>
struct Integers<3> {
    // Five fields at bits 0, 3, 6, 9, 12 and a spare bit; the spare bits of three words are the
    // sixteenth field. Rows 0, 1, 2 stand at one bit each (of the word or of the word >> 6), row 3
    // at two.
    u32 z0, z1, z2, z3_at_3, z3_at_6;
    __device__ __forceinline__ explicit Integers(u32 zeros)
        : z0(zero_at<0, 0>(zeros)), z1(zero_at<1, 3>(zeros)), z2(zero_at<2, 6>(zeros)),
          z3_at_3(zero_at<3, 3>(zeros)), z3_at_6(zero_at<3, 6>(zeros)) {}

    static __device__ __forceinline__ void unpack(const u32* words, const Integers (&z)[2], Fragments& a) {
        u32 high[3] = {words[0] >> 6, words[1] >> 6, words[2] >> 6};
        u32 spare = pick<both(1), MAGIC>(words[0] >> 15);
        spare = pick<both(2)>(words[1] >> 14, spare);
        spare = pick<both(4)>(words[2] >> 13, spare);
        a[0][0][0] = field<0, 3>(words[0], z[0].z0);
        a[0][0][2] = field<0, 3>(words[1], z[0].z0);
        a[1][0][0] = field<0, 3>(words[2], z[1].z0);
        a[1][0][2] = less_zero<0>(spare, z[1].z0);
        a[0][0][1] = field<3, 3>(words[0], z[0].z1);
        a[0][0][3] = field<3, 3>(words[1], z[0].z1);
        a[1][0][1] = field<3, 3>(words[2], z[1].z1);
        a[1][0][3] = field<3, 3>(high[0], z[1].z1);
        a[0][1][0] = field<6, 3>(words[0], z[0].z2);
        a[0][1][2] = field<6, 3>(words[1], z[0].z2);
        a[1][1][0] = field<6, 3>(words[2], z[1].z2);
        a[1][1][2] = field<6, 3>(high[0], z[1].z2);
        a[0][1][1] = field<3, 3>(high[1], z[0].z3_at_3);
        a[0][1][3] = field<3, 3>(high[2], z[0].z3_at_3);
        a[1][1][1] = field<6, 3>(high[1], z[1].z3_at_6);
        a[1][1][3] = field<6, 3>(high[2], z[1].z3_at_6);
    }
};

// Widths whose low four bits are words of nibbles: 4, 5 and 6. Even registers stand at bit 0 of a
// half, odd ones at bit 4.
template <int BITS>
struct Nibbles {
    u32 even[2], odd[2];  // zero points by tile
    __device__ __forceinline__ explicit Nibbles(u32 zeros) {
        even[0] = zero_at<0, 0>(zeros);
        odd[0] = zero_at<1, 4>(zeros);
        even[1] = zero_at<2, 0>(zeros);
        odd[1] = zero_at<3, 4>(zeros);
    }

    // Brings the upper bits of register J of (K, TILE) to bit 4 (J even) or 8 (J odd) of a half.
    template <int K, int TILE, int J>
    static __device__ __forceinline__ u32 upper(const u32* words, u32 x) {
        constexpr int I = 2 * K + TILE;
        constexpr u32 MASK = both(((1 << (BITS - 4)) - 1) << (J % 2 ? 8 : 4));
        if constexpr (BITS == 4) return x;
        // One bit: bits 4 + I, 8 + I, I and 12 + I. Two: 4, 8, 6, 10 and, of tile 1, 0, 12, 2, 14.
        else if constexpr (BITS == 5) {
            if constexpr (J < 2) return pick<MASK>(words[4] >> I, x);
            else if constexpr (J == 2) return pick<MASK>(words[4] << (4 - I), x);
            else return pick<MASK>(words[4] >> (4 + I), x);
        } else if constexpr (TILE == 0) return pick<MASK>(words[4 + K] >> (J < 2 ? 0 : 2), x);
        else if constexpr (J % 2 == 0) return pick<MASK>(words[4 + K] << (J == 0 ? 4 : 2), x);
        else return pick<MASK>(words[4 + K] >> (J == 1 ? 4 : 6), x);
    }

    template <int K, int TILE, int J>
    static __device__ __forceinline__ void unpack_one(const u32* words, const Nibbles& z, Fragments& a) {
        constexpr int S = J % 2 ? 4 : 0;
        u32 word = words[2 * K + TILE] >> (J < 2 ? 0 : 8);
        u32 x = upper<K, TILE, J>(words, pick<both(15 << S), MAGIC>(word));
        a[K][TILE][J] = less_zero<S>(x, S ? z.odd[TILE] : z.even[TILE]);
    }

    template <int K, int TILE>
    static __device__ __forceinline__ void unpack_tile(const u32* words, const Nibbles& z, Fragments& a) {
        unpack_one<K, TILE, 0>(words, z, a);
        unpack_one<K, TILE, 1>(words, z, a);
        unpack_one<K, TILE, 2>(words, z, a);
        unpack_one<K, TILE, 3>(words, z, a);
    }

    template <class Z>
    static __device__ __forceinline__ void unpack(const u32* words, const Z (&z)[2], Fragments& a) {
        unpack_tile<0, 0>(words, z[0], a);
        unpack_tile<0, 1>(words, z[0], a);
        unpack_tile<1, 0>(words, z[1], a);
        unpack_tile<1, 1>(words, z[1], a);
    }
};

template <> struct Integers<4> : Nibbles<4> { using Nibbles::Nibbles; };
template <> struct Integers<5> : Nibbles<5> { using Nibbles::Nibbles; };
template <> struct Integers<6> : Nibbles<6> { using Nibbles::Nibbles; };

template <>
struct Integers<8> {
    u32 row[4];
    __device__ __forceinline__ explicit Integers(u32 zeros)
        : row{zero_at<0, 0>(zeros), zero_at<1, 0>(zeros), zero_at<2, 0>(zeros), zero_at<3, 0>(zeros)} {}

    static __device__ __forceinline__ void unpack(const u32* words, const Integers (&z)[2], Fragments& a) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
#pragma unroll
            for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
                for (int j = 0; j < 4; j += 2) {
                    u32 word = words[4 * k + 2 * tile + j / 2];
                    a[k][tile][j] = subtract_pairs(permute<0x4240, MAGIC_BYTES>(word), z[k].row[2 * tile]);
                    a[k][tile][j + 1] = subtract_pairs(permute<0x4341, MAGIC_BYTES>(word), z[k].row[2 * tile + 1]);
                }
            }
        }
    }
};
