//! Gates on what the kernels ask of memory, from the emulator's counters.
//!
//! Minimal bytes are those of x, of y and of the image without the table of segments, each once. Unique bytes
//! are sectors of 32 bytes that were touched at all: what DRAM delivers. Requested bytes are sectors of all
//! requests: what the second-level cache delivers.
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

use rosaq_cuda_metrics::{Case, Outcome, trellis};
use rosaq_pack::{Bits, Segment};

/// A product large enough that edges do not count: 512 x 1024.
fn run(bits: Bits, batch: usize) -> (Case, Outcome) {
    let case = Case::new(512, &[Segment::asymmetric(1024, bits, 128)], batch);
    let outcome =
        rosaq_cuda_metrics::run(&case).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
    assert!(case.relative_error(&outcome.y) < 1e-3);
    (case, outcome)
}

#[test]
fn weights_are_read_once_and_whole() {
    for bits in [Bits::THREE, Bits::FOUR] {
        for batch in [1, 8, 32] {
            let (case, outcome) = run(bits, batch);
            let useful = outcome.useful_part_of_weights();
            let unique = outcome.unique_bytes() as f64 / case.minimal_bytes() as f64;
            println!("{}: useful {useful:.3}, unique {unique:.3}", case.name);
            assert!(useful >= 1.0, "{}: weight sectors are used to {useful:.3}", case.name);
            assert!(unique <= 1.02, "{}: unique / minimal {unique:.3}", case.name);
        }
    }
}

#[test]
fn requests_stay_near_the_least() {
    for (bits, batch, most) in
        [(Bits::FOUR, 1, 1.3), (Bits::THREE, 1, 1.3), (Bits::FOUR, 8, 1.5), (Bits::THREE, 8, 1.5)]
    {
        let (case, outcome) = run(bits, batch);
        let requested = outcome.requested_bytes() as f64 / case.minimal_bytes() as f64;
        println!("{}: requested {requested:.3}", case.name);
        assert!(requested <= most, "{}: requested / minimal {requested:.3}", case.name);
    }
}

#[test]
fn ldmatrix_has_no_bank_conflicts() {
    for batch in [1, 8, 32, 64, 128] {
        let (case, outcome) = run(Bits::FOUR, batch);
        let waves = outcome.waves_of_ldmatrix();
        assert!((waves - 4.0).abs() < 1e-9, "{}: {waves:.2} wavefronts", case.name);
    }
}

#[test]
fn look_ups_of_states_queue_up() {
    let case = Case::new(128, &[trellis(512, 3, 512)], 1);
    let outcome =
        rosaq_cuda_metrics::run(&case).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
    let waves = outcome.waves_of_shared_loads();
    println!("{}: {waves:.2} wavefronts a look-up", case.name);
    assert!((1.0..4.5).contains(&waves), "{waves:.2}");
}
