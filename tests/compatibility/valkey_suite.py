#!/usr/bin/env python3
"""Runs units of Valkey's own test suite against Rollbook and against a real Redis, and compares.

    git clone https://github.com/valkey-io/valkey      # anywhere; needs tclsh
    cargo build --release
    tests/compatibility/valkey_suite.py --suite valkey [--cores 1,2] [--redis redis-server] [UNIT ...]

Each unit gets a server of its own, started afresh in an empty directory. What real Redis passes, Rollbook should. Tests
that it does not pass stand in `known.txt` beside this script, by their names and each with its reason; those that need
a command which Rollbook lacks are not run on it, for what they leave unread would be taken for replies to the tests
after them. The exit code is 1 if another test fails, and if a test of `known.txt` passes by now or could be run.

`--write-docs` writes the tables of `docs/compatibility.md`, which takes a run of all units, in which all is as
`known.txt` says.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import known
import suite_docs
import suite_run

TYPES = ["string", "incr", "hash", "list", "list-2", "list-3", "set", "zset", "stream", "stream-cgroups"]
OTHERS = ["keyspace", "scan", "expire", "sort", "bitops", "bitfield", "geo", "hyperloglog", "protocol", "other",
          "querybuf", "dump"]
UNITS = [f"unit/type/{name}" for name in TYPES] + [f"unit/{name}" for name in OTHERS]

# A unit's results with Redis; with Rollbook by number of cores; and what is not as `known.txt` says, line by line.
Outcome = namedtuple("Outcome", "unit redis rollbook complaints")


def on(program, cores, suite, unit, log, lines=()):
    """Runs a unit on a server of its own. Returns its results, and the tests that were not run."""
    server = suite_run.Server(program, cores)
    try:
        features = {feature for line in lines for feature in known.needs(line)}
        lacks = {feature for feature in features if not server.has(feature)}
        skipped = [line.test for line in lines if lacks.intersection(known.needs(line))]
        return suite_run.run(suite, unit, server, log, skipped), set(skipped)
    finally:
        server.stop()


def outcome(unit, suite, lines, options):
    """Runs a unit on Redis and on Rollbook, and compares."""
    def log(server):
        return options.logs / f"{unit.replace('/', '-')}-{server}.log"
    redis, _ = on(options.redis, 0, suite, unit, log("redis"))
    rollbook, complaints = {}, []
    for cores in options.cores:
        expected = known.of(lines, unit, cores)
        results, skipped = on(options.rollbook, cores, suite, unit, log(cores), expected.values())
        rollbook[cores] = results
        for test in sorted(redis.passed - results.passed - set(expected)):
            complaints.append(f"fails, cores {cores}: {test} ({results.ran.get(test, 'not reached')})")
        for test in sorted(set(expected) - redis.passed):
            complaints.append(f"in known.txt, but Redis does not pass it: {test}")
        for test in sorted(set(expected) & results.passed):
            complaints.append(f"in known.txt, but passes, cores {cores}: {test}")
        for test in sorted(test for test in expected if known.needs(expected[test]) and test not in skipped):
            complaints.append(f"in known.txt, but Rollbook has what it needs: {test}")
    return Outcome(unit, redis, rollbook, list(dict.fromkeys(complaints)))


def version_of(redis):
    """The version of a Redis server's program."""
    said = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"v=(\S+)", said)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True, type=Path, help="a checkout of Valkey")
    parser.add_argument("--rollbook", default=str(Path(__file__).resolve().parents[2] / "target/release/rollbook"))
    parser.add_argument("--redis", default="redis-server", help="the reference: a program of Redis's server")
    parser.add_argument("--cores", default="1,2", help="numbers of cores to run Rollbook with")
    parser.add_argument("--jobs", type=int, default=1, help="units that run side by side")
    parser.add_argument("--logs", default=".", type=Path, help="where the suite's own output goes")
    parser.add_argument("--write-docs", action="store_true", help="write the tables of docs/compatibility.md")
    parser.add_argument("units", nargs="*", default=UNITS)
    options = parser.parse_args()
    options.suite, options.logs = options.suite.resolve(), options.logs.resolve()
    options.cores = [int(n) for n in options.cores.split(",")]
    if not (options.suite / "tests/test_helper.tcl").exists():
        raise SystemExit(f"{options.suite} is no checkout of Valkey: it has no tests/test_helper.tcl")
    if options.write_docs and (options.units != UNITS or options.cores != [1, 2]):
        raise SystemExit("--write-docs takes a run of all units, with one core and with two")
    options.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compatibility-") as directory:
        sys.exit(compare(suite_run.prepared(options.suite, directory), options))


def compare(suite, options):
    """Runs the units and tells what came of each. Returns the exit code."""
    lines, reference = known.load(), version_of(options.redis)
    unknown = {line.unit for line in lines} - set(UNITS)
    outcomes, complaints = [], [f"in known.txt, but there is no unit {unit}" for unit in sorted(unknown)]
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in pool.map(lambda unit: outcome(unit, suite, lines, options), options.units):
            outcomes.append(done)
            complaints += [f"{done.unit}: {complaint}" for complaint in done.complaints]
            counts = [f"{len(done.redis.passed & results.passed)} with {cores}"
                      for cores, results in done.rollbook.items()]
            print(f"{done.unit}: Redis {reference} passes {len(done.redis.passed)} of {len(done.redis.ran)}, "
                  f"Rollbook of these {', '.join(counts)}", flush=True)
    if options.write_docs and not complaints:
        suite_docs.write(outcomes, reference, lines)
    elif not options.write_docs and not suite_docs.is_current(lines):
        complaints.append("docs/compatibility.md does not have what known.txt says: --write-docs writes it")
    print("".join(f"{complaint}\n" for complaint in complaints), end="")
    return 1 if complaints else 0


if __name__ == "__main__":
    main()
