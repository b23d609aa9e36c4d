//! A block of the real model through the driver's functions and the committed PTX, on the emulator, against the processor.
#![allow(unsafe_code, reason = "the environment names the driver")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

mod support;

use std::path::Path;
use std::sync::Arc;

use rosaq_model::{Role, SourceModel};
use rosaq_pack::{Bits, ChannelOrder, PackedLinear, Segment};
use rosaq_quant::pack_nearest;
use rosaq_runtime::RuntimeError;
use rosaq_tensor::Matrix;
use support::{Both, Parts};

/// Tokens of the vocabulary that are kept: the emulator would multiply by the whole head for minutes.
const VOCABULARY: usize = 1000;

/// Its first blocks, rounded to nearest with 64 channels of f16.
fn first_blocks(model: &Path, n_layers: usize) -> Parts {
    let source = SourceModel::open(model).expect("the real model");
    let mut config = source.config().clone();
    (config.n_layers, config.vocab_size) = (n_layers, VOCABULARY);
    let pack = |_: Role, weight: Matrix| -> Result<PackedLinear, RuntimeError> {
        let segments = [Segment::f16(64), Segment::asymmetric(weight.cols - 64, Bits::FOUR, 128)];
        Ok(pack_nearest(&weight, &segments, ChannelOrder::Identity).expect("a packed linear"))
    };
    let block = |layer| source.load_block(layer).expect("a block").try_map(pack);
    let blocks: Result<Vec<_>, _> = (0..n_layers).map(block).collect();
    let in_f16 = |_: Role, mut table: Matrix| -> Result<PackedLinear, RuntimeError> {
        table.rows = VOCABULARY;
        table.data.truncate(VOCABULARY * table.cols);
        let segments = [Segment::f16(table.cols)];
        Ok(pack_nearest(&table, &segments, ChannelOrder::Identity).expect("a table"))
    };
    let ends = source.load_ends().expect("ends").try_map(in_f16).expect("packed ends");
    (config, ends, blocks.expect("packed blocks"))
}

#[test]
fn a_block_of_the_real_model_on_the_device_is_that_of_the_processor() {
    let Some(model) = std::env::var_os("ROSAQ_REAL_MODEL") else {
        println!("skipped: ROSAQ_REAL_MODEL names no model");
        return;
    };
    let device = Arc::new(support::device());
    Both::new(&device, first_blocks(Path::new(&model), 1)).check("a block of the real model");
}
