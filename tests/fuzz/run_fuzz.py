"""Fuzzing of every target, by seeded damage and then guided by coverage in a process of its own; `make fuzz`.

`python -m tests.fuzz.run_fuzz --seconds=900 --output=docs/benchmarks/fuzz_cpu.json`. The guided half needs the extra
`fuzz` (atheris, on Linux). A file that ends a parser in another error than its own is kept, and the exit code is 1.
"""

import argparse
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import signal
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
#: Left by the child once all is imported.
_READY = "ready"
_COVERED = re.compile(r"\bcov: (\d+)")


def guide_each(plan: pathlib.Path, seconds: float) -> None:
    """Fuzz targets guided by coverage, each in a fork of this process, which imports what is instrumented once.

    Args:
        plan: Folder with a folder of honest files for each target, by its name; gets a log for each.
        seconds: Of all together; a target that ends early leaves its time to the others.
    """
    import atheris as atheris_of_linux

    atheris: Any = atheris_of_linux  # its stubs lack half of it
    with atheris.instrument_imports(include=_PARSERS, enable_loader_override=False):
        from tests.fuzz.targets import TARGETS

    (plan / _READY).touch()
    end, corpora = time.monotonic() + seconds, sorted(path for path in plan.iterdir() if path.is_dir())
    for place, corpus in enumerate(corpora):
        share = max((end - time.monotonic()) / (len(corpora) - place), 1.0)
        if child := os.fork():
            (plan / f"{corpus.name}.status").write_text(str(os.waitpid(child, 0)[1]))
            continue
        # libFuzzer writes to the descriptor, whatever Python's sys.stderr is.
        with (plan / f"{corpus.name}.log").open("wb") as log:
            os.dup2(log.fileno(), 2)
        name = corpus.name
        arguments = [
            *(str(corpus), f"-max_total_time={int(share)}", f"-max_len={_LONGEST}", "-seed=1", "-print_final_stats=1"),
            *(f"-rss_limit_mb={_MEMORY_MIB}", f"-timeout={_SECONDS_A_FILE}", f"-artifact_prefix={plan}/{name}-found-"),
        ]
        run = TARGETS[name].run
        atheris.Setup([sys.argv[0], *arguments], lambda data, run=run: run(data) and None)
        atheris.Fuzz()
        os._exit(0)


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

    folder.mkdir()
    for place, data in enumerate(TARGETS[name].seeds()):
        (folder / f"{place:04d}").write_bytes(data)


def guided_runs(
    names: list[str], seconds: float, kept: pathlib.Path, *, at_most: float = math.inf
) -> dict[str, dict[str, int]]:
    """Fuzz targets, guided by coverage, in a child, the time in which it starts not counted.

    Args:
        names: Targets.
        seconds: How long, all together.
        kept: Folder for files that are findings.
        at_most: Seconds after which the child is ended, with its start.

    Returns:
        By target, executions, parts of the code that were reached, and findings; none of what was not come to.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = pathlib.Path(folder)
        for name in names:
            write_corpus(name, plan / name)
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.fuzz.run_fuzz",
            f"--seconds={seconds}",
            f"--plan={plan}",
        ]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        try:
            _, told = child.communicate(timeout=at_most if math.isfinite(at_most) else None)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            _, told = child.communicate()
        if not (plan / _READY).exists():
            sys.stderr.write(f"nothing was guided:\n{told[-4000:]}")
            return {name: {"guided": 0, "reached": 0, "crashes": int(child.returncode > 0)} for name in names}
        return {name: _guided_row(name, plan, kept) for name in names}


def _guided_row(name: str, plan: pathlib.Path, kept: pathlib.Path) -> dict[str, int]:
    log = plan / f"{name}.log"
    told = log.read_text(errors="replace") if log.exists() else ""
    finished = _DONE.search(told)
    counts = [int(count) for count in _COUNTED.findall(told)]
    covered = [int(count) for count in _COVERED.findall(told)]
    findings = list(plan.glob(f"{name}-found-*"))
    for path in findings:
        shutil.copy(path, kept / path.name)
    status = plan / f"{name}.status"
    is_broken = bool(findings) or (status.exists() and status.read_text() != "0")
    if is_broken:
        sys.stderr.write(told[-4000:])
    return {
        "guided": int(finished[1]) if finished else max(counts, default=0),
        "reached": max(covered, default=0),
        "crashes": len(findings) or int(is_broken),
    }


def main() -> int:
    """Parse the command line, fuzz, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=900.0, help="of all targets together")
    arguments.add_argument("--at_most", type=float, default=math.inf, help="seconds after which the table is printed")
    arguments.add_argument("--targets", default="", help="names with commas between; all if nothing is said")
    arguments.add_argument("--seeded_only", action="store_true", help="without atheris")
    arguments.add_argument("--output", help="JSON file for the table")
    arguments.add_argument("--findings", default="out/fuzz", help="folder for files that are findings")
    arguments.add_argument("--plan", type=pathlib.Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.plan:
        guide_each(options.plan, options.seconds)
        return 0
    begun = time.monotonic()
    from tests.fuzz.targets import TARGETS

    names = options.targets.split(",") if options.targets else list(TARGETS)
    kept = pathlib.Path(options.findings)
    kept.mkdir(parents=True, exist_ok=True)
    is_guided = importlib.util.find_spec("atheris") is not None and not options.seeded_only
    half = options.seconds / (1 + is_guided)
    seeded = {name: seeded_runs(name, half / len(names), kept) for name in names}
    guided, none = {}, {"guided": 0, "reached": 0, "crashes": 0}
    if is_guided:
        guided = guided_runs(names, half, kept, at_most=options.at_most - (time.monotonic() - begun))
    rows: list[dict[str, Any]] = []
    sys.stdout.write(f"{'target':18}{'executions':>12}{'guided':>9}{'reached':>9}{'crashes':>9}\n")
    for name, (count, findings) in seeded.items():
        row = {"target": name, "executions": count, **guided.get(name, none)}
        row |= {"executions": count + row["guided"], "crashes": findings + row["crashes"]}
        rows.append(row)
        columns = "".join(f"{row[key]:9}" for key in ("guided", "reached", "crashes"))
        sys.stdout.write(f"{name:18}{row['executions']:12}{columns}\n")
    total = {key: sum(row[key] for row in rows) for key in ("executions", "guided", "crashes")}
    total["seconds"] = round(time.monotonic() - begun)
    sys.stdout.write("all: {executions} ({guided} guided) in {seconds} s, {crashes} crashes\n".format(**total))
    if unguided := [row["target"] for row in rows if is_guided and not row["guided"]]:
        sys.stderr.write(f"not guided: {', '.join(unguided)}; give more seconds\n")
    if options.output:
        from tools.benchmarks import machine

        result = {"suite": "fuzz", "machine": machine.describe(), "total": total, "rows": rows}
        pathlib.Path(options.output).write_text(json.dumps(result, indent=1) + "\n")
    return int(total["crashes"] > 0 or bool(unguided))


if __name__ == "__main__":
    sys.exit(main())
