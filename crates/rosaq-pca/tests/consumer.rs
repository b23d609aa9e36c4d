//! A project outside this workspace can depend on this crate and nothing else of ours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Unoptimized, without checks or debug information: faer's code is large, and compiling it is
/// nearly all that this test does the first time. Later runs reuse it.
const PROFILE: &str = "opt-level = 0\ndebug = false\ndebug-assertions = false\n\
                       overflow-checks = false\nincremental = false\n";

const MAIN: &str = r#"
use rosaq_pca::faer::mat;

fn main() -> Result<(), rosaq_pca::PcaError> {
    let basis = rosaq_pca::eigenbasis(mat![[2.0, 1.0], [1.0, 2.0_f64]].as_ref())?;
    println!("{:.6} {:.6}", basis.values[0], basis.values[1]);
    Ok(())
}
"#;

/// Runs cargo on the consumer, with the build folder inside the workspace's so that it persists.
#[track_caller]
fn cargo(project: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(project)
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("consumer"))
        .output()
        .expect("cargo can be started");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?} failed:\n{message}");
    output
}

#[test]
fn builds_and_runs_outside_the_workspace() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!(
        "[package]\nname = \"consumer\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nrosaq-pca = {{ path = {crate_dir:?} }}\n\n\
         [profile.dev]\n{PROFILE}\n[workspace]\n"
    );
    let source = project.path().join("src");
    fs::create_dir(&source).expect("the temporary folder is writable");
    fs::write(source.join("main.rs"), MAIN).expect("the temporary folder is writable");
    fs::write(project.path().join("Cargo.toml"), manifest).expect("the folder is writable");
    // With the workspace's versions nothing new has to be resolved or downloaded.
    fs::copy(crate_dir.join("../../Cargo.lock"), project.path().join("Cargo.lock"))
        .expect("the workspace has a Cargo.lock");

    let output = cargo(project.path(), &["run", "--quiet"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3.000000 1.000000\n");
    // The project's path changes with every run; what was built of it must not pile up.
    cargo(project.path(), &["clean", "--quiet", "--package", "consumer"]);
}
