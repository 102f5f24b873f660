"""One unit of Valkey's test suite, run against one server."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# What the suite calls features that only Redis's own process has, or that take minutes.
TAGS = ("-slow -needs:debug -needs:repl -needs:save -needs:pfdebug -needs:config-maxmemory -needs:config-resetstat "
        "-needs:reset")

# Seconds after which a unit is given up.
PATIENCE = 600

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
RESULT = re.compile(r"^\[(ok|err|exception)\]:\s*(.*?)(?: in tests/\S+| \(\d+ ms\))?$")
IGNORED = re.compile(r"^\[ignore\]:\s*(.*): (?:Tag: (\S+) denied|Not supported on (external server|singledb)|"
                     r"(large memory) flag not provided)$")
TAG_OF = {"external server": "external:skip", "singledb": "singledb:skip", "large memory": "large-memory"}

# Added to the copy of the suite: tells the names of the tests in a block that is passed over as a whole. A name with
# variables stands for several tests.
NAMES_OF_IGNORED = r'''
proc ignored_tests {code err} {
    foreach {- braced quoted} [regexp -all -inline -line {^\s*test\s+(?:\{([^\}]*)\}|"([^"]*)")} $code] {
        send_data_packet $::test_server_fd ignore "$braced$quoted: $err"
    }
}
'''


@dataclass
class Results:
    """What the tests of a unit came to."""

    # ok, err or exception, by the test's name.
    ran: dict = field(default_factory=dict)
    # The tag for which a test was passed over, by its name.
    ignored: dict = field(default_factory=dict)

    @property
    def passed(self):
        return {test for test, result in self.ran.items() if result == "ok"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server that was started for one unit: Rollbook with so many cores, or Redis."""

    def __init__(self, program, cores):
        self.directory = tempfile.TemporaryDirectory(prefix="compatibility-", dir=os.environ.get("TMPDIR", "."))
        self.port = free_port()
        if cores:
            settings = {"server.port": self.port, "server.cores": cores, "checkpoint.port": free_port(),
                        "checkpoint.node": "none"}
            command = [program, "serve"]
            for key, value in settings.items():
                command += ["--set", f"{key}={value}"]
        else:
            command = [program, "--port", str(self.port), "--save", "", "--appendonly", "yes"]
        self.process = subprocess.Popen(command, cwd=self.directory.name, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def wait(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended at once, with {self.process.returncode}")
            try:
                if self.ask("PING").startswith(b"+PONG"):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("the server does not answer")

    def ask(self, *requests):
        """The beginning of the reply to the last of some requests."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            for request in requests:
                s.sendall(request.encode() + b"\r\n")
                reply = s.recv(4096)
        return reply

    def has(self, feature):
        """Whether the server has a command, or the waiting that `XREAD BLOCK` and `XREADGROUP BLOCK` stand for."""
        if not feature.endswith(" BLOCK"):
            return b"$" in self.ask(f"COMMAND INFO {feature}")
        began = time.monotonic()
        if feature == "XREAD BLOCK":
            self.ask("XREAD BLOCK 300 STREAMS feature $")
        else:
            self.ask("XGROUP CREATE feature g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 300 STREAMS feature >", )
            self.ask("DEL feature")
        return time.monotonic() - began > 0.2

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.directory.cleanup()


def prepared(suite, directory):
    """Copies the suite, without what ends a unit at once (the request that the server forget its functions, of which
    Rollbook has none), and with names of the tests that are passed over."""
    copy = Path(directory) / "suite"
    shutil.copytree(suite / "tests", copy / "tests")
    path = copy / "tests/support/server.tcl"
    text = path.read_text().replace("    r function flush\n", "")
    text = text.replace("send_data_packet $::test_server_fd ignore $err", "ignored_tests $code $err")
    path.write_text(text + NAMES_OF_IGNORED)
    return copy


def run(suite, unit, server, log, skipped=()):
    """Runs a unit, but for the tests in `skipped`."""
    skip = [word for test in skipped for word in ("--skiptest", test)]
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(server.port), "--singledb",
               "--ignore-encoding", "--ignore-digest", "--durable", "--tags", TAGS, "--single", unit,
               # Several suites can run at a time. Theirs are ports below those that the system gives to others.
               "--baseport", str(random.randrange(21_000, 31_000))] + skip
    with open(log, "wb") as out:
        with subprocess.Popen(command, cwd=suite, stdout=out, stderr=subprocess.STDOUT,
                              start_new_session=True) as tests:
            try:
                tests.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(tests.pid, signal.SIGKILL)
    return read(log)


def read(log):
    """Reads what the suite has printed."""
    results = Results()
    for line in Path(log).read_text(errors="replace").splitlines():
        line = COLOUR.sub("", line)
        if found := IGNORED.match(line):
            results.ignored[found[1]] = found[2] or TAG_OF[found[3] or found[4]]
        # A test that is there several times counts as passed if it always passed.
        elif (found := RESULT.match(line)) and results.ran.get(found[2], "ok") == "ok":
            results.ran[found[2]] = found[1]
    return results
