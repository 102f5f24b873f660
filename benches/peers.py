#!/usr/bin/env python3
"""Measures Rollbook against redis-server and prints a table with targets.

Both servers are pinned to the same CPU, the client to another, and the runs alternate (A B A B ...), so that a noisy machine is noisy
for both; medians are shown. CPU per request is user + system time of the server's process divided by the number of requests.

    cargo build --release
    python3 benches/peers.py                     # every row: about half an hour
    python3 benches/peers.py --only set,set32    # some rows
    python3 benches/peers.py --quick             # every row, too short to be believed

Needs nothing but Python's standard library, and redis-server, redis-benchmark and taskset.
"""

import argparse
import contextlib
import csv
import gc
import json
import os
import platform
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

VALUE_BYTES = 100
CONNECTIONS = 50
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


# --- servers ------------------------------------------------------------------------------------------------------------------------


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def encode(*args):
    """A request in the form that clients send."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Server:
    """A server process on CPUs of its own, in a directory that outlives it."""

    def __init__(self, program, directory, cpus, *, durability="async", cores=1, node=False, extra=()):
        self.is_redis = Path(program).name.startswith("redis")
        self.program, self.directory, self.cpus = program, Path(directory), cpus
        self.durability, self.cores, self.node, self.extra = durability, cores, node, list(extra)
        self.port, self.node_port = free_port(), free_port()
        self.process = None
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def name(self):
        return "redis-server" if self.is_redis else "rollbook"

    def command(self):
        """The command line, the same for every life."""
        cpus = ",".join(str(cpu) for cpu in self.cpus)
        if self.is_redis:
            fsync = {"async": "everysec", "sync": "always"}[self.durability]
            # No rewriting of the log: Redis is measured without forks, as Rollbook is without its node.
            server = ["--port", self.port, "--dir", self.directory, "--save", "", "--appendonly", "yes",
                      "--appendfsync", fsync, "--auto-aof-rewrite-percentage", 0, "--loglevel", "warning"]
        else:
            settings = {
                "server.port": self.port, "server.cores": self.cores, "data.dir": self.directory / "data",
                "log.durability": self.durability, "checkpoint.node": "child" if self.node else "none",
                "checkpoint.port": self.node_port, "checkpoint.every_edits": 10**12, "checkpoint.every_seconds": 10**6,
                **dict(self.extra),
            }
            (self.directory / "data").mkdir(exist_ok=True)
            server = ["serve"] + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return ["taskset", "-c", cpus, self.program] + [str(word) for word in server]

    def start(self):
        """Starts it, waits until it serves, and returns the seconds that took."""
        begun = time.perf_counter()
        with open(self.directory / "log.txt", "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not self.answers():
            if self.process.poll() is not None:
                sys.exit(f"{self.name} ended: {(self.directory / 'log.txt').read_text()[-3000:]}")
            if time.perf_counter() - begun > 300:
                sys.exit(f"{self.name} does not answer")
            time.sleep(0.001)
        return time.perf_counter() - begun

    def answers(self):
        """True if it answers PING with PONG: neither absent nor loading."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as conn:
                conn.sendall(b"PING\r\n")
                return conn.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def call(self, *args):
        """One command; the raw reply as far as one receive brings it, enough for short ones."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=600) as conn:
            conn.sendall(encode(*args))
            return conn.recv(1 << 20)

    def cpu_seconds(self):
        """User + system time of the process so far, kernel workers of its rings included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def children(self):
        """Numbers of its child processes."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def stop(self):
        """Gracefully."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=300)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def fresh(options, name, program, cpus, **settings):
    """A server that has never lived before; its files go with it."""
    directory = options.dir / f"{name}-{os.getpid()}"
    shutil.rmtree(directory, ignore_errors=True)
    server = Server(program, directory, cpus, **settings)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


# --- load ---------------------------------------------------------------------------------------------------------------------------


def benchmark(options, server, test, requests, pipeline):
    """Runs redis-benchmark; returns (CPU seconds of the server per request, requests per second)."""
    command = ["taskset", "-c", str(options.client_cpu), "redis-benchmark", "-p", str(server.port), "-t", test, "-d", str(VALUE_BYTES),
               "-r", str(options.keys), "-n", str(requests), "-c", str(CONNECTIONS), "-P", str(pipeline), "--csv"]
    before = server.cpu_seconds()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.cpu_seconds() - before
    row = next(row for row in csv.DictReader(line for line in output.splitlines() if line.startswith('"')))
    return used / requests, float(row["rps"])


def load(options, server, keys):
    """Sets `keys` keys of 16 bytes to values of 100, in pipelines."""
    os.sched_setaffinity(0, {options.client_cpu})
    value = b"v" * VALUE_BYTES
    with socket.create_connection(("127.0.0.1", server.port), timeout=600) as conn:
        for start in range(0, keys, 1000):
            count = min(1000, keys - start)
            conn.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n" % (key, VALUE_BYTES, value)
                                  for key in range(start, start + count)))
            missing = 5 * count
            while missing:
                received = len(conn.recv(min(missing, 1 << 16)))
                if not received:
                    sys.exit("the server closed the connection during a load")
                missing -= received


def paced(options, server, rate, seconds):
    """SETs at a fixed rate over 20 connections; returns sorted latencies in seconds, each from the instant at which it was due."""
    os.sched_setaffinity(0, {options.client_cpu})
    with contextlib.suppress(PermissionError):
        # On a machine of two CPUs the client shares one with the node and must not wait for it.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    conns = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    epoll = select.epoll()
    for conn in conns:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        epoll.register(conn, select.EPOLLIN)
    by_fd = {conn.fileno(): [conn, []] for conn in conns}
    value, latencies, total = b"v" * VALUE_BYTES, [], int(rate * seconds)
    gc.collect()
    gc.disable()
    begun, sent = time.perf_counter(), 0
    while len(latencies) < total:
        now = time.perf_counter()
        while sent < total and begun + sent / rate <= now:
            conn, due = by_fd[conns[sent % len(conns)].fileno()]
            key = sent * 7919 % options.keys
            conn.sendall(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n" % (key, VALUE_BYTES, value))
            due.append(begun + sent / rate)
            sent += 1
        for fd, _ in epoll.poll(max(0.0, begun + sent / rate - time.perf_counter()) if sent < total else 1.0):
            conn, due = by_fd[fd]
            count = conn.recv(1 << 16).count(b"\r\n")
            now = time.perf_counter()
            latencies.extend(now - at for at in due[:count])
            del due[:count]
    gc.enable()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for conn in conns:
        conn.close()
    return sorted(latencies)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# --- rows ---------------------------------------------------------------------------------------------------------------------------


def alternate(options, servers, test, requests, pipeline):
    """Runs each server in turn; returns per server the medians (CPU seconds per request, requests per second)."""
    results = [[] for _ in servers]
    for server in servers:
        benchmark(options, server, test, max(requests // 5, 1000), pipeline)
    for _ in range(options.rounds):
        for server, found in zip(servers, results):
            found.append(benchmark(options, server, test, requests, pipeline))
    return [(statistics.median(cpu for cpu, _ in found), statistics.median(rps for _, rps in found)) for found in results]


def row(what, ours, theirs, ratio, target, met):
    return {"what": what, "ours": ours, "theirs": theirs, "ratio": ratio, "target": target, "met": met}


def cpu_row(options, what, test, pipeline, limit):
    """CPU per request against Redis."""
    with fresh(options, "ours", options.rollbook, [options.server_cpu]) as ours, \
            fresh(options, "theirs", options.redis, [options.server_cpu]) as theirs:
        for server in (ours, theirs):
            server.start()
            load(options, server, options.keys)
        (our_cpu, our_rps), (their_cpu, their_rps) = alternate(options, [ours, theirs], test, options.requests(pipeline), pipeline)
    ratio = our_cpu / their_cpu
    return row(what, f"{our_cpu * 1e6:.2f} µs, {our_rps:,.0f}/s", f"{their_cpu * 1e6:.2f} µs, {their_rps:,.0f}/s",
               f"{ratio:.2f}", f"≤ {limit} × Redis", ratio <= limit)


def sync_row(options):
    """Throughput when every acknowledged write is on disk."""
    with fresh(options, "ours", options.rollbook, [options.server_cpu], durability="sync") as ours, \
            fresh(options, "theirs", options.redis, [options.server_cpu], durability="sync") as theirs:
        for server in (ours, theirs):
            server.start()
        (our_cpu, our_rps), (their_cpu, their_rps) = alternate(options, [ours, theirs], "set", options.requests(1) // 10, 1)
    ratio = our_rps / their_rps
    return row("SET, `sync` against `appendfsync always`: throughput", f"{our_rps:,.0f}/s ({our_cpu * 1e6:.1f} µs)",
               f"{their_rps:,.0f}/s ({their_cpu * 1e6:.1f} µs)", f"{ratio:.2f}", "≥ 2 × Redis", ratio >= 2)


def cores_row(options, what, pipeline, limit):
    """CPU per request on two cores against one: the price of work for another core."""
    both = [options.server_cpu, options.client_cpu]
    with fresh(options, "one", options.rollbook, both[:1], cores=1) as one, \
            fresh(options, "two", options.rollbook, both, cores=2) as two:
        for server in (one, two):
            server.start()
            load(options, server, options.keys)
        (one_cpu, one_rps), (two_cpu, two_rps) = alternate(options, [one, two], "set", options.requests(pipeline), pipeline)
    ratio = two_cpu / one_cpu
    return row(what, f"{two_cpu * 1e6:.2f} µs, {two_rps:,.0f}/s", f"one core: {one_cpu * 1e6:.2f} µs, {one_rps:,.0f}/s",
               f"{ratio:.2f}", f"≤ {limit} × one core", ratio <= limit)


def median_start(options, server, times):
    """Median seconds of a start, the server having been stopped before."""
    found = []
    for _ in range(times):
        server.stop()
        found.append(server.start())
    return statistics.median(found)


def recovery_row(options, what, node, target):
    """Keys recovered per second on one core: the start with the keys less the start without."""
    speeds = []
    for program in (options.rollbook, options.redis):
        with fresh(options, "recovery", program, [options.server_cpu], node=node) as server:
            server.start()
            empty = median_start(options, server, 3)
            load(options, server, options.keys)
            if server.is_redis and node:
                server.call("BGREWRITEAOF")
                while b"aof_rewrite_in_progress:0" not in server.call("INFO", "persistence"):
                    time.sleep(0.1)
            elif node:
                for _ in range(2):
                    reply = server.call("SAVE")
                    if reply != b"+OK\r\n":
                        sys.exit(f"SAVE: {reply}")
                # A node would load its own snapshots on the same CPU at the same time.
                server.node = False
            full = median_start(options, server, 3)
            count = server.call("DBSIZE").strip()
            if count != b":%d" % options.keys:
                sys.exit(f"{server.name} recovered {count} of {options.keys} keys")
            speeds.append((options.keys / max(full - empty, 1e-3), full))
    (ours, our_time), (theirs, their_time) = speeds
    return row(what, f"{ours / 1e6:.2f} M/s ({our_time:.2f} s)", f"{theirs / 1e6:.2f} M/s ({their_time:.2f} s)",
               f"{ours / theirs:.1f}", f"≥ {target} M/s per core", ours >= target * 1e6)


def checkpoint_row(options):
    """p99.9 of a paced load while checkpoints run one after the other, against the same load without."""
    quiet, busy, checkpoints = [], [], 0
    with fresh(options, "tail", options.rollbook, [options.server_cpu], node=True) as server:
        server.start()
        load(options, server, options.keys)
        for child in server.children():
            for task in Path(f"/proc/{child}/task").iterdir():
                os.sched_setaffinity(int(task.name), {options.client_cpu})
        server.call("SAVE")
        for _ in range(options.rounds):
            quiet.append(percentile(paced(options, server, options.rate, options.seconds), 0.999))
            saver = subprocess.Popen([sys.executable, __file__, "--save-until-killed", str(server.port)], stdout=subprocess.PIPE, text=True)
            os.sched_setaffinity(saver.pid, {options.client_cpu})
            busy.append(percentile(paced(options, server, options.rate, options.seconds), 0.999))
            saver.send_signal(signal.SIGTERM)
            checkpoints += int(saver.communicate()[0] or 0)
    ours, theirs = statistics.median(busy), statistics.median(quiet)
    return row(f"checkpoints of {options.keys:,} keys ({checkpoints} of them) beside {options.rate:,} SET/s: p99.9",
               f"{ours * 1e3:.2f} ms", f"without: {theirs * 1e3:.2f} ms", f"{ours / theirs:.2f}", "≤ 1.2 × without", ours <= 1.2 * theirs)


def save_until_killed(port):
    """Asks for one checkpoint after the other; prints how many were done when told to end. A process of its own."""
    done = 0

    def end(*_):
        print(done, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    with socket.create_connection(("127.0.0.1", port)) as conn:
        while True:
            conn.sendall(b"SAVE\r\n")
            if conn.recv(1024) == b"+OK\r\n":
                done += 1


def memory_row(options):
    """Resident bytes per key."""
    found = []
    for program in (options.rollbook, options.redis):
        with fresh(options, "memory", program, [options.server_cpu]) as server:
            server.start()
            before = server.resident_bytes()
            load(options, server, options.keys)
            time.sleep(2)
            found.append((server.resident_bytes() - before) / options.keys)
    ours, theirs = found
    return row("memory per key (16-byte key, 100-byte value)", f"{ours:.0f} bytes", f"{theirs:.0f} bytes", f"{ours / theirs:.2f}",
               "≤ Redis", ours <= theirs)


def start_row(options):
    """Start of a server on an empty directory, and again on a directory that holds nothing."""
    found = []
    for program in (options.rollbook, options.redis):
        times = []
        for _ in range(max(options.rounds, 3)):
            with fresh(options, "start", program, [options.server_cpu], node=not Path(program).name.startswith("redis")) as server:
                times.append(server.start())
        found.append(statistics.median(times))
    ours, theirs = found
    return row("start of an empty server, checkpoint node included", f"{ours * 1e3:.0f} ms", f"{theirs * 1e3:.0f} ms",
               f"{ours / theirs:.2f}", "< 300 ms", ours < 0.3)


ROWS = {
    "set": lambda o: cpu_row(o, "SET, 50 connections: CPU per request", "set", 1, 0.9),
    "set32": lambda o: cpu_row(o, "SET, pipeline of 32: CPU per request", "set", 32, 0.4),
    "get": lambda o: cpu_row(o, "GET, 50 connections: CPU per request", "get", 1, 0.9),
    "get32": lambda o: cpu_row(o, "GET, pipeline of 32: CPU per request", "get", 32, 0.7),
    "sync": sync_row,
    "cores": lambda o: cores_row(o, "SET on two cores: CPU per request", 1, 1.3),
    "cores32": lambda o: cores_row(o, "SET on two cores, pipeline of 32: CPU per request", 32, 1.25),
    "snapshots": lambda o: recovery_row(o, f"recovery of {o.keys:,} keys from snapshots", True, 2),
    "log": lambda o: recovery_row(o, f"recovery of {o.keys:,} keys from the log", False, 1),
    "checkpoint": checkpoint_row,
    "memory": memory_row,
    "start": start_row,
}


# --- the program --------------------------------------------------------------------------------------------------------------------


def machine(options):
    """One line on what this was measured on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown CPU")
    version = subprocess.run([options.redis, "--version"], capture_output=True, text=True, check=True).stdout
    redis = next((word[2:] for word in version.split() if word.startswith("v=")), "?")
    return f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}, Redis {redis}, {options.rounds} rounds, medians"


def table(rows):
    lines = ["| what | Rollbook | Redis (or as named) | ratio | target | met |", "|---|---|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['ours']} | {r['theirs']} | {r['ratio']} | {r['target']} | {'yes' if r['met'] else '**no**'} |"
              for r in rows]
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--rollbook", default=str(root / "target/release/rollbook"), help="the program under test")
    parser.add_argument("--redis", default="redis-server", help="the program that it is compared with")
    parser.add_argument("--dir", type=Path, default=root / "target/peers", help="where both keep their files: a real disk")
    parser.add_argument("--only", default=",".join(ROWS), help="rows to measure, separated by commas: " + ", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server and row")
    parser.add_argument("--keys", type=int, default=1_000_000, help="number of keys")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--rate", type=int, default=4_000, help="SET a second beside a checkpoint")
    parser.add_argument("--seconds", type=int, default=20, help="length of a run beside a checkpoint")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of requests of a run")
    parser.add_argument("--quick", action="store_true", help="2 rounds, 100,000 keys, a tenth of the requests: to try this script")
    parser.add_argument("--json", type=Path, help="also writes the rows to this file")
    parser.add_argument("--save-until-killed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.keys, options.scale, options.seconds = 2, 100_000, 0.1, 3
    options.requests = lambda pipeline: int((400_000 if pipeline == 1 else 4_000_000) * options.scale)
    return options


def main():
    options = arguments()
    if options.save_until_killed:
        save_until_killed(options.save_until_killed)
    unknown = set(options.only.split(",")) - set(ROWS)
    if unknown:
        sys.exit(f"unknown rows: {', '.join(sorted(unknown))}")
    for program in (options.rollbook, options.redis, "redis-benchmark", "taskset"):
        if not shutil.which(program):
            sys.exit(f"missing: {program}")
    options.dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.only.split(","):
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows.append(ROWS[name](options))
        print(f"    {rows[-1]['ours']} | {rows[-1]['theirs']} | {rows[-1]['ratio']}", file=sys.stderr, flush=True)
    print(f"{machine(options)}\n\n{table(rows)}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
