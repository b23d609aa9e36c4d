// What a packed linear looks like on the device. The Rust twin of this file is
// crates/rosaq-pack/src/device/; kernels/README.md holds the layout as a table.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

// Weights are stored in units. A unit is what one warp multiplies at a time: BLOCK_ROWS output rows
// by UNIT_CHANNELS input channels (FP16_UNIT_CHANNELS for f16), 128 weights (32) to a lane, `bits`
// 16-byte loads (4 for f16) to a lane.
constexpr u32 BLOCK_ROWS = 32;
constexpr u32 UNIT_CHANNELS = 128;
constexpr u32 FP16_UNIT_CHANNELS = 32;

// Kinds of segments: 0 is f16, 2 to 8 are integers of so many bits, 16 and more codes into a table of
// levels (2 to 4 bits), 32 and more trellis codes (1 to 6 bits).
constexpr u32 KIND_FP16 = 0;
constexpr u32 KIND_CODEBOOK = 16;
constexpr u32 KIND_TRELLIS = 32;

__host__ __device__ constexpr u32 kind_bits(u32 kind) { return kind % 16; }
__host__ __device__ constexpr bool is_codebook(u32 kind) { return kind / 16 == 1; }
__host__ __device__ constexpr bool is_trellis(u32 kind) { return kind / 16 == 2; }
__host__ __device__ constexpr bool is_integers(u32 kind) { return kind / 16 == 0 && kind != KIND_FP16; }

// One entry of the table at the beginning of an image, 64 bytes. Offsets are bytes from the image.
struct alignas(16) Segment {
    u32 kind;
    u32 channel_start;  // first channel of x, a multiple of 8
    u32 n_units;        // units of one block of rows
    u32 n_groups;       // groups of one unit: 1, 2, 4 or 8; 0 for f16
    u64 codes;          // [blocks][units][16-byte pieces of a lane][32 lanes]
    u64 scales;         // f16 [blocks][units][groups][32 rows]
    u64 zeros;          // u8  [blocks][units][groups][32 rows]; one group for all if symmetric
    u64 table;          // levels of codebooks and trellises
    u32 zero_stride;    // bytes from one group's zero points to the next: 32, or 0 if symmetric
    u32 n_levels;       // of a trellis's table: 128 that are added by twos, or 4096
    u32 channels;       // channels of x, without padding
    u32 reserved;
};

// Arguments that every kernel of a packed linear takes.
struct Linear {
    const u8* image;      // segment table, then what it points to; 16-byte aligned
    u32 n_segments;
    u32 out_features;     // rows of the weight, N
    u32 in_features;      // channels of x, K
    const u16* x;         // f16 [batch][x_stride], 16-byte aligned
    u32 x_stride;         // elements, a multiple of 8, at least in_features
    u32 batch;            // rows of x that exist
    void* y;              // [batch][y_stride], f16 or f32 as y_is_f32 says
    u32 y_stride;         // elements, at least out_features
    u32 y_is_f32;
    float* partials;      // [row tiles][splits][accumulators][threads], when gridDim.y > 1
    u32* tickets;         // [row tiles], zero before and after every launch
};
