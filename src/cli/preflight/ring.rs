//! Checks that io_uring supports what the program needs by doing it: a ring with the network's flags, a ring of
//! provided buffers, and a multishot receive into it. This file exists for the `unsafe` code that this takes.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, register::Probe};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::Finding;

/// Bytes that are sent and must be received.
const MESSAGE: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PAGE: usize = 4096;
/// Number of provided buffers: one for the message, one for the end of the stream.
const ENTRIES: u16 = 2;
const BUFFER: usize = PAGE / ENTRIES as usize;
/// Group number of the provided buffers.
const GROUP: u16 = 0;
/// Operations that network and file I/O use, with readable names.
const OPERATIONS: [(u8, &str); 7] = [
    (opcode::Accept::CODE, "accept"),
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::Fsync::CODE, "fsync"),
    (opcode::AsyncCancel::CODE, "cancel"),
];

/// What io_uring lacks on this machine.
#[derive(Debug)]
enum Lack {
    /// io_uring may not be used at all.
    Denied(io::Error),
    /// io_uring may be used, but this feature fails.
    Part(&'static str, io::Error),
}

/// Checks that io_uring is present, permitted and supports the features needed.
pub(super) fn check() -> Finding {
    match probe() {
        Ok(()) => {
            Finding::fine("io_uring", "rings with deferred task work, provided buffers and multishot receive work")
        }
        Err(Lack::Part(what, e)) => Finding::missing(
            "io_uring",
            format!("io_uring lacks {what} ({e}): run on Linux 6.1 or newer, not on an emulation of it"),
        ),
        Err(Lack::Denied(e)) => {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            let filtered =
                read("/proc/self/status").lines().any(|line| line.starts_with("Seccomp:") && !line.ends_with('0'));
            explain(&e, read("/proc/sys/kernel/io_uring_disabled").trim(), filtered)
        }
    }
}

/// Explains why io_uring is denied, as far as the system tells, and what to do.
fn explain(error: &io::Error, sysctl: &str, filtered: bool) -> Finding {
    let text = match (error.raw_os_error(), sysctl) {
        (_, "2") => "io_uring is switched off by the sysctl kernel.io_uring_disabled = 2: set it to 0".to_owned(),
        (_, "1") => "io_uring is kept from this user by the sysctl kernel.io_uring_disabled = 1: set it to 0, \
                     or name a group of this user in kernel.io_uring_group"
            .to_owned(),
        (Some(libc::ENOMEM), _) => {
            format!(
                "io_uring gets no memory ({error}): raise the limit of locked memory (`ulimit -l`) or of the container"
            )
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            format!("io_uring gets no file descriptor ({error}): raise the limit with `ulimit -n`")
        }
        (Some(libc::ENOSYS), _) if !filtered => {
            format!(
                "this kernel has no io_uring ({error}): run on Linux 6.1 or newer that is built with CONFIG_IO_URING"
            )
        }
        _ if filtered => format!(
            "io_uring is blocked by a seccomp filter ({error}): allow io_uring_setup, io_uring_enter and io_uring_register \
             (docker: --security-opt seccomp=<profile>; systemd: SystemCallFilter=)"
        ),
        _ => format!("io_uring may not be used ({error}): look for a security module that denies it"),
    };
    Finding::missing("io_uring", text)
}

fn probe() -> Result<(), Lack> {
    // A plain ring first, to distinguish io_uring being denied from flags being unknown.
    IoUring::new(2).map_err(Lack::Denied)?;
    let part = |what| move |e| Lack::Part(what, e);
    // glommio creates one polling ring per core.
    IoUring::<io_uring::squeue::Entry>::builder().setup_iopoll().build(2).map(drop).map_err(part("rings that poll"))?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(4)
        .map_err(part("deferred task work"))?;
    let mut operations = Probe::new();
    ring.submitter().register_probe(&mut operations).map_err(part("the list of its operations"))?;
    if let Some((_, name)) = OPERATIONS.iter().find(|(code, _)| !operations.is_supported(*code)) {
        return Err(Lack::Part(name, io::ErrorKind::Unsupported.into()));
    }
    receive(ring).map_err(part("multishot receive into provided buffers"))
}

/// Receives a message and the end of a connection, as the network does.
fn receive(ring: IoUring) -> io::Result<()> {
    let mut pages = Pages::take()?;
    // Dropped before the memory that the kernel may write to, because it is declared after it.
    let mut ring = ring;
    let (local, mut remote) = UnixStream::pair()?;
    pages.offer(&ring)?;
    let request = opcode::RecvMulti::new(Fd(local.as_raw_fd()), GROUP).build();
    // SAFETY: `local` is open until the last completion has been seen or the ring is dropped; the buffers belong to
    // `pages`, which outlives the ring.
    unsafe { ring.submission().push(&request) }.map_err(io::Error::other)?;
    remote.write_all(MESSAGE)?;
    let (length, flags) = completion(&mut ring)?;
    let buffer = cqueue::buffer_select(flags).filter(|_| cqueue::more(flags));
    let received = buffer.map(|buffer| &pages.buffer(buffer)[..length.min(BUFFER)]);
    if received != Some(MESSAGE) {
        return Err(io::Error::other(format!("{length} bytes with flags {flags:#x} instead of a message")));
    }
    drop(remote);
    match completion(&mut ring)? {
        (0, flags) if !cqueue::more(flags) => Ok(()),
        (length, flags) => Err(io::Error::other(format!("{length} bytes with flags {flags:#x} instead of the end"))),
    }
}

/// Waits, up to a limit, for the next completion. Returns its result and flags.
fn completion(ring: &mut IoUring) -> io::Result<(usize, u32)> {
    let patience = Timespec::from(Duration::from_secs(2));
    ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&patience))?;
    let entry = ring.completion().next().ok_or(io::ErrorKind::TimedOut)?;
    let length = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))?;
    Ok((length, entry.flags()))
}

/// Two pages of memory: a ring of two entries, and the two buffers that they describe.
struct Pages {
    start: NonNull<u8>,
}

impl Pages {
    fn take() -> io::Result<Self> {
        // SAFETY: a new private mapping, at an address of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), 2 * PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        NonNull::new(start.cast()).map(|start| Self { start }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Provides both buffers to the kernel.
    fn offer(&mut self, ring: &IoUring) -> io::Result<()> {
        let base = self.start.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the first page holds nothing else, is aligned to a page and is zero, which is a valid entry; the
        // kernel does not look at the entries before they are registered and the tail says that they are there.
        unsafe {
            for entry in 0..ENTRIES {
                let slot = &mut *base.add(usize::from(entry));
                slot.set_addr(self.start.as_ptr().add(PAGE + usize::from(entry) * BUFFER) as u64);
                slot.set_len(BUFFER as u32);
                slot.set_bid(entry);
            }
            ring.submitter().register_buf_ring_with_flags(base as u64, ENTRIES, GROUP, 0)?;
            AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()).store(ENTRIES, Ordering::Release);
        }
        Ok(())
    }

    /// Contents of a buffer that the kernel has returned.
    fn buffer(&self, number: u16) -> &[u8] {
        let number = usize::from(number.min(ENTRIES - 1));
        // SAFETY: it lies in the second page, and the kernel writes to no buffer that it has handed back.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(PAGE + number * BUFFER), BUFFER) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and the ring that was told of it is gone. It can't fail on a mapping
        // of ours.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), 2 * PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn it_works_here() {
        let finding = check();
        assert_eq!(finding.verdict, Verdict::Fine, "{}", finding.text);
    }

    #[test]
    fn a_denial_names_who_denies() {
        let denied = |number, sysctl, filtered| explain(&io::Error::from_raw_os_error(number), sysctl, filtered).text;
        assert!(denied(libc::EPERM, "2", true).contains("io_uring_disabled = 2"));
        assert!(denied(libc::EPERM, "1", false).contains("io_uring_group"));
        assert!(denied(libc::EPERM, "0", true).contains("seccomp"));
        assert!(denied(libc::ENOSYS, "", true).contains("seccomp"));
        assert!(denied(libc::ENOSYS, "", false).contains("CONFIG_IO_URING"));
        assert!(denied(libc::ENOMEM, "0", false).contains("ulimit -l"));
        assert!(denied(libc::EMFILE, "0", false).contains("ulimit -n"));
        assert!(denied(libc::EPERM, "0", false).contains("security module"));
    }
}
