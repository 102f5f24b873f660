"""The tables of `docs/compatibility.md` that follow from a run of Valkey's suite and from `known.txt`."""

from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "docs/compatibility.md"


def code(name):
    """A name as it stands in a table."""
    name = name.replace("|", "\\|")
    return f"`` {name} ``" if "`" in name else f"`{name}`"


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def counts(outcomes, reference):
    """Table of how many tests ran, and how many passed. `outcomes` has each unit's results, in order."""
    rows, sums = [], [0] * 5
    for outcome in outcomes:
        redis = outcome.redis
        passed = [len(redis.passed & results.passed) for results in outcome.rollbook.values()]
        numbers = [len(redis.ran), len(redis.passed), *passed, len(redis.ignored)]
        sums = [a + b for a, b in zip(sums, numbers)]
        rows.append([code(outcome.unit), *map(str, numbers)])
    rows.append(["all", *map(str, sums)])
    return table(["unit", "run", f"Redis {reference} passes", "Rollbook, one core", "two cores", "passed over"], rows)


def failing(lines):
    """Table of the tests that Redis passes and Rollbook does not."""
    cores = {None: "any", frozenset({1}): "one", frozenset({2}): "two"}
    return table(["unit", "cores", "test", "reason"],
                 [[code(k.unit), cores[k.cores and frozenset(k.cores)], code(k.test), k.reason] for k in lines])


def redis_fails(outcomes):
    """Table of the tests that Redis does not pass."""
    rows = []
    for outcome in outcomes:
        for test in sorted(set(outcome.redis.ran) - outcome.redis.passed):
            passes = [test in results.passed for results in outcome.rollbook.values()]
            rows.append([code(outcome.unit), code(test), "yes" if all(passes) else "no"])
    return table(["unit", "test", "Rollbook passes"], rows)


def ignored(outcomes):
    """Table of the tests that are run on neither server."""
    return table(["unit", "tag", "test"], [[code(outcome.unit), code(tag), code(test)] for outcome in outcomes
                                           for tag, test in sorted((t, n) for n, t in outcome.redis.ignored.items())])


def replaced(text, name, content):
    """`text` with another content between the marks of a table."""
    begin, end = f"<!-- {name}: written by valkey_suite.py --write-docs -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or not after:
        raise SystemExit(f"{PATH} has no marks {begin} and {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def is_current(lines):
    """Whether the page has what `known.txt` says."""
    text = PATH.read_text()
    return replaced(text, "known", failing(lines)) == text


def write(outcomes, reference, lines):
    """Writes all tables."""
    text = PATH.read_text()
    for name, content in [("counts", counts(outcomes, reference)), ("known", failing(lines)),
                          ("redis-fails", redis_fails(outcomes)), ("passed-over", ignored(outcomes))]:
        text = replaced(text, name, content)
    PATH.write_text(text)
