//! Single instructions on random bits against what Rust and the crate `half` make of them.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "words are bits"
)]

use half::f16;
use proptest::prelude::*;
use rosaq_ptx_emu::{Launch, Memory, Module, Params};

/// Runs `body` in a warp; `%a`, `%b` and `%c` hold the lane's words, `%d` its result.
fn run(body: &str, words: &[[u32; 3]]) -> Vec<u32> {
    assert_eq!(words.len(), 32, "a word a lane");
    let text = format!(
        ".version 7.4\n.target sm_80\n.address_size 64\n\
        .visible .entry test(.param .u64 from, .param .u64 to)\n{{\n\
        .reg .pred %p;\n.reg .b16 %h<4>;\n.reg .b32 %a, %b, %c, %d, %t;\n.reg .b64 %w<8>;\n.reg .b32 %f<4>;\n\
        ld.param.u64 %w0, [from];\nld.param.u64 %w1, [to];\nmov.u32 %t, %tid.x;\n\
        mul.wide.u32 %w2, %t, 12;\nadd.s64 %w3, %w0, %w2;\n\
        ld.global.u32 %a, [%w3];\nld.global.u32 %b, [%w3+4];\nld.global.u32 %c, [%w3+8];\n\
        {body}\n\
        mul.wide.u32 %w4, %t, 4;\nadd.s64 %w5, %w1, %w4;\nst.global.u32 [%w5], %d;\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{body}: {error}"));
    let mut memory = Memory::default();
    let (from, to) =
        (memory.allocate(32 * 12).expect("room"), memory.allocate(32 * 4).expect("room"));
    let bytes: Vec<u8> = words.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    memory.write(from, &bytes).expect("it was allocated");
    let mut launch = Launch::new([1; 3], [32, 1, 1]);
    launch.params = Params::new().address(from).address(to).into_bytes();
    let kernel = module.kernel("test").expect("it is there");
    kernel.launch(&launch, &mut memory).unwrap_or_else(|fault| panic!("{body}: {fault}"));
    let mut out = [0; 128];
    memory.read(to, &mut out).expect("it was allocated");
    out.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

type Reference = fn(u32, u32, u32) -> u32;

/// The numbers of a word, low half first.
fn pair(word: u32) -> [f16; 2] {
    [f16::from_bits(word as u16), f16::from_bits((word >> 16) as u16)]
}

fn word([low, high]: [f16; 2]) -> u32 {
    u32::from(low.to_bits()) | u32::from(high.to_bits()) << 16
}

/// The f16 nearest to `x`, of two equally near the one with an even last bit. The crate `half`
/// may go by way of f32 and round twice: its number or one beside it is right.
fn nearest(x: f64) -> f16 {
    let about = f16::from_f64(x);
    // Infinity begins where the next power of two would stand.
    let far = |v: f16| (v.to_f64().clamp(-65536.0, 65536.0) - x).abs();
    [about.to_bits().wrapping_sub(1), about.to_bits(), about.to_bits().wrapping_add(1)]
        .map(f16::from_bits)
        .into_iter()
        .filter(|v| v.is_sign_negative() == x.is_sign_negative() && !v.is_nan())
        .min_by(|a, b| far(*a).total_cmp(&far(*b)).then((a.to_bits() & 1).cmp(&(b.to_bits() & 1))))
        .filter(|_| x.is_finite())
        .unwrap_or(about)
}

/// `f` of both halves in f64, rounded once; sums and products of f16 values are exact there.
fn of_pairs(words: [u32; 3], f: fn(f64, f64, f64) -> f64) -> u32 {
    let [a, b, c] = words.map(pair);
    word([0, 1].map(|i| nearest(f(a[i].to_f64(), b[i].to_f64(), c[i].to_f64()))))
}

fn prmt(a: u32, b: u32, selectors: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let byte = |i: u32| {
        let selector = selectors >> (4 * i) & 15;
        let byte = bytes[(selector & 7) as usize];
        if selector & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 }
    };
    u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
}

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

/// Instructions on words, with what they compute.
const WORDS: [(&str, Reference); 33] = [
    ("add.s32 %d, %a, %b;", |a, b, _| a.wrapping_add(b)),
    ("sub.s32 %d, %a, %b;", |a, b, _| a.wrapping_sub(b)),
    ("mul.lo.s32 %d, %a, %b;", |a, b, _| a.wrapping_mul(b)),
    ("mad.lo.s32 %d, %a, %b, %c;", |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
    ("mul.hi.u32 %d, %a, %b;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32),
    ("div.u32 %d, %a, %b;", |a, b, _| a.checked_div(b).unwrap_or(u32::MAX)),
    ("rem.u32 %d, %a, %b;", |a, b, _| a.checked_rem(b).unwrap_or(a)),
    ("min.s32 %d, %a, %b;", |a, b, _| (a as i32).min(b as i32) as u32),
    ("max.s32 %d, %a, %b;", |a, b, _| (a as i32).max(b as i32) as u32),
    ("min.u32 %d, %a, %b;", |a, b, _| a.min(b)),
    ("max.u32 %d, %a, %b;", |a, b, _| a.max(b)),
    ("neg.s32 %d, %a;", |a, _, _| a.wrapping_neg()),
    ("and.b32 %d, %a, %b;", |a, b, _| a & b),
    ("or.b32 %d, %a, %b;", |a, b, _| a | b),
    ("xor.b32 %d, %a, %b;", |a, b, _| a ^ b),
    ("not.b32 %d, %a;", |a, _, _| !a),
    ("shl.b32 %d, %a, %b;", |a, b, _| a.checked_shl(b).unwrap_or(0)),
    ("shr.u32 %d, %a, %b;", |a, b, _| a.checked_shr(b).unwrap_or(0)),
    ("shr.s32 %d, %a, %b;", |a, b, _| ((a as i32) >> b.min(31)) as u32),
    ("shf.r.wrap.b32 %d, %a, %b, %c;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32
    }),
    ("shf.l.wrap.b32 %d, %a, %b, %c;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32
    }),
    ("lop3.b32 %d, %a, %b, %c, 0xEA;", |a, b, c| (a & b) | c),
    ("lop3.b32 %d, %a, %b, %c, 0x96;", |a, b, c| a ^ b ^ c),
    ("lop3.b32 %d, %a, %b, %c, 0xCA;", |a, b, c| (a & b) | (!a & c)),
    ("prmt.b32 %d, %a, %b, %c;", prmt),
    ("bfi.b32 %d, %a, %b, 5, 9;", |a, b, _| (b & !(0x1ff << 5)) | (a & 0x1ff) << 5),
    ("bfe.u32 %d, %a, 7, 11;", |a, _, _| a >> 7 & 0x7ff),
    ("setp.lt.s32 %p, %a, %b; selp.b32 %d, %b, %c, %p;", |a, b, c| {
        if (a as i32) < (b as i32) { b } else { c }
    }),
    ("setp.ge.u32 %p, %a, %b; mov.u32 %d, 1; @%p bra DONE; mov.u32 %d, %c; DONE: ", |a, b, c| {
        if a >= b { 1 } else { c }
    }),
    ("mul.wide.u32 %w2, %a, %b; shr.u64 %w2, %w2, 13; cvt.u32.u64 %d, %w2;", |a, b, _| {
        ((u64::from(a) * u64::from(b)) >> 13) as u32
    }),
    ("mov.b32 {%h0, %h1}, %a; mov.b32 %d, {%h1, %h0};", |a, _, _| a.rotate_left(16)),
    ("cvt.u16.u32 %h0, %a; cvt.u32.u16 %d, %h0;", |a, _, _| a & 0xffff),
    ("cvt.rn.f32.u32 %d, %a;", |a, _, _| (a as f32).to_bits()),
];

/// Instructions on f32 numbers; every NaN counts as one.
const FLOATS: [(&str, Reference); 14] =
    [
        ("add.f32 %d, %a, %b;", |a, b, _| (float(a) + float(b)).to_bits()),
        ("sub.f32 %d, %a, %b;", |a, b, _| (float(a) - float(b)).to_bits()),
        ("mul.f32 %d, %a, %b;", |a, b, _| (float(a) * float(b)).to_bits()),
        ("div.rn.f32 %d, %a, %b;", |a, b, _| (float(a) / float(b)).to_bits()),
        ("fma.rn.f32 %d, %a, %b, %c;", |a, b, c| float(a).mul_add(float(b), float(c)).to_bits()),
        ("sqrt.rn.f32 %d, %a;", |a, _, _| float(a).sqrt().to_bits()),
        ("rcp.rn.f32 %d, %a;", |a, _, _| (1.0 / float(a)).to_bits()),
        ("max.f32 %d, %a, %b;", |a, b, _| float(a).max(float(b)).to_bits()),
        ("min.f32 %d, %a, %b;", |a, b, _| float(a).min(float(b)).to_bits()),
        ("neg.f32 %d, %a;", |a, _, _| (-float(a)).to_bits()),
        ("cvt.sat.f32.f32 %d, %a;", |a, _, _| {
            if float(a).is_nan() { 0 } else { float(a).clamp(0.0, 1.0).to_bits() }
        }),
        ("setp.gt.f32 %p, %a, %b; selp.b32 %d, %a, %c, %p;", |a, b, c| {
            if float(a) > float(b) { a } else { c }
        }),
        ("cvt.rn.f16.f32 %h0, %a; cvt.f32.f16 %d, %h0;", |a, _, _| {
            f16::from_f32(float(a)).to_f32().to_bits()
        }),
        ("ex2.approx.ftz.f32 %d, %a;", |a, _, _| {
            let flush = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
            flush(f64::from(flush(float(a))).exp2() as f32).to_bits()
        }),
    ];

/// Instructions on pairs of f16.
const PAIRS: [(&str, Reference); 5] = [
    ("add.f16x2 %d, %a, %b;", |a, b, _| of_pairs([a, b, 0], |a, b, _| a + b)),
    ("sub.f16x2 %d, %a, %b;", |a, b, _| of_pairs([a, b, 0], |a, b, _| a - b)),
    ("mul.f16x2 %d, %a, %b;", |a, b, _| of_pairs([a, b, 0], |a, b, _| a * b)),
    ("fma.rn.f16x2 %d, %a, %b, %c;", |a, b, c| of_pairs([a, b, c], f64::mul_add)),
    ("neg.f16x2 %d, %a;", |a, _, _| a ^ 0x8000_8000),
];

fn check(cases: &[(&str, Reference)], words: &[[u32; 3]], is_same: fn(u32, u32) -> bool) {
    for (body, reference) in cases {
        for (found, &[a, b, c]) in run(body, words).into_iter().zip(words) {
            let expected = reference(a, b, c);
            assert!(
                is_same(found, expected),
                "{body} of {a:#x}, {b:#x}, {c:#x}: {found:#x} instead of {expected:#x}"
            );
        }
    }
}

fn same_f32(a: u32, b: u32) -> bool {
    a == b || (float(a).is_nan() && float(b).is_nan()) || (float(a) == 0.0 && float(b) == 0.0)
}

fn same_pair(a: u32, b: u32) -> bool {
    pair(a).iter().zip(pair(b)).all(|(a, b)| a == &b || (a.is_nan() && b.is_nan()))
}

/// Bits of all kinds: small numbers, numbers near one, and anything.
fn bits() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..64_u32,
        any::<u32>(),
        (-4.0_f32..4.0).prop_map(f32::to_bits),
        (any::<i16>(), any::<i16>())
            .prop_map(|(a, b)| { word([a, b].map(|x| f16::from_f32(f32::from(x) / 4096.0))) }),
    ]
}

fn lanes() -> impl Strategy<Value = Vec<[u32; 3]>> {
    proptest::collection::vec([bits(), bits(), bits()], 32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn words(words in lanes()) {
        check(&WORDS, &words, |a, b| a == b);
    }

    #[test]
    fn floats(words in lanes()) {
        check(&FLOATS, &words, same_f32);
    }

    #[test]
    fn pairs_of_f16(words in lanes()) {
        check(&PAIRS, &words, same_pair);
    }

    #[test]
    fn lanes_exchange(words in lanes()) {
        let values: Vec<u32> = words.iter().map(|word| word[0]).collect();
        for (body, from) in [
            ("shfl.sync.bfly.b32 %d, %a, 5, 31, -1;", (|lane| lane ^ 5) as fn(usize) -> usize),
            ("shfl.sync.up.b32 %d, %a, 3, 0, -1;", |lane| if lane < 3 { lane } else { lane - 3 }),
            ("shfl.sync.down.b32 %d, %a, 9, 31, -1;", |lane| if lane > 22 { lane } else { lane + 9 }),
            ("shfl.sync.idx.b32 %d, %a, 17, 31, -1;", |_| 17),
        ] {
            let expected: Vec<u32> = (0..32).map(|lane| values[from(lane)]).collect();
            prop_assert_eq!(run(body, &words), expected, "{}", body);
        }
    }
}

/// A tie but for a number too small for f32 to hold beside it: rounding on the way would show.
#[test]
fn halves_are_rounded_once() {
    let just_below_a_tie = [0xc8e0, 0x4650, 0x000e];
    let words = vec![just_below_a_tie; 32];
    assert!(run("fma.rn.f16x2 %d, %a, %b, %c;", &words).iter().all(|&d| d == 0xd3b1));
    assert_eq!(nearest(-61.546_875), f16::from_bits(0xd3b2));
    assert_eq!(nearest(65519.0), f16::MAX);
    assert_eq!(nearest(65520.0), f16::INFINITY);
    check(&PAIRS, &words, same_pair);
}

/// `d = a b + c` with fragments as the PTX manual lays them out (m16n8k16, f16), loaded by hand.
#[test]
fn mma_multiplies_matrices() {
    let a = |row: usize, k: usize| (row as f64 - 7.0) / 8.0 + k as f64 / 16.0;
    let b = |k: usize, column: usize| (column as f64 + 1.0) / 4.0 - k as f64 / 32.0;
    let halves = |low: f64, high: f64| word([f16::from_f64(low), f16::from_f64(high)]);
    let expected = |row: usize, column: usize| -> f64 {
        0.5 + (0..16).map(|k| a(row, k) * b(k, column)).sum::<f64>()
    };
    for result in 0..4 {
        let words: Vec<[u32; 3]> = (0..32)
            .map(|lane| {
                let (group, pair) = (lane / 4, lane % 4 * 2);
                // Register 0 of a and of b; the others follow from them by steps that f16 holds.
                [
                    halves(a(group, pair), a(group, pair + 1)),
                    halves(b(pair, group), b(pair + 1, group)),
                    0,
                ]
            })
            .collect();
        // Rows 8 below are 1 more, k 8 further 0.5 more of a and 0.25 less of b.
        let body = format!(
            "mov.b32 %f0, 0x3c003c00; mov.b32 %f1, 0x38003800; mov.b32 %f2, 0x34003400;\n\
            .reg .b32 %x<8>; .reg .f32 %s<4>; .reg .f32 %r<4>;\n\
            add.f16x2 %x1, %a, %f0; add.f16x2 %x2, %a, %f1; add.f16x2 %x3, %x1, %f1;\n\
            sub.f16x2 %x4, %b, %f2;\n\
            mov.f32 %s0, 0f3F000000; mov.f32 %s1, %s0; mov.f32 %s2, %s0; mov.f32 %s3, %s0;\n\
            mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%r0, %r1, %r2, %r3}}, {{%a, %x1, %x2, %x3}}, {{%b, %x4}}, {{%s0, %s1, %s2, %s3}};\n\
            mov.b32 %d, %r{result};"
        );
        for (lane, found) in run(&body, &words).into_iter().enumerate() {
            let (row, column) = (lane / 4 + 8 * (result / 2), lane % 4 * 2 + result % 2);
            // All products and sums are multiples of 2^-10 below 2^5: exact in f32.
            assert_eq!(f64::from(float(found)), expected(row, column), "({row}, {column})");
        }
    }
}

proptest! {
    /// Texts that are nearly PTX are read or refused; nothing panics, and what is read ends.
    #[test]
    fn broken_texts_are_refused(at in 0..600_usize, with in "[ -~\n]{0,6}", drop in 0..12_usize) {
        let text = ".version 7.4\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 pool[];\n\
            .visible .entry test(.param .u64 to, .param .u32 n)\n.maxntid 64, 1, 1\n{\n\
            .reg .pred %p<2>;\n.reg .b32 %r<9>;\n.reg .b64 %w<4>;\n\
            ld.param.u64 %w0, [to];\nld.param.u32 %r0, [n];\nmov.u32 %r1, %tid.x;\n\
            mov.u32 %r4, pool;\nshl.b32 %r5, %r1, 2;\nadd.s32 %r6, %r4, %r5;\nst.shared.u32 [%r6], %r1;\n\
            bar.sync 0;\nld.shared.u32 %r7, [%r6];\nLOOP:\nadd.s32 %r0, %r0, -1;\n\
            setp.gt.s32 %p0, %r0, 0;\n@%p0 bra LOOP;\nmul.wide.u32 %w1, %r1, 4;\n\
            add.s64 %w2, %w0, %w1;\nst.global.u32 [%w2], %r7;\nret;\n}\n";
        let at = at.min(text.len());
        let broken = format!("{}{with}{}", &text[..at], &text[(at + drop).min(text.len())..]);
        if let Ok(module) = Module::parse(&broken) {
            prop_assert!(module.kernels().count() <= 2);
        }
    }
}
