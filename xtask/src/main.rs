//! The command line of rosaq: `cargo xtask <command>`.

#[cfg(feature = "cuda")]
mod bench_cuda;
mod bench_emulated;
mod bench_kernels;
mod command_flags;
mod compare;
mod dry_run;
mod eval;
mod flags;
mod generate;
mod kernels;
mod logits;
mod output;
mod paper_channels;
mod paper_speed;
mod paper_table;
mod quantize;
mod reproduce;
mod run_flags;
mod shapes;
mod tasks;
mod throughput;
mod tidy;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use flags::{Cli, Command};

/// Failed for a reason of this machine.
const FAILED: u8 = 1;
/// A bar asked for by a flag was missed.
const BAR_MISSED: u8 = 3;
/// Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse(); // wrong usage ends here with code 2
    let on_interrupt = || {
        // Every file appears by a rename, so that the state on disk is sound at any moment.
        eprintln!("interrupted; the same command goes on from here");
        std::process::exit(INTERRUPTED);
    };
    if let Err(error) = ctrlc::set_handler(on_interrupt) {
        eprintln!("warning: cannot watch for Ctrl-C: {error}");
    }
    let run = || run(&cli.command);
    let done = match rosaq_pipeline::on_threads(cli.command.threads(), run) {
        Ok(done) => done,
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::BarMissed) => ExitCode::from(BAR_MISSED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(output::exit_code(&error))
        }
    }
}

fn run(command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Quantize(flags) => quantize::run(flags),
        Command::Eval(flags) => eval::run(flags),
        Command::Compare(flags) => compare::run(flags),
        Command::Reproduce(flags) => reproduce::run(flags),
        Command::Generate(flags) => generate::run(flags),
        Command::Throughput(flags) => throughput::run(flags),
        Command::Logits(flags) => logits::run(flags),
        Command::Verify(flags) => verify::run(flags),
        Command::BenchKernels(flags) => bench_kernels::run(flags),
        Command::Kernels(flags) => kernels::run(flags),
        Command::Tidy => tidy::run(),
    }
}

/// How a command that did not fail ended.
enum Outcome {
    /// As asked.
    Done,
    /// A limit given on the command line was passed.
    BarMissed,
}
