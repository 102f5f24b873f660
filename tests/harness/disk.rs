//! Small file systems of a test's own, which can be filled, taken away and broken. They take root; where mounting is
//! not allowed the test says that it is skipped, and why.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use super::disk_shutdown;

/// An ext4 file system on a loop device; it and the device are gone when this is dropped. Servers must be gone by then.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    device: Option<PathBuf>,
}

/// Runs a program; its standard output, or what it says of its failure.
pub fn run<A: AsRef<std::ffi::OsStr>>(program: &str, args: &[A]) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(format!("{program}: {}", text(&stderr))) }
}

/// Makes an image of `bytes` with an ext4 file system in it.
pub fn make_image(image: &Path, bytes: u64) -> Result<(), String> {
    File::create(image).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
    // No tables that are filled in later: what is written to the image is what the server does.
    // And no blocks for root alone, who runs these tests.
    let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    run("mkfs.ext4", &[Path::new("-qm0"), Path::new("-E"), Path::new(lazy), image]).map(drop)
}

/// The value, or `None` after saying that the test is skipped, and why.
pub fn or_skip<T>(made: Result<T, String>) -> Option<T> {
    made.map_err(|why| eprintln!("SKIPPED, this machine does not allow it: {why}")).ok()
}

impl Disk {
    /// A file system of `bytes` in `directory`.
    pub fn make(directory: &Path, bytes: u64) -> Option<Self> {
        let image = directory.join("disk.img");
        or_skip(make_image(&image, bytes).and_then(|()| Self::attach(&image, &directory.join("disk"))))
    }

    /// Mounts the file system in `image` at `mount`.
    pub fn attach(image: &Path, mount: &Path) -> Result<Self, String> {
        fs::create_dir_all(mount).map_err(|error| error.to_string())?;
        let mut disk = Self { image: image.to_owned(), mount: mount.to_owned(), device: None };
        disk.mount()?;
        Ok(disk)
    }

    /// Where its root directory is.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&mut self) -> Result<(), String> {
        let device = run("losetup", &[Path::new("--find"), Path::new("--show"), &self.image])?;
        let device = PathBuf::from(device);
        self.device = Some(device.clone());
        run("mount", &[Path::new("-oerrors=remount-ro,nodiscard"), &device, &self.mount]).map(drop)
    }

    /// Unmounts it, waiting for those who still have it open, and lets go of the device.
    pub fn unmount(&mut self) {
        let Some(device) = self.device.take() else { return };
        let is_mounted =
            || fs::read_to_string("/proc/mounts").is_ok_and(|all| all.contains(&*self.mount.to_string_lossy()));
        for attempt in 0..200 {
            // A killed process lets go of its files a moment after its end, and so does what it had in flight.
            if !is_mounted() || run("umount", &[&self.mount]).is_ok() {
                break;
            }
            if attempt == 199 {
                let _ = run("umount", &[Path::new("-l"), &self.mount]);
            }
            sleep(Duration::from_millis(25));
        }
        let _ = run("losetup", &[Path::new("-d"), &device]);
    }

    /// Unmounts it, repairs what broke, and mounts it again: what a restart of the machine does.
    pub fn restart(&mut self) {
        self.unmount();
        // Its exit code is 1 after a repair.
        let _ = run("e2fsck", &[Path::new("-fy"), &self.image]);
        self.mount().expect("mount the file system again");
    }

    /// Turns it read-only, as ext4 does when it finds itself damaged.
    pub fn turn_read_only(&self) {
        let device = self.device.as_ref().and_then(|device| device.file_name()).expect("it is mounted");
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        OpenOptions::new()
            .write(true)
            .open(trigger)
            .and_then(|mut file| file.write_all(b"1"))
            .expect("trigger an error");
    }

    /// Takes it away at once: whatever the file system has not committed is lost, as in a power failure.
    pub fn shut_down(&self) {
        disk_shutdown::shut_down(&self.mount);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}
