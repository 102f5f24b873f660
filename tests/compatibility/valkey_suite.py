#!/usr/bin/env python3
"""Runs units of Valkey's own test suite against Rollbook and against a real Redis, and compares.

    git clone https://github.com/valkey-io/valkey      # anywhere; needs tclsh
    cargo build --release
    tests/compatibility/valkey_suite.py --suite valkey [--cores 1,2] [--redis redis-server] [UNIT ...]

Each unit gets a server of its own, started afresh in an empty directory. What real Redis passes, Rollbook should: the
tests that Redis passes and Rollbook does not are listed, and the exit code is 1 if there are any that the file
`known.txt` beside this script does not give a reason for. Tests whose reason is that they need a command which Rollbook
does not have yet are not run on it: what they leave unread would be taken for replies to the tests after them.
"""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

TYPES = ["string", "incr", "hash", "list", "list-2", "list-3", "set", "zset", "stream", "stream-cgroups"]
OTHERS = ["keyspace", "scan", "expire", "sort", "bitops", "bitfield", "geo", "hyperloglog", "protocol", "other",
          "querybuf", "dump"]
UNITS = [f"unit/type/{name}" for name in TYPES] + [f"unit/{name}" for name in OTHERS]

# What the suite calls features that only Redis's own process has, or that take minutes.
TAGS = ("-slow -needs:debug -needs:repl -needs:save -needs:pfdebug -needs:config-maxmemory -needs:config-resetstat "
        "-needs:reset")

RESULT = re.compile(r"^\[(ok|err|exception|ignore|skip)\]:\s*(.*?)(?: in tests/\S+| \(\d+ ms\))?$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


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
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    s.sendall(b"PING\r\n")
                    if s.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("the server does not answer")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.directory.cleanup()


def run(suite, unit, program, cores, log, skipped=()):
    """Runs one unit. Returns the result of each test by its name: ok, err, exception, ignore or skip."""
    server = Server(program, cores)
    skip = [word for test in skipped for word in ("--skiptest", test)]
    try:
        command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(server.port), "--singledb",
                   "--ignore-encoding", "--ignore-digest", "--durable", "--tags", TAGS, "--single", unit,
                   # Several suites can run at a time. Theirs are ports below those that the system gives to others.
                   "--baseport", str(random.randrange(21_000, 31_000))] + skip
        with open(log, "wb") as out:
            with subprocess.Popen(command, cwd=suite, stdout=out, stderr=subprocess.STDOUT,
                                  start_new_session=True) as tests:
                try:
                    tests.wait(timeout=600)
                except subprocess.TimeoutExpired:
                    os.killpg(tests.pid, signal.SIGKILL)
    finally:
        server.stop()
    results = {}
    for line in Path(log).read_text(errors="replace").splitlines():
        found = RESULT.match(COLOUR.sub("", line))
        # A test that is there several times counts as passed if it always passed.
        if found and results.get(found[2], "ok") == "ok":
            results[found[2]] = found[1]
    return results


def prepared(suite, directory):
    """Copies the suite without what ends a unit at once: the request that the server forget its functions, of which
    Rollbook has none, and the setting `save`, which cannot be changed in it."""
    copy = Path(directory) / "suite"
    shutil.copytree(suite / "tests", copy / "tests")
    server = copy / "tests/support/server.tcl"
    server.write_text(server.read_text().replace("    r function flush\n", ""))
    for unit in (copy / "tests/unit").rglob("*.tcl"):
        unit.write_bytes(unit.read_bytes().replace(b'[list save ""]', b"[list]"))
    return copy


def known():
    """Reasons for tests that fail, by unit and name: lines `unit | test | reason`. A test that begins with a slash is a
    regular expression, as in the suite's own `--skiptest`."""
    path, reasons = HERE / "known.txt", {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.strip() and not line.startswith("#"):
            unit, test, reason = (part.strip() for part in line.split(" | ", 2))
            reasons[unit, test] = reason
    return reasons


def reason_for(reasons, unit, test):
    """The reason why a test fails; None if there is none."""
    for (of, name), reason in reasons.items():
        if of == unit and (name == test or name.startswith("/") and re.search(name[1:], test)):
            return reason
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True, help="a checkout of Valkey")
    parser.add_argument("--rollbook", default=str(HERE.parents[1] / "target/release/rollbook"))
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--cores", default="1,2", help="numbers of cores to run Rollbook with")
    parser.add_argument("--logs", default=".", help="where the suite's own output goes")
    parser.add_argument("units", nargs="*", default=UNITS)
    options = parser.parse_args()
    suite, logs = Path(options.suite).resolve(), Path(options.logs).resolve()
    if not (suite / "tests/test_helper.tcl").exists():
        raise SystemExit(f"{suite} is no checkout of Valkey: it has no tests/test_helper.tcl")
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compatibility-") as directory:
        sys.exit(compare(prepared(suite, directory), logs, options))


def compare(suite, logs, options):
    """Runs the units and prints the table. Returns the exit code."""
    cores = [int(n) for n in options.cores.split(",")]
    reasons, unexplained = known(), 0
    print("| unit | Redis passes |" + "".join(f" {n} core{'s' * (n > 1)} |" for n in cores) + " missing, by reason |")
    print("|---|---|" + "---|" * (len(cores) + 1))
    missing = []
    for unit in options.units:
        name = unit.replace("/", "-")
        redis = run(suite, unit, options.redis, 0, logs / f"{name}-redis.log")
        passed = {test for test, result in redis.items() if result == "ok"}
        counts, lacking = [], {}
        skipped = [test for (of, test), reason in reasons.items() if of == unit and reason.startswith("needs ")]
        for n in cores:
            rollbook = run(suite, unit, options.rollbook, n, logs / f"{name}-{n}.log", skipped)
            lacks = {test: rollbook.get(test, "not reached") for test in passed if rollbook.get(test) != "ok"}
            counts.append(len(passed) - len(lacks))
            for test, result in lacks.items():
                lacking.setdefault(test, []).append(f"{result} with {n}")
        why = {}
        for test, results in sorted(lacking.items()):
            reason = reason_for(reasons, unit, test)
            why[reason or "?"] = why.get(reason or "?", 0) + 1
            if not reason:
                unexplained += 1
                missing.append(f"{unit}: {test}: {', '.join(results)}")
        summary = "; ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
        print(f"| {unit} | {len(passed)} |" + "".join(f" {count} |" for count in counts) + f" {summary} |", flush=True)
    for line in missing:
        print(line)
    return 1 if unexplained else 0


if __name__ == "__main__":
    main()
