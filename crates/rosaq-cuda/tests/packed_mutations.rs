//! Defects planted into the committed PTX. Every one must be seen: by a fault, by a wrong result, or by a
//! metric that leaves its gate. A test of the tests.
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

mod support;

use rosaq_cuda_metrics::{Case, codebook, trellis};
use rosaq_pack::{Bits, Segment};
use support::patch::Text;

/// How a defect was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Fault,
    WrongResult,
    Metric,
    Not,
}

/// f16 and four bits, ragged rows and channels, half a tile of x.
fn four_bits() -> Case {
    let segments = [Segment::f16(32), Segment::asymmetric(1000, Bits::FOUR, 128)];
    Case::new(130, &segments, 5)
}

fn look(case: &Case, text: &Text) -> (Seen, String) {
    match rosaq_cuda_metrics::run_text(case, &text.0, 1) {
        Err(fault) => (Seen::Fault, fault.to_string()),
        Ok(outcome) => {
            let error = case.relative_error(&outcome.y);
            let waves = outcome.waves_of_ldmatrix();
            if error.is_nan() || error >= 1e-3 || !outcome.tickets_are_zero {
                (Seen::WrongResult, format!("relative error {error:.1e}"))
            } else if waves > 4.0 {
                (Seen::Metric, format!("ldmatrix takes {waves:.1} wavefronts"))
            } else {
                (Seen::Not, String::new())
            }
        }
    }
}

#[track_caller]
fn check(case: &Case, defect: &str, expected: &[Seen], patch: impl Fn(&mut Text)) {
    let mut text = Text::decode();
    patch(&mut text);
    let (seen, how) = look(case, &text);
    println!("{defect}: {seen:?} {how}");
    assert!(expected.contains(&seen), "{defect}: expected {expected:?}, found {seen:?} {how}");
}

const FAULT: &[Seen] = &[Seen::Fault];
const WRONG: &[Seen] = &[Seen::WrongResult];
const EITHER: &[Seen] = &[Seen::Fault, Seen::WrongResult];

#[test]
fn without_a_defect_nothing_is_seen() {
    for case in [four_bits(), four_bits().splits(3)] {
        assert_eq!(look(&case, &Text::decode()), (Seen::Not, String::new()));
    }
}

#[test]
fn waiting_and_barriers() {
    let case = four_bits();
    check(&case, "waits for one copy too few", FAULT, |text| {
        text.replace("cp.async.wait_group 2;", "cp.async.wait_group 3;");
    });
    check(&case, "no barrier after the wait", FAULT, |text| {
        text.drop_after("cp.async.wait_group 2;", "bar.sync");
    });
    check(&case, "copies of the next segment before all have read the last", FAULT, |text| {
        text.drop_lines(|line, before| line.contains("bar.sync") && before.contains("add.s64"));
    });
    // Of five steps, the last reads the slot that the sums go to.
    let five = Case::new(130, &[Segment::asymmetric(1280, Bits::FOUR, 128)], 5);
    check(&five, "no barrier between the last step and the reduction", FAULT, |text| {
        text.drop_after("cp.async.wait_group 0;", "bar.sync");
    });
    check(&case, "no barrier before the sums of other warps are read", FAULT, |text| {
        text.drop_lines(|line, before| line.contains("bar.sync") && before.contains("setp.ne.s32"));
    });
    check(&case, "mma in a warp with a lane missing", FAULT, |text| {
        text.edit_lines("mma.sync", |line| {
            let lane = ".reg .pred q; .reg .b32 l; mov.u32 l, %laneid; setp.ne.u32 q, l, 5;";
            format!("{{ {lane} @q {} }}", line.trim())
        });
    });
}

#[test]
fn places_of_x() {
    let case = four_bits();
    check(&case, "the ring is a slot too short", EITHER, |text| {
        text.replace(", 12288;", ", 8192;")
    });
    check(&case, "x is swizzled and read as if it were not", WRONG, |text| {
        text.plain_xor(1);
    });
    check(&case, "x is not swizzled and read as if it were", WRONG, |text| {
        text.plain_xor(0);
    });
    check(&case, "no swizzle at all", &[Seen::Metric], |text| {
        text.plain_xor(1);
        text.plain_xor(0);
    });
    check(&case, "the second half of 64 channels from the first", WRONG, |text| {
        text.edit_lines("xor.b32", |line| line.replace(", 64;", ", 0;"));
    });
    check(&case, "an address of ldmatrix off by a word", FAULT, |text| {
        text.edit_lines("ldmatrix", |line| line.replace("];", "+4];"));
    });
    check(&case, "copies of sixteen channels", FAULT, |text| {
        text.edit_lines("min.s32", |line| line.replace(", 8;", ", 16;"));
    });
    check(&case, "x beyond the segment is not zero", EITHER, |text| {
        text.edit_lines("min.s32", |line| {
            let to = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            format!("mov.u32 {to} 8;")
        });
    });
}

#[test]
fn words_to_fragments() {
    let case = four_bits();
    check(&case, "the upper nibbles by a shift of four", WRONG, |text| {
        text.edit_lines("shr.u32", |line| line.replace(", 8;", ", 4;"));
    });
    check(&case, "the zero point of the next row", WRONG, |text| {
        text.edit_lines("prmt.b32", |line| line.replace(", 16448;", ", 16705;"));
    });
    check(&case, "a magic constant of another shift", WRONG, |text| {
        text.replace("mov.b32 b, 1669358464;", "mov.b32 b, 1660969728;");
    });
    check(&case, "a factor of another shift", WRONG, |text| {
        text.edit_lines("mov.b32 b,", |line| line.replace(" 738208768;", " 805317632;"));
    });
    check(&case, "codes without their magic bits", WRONG, |text| {
        text.edit_lines("lop3.b32", |line| line.replace(", 1677747200, 0xEA;", ", 0, 0xEA;"));
    });
    check(&case, "a piece of weights off by one", EITHER, |text| {
        text.edit_lines("add.s64", |line| line.replace(", 1536;", ", 2048;"));
    });
    check(&case, "prefetch runs ahead twice as fast", EITHER, |text| {
        text.edit_lines("add.s64", |line| line.replace(", 4096;", ", 8192;"));
    });
    check(&case, "scales of the group before", WRONG, |text| {
        text.edit_lines("add.s64", |line| line.replace(", 128;", ", 64;"));
    });
    check(&case, "one mma in five is missing", WRONG, |text| text.drop_every(5, "mma.sync"));
    check(&case, "the halves of x change places", WRONG, |text| {
        text.edit_lines("mma.sync", swap_x);
    });
}

/// `{%b0, %b1}` of an mma to `{%b1, %b0}`: the third group of braces.
fn swap_x(line: &str) -> String {
    let parts: Vec<&str> = line.split('{').collect();
    let [a, b, c, d, e] = parts[..] else { return line.to_owned() };
    let (x, rest) = d.split_once('}').unwrap_or((d, ""));
    let (first, second) = x.split_once(',').unwrap_or((x, ""));
    format!("{a}{{{b}{{{c}{{{},{first}}}{rest}{{{e}", second.trim())
}

#[test]
fn sums() {
    let case = four_bits();
    let split = four_bits().splits(3);
    check(&case, "the sums of other warps are not added", WRONG, |text| {
        text.drop_lines(|line, before| line.contains("add.f32") && before.contains("ld.shared.v4"));
    });
    check(&case, "sums do not begin at zero", WRONG, |text| {
        text.edit_lines("mov.f32", |line| line.replace("0f00000000", "0f3F800000"));
    });
    check(&split, "the ticket is not put back", WRONG, |text| {
        text.drop_lines(|line, before| {
            line.contains("st.global.u32") && before.contains("mov.u32")
        });
    });
    check(&split, "the last CTA but one adds", EITHER, |text| {
        text.edit_after("atom.global.add.u32", |line| line.replace(", -1;", ", -2;"));
    });
    check(&split, "the first CTA does not write its part", EITHER, |text| {
        text.drop_every(2, "st.global.cg.v4.f32");
    });
}

#[test]
fn edges_of_y() {
    let case = four_bits();
    check(&case, "rows of x beyond the batch are stored", FAULT, |text| {
        text.compare_parameter(6, "setp.ge.u32", "8");
    });
    let even = Case::new(132, &[Segment::asymmetric(256, Bits::FOUR, 128)], 5);
    check(&even, "rows beyond the last are stored", EITHER, |text| {
        text.compare_parameter(2, "setp.le.u32", "4294967295");
    });
}

#[test]
fn states_of_a_trellis() {
    let case = Case::new(100, &[trellis(256, 3, 256)], 4);
    check(&case, "the lane's own bits instead of the lane's before", WRONG, |text| {
        text.edit_lines("shfl.sync", |line| {
            let operands: Vec<&str> = line.split(',').map(str::trim).collect();
            format!("{}, {}, 0, 31, 0xffffffff;", operands[0], operands[1])
        });
    });
    check(&case, "states of eleven bits", WRONG, |text| {
        text.edit_lines("lop3.b32", |line| line.replace(", 4095, ", ", 2047, "));
    });
}

#[test]
fn levels_of_a_codebook() {
    let case = Case::new(70, &[codebook(256, Bits::FOUR, 128)], 4);
    check(&case, "low and high bytes change places", WRONG, |text| {
        text.edit_lines("prmt.b32", |line| line.replace(", 20800;", ", 1300;"));
    });
    check(&case, "the upper eight levels are never chosen", WRONG, |text| {
        text.edit_lines("lop3.b32", |line| line.replace(", 1145324612, ", ", 0, "));
    });
}
