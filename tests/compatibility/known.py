"""The file `known.txt`: tests that Redis passes and Rollbook does not, and why."""

import re
from collections import namedtuple
from pathlib import Path

PATH = Path(__file__).resolve().parent / "known.txt"

# A line: the unit, the numbers of cores with which the test fails (None: any), its name, the reason.
Known = namedtuple("Known", "unit cores test reason")

NEEDS = re.compile(r"^needs ([A-Z ]+(?:, [A-Z ]+)*)(?:: |$)")


def load():
    """All lines, in their order."""
    lines = []
    for number, line in enumerate(PATH.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        # A name may have bars and blanks in it.
        try:
            unit, cores, rest = line.split(" | ", 2)
            test, reason = rest.rsplit(" | ", 1)
        except ValueError:
            raise SystemExit(f"{PATH}:{number}: not `unit | cores | test | reason`") from None
        numbers = None if cores == "any" else {int(n) for n in cores.split(",")}
        lines.append(Known(unit, numbers, test, reason))
    return lines


def needs(known):
    """What Rollbook lacks and the test needs; empty if the test fails for another reason."""
    found = NEEDS.match(known.reason)
    return found[1].split(", ") if found else []


def of(lines, unit, cores):
    """The lines of a unit that hold for a number of cores, by test."""
    return {line.test: line for line in lines if line.unit == unit and (line.cores is None or cores in line.cores)}
