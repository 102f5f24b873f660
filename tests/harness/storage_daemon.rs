//! A block device made of `qemu-storage-daemon`: the image that the file system is on, exported through FUSE, with a
//! fault that can be switched on, or with a log of all that is written to it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::disk::run;
use super::process::{eventually, signal_pid};

const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon, and the file in which the image appears.
pub struct StorageDaemon {
    child: Child,
    socket: PathBuf,
    export: PathBuf,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every write.
    Writes,
    /// One flush of the device's cache, the next one; those after it succeed.
    NextFlush,
    /// Reads that touch this byte of the image.
    ReadsAt(u64),
}

impl StorageDaemon {
    /// Exports `image` and writes down every write and flush in `log`.
    pub fn logging(image: &Path, log: &Path) -> Result<Self, String> {
        File::create(log).map_err(|error| error.to_string())?;
        let nodes = [
            json!({"driver": "file", "node-name": "image", "filename": image, "locking": "off"}),
            json!({"driver": "file", "node-name": "log-file", "filename": log, "locking": "off"}),
            json!({"driver": "raw", "node-name": "log", "file": "log-file"}),
            json!({"driver": "blklogwrites", "node-name": "top", "file": "image", "log": "log", "log-sector-size": 512}),
        ];
        Self::start(image, &nodes)
    }

    /// Exports `image`, in which `fault` happens once it is switched on.
    pub fn failing(image: &Path, fault: Fault) -> Result<Self, String> {
        let mut error = json!({"event": "none", "errno": 5, "once": fault == Fault::NextFlush, "immediately": false});
        error["iotype"] = match fault {
            Fault::Writes => "write",
            Fault::NextFlush => "flush",
            Fault::ReadsAt(_) => "read",
        }
        .into();
        if let Fault::ReadsAt(byte) = fault {
            error["sector"] = (byte / 512).into();
        }
        let nodes = [
            json!({"driver": "file", "node-name": "image", "filename": image, "locking": "off"}),
            json!({"driver": "blkdebug", "node-name": "bad", "image": "image", "inject-error": [error]}),
            json!({"driver": "raw", "node-name": "top", "file": "image"}),
        ];
        Self::start(image, &nodes)
    }

    fn start(image: &Path, nodes: &[Value]) -> Result<Self, String> {
        run("qemu-storage-daemon", &["--version"])?;
        let (export, socket) = (image.with_extension("export"), image.with_extension("socket"));
        File::create(&export).map_err(|error| error.to_string())?;
        let mut command = Command::new("qemu-storage-daemon");
        for node in nodes {
            command.arg("--blockdev").arg(node.to_string());
        }
        let log = File::create(image.with_extension("daemon.log")).map_err(|error| error.to_string())?;
        let mut exported = json!({"type": "fuse", "id": "export", "node-name": "top", "writable": true});
        exported["mountpoint"] = export.to_string_lossy().into();
        command
            .arg("--export")
            .arg(exported.to_string())
            .args(["--chardev".to_owned(), format!("socket,id=control,path={},server=on,wait=off", socket.display())])
            .args(["--monitor", "chardev=control"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut daemon = Self { child, socket, export };
        let length = fs::metadata(image).map_err(|error| error.to_string())?.len();
        let ready = eventually("an exported image", PATIENCE, || {
            let ended = daemon.child.try_wait().expect("look after a child").is_some();
            let ready = fs::metadata(&daemon.export).is_ok_and(|export| export.len() == length);
            (ended || ready).then_some(ready)
        });
        if ready { Ok(daemon) } else { Err(fs::read_to_string(image.with_extension("daemon.log")).unwrap_or_default()) }
    }

    /// The image as a file system is to see it.
    pub fn export(&self) -> &Path {
        &self.export
    }

    /// Switches the fault on or off.
    pub fn set_failing(&self, on: bool) {
        let stream = UnixStream::connect(&self.socket).expect("connect to the storage daemon");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut writer = stream;
        let file = if on { "bad" } else { "image" };
        let reopen = json!({"options": [{"driver": "raw", "node-name": "top", "file": file}]});
        let commands =
            [json!({"execute": "qmp_capabilities"}), json!({"execute": "blockdev-reopen", "arguments": reopen})];
        for command in commands {
            writeln!(writer, "{command}").expect("tell the storage daemon");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("hear from the storage daemon");
                assert!(!line.contains("\"error\""), "{command}: {line}");
                if line.contains("\"return\"") {
                    break;
                }
            }
        }
    }
}

impl Drop for StorageDaemon {
    fn drop(&mut self) {
        signal_pid(self.child.id(), Signal::TERM);
        // Its end takes the export away.
        let _ = self.child.wait();
    }
}
