//! Python for the tests of the examples: a virtual environment with what an example requires.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of an example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The interpreter of an environment that has the requirements of `examples/python`. Made once, and
/// again when they change.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let requirements = example("python").join("requirements.txt");
        let wanted = fs::read(&requirements).unwrap();
        // Beside the builds, so that it outlives one run of the tests.
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let (has, python) = (home.join("has.txt"), home.join("bin/python"));
        if fs::read(&has).ok() != Some(wanted.clone()) {
            drop(fs::remove_dir_all(&home));
            let venv = Command::new("python3").args(["-m", "venv"]).arg(&home).output();
            let venv = venv.unwrap_or_else(|error| {
                panic!("this test needs python3 (Debian: apt-get install python3-venv): {error}")
            });
            must(&venv, "python3 -m venv failed (Debian: apt-get install python3-venv)");
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
            let pip = pip.arg(&requirements).output().unwrap();
            must(&pip, "pip could not install examples/python/requirements.txt");
            fs::write(&has, wanted).unwrap();
        }
        python
    })
}

fn must(output: &Output, what: &str) {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(output.status.success(), "{what}:\n{}", String::from_utf8_lossy(&said));
}
