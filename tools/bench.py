"""Measure speed, against peers where they are installed, and write the result with where it was taken.

python -m tools.bench --suite=body
python -m tools.bench --suite=fit
python -m tools.bench --suite=all --output_dir=docs/benchmarks

Writes `<suite>_<cpu or gpu>.json`, for the body suite a picture too, and prints the table. Peers are those of the
`bench` extra. Plain argparse; body and fit import jax, numpy, optax and jaxtyping only, so that they run on a bare
machine with an accelerator (`--batches=8192 --peers=`). A result of before is replaced by a whole one only: where a
cell could not be measured it stays, and the exit status says so.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from tools.benchmarks import (
    body,
    collect,
    compilation,
    contestants,
    convert,
    correct,
    effect,
    fit,
    machine,
    networks,
    overlay,
    perception,
    pipeline,
    plot,
    recover,
    report,
    track,
    tracks,
    training,
    video,
)

SUITES = (
    *("body", "fit", "recover", "track", "tracks", "compile", "pipeline", "perception", "collect", "video", "memory"),
    *("networks", "train", "effect", "convert", "correct", "overlay"),
)
_ROOT = pathlib.Path(__file__).resolve().parent.parent


#: As shells tell that Ctrl-C ended a program.
_STOPPED = 130


class UnmeasuredError(RuntimeError):
    """A cell could not be measured."""


def main(arguments: list[str] | None = None) -> int:
    """Run the suites that are asked for; Ctrl-C ends them in one line."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        print("stopped: nothing was written of the present suite", file=sys.stderr)
        return _STOPPED


def _main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Measure speed.",
        epilog=f"effect: {effect.ABOUT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=(*SUITES, "all"), default="body")
    parser.add_argument("--output_dir", type=pathlib.Path, default=pathlib.Path("docs/benchmarks"))
    parser.add_argument("--peers", default=",".join(body.PEERS), help="Comma-separated; empty for none.")
    parser.add_argument(
        "--batches",
        default=",".join(map(str, body.BATCHES)),
        help="Batch sizes of the body suite; the last is that of fits.",
    )
    parser.add_argument("--only", default="", help="Run only the cells of this measure; for a look, writes nothing.")
    parser.add_argument("--core", type=int, default=0, help="Processor core to pin to; -1 for no pinning.")
    parser.add_argument("--cell", help=argparse.SUPPRESS)  # one measurement, in a process of its own
    parser.add_argument("--models", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cell:
        return _run_cell(json.loads(options.cell), options.models, options.core)
    peers = tuple(name for name in options.peers.split(",") if name)
    unknown = [name for name in peers if name not in contestants.CONTESTANTS]
    if unknown:
        parser.error(f"unknown peers {', '.join(unknown)}; known: {', '.join(body.PEERS)}")
    suites = SUITES if options.suite == "all" else (options.suite,)
    planned = _plans(peers, tuple(int(size) for size in options.batches.split(",")))
    cells = {suite: planned[suite]() for suite in suites}
    known = sorted({str(cell["measure"]) for own in cells.values() for cell in own if "measure" in cell})
    if options.only and options.only not in known:
        parser.error(
            f"--only={options.only}: the suite {options.suite} has no such measure; known: {', '.join(known) or 'none'}"
        )
    are_whole = []
    with tempfile.TemporaryDirectory() as scratch:
        models = pathlib.Path(scratch)
        contestants.write_models(models)
        for suite in suites:
            chosen = [cell for cell in cells[suite] if options.only in ("", cell.get("measure"))]
            are_whole.append(_run_suite(suite, chosen, models, options))
    return 0 if all(are_whole) else 1


def _plans(peers: tuple[str, ...], batches: tuple[int, ...]) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """What each suite measures."""
    return {
        "body": lambda: [dataclasses.asdict(cell) for cell in body.plan(peers, batches)],
        "fit": lambda: fit.plan(peers, batches[-1]),
        "recover": recover.plan,
        "track": track.plan,
        "tracks": tracks.plan,
        "compile": compilation.plan,
        "pipeline": pipeline.plan,
        "perception": perception.plan,
        "collect": collect.plan,
        "networks": networks.plan,
        "train": training.plan,
        "effect": effect.plan,
        "convert": convert.plan,
        "correct": correct.plan,
        "video": video.plan,
        "memory": video.plan_memory,
        "overlay": overlay.plan,
    }


def _run_suite(suite: str, cells: list[dict[str, Any]], models: pathlib.Path, options: argparse.Namespace) -> bool:
    """Measure the cells of a suite, print them, and write them if all are there; whether they are."""
    rows, unmeasured = [], 0
    for cell in cells:
        try:
            rows += _measure({"suite": suite, **cell}, models, options.core)
        except UnmeasuredError as error:
            print(error, file=sys.stderr, flush=True)
            unmeasured += 1
    result = {"suite": suite, "machine": machine.describe(), "pinned_core": options.core, "rows": rows}
    print(report.table(result))
    if unmeasured:
        print(
            f"error: {unmeasured} of {len(cells)} cells of {suite} were not measured (their errors are above), so that "
            f"nothing is written and what {options.output_dir} holds stays"
            + ("; peers that are not installed are left out with --peers=" if suite in ("body", "fit") else ""),
            file=sys.stderr,
        )
        return False
    if options.only:
        return True
    kind = "gpu" if any("cpu" not in str(device) for device in result["machine"]["devices"]) else "cpu"
    options.output_dir.mkdir(parents=True, exist_ok=True)
    target = options.output_dir / f"{suite}_{kind}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {target}")
    if suite == "body" and importlib.util.find_spec("matplotlib"):
        plot.draw(result, target.with_suffix(".png"))
    return True


def _measure(cell: dict[str, Any], models: pathlib.Path, core: int) -> list[dict[str, object]]:
    """Rows of one cell, measured in a process of its own, whose progress and errors go to the terminal as they come.

    Raises:
        UnmeasuredError: If that process fails, as where a contestant is not installed.
    """
    command = [
        sys.executable,
        "-m",
        "tools.bench",
        f"--cell={json.dumps(cell)}",
        f"--models={models}",
        f"--core={core}",
    ]
    print(f"measuring {cell}", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT, check=False)
    if done.returncode == _STOPPED:
        raise KeyboardInterrupt
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise UnmeasuredError(f"not measured: {cell}: exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def _run_cell(cell: dict[str, Any], models: pathlib.Path, core: int) -> int:
    """The inside of a measuring process."""
    # The process that started this one tells that it was stopped.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(_STOPPED))
    if core >= 0 and hasattr(os, "sched_setaffinity") and not cell.get("all_cores"):
        os.sched_setaffinity(0, {core})  # before jax and torch count the cores
    suite = cell.pop("suite")
    if suite == "body":
        rows = body.run(body.Cell(**{**cell, "names": tuple(cell["names"])}), models)
    else:
        runs = {
            "fit": fit.run,
            "recover": recover.run,
            "track": track.run,
            "tracks": tracks.run,
            "compile": compilation.run,
            "pipeline": pipeline.run,
            "perception": perception.run,
            "collect": collect.run,
            "networks": networks.run,
            "train": training.run,
            "effect": effect.run,
            "convert": convert.run,
            "correct": correct.run,
            "video": video.run,
            "memory": video.run,
            "overlay": overlay.run,
        }
        rows = runs[suite](cell, models)
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
