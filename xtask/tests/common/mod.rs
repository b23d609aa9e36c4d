//! Runs the real program on copies of the bundled models.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value};

/// Flags that keep a run under a second.
pub(crate) const SMALL: [&str; 8] =
    ["--calib-sequences", "4", "--calib-length", "128", "--max-segments", "2", "--context", "128"];

/// A file or directory of the bundled fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures")).join(name)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// A copy of a bundled directory.
pub(crate) fn copy_of(name: &str, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

/// The program with these arguments, not yet started.
pub(crate) fn xtask(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args);
    command
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Ended::of(args, &xtask(args).output().unwrap())
}

/// `quantize` of `model` into `out`, small and as JSON.
pub(crate) fn quantize(model: &Path, out: &Path, more: &[&str]) -> Ended {
    let mut args = vec!["quantize", "--model", text(model), "--out", text(out), "--json"];
    args.extend(SMALL);
    // Most of what is asked here concerns salient channels as well.
    if !more.contains(&"--method") {
        args.extend(["--method", "rosaq"]);
    }
    args.extend(more);
    run(&args)
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    args: Vec<String>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(args: &[&str], output: &Output) -> Self {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        let ended = Self {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            code: output.status.code(),
            stdout: utf8(&output.stdout),
            stderr: utf8(&output.stderr),
        };
        assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
        ended
    }

    /// Demands this exit code.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one JSON object that is all of standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Map<String, Value> {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|error| panic!("no single JSON object: {error}\n{self:#?}"))
    }

    /// Demands an error: this exit code, nothing on standard output, one message with all of `words`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        self.exits(code);
        assert_eq!(self.stdout, "", "{self:#?}");
        let n_errors = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(n_errors, 1, "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "the message lacks {word:?}: {self:#?}");
        }
    }
}

/// The work directory of a job that has not ended well.
pub(crate) fn work_dir(out: &Path) -> PathBuf {
    out.with_file_name(format!(".{}.work", out.file_name().unwrap().to_string_lossy()))
}

/// Demands that a refused job left nothing.
#[track_caller]
pub(crate) fn check_nothing_left(out: &Path) {
    assert!(!out.exists(), "{out:?} was made");
    assert!(!work_dir(out).exists(), "{:?} was left", work_dir(out));
}

/// Files of a directory by name, but for the report, which holds times.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .filter(|(name, _)| name != "rosaq-report.json" && name != "README.md")
        .collect()
}

/// Demands the same files with the same bytes.
#[track_caller]
pub(crate) fn check_same_files(found: &Path, expected: &Path) {
    let (found, expected) = (files(found), files(expected));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// A safetensors file taken apart, to be put together wrongly.
pub(crate) struct Safetensors {
    pub(crate) header: Map<String, Value>,
    pub(crate) data: Vec<u8>,
}

impl Safetensors {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (header, data) = bytes[8..].split_at(header_len(&bytes));
        Self { header: serde_json::from_slice(header).unwrap(), data: data.to_vec() }
    }

    pub(crate) fn write(&self, path: &Path) {
        let header = serde_json::to_vec(&self.header).unwrap();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(&self.data);
        fs::write(path, bytes).unwrap();
    }

    /// The bytes of one tensor.
    pub(crate) fn tensor(&mut self, name: &str) -> &mut [u8] {
        let offset = |i: usize| self.header[name]["data_offsets"][i].as_u64().unwrap();
        let range = to_usize(offset(0))..to_usize(offset(1));
        &mut self.data[range]
    }

    /// Adds an f16 tensor of zeros at the end.
    pub(crate) fn push_zeros(&mut self, name: &str, shape: &[usize]) {
        let start = self.data.len();
        self.data.extend(vec![0; 2 * shape.iter().product::<usize>()]);
        let offsets = [start, self.data.len()];
        let info = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": offsets});
        self.header.insert(name.to_owned(), info);
    }
}

/// Bytes of the JSON header of a safetensors file.
pub(crate) fn header_len(bytes: &[u8]) -> usize {
    to_usize(u64::from_le_bytes(bytes[..8].try_into().unwrap()))
}

/// Changes one file through a function of its bytes.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Changes the fields of a JSON file.
pub(crate) fn change_json(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
