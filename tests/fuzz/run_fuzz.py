"""Fuzzing of every target, by seeded damage and then guided by coverage in a process of its own; `make fuzz`.

`python -m tests.fuzz.run_fuzz --seconds=900 --output=docs/benchmarks/fuzz_cpu.json`. The guided half needs the extra
`fuzz` (atheris, on Linux). A file that ends a parser in another error than its own is kept, and the exit code is 1.
"""

import argparse
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

#: Of a file, bytes; longer ones find little more and cost much.
_LONGEST = 1 << 14
_MEMORY_MIB = 3000
_SECONDS_A_FILE = 20
#: What is instrumented: to do it to all that these import takes longer than the fuzzing.
_PARSERS = [
    "hardmo_jax.safe_pickle", "hardmo_jax.torch_file", "hardmo_jax.body.array_files", "hardmo_jax.data.sources",
    "hardmo_jax.data.published", "hardmo_jax.data.prediction_columns", "hardmo_jax.perception.keypoint_files",
    "hardmo_jax.perception.yolo_checkpoint", "hardmo_jax.perception.wheel_files", "hardmo_jax.perception.calibration",
    "hardmo_jax.labels", "hardmo_jax.pipelines.collect_manifest", "hardmo_jax.pipelines.collect_records",
    "hardmo_jax.pipelines.loop_record", "hardmo_jax.options",
]  # fmt: skip
_DONE = re.compile(r"Done (\d+) runs? in (\d+) second")
_COUNTED = re.compile(r"^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")


def fuzz_one(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris as atheris_of_linux

    atheris: Any = atheris_of_linux  # its stubs lack half of it
    with atheris.instrument_imports(include=_PARSERS, enable_loader_override=False):
        from tests.fuzz.targets import TARGETS

    def run(data: bytes) -> None:
        TARGETS[name].run(data)

    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def seeded_runs(name: str, seconds: float, kept: pathlib.Path) -> tuple[int, int]:
    """Damage honest files by numbers of chance for so long.

    Returns:
        Executions and findings, of which the first is kept.
    """
    from tests.fuzz.mutations import mutated
    from tests.fuzz.targets import TARGETS

    target, generator = TARGETS[name], np.random.default_rng(1)
    seeds, count, findings, end = target.seeds(), 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(seeds, generator)
        count += 1
        try:
            target.run(data)
        except Exception as error:  # none of those that are promised
            if not findings:
                (kept / f"{name}-seeded-{count}").write_bytes(data)
                sys.stderr.write(f"{name}: {error!r}\n")
            findings += 1
    return count, findings


def write_corpus(name: str, folder: pathlib.Path) -> None:
    """Write the honest files of a target into a folder."""
    from tests.fuzz.targets import TARGETS

    for place, data in enumerate(TARGETS[name].seeds()):
        (folder / f"{place:04d}").write_bytes(data)


def guided_runs(name: str, seconds: float, kept: pathlib.Path) -> dict[str, int]:
    """Fuzz one target for so long in a child, the time in which it starts not counted.

    Args:
        name: Target.
        seconds: How long.
        kept: Folder for files that are findings.

    Returns:
        Executions, parts of the code that were reached, and findings.
    """
    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder)
        write_corpus(name, corpus)
        before = {path.name for path in kept.iterdir()}
        command = [
            *(sys.executable, "-W", "ignore", "-m", "tests.fuzz.run_fuzz", f"--target={name}", "--", str(corpus)),
            *(f"-max_total_time={int(seconds)}", f"-max_len={_LONGEST}", "-seed=1", "-print_final_stats=1"),
            *(f"-rss_limit_mb={_MEMORY_MIB}", f"-timeout={_SECONDS_A_FILE}", f"-artifact_prefix={kept}/{name}-"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    told = done.stderr
    finished = _DONE.search(told)
    counts = [int(count) for count in _COUNTED.findall(told)]
    covered = [int(count) for count in _COVERED.findall(told)]
    findings = sorted({path.name for path in kept.iterdir()} - before)
    if done.returncode and not findings:
        sys.stderr.write(told[-4000:])
    return {
        "guided": int(finished[1]) if finished else max(counts, default=0),
        "reached": max(covered, default=0),
        "crashes": len(findings) or int(done.returncode != 0),
    }


def main() -> int:
    """Parse the command line, fuzz, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=900.0, help="of all targets together")
    arguments.add_argument("--targets", default="", help="names with commas between; all if nothing is said")
    arguments.add_argument("--seeded_only", action="store_true", help="without atheris")
    arguments.add_argument("--output", help="JSON file for the table")
    arguments.add_argument("--findings", default="out/fuzz", help="folder for files that are findings")
    arguments.add_argument("--target", help=argparse.SUPPRESS)
    arguments.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.target:
        fuzz_one(options.target, options.rest)
        return 0
    from tests.fuzz.targets import TARGETS

    names = options.targets.split(",") if options.targets else list(TARGETS)
    kept = pathlib.Path(options.findings)
    kept.mkdir(parents=True, exist_ok=True)
    is_guided = importlib.util.find_spec("atheris") is not None and not options.seeded_only
    share, rows = options.seconds / len(names) / (1 + is_guided), []
    sys.stdout.write(f"{'target':18}{'executions':>12}{'guided':>9}{'seconds':>9}{'reached':>9}{'crashes':>9}\n")
    for name in names:
        start = time.monotonic()
        count, findings = seeded_runs(name, share, kept)
        guided = guided_runs(name, share, kept) if is_guided else {"guided": 0, "reached": 0, "crashes": 0}
        row: dict[str, object] = {"target": name, "executions": count + guided["guided"], **guided}
        row |= {"seconds": round(time.monotonic() - start, 1), "crashes": findings + guided["crashes"]}
        rows.append(row)
        columns = "".join(f"{row[key]:9}" for key in ("guided", "seconds", "reached", "crashes"))
        sys.stdout.write(f"{name:18}{row['executions']:12}{columns}\n")
        sys.stdout.flush()
    total = {key: sum(float(str(row[key])) for row in rows) for key in ("executions", "seconds", "crashes")}
    sys.stdout.write(f"all: {total['executions']:.0f} in {total['seconds']:.0f} s, {total['crashes']:.0f} crashes\n")
    if options.output:
        from tools.benchmarks import machine

        result = {"suite": "fuzz", "machine": machine.describe(), "rows": rows}
        pathlib.Path(options.output).write_text(json.dumps(result, indent=1) + "\n")
    return int(total["crashes"] > 0)


if __name__ == "__main__":
    sys.exit(main())
