//! Real host code on a substitute for the driver: one message for each thing that may be wrong, and arguments that arrive.
//!
//! It shows nothing about kernels: the substitute runs none.
#![allow(unsafe_code, reason = "the environment is written to")]

use std::path::PathBuf;
use std::process::Command;

use half::f16;
use rosaq_cuda::{CudaDevice, CudaLinear, Output, Rows, Workspace};
use rosaq_pack::device::DeviceLinear;
use rosaq_pack::{Bits, PackedLinearBuilder, Segment, SegmentValues};

/// Compiles the substitute as the library that the shim is to load.
fn compile_driver() -> PathBuf {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libsubstitute.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/substitute/driver.rs");
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", source, "-o"]).arg(&library);
    assert!(command.status().expect("rustc runs").success(), "the substitute compiles");
    library
}

fn set(variable: &str, value: impl AsRef<std::ffi::OsStr>) {
    // SAFETY: this program has one test and starts no thread of its own.
    unsafe { std::env::set_var(variable, value) };
}

#[track_caller]
fn check_refusal(fault: &str, expected: &str) {
    set("ROSAQ_TEST_DRIVER", fault);
    let error = CudaDevice::open(0).expect_err(fault);
    assert_eq!(error.to_string(), expected, "{fault}");
    set("ROSAQ_TEST_DRIVER", "");
}

fn tiny_linear() -> DeviceLinear {
    let values = SegmentValues::Codes {
        codes: vec![7; 64 * 128],
        scales: vec![f16::from_f32(0.01); 64],
        zeros: Vec::new(),
    };
    let linear = PackedLinearBuilder::new(64)
        .segment(Segment::symmetric(128, Bits::FOUR, 128), values)
        .build()
        .expect("a legal linear");
    DeviceLinear::new(&linear).expect("a kernel reads it")
}

/// The first value of every row, as the substitute wrote it.
fn first_values(device: &CudaDevice, batch: usize) -> Result<Vec<f32>, rosaq_cuda::CudaError> {
    let linear = CudaLinear::upload(device, tiny_linear())?;
    let x = device.zeroed::<f16>(batch * 128)?;
    let mut y = device.zeroed::<f32>(batch * 64)?;
    let mut workspace = Workspace::new(device)?;
    let rows = Rows { values: &x, stride: 128, batch };
    device.multiply(&linear, rows, Output::F32(&mut y, 64), &mut workspace)?;
    Ok(y.to_vec()?.iter().step_by(64).copied().collect())
}

#[test]
fn the_host_side_says_what_is_wrong_and_passes_what_kernels_take() {
    set("ROSAQ_CUDA_DRIVER", compile_driver());
    check_refusal(
        "no device",
        "the CUDA driver finds no device; check `nvidia-smi` or run with --backend cpu",
    );
    check_refusal(
        "old driver",
        "the CUDA driver is made for CUDA 11.2, expected 11.4 or newer; update the NVIDIA driver",
    );
    check_refusal(
        "old device",
        "CUDA device `Substitute` has compute capability 7.5, expected 8.0 or higher; run with --backend cpu",
    );
    let message = CudaDevice::open(3).expect_err("one device").to_string();
    assert_eq!(message, "no CUDA device 3; the driver finds 1, counted from 0");

    let device = CudaDevice::open(0).expect("a device");
    assert_eq!((device.name(), device.n_multiprocessors()), ("Substitute", 4));
    let message = device.zeroed::<f32>(1 << 20).expect_err("too much").to_string();
    assert_eq!(message, "CUDA device out of memory: 4194304 bytes wanted, 1048576 free");
    let message = device.check_ptx("damaged", "no PTX at all").expect_err("damaged").to_string();
    assert!(message.starts_with("the CUDA driver refuses the PTX of `damaged`: "), "{message}");
    assert!(message.ends_with("(InvalidPtx)\nptxas fatal : no version"), "{message}");

    let values: Vec<u32> = (0..1000).collect();
    assert_eq!(device.upload(&values).expect("room").to_vec(), Ok(values));
    assert_eq!(device.upload::<f16>(&[]).expect("nothing").to_vec(), Ok(Vec::new()));

    // A batch of 130 is one launch of 128 rows and one of 2, each with its own rows of y.
    let written = first_values(&device, 130).expect("a product");
    let expected: Vec<f32> = (0..130).map(|row| 1000.0 + (row % 128) as f32).collect();
    assert_eq!(written, expected);

    set("ROSAQ_TEST_DRIVER", "launch");
    let message = first_values(&device, 1).expect_err("a refused launch").to_string();
    assert!(message.starts_with("kernel `rosaq_decode` failed to launch: "), "{message}");
}
