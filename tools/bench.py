"""Measure speed, against peers where they are installed, and write the result with where it was taken.

python -m tools.bench --suite=body
python -m tools.bench --suite=fit
python -m tools.bench --suite=all --output_dir=docs/benchmarks

Writes `<suite>_<cpu or gpu>.json`, for the body suite a picture too, and prints the table. Peers are those of the
`bench` extra. Plain argparse; body and fit import jax, numpy, optax and jaxtyping only, so that they run on a bare
machine with an accelerator (`--batches=8192 --peers=`).
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from tools.benchmarks import (
    body,
    collect,
    compilation,
    contestants,
    convert,
    effect,
    fit,
    machine,
    networks,
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
    *("networks", "train", "effect", "convert"),
)
_ROOT = pathlib.Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run the suites that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description="Measure speed.")
    parser.add_argument("--suite", choices=(*SUITES, "all"), default="body")
    parser.add_argument("--output_dir", type=pathlib.Path, default=pathlib.Path("docs/benchmarks"))
    parser.add_argument("--peers", default=",".join(body.PEERS), help="Comma-separated; empty for none.")
    parser.add_argument(
        "--batches",
        default=",".join(map(str, body.BATCHES)),
        help="Batch sizes of the body suite; the last is that of fits.",
    )
    parser.add_argument("--pipeline_input", type=pathlib.Path, default=pathlib.Path("out/sample_photos"))
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
    with tempfile.TemporaryDirectory() as scratch:
        models = pathlib.Path(scratch)
        contestants.write_models(models)
        for suite in SUITES if options.suite == "all" else (options.suite,):
            batches = tuple(int(size) for size in options.batches.split(","))
            cells = {
                "body": lambda batches=batches: [dataclasses.asdict(cell) for cell in body.plan(peers, batches)],
                "fit": lambda batches=batches: fit.plan(peers, batches[-1]),
                "recover": recover.plan,
                "track": track.plan,
                "tracks": tracks.plan,
                "compile": compilation.plan,
                "pipeline": lambda: pipeline.plan(options.pipeline_input),
                "perception": perception.plan,
                "collect": collect.plan,
                "networks": networks.plan,
                "train": training.plan,
                "effect": effect.plan,
                "convert": convert.plan,
                "video": video.plan,
                "memory": video.plan_memory,
            }[suite]()
            cells = [{"suite": suite, **cell} for cell in cells if options.only in ("", cell.get("measure"))]
            rows = [row for cell in cells for row in _measure(cell, models, options.core)]
            result = {"suite": suite, "machine": machine.describe(), "pinned_core": options.core, "rows": rows}
            print(report.table(result))
            if options.only:
                continue
            kind = "gpu" if any("cpu" not in str(device) for device in result["machine"]["devices"]) else "cpu"
            options.output_dir.mkdir(parents=True, exist_ok=True)
            target = options.output_dir / f"{suite}_{kind}.json"
            target.write_text(json.dumps(result, indent=1) + "\n")
            print(f"wrote {target}")
            if suite == "body" and importlib.util.find_spec("matplotlib"):
                plot.draw(result, target.with_suffix(".png"))
    return 0


def _measure(cell: dict[str, Any], models: pathlib.Path, core: int) -> list[dict[str, object]]:
    """Rows of one cell, measured in a process of its own; a contestant that is not installed gives none."""
    command = [
        sys.executable,
        "-m",
        "tools.bench",
        f"--cell={json.dumps(cell)}",
        f"--models={models}",
        f"--core={core}",
    ]
    print(f"measuring {cell}", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=False)
    if done.returncode:
        cause = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"not measured: {cell}: {cause}", file=sys.stderr)
        return []
    return json.loads(done.stdout.splitlines()[-1])


def _run_cell(cell: dict[str, Any], models: pathlib.Path, core: int) -> int:
    """The inside of a measuring process."""
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
            "video": video.run,
            "memory": video.run,
        }
        rows = runs[suite](cell, models)
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
