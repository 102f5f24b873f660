//! Control groups of a test's own: what a process may have of the machine. They take root.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// A group of the first hierarchy that has the controller; gone when this is dropped. Its processes must be gone by
/// then.
pub struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    /// A new group under a controller of cgroup version 1.
    pub fn make(controller: &str) -> Result<Self, String> {
        let directory = PathBuf::from(format!("/sys/fs/cgroup/{controller}/rollbook-test-{:016x}", fastrand::u64(..)));
        fs::create_dir(&directory).map_err(|error| format!("cgroup {controller}: {error}"))?;
        Ok(Self { directory })
    }

    /// Sets a limit.
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        fs::write(self.directory.join(name), value).map_err(|error| format!("cgroup {name}: {error}"))
    }

    /// The words that start a program in the group, to stand before it.
    pub fn wrapper(&self) -> [String; 4] {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.directory.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel needs a moment to see that a dead process was the last.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}
