"""Try everything that is promised of runs that are disturbed, and say in one table what came of it.

python -m tests.survive.table                           all of it, about a quarter of an hour
python -m tests.survive.table --output=FILE.json        and write it down
python -m tests.survive.table --broken=no_fsync         a build that is broken on purpose: rows must turn red
"""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import sys
import time

import pytest

from tests.survive.promises import PROMISES, Promise

BROKEN = ("no_fsync", "no_rename", "no_mask")
_HERE = pathlib.Path(__file__).parent
#: What a broken build is tried by: each of them breaks rows of the disk or of the fit.
_QUICK = ("test_faults.py", "test_relations.py", "test_silent_errors.py")


class _Collector:
    """Gets the rows of a run of tests."""

    def __init__(self) -> None:
        self.rows: list[Promise] = []
        self.others: list[str] = []

    def pytest_runtest_logreport(self, report) -> None:
        """Note tests that fail without a row of their own."""
        if report.failed:
            self.others.append(report.nodeid)

    def pytest_sessionfinish(self, session) -> None:
        """Take the rows."""
        self.rows = session.config.stash.get(PROMISES, [])


def table_of(rows: list[Promise]) -> str:
    """The rows as text."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'promise':{width}}  {'cases':>8}  {'failures':>8}  {'seconds':>8}"]
    for row in rows:
        told = f"  {row.note}" if row.note else ""
        failures = f"{len(row.failures)} RED" if row.failures else "0"
        lines.append(f"{row.name:{width}}  {row.cases:8,}  {failures:>8}  {row.seconds:8.1f}{told}")
    lines.append(
        f"{'all':{width}}  {sum(row.cases for row in rows):8,}  {sum(len(row.failures) for row in rows):8}  "
        f"{sum(row.seconds for row in rows):8.1f}"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run it; exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broken", choices=BROKEN)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--only", help="Tests whose names match, as pytest's -k.")
    options = parser.parse_args(arguments)
    # Before pytest has every call of the package checked for its types: that would take longer than the rest.
    for name in ("annotate_job", "job_status"):
        importlib.import_module(f"hardmo_jax.pipelines.runners.{name}")

    chosen, files = "survive or not slow", [str(_HERE)]
    if options.broken is not None:
        os.environ["HARDMO_SURVIVE_BROKEN"] = options.broken
        files = [str(_HERE / name) for name in _QUICK]
    given = ["-q", "-p", "no:cacheprovider", "-m", chosen, *files]
    if options.broken is not None:
        given += ["-k", "some_faults or must_be_equal or how_a_job_is_divided"]
    if options.only is not None:
        given += ["-k", options.only]
    collector, start = _Collector(), time.perf_counter()
    code = pytest.main(given, plugins=[collector])
    seconds = time.perf_counter() - start
    if not collector.rows:
        print("nothing was tried")
        return 1
    print(table_of(collector.rows))
    print(f"{seconds:.0f} s in all")
    for row in collector.rows:
        for failure in row.failures[:5]:
            print(f"RED {row.name}: {failure}")
    if options.output is not None:
        from tools.benchmarks import machine

        rows = {row.name: {**dataclasses.asdict(row), "seconds": round(row.seconds, 2)} for row in collector.rows}
        if options.only is not None and options.output.exists():
            # Some rows again: the others stay.
            rows = {row["name"]: row for row in json.loads(options.output.read_text())["rows"]} | rows
        total = round(sum(row["seconds"] for row in rows.values()), 1)
        told = {"suite": "survive", "machine": machine.describe(), "seconds": total, "rows": list(rows.values())}
        options.output.write_text(json.dumps(told, indent=1) + "\n")
    return int(code != 0 or any(row.failures for row in collector.rows))


if __name__ == "__main__":
    sys.exit(main())
