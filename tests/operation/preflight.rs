//! Whatever keeps the server from running is said before anything starts: in one clear line with what to do, with an
//! exit code of `sysexits.h`, and without a panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Port;
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

/// `rollbook` about to start in a directory, on ports that are held for it.
struct Rollbook {
    command: Command,
    _ports: [Port; 2],
}

impl Rollbook {
    fn args<const N: usize>(&mut self, args: [&str; N]) -> &mut Self {
        self.command.args(args);
        self
    }

    fn output(&mut self) -> Output {
        self.command.output().unwrap()
    }
}

fn rollbook(dir: &Path, command: &str) -> Rollbook {
    let ports = [Port::take(), Port::take()];
    let mut rollbook = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    rollbook.arg(command).current_dir(dir).env_clear();
    for (key, port) in ["SERVER__PORT", "CHECKPOINT__PORT"].into_iter().zip(&ports) {
        rollbook.env(format!("ROLLBOOK_{key}"), port.number().to_string());
    }
    Rollbook { command: rollbook, _ports: ports }
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Asserts that `output` is a refusal with 69 of a single line with `words` in it.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("rollbook: ") && !said.contains("panicked"), "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is missing: {said}"));
}

/// Makes `io_uring_setup` fail with EPERM in `command`, as the default filter of Docker does.
fn deny_io_uring(command: &mut Command) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let filter = [
        step(LOAD, 0, 0, 0),
        step(IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: `program` and its filter live until the call returns, and the kernel only reads them.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec `install` only makes system calls.
    unsafe { command.pre_exec(install) };
}

fn limit(command: &mut Command, resource: Resource, most: u64) {
    let limit = move || {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        Ok(())
    };
    // SAFETY: between fork and exec `limit` only makes a system call.
    unsafe { command.pre_exec(limit) };
}

#[test]
fn a_machine_that_has_everything_passes() {
    let dir = dir();
    let output = rollbook(dir.path(), "doctor").output();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for subject in
        ["cores", "kernel", "io_uring", "locked memory", "open files", "direct I/O", "data directory", "port"]
    {
        assert!(said.lines().any(|line| line.starts_with("ok") && line.contains(subject)), "{subject}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "doctor left something behind");
}

#[test]
fn findings_come_as_json_too() {
    let dir = dir();
    let output = rollbook(dir.path(), "doctor").args(["--json"]).output();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(finding["subject"].is_string() && finding["text"].is_string() && finding["verdict"].is_string());
    }
}

#[test]
fn denied_io_uring_is_said_and_by_whom() {
    for command in ["doctor", "serve"] {
        let dir = dir();
        let mut rollbook = rollbook(dir.path(), command);
        deny_io_uring(&mut rollbook.command);
        assert_refused(&rollbook.output(), &["io_uring", "seccomp", "allow io_uring_setup"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn too_little_lockable_memory_is_said() {
    let dir = dir();
    let mut rollbook = rollbook(dir.path(), "serve");
    limit(&mut rollbook.command, Resource::Memlock, 64 << 10);
    assert_refused(&rollbook.output(), &["64 KiB", "512 KiB", "ulimit -l"]);
}

#[test]
fn too_few_open_files_are_said() {
    let dir = dir();
    let mut rollbook = rollbook(dir.path(), "serve");
    limit(&mut rollbook.command, Resource::Nofile, 128);
    assert_refused(&rollbook.output(), &["128 files", "ulimit -n"]);
}

#[test]
fn fewer_open_files_than_clients_are_noted() {
    let dir = dir();
    let mut rollbook = rollbook(dir.path(), "doctor");
    limit(&mut rollbook.command, Resource::Nofile, 2048);
    let output = rollbook.output();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.starts_with("note") && line.contains("server.max_clients = 10000")), "{said}");
}

#[test]
fn a_taken_port_is_said_also_if_its_holder_would_share_it() {
    for (key, share) in [("server.port", false), ("server.port", true), ("checkpoint.port", true)] {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(share).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(1).unwrap();
        let port = TcpListener::from(socket.try_clone().unwrap()).local_addr().unwrap().port();
        let dir = dir();
        let output = rollbook(dir.path(), "serve").args(["--set", &format!("{key}={port}")]).output();
        assert_refused(&output, &[&format!("127.0.0.1:{port} is taken"), key]);
    }
}

#[test]
fn a_directory_in_use_is_said() {
    let dir = dir();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let lock = std::fs::File::create(dir.path().join("data/LOCK")).unwrap();
    lock.lock().unwrap();
    let output = rollbook(dir.path(), "serve").output();
    assert_refused(&output, &["data is in use", "data.dir"]);
}

#[test]
fn a_file_system_without_direct_io_is_said() {
    let (dir, ports) = (dir(), [Port::take(), Port::take()]);
    let script = "mount -t ramfs ramfs . && cd . && exec \"$0\" doctor --set data.dir=\"$PWD/data\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_rollbook")]).current_dir(dir.path());
    command.env("ROLLBOOK_SERVER__PORT", ports[0].number().to_string());
    command.env("ROLLBOOK_CHECKPOINT__PORT", ports[1].number().to_string());
    let output = command.output();
    match output {
        Ok(output) if output.status.code() == Some(69) => assert_refused(&output, &["O_DIRECT", "ext4"]),
        // It takes the right to mount.
        other => eprintln!("not tested, for want of the right to mount: {other:?}"),
    }
}

#[test]
fn a_wrong_configuration_outweighs_a_lacking_machine() {
    let dir = dir();
    let mut rollbook = rollbook(dir.path(), "doctor");
    deny_io_uring(&mut rollbook.command);
    let output = rollbook.args(["--set", "server.cores=200", "--set", "data.dir=/proc/rollbook"]).output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("data.dir") && said.contains("seccomp"), "{said}");
}

#[test]
fn serving_others_without_a_password_is_noted() {
    for (protected, words) in [("true", "they are refused until server.password is set"), ("false", "read and erase")] {
        let dir = dir();
        let mut rollbook = rollbook(dir.path(), "doctor");
        rollbook.args(["--set", "server.bind=0.0.0.0", "--set", &format!("server.protected_mode={protected}")]);
        let said = String::from_utf8(rollbook.output().stdout).unwrap();
        assert!(said.lines().any(|line| line.starts_with("note") && line.contains(words)), "{said}");
    }
}
