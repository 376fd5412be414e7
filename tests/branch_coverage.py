"""How much of the rooms that turn measurements into labels the tests run through; `make coverage`.

`python -m tests.branch_coverage --output=docs/benchmarks/coverage_cpu.json` reads what `pytest --cov` left, prints
statements and branches of each room, and exits with 1 if too little of one was run through.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import tomllib
from typing import Any

import coverage

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: Per cent of statements and branches of each room.
AT_LEAST = 95.0


def rooms() -> list[str]:
    """Names of the measured folders of the package, as `pyproject.toml` lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["run"]
    return [package.removeprefix("hardmo_jax.") for package in settings["source_pkgs"]]


def measured(data_file: str | None) -> dict[str, Any]:
    """The report of `coverage`, as JSON."""
    run = coverage.Coverage(data_file=data_file) if data_file else coverage.Coverage()
    run.load()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "report.json")
        run.json_report(outfile=str(path))
        return json.loads(path.read_text())


def room_rows(report: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Counts of each room, added up over its files, and per cent as `coverage report` has it.

    Args:
        report: See `measured`.
        names: Rooms.
    """
    rows = []
    for name in names:
        inside = [
            file["summary"]
            for path, file in report["files"].items()
            if f"hardmo_jax/{name}/" in pathlib.PurePath(path).as_posix()
        ]
        counts = {
            key: sum(summary[field] for summary in inside)
            for key, field in (
                ("statements", "num_statements"), ("branches", "num_branches"),
                ("missed_statements", "missing_lines"), ("missed_branches", "missing_branches"),
            )
        }  # fmt: skip
        whole = counts["statements"] + counts["branches"]
        missed = counts["missed_statements"] + counts["missed_branches"]
        rows.append({"room": name, "files": len(inside), **counts, "per_cent": _per_cent(whole, missed)})
        rows[-1]["per_cent_of_branches"] = _per_cent(counts["branches"], counts["missed_branches"])
    return rows


def _per_cent(whole: int, missed: int) -> float:
    """Rounded down, so that 94.99 is not 95; of nothing, none."""
    return int(10_000 * (whole - missed) / whole) / 100 if whole else 0.0


def main() -> int:
    """Print the table, write it, and say whether it is enough."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=pathlib.Path, help="JSON file for the table")
    arguments.add_argument("--data_file", help="of coverage; its own if nothing is said")
    options = arguments.parse_args()
    rows = room_rows(measured(options.data_file), rooms())
    names = ("statements", "missed_statements", "branches", "missed_branches", "per_cent", "per_cent_of_branches")
    sys.stdout.write(f"{'room':10}" + "".join(f"{name:>22}" for name in names) + "\n")
    for row in rows:
        sys.stdout.write(f"{row['room']:10}" + "".join(f"{row[name]:22}" for name in names) + "\n")
    if options.output:
        from tools.benchmarks import machine

        result = {"suite": "coverage", "machine": machine.describe(), "at_least": AT_LEAST, "rows": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    short = [row["room"] for row in rows if row["per_cent"] < AT_LEAST]
    if short:
        sys.stderr.write(f"less than {AT_LEAST:g} %: {', '.join(short)}\n")
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())
