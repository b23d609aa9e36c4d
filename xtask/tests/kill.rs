//! Killed and interrupted runs: the target is absent or whole at any moment, and the same command ends in the same bytes.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Ended, check_same_files, files, fixture, run, text, work_dir, xtask};

/// Time between two looks at the target.
const LOOK: Duration = Duration::from_millis(3);

/// One job, many targets.
struct Job {
    dir: tempfile::TempDir,
    model: PathBuf,
    more: &'static [&'static str],
}

impl Job {
    fn new(more: &'static [&'static str]) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), model: fixture("tiny-llama"), more }
    }

    fn out(&self, name: impl ToString) -> PathBuf {
        self.dir.path().join(name.to_string())
    }

    fn args<'a>(&'a self, out: &'a Path) -> Vec<&'a str> {
        let mut args =
            vec!["quantize", "--model", text(&self.model), "--out", text(out), "--no-eval"];
        args.extend(["--calib-sequences", "16", "--calib-length", "256"]);
        args.extend(self.more);
        args
    }

    /// An undisturbed run: its result and how long it takes.
    fn undisturbed(&self) -> (PathBuf, Duration) {
        let out = self.out("undisturbed");
        let start = Instant::now();
        run(&self.args(&out)).exits(0);
        (out, start.elapsed())
    }

    fn spawn(&self, out: &Path) -> Child {
        let mut command = xtask(&self.args(out));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs to the end and compares the result with the undisturbed one.
    #[track_caller]
    fn check_goes_on(&self, out: &Path, undisturbed: &Path) {
        run(&self.args(out)).exits(0);
        check_same_files(out, undisturbed);
        run(&["verify", text(out)]).exits(0);
        assert!(!work_dir(out).exists());
    }
}

/// Demands a target that does not exist or holds all files of a finished one.
#[track_caller]
fn check_absent_or_whole(out: &Path, undisturbed: &Path) {
    if out.exists() {
        check_same_files(out, undisturbed);
        assert!(out.join("rosaq-report.json").exists());
    }
}

/// Watches the target for `delay` from the child's start, then kills the child.
fn watch_and_kill(mut child: Child, delay: Duration, out: &Path, undisturbed: &Path) {
    let start = Instant::now();
    while start.elapsed() < delay {
        check_absent_or_whole(out, undisturbed);
        sleep(LOOK.min(delay.saturating_sub(start.elapsed())));
    }
    child.kill().unwrap(); // no error if it has ended already
    child.wait().unwrap();
    check_absent_or_whole(out, undisturbed);
}

/// Kills as many runs as there are rounds, each at a later moment, spread over the duration.
fn check_kills(job: &Job, rounds: u32) {
    let (undisturbed, duration) = job.undisturbed();
    for round in 0..rounds {
        let out = job.out(round);
        let delay = duration * (2 * round + 1) / (2 * rounds);
        watch_and_kill(job.spawn(&out), delay, &out, &undisturbed);
        job.check_goes_on(&out, &undisturbed);
    }
}

#[test]
fn a_run_killed_at_any_moment_ends_in_the_same_bytes() {
    check_kills(&Job::new(&[]), 10);
}

#[test]
fn so_does_one_with_a_basis_for_each_site() {
    check_kills(&Job::new(&["--method", "rosaq", "--rotation", "shortcut", "--bits", "3"]), 3);
}

#[test]
fn so_does_one_that_makes_errors_good_in_later_channels() {
    check_kills(&Job::new(&["--method", "gptq", "--act-order", "--scale-steps", "3"]), 3);
}

/// Learned once for all blocks, then for the heads of each block: both must come out the same after a kill.
const LEARNED: [&str; 4] = ["--method", "spinquant", "--learning-steps", "2"];

#[test]
fn so_does_one_that_learns_its_rotations() {
    check_kills(&Job::new(&LEARNED), 4);
}

/// Kills one run several times, each a little later after its restart.
fn check_repeated_kills(job: &Job, rounds: u32) {
    let (undisturbed, duration) = job.undisturbed();
    let out = job.out("out");
    for round in 0..rounds {
        let delay = duration * (round + 1) / (2 * rounds);
        watch_and_kill(job.spawn(&out), delay, &out, &undisturbed);
    }
    job.check_goes_on(&out, &undisturbed);
}

#[test]
fn a_run_killed_again_and_again_gets_to_the_end() {
    check_repeated_kills(&Job::new(&[]), 6);
}

#[test]
fn so_does_learning_killed_again_and_again() {
    check_repeated_kills(&Job::new(&LEARNED), 4);
}

/// A learned rotation is kept before the first block is made and taken up again, not learned anew.
#[test]
fn what_was_learned_is_taken_up_again() {
    let job = Job::new(&LEARNED);
    let (undisturbed, out) = (job.out("undisturbed"), job.out("out"));
    let first = run(&job.args(&undisturbed));
    assert!(first.exits(0).stderr.contains("learn: done"), "{first:#?}");
    let mut child = job.spawn(&out);
    let kept = work_dir(&out).join("rotation.json");
    while !kept.exists() && child.try_wait().unwrap().is_none() {
        sleep(LOOK);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if !kept.exists() {
        return check_same_files(&out, &undisturbed); // a machine that was too fast to be caught
    }
    let ended = run(&job.args(&out));
    ended.exits(0);
    assert!(!ended.stderr.contains("learn: done"), "{ended:#?}");
    check_same_files(&out, &undisturbed);
}

#[test]
fn a_killed_replacement_leaves_the_old_result() {
    let job = Job::new(&["--fresh"]);
    let (undisturbed, duration) = job.undisturbed();
    let out = job.out("out");
    let old = job.out("old");
    for target in [&out, &old] {
        let mut args = vec!["quantize", "--model", text(&job.model), "--out", text(target)];
        args.extend(["--method", "rtn", "--no-eval"]);
        run(&args).exits(0);
    }
    let old = files(&old);
    for tenths in [1, 3, 5] {
        let mut child = job.spawn(&out);
        sleep(duration * tenths / 10);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break; // a machine that has become faster
        }
        assert!(files(&out) == old || files(&out) == files(&undisturbed));
    }
    job.check_goes_on(&out, &undisturbed);
}

fn send(signal: &str, child: &Child) {
    let script = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

/// Waits until the run has claimed its work directory, and thus watches for signals.
fn wait_for_work(child: &mut Child, out: &Path) {
    while !work_dir(out).join("checkpoint").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupted_run_says_so_and_goes_on_later() {
    let job = Job::new(&[]);
    let (undisturbed, _) = job.undisturbed();
    for signal in ["INT", "TERM"] {
        let out = job.out(signal);
        let mut child = job.spawn(&out);
        wait_for_work(&mut child, &out);
        send(signal, &child);
        let ended = Ended::of(&job.args(&out), &child.wait_with_output().unwrap());
        ended.exits(130);
        assert!(ended.stderr.contains("same command"), "{ended:#?}");
        assert_eq!(ended.stdout, "");
        assert!(!out.exists());
        job.check_goes_on(&out, &undisturbed);
    }
}

#[test]
fn two_runs_never_share_a_target() {
    let job = Job::new(&[]);
    let (undisturbed, _) = job.undisturbed();
    let out = job.out("out");
    let mut first = job.spawn(&out);
    wait_for_work(&mut first, &out);
    send("STOP", &first);
    run(&job.args(&out)).refused(1, &[text(&out), "another process"]);
    send("CONT", &first);
    Ended::of(&job.args(&out), &first.wait_with_output().unwrap()).exits(0);
    check_same_files(&out, &undisturbed);
}
