//! The compiler: wheels of fixed versions in a virtual environment of their own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::NvccError;

/// Names an environment to use instead of an own one.
pub const ENV_VARIABLE: &str = "ROSAQ_CUDA_ENV";

/// What is installed. Register counts and bytes of PTX move with the compiler, so that all versions are exact.
pub const WHEELS: [&str; 7] = [
    "nvidia-cuda-nvcc==13.5.37",
    "nvidia-nvvm==13.5.37",
    "nvidia-cuda-crt==13.5.37",
    "nvidia-cuda-runtime==13.5.37",
    "nvidia-cuda-cccl==13.3.5.0.6",
    "nvidia-cuda-cuobjdump==13.5.37",
    "nvidia-cuda-nvdisasm==13.5.37",
];

/// The version that nvcc must report.
const NVCC_VERSION: &str = "V13.5.37";

/// An installed compiler.
#[derive(Debug, Clone)]
pub struct Toolchain {
    bin: PathBuf,
}

impl Toolchain {
    /// The environment that [`ENV_VARIABLE`] names, else the one at `own`, which is made unless it is there already.
    ///
    /// # Errors
    /// Python, its modules, g++ or the wheels are missing, or the compiler is another version.
    pub fn open_or_install(own: &Path) -> Result<Self, NvccError> {
        run(Command::new("g++").arg("--version"), "g++", "install g++, which nvcc needs")?;
        let toolchain = match std::env::var_os(ENV_VARIABLE) {
            Some(named) => Self::open(Path::new(&named))?,
            None => match Self::open(own) {
                Ok(toolchain) => toolchain,
                Err(_) => {
                    install(own)?;
                    Self::open(own)?
                }
            },
        };
        toolchain.check_version()?;
        Ok(toolchain)
    }

    fn open(environment: &Path) -> Result<Self, NvccError> {
        let no_tool = |path: PathBuf| NvccError::NoTool {
            path,
            remedy: "remove the environment, or install the wheels of `rosaq_nvcc::WHEELS` in it",
        };
        let lib = environment.join("lib");
        let versions = fs::read_dir(&lib).map_err(|_| no_tool(lib.clone()))?;
        let bins = versions.flatten().map(|v| v.path().join("site-packages/nvidia/cu13/bin"));
        let bin = bins.into_iter().find(|bin| bin.join("nvcc").is_file());
        let bin =
            bin.ok_or_else(|| no_tool(lib.join("python3*/site-packages/nvidia/cu13/bin/nvcc")))?;
        for tool in ["ptxas", "cuobjdump", "nvdisasm"] {
            if !bin.join(tool).is_file() {
                return Err(no_tool(bin.join(tool)));
            }
        }
        Ok(Self { bin })
    }

    fn check_version(&self) -> Result<(), NvccError> {
        let output = self.run("nvcc", [OsStr::new("--version")], None)?;
        if output.contains(NVCC_VERSION) {
            return Ok(());
        }
        let what = format!("the check that nvcc is {NVCC_VERSION}");
        Err(NvccError::Failed { what, output })
    }

    /// Runs one of the tools in `dir` and returns all that it says.
    pub(crate) fn run<'a>(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = &'a OsStr>,
        dir: Option<&Path>,
    ) -> Result<String, NvccError> {
        let mut command = Command::new(self.bin.join(tool));
        command.args(arguments);
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        run(&mut command, tool, "the environment is damaged; remove it")
    }
}

fn install(environment: &Path) -> Result<(), NvccError> {
    let python = "install python3 with the modules venv and pip (on Debian: python3-venv)";
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(environment);
    run(&mut venv, "python3", python)?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-deps", "--disable-pip-version-check"]).args(WHEELS);
    run(&mut pip, "pip", python)?;
    Ok(())
}

/// Runs a command to its end; standard output and error together.
fn run(command: &mut Command, name: &str, remedy: &'static str) -> Result<String, NvccError> {
    let done = command.output().map_err(|source| NvccError::Missing {
        program: name.to_owned(),
        remedy,
        source,
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = text(&done.stdout) + &text(&done.stderr);
    if done.status.success() {
        return Ok(output);
    }
    Err(NvccError::Failed { what: format!("`{name}` ({remedy})"), output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_with_a_remedy() {
        let error = run(&mut Command::new("no-such-program"), "no-such-program", "install it");
        let message = error.expect_err("no such program").to_string();
        assert_eq!(message, "`no-such-program` cannot be run; install it");
    }

    #[test]
    fn an_empty_environment_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let message = Toolchain::open(dir.path()).expect_err("nothing there").to_string();
        assert!(message.contains("install the wheels"), "{message}");
    }
}
