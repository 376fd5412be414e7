"""The pipeline suite: pictures to labels and overlays, seconds by stage, first run and second."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def plan(source: pathlib.Path) -> list[dict[str, Any]]:
    """One cell: runs share the cache of compiled programs."""
    return [{"source": str(source)}]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Label a folder of pictures or a video twice with the full configuration."""
    del models
    source = pathlib.Path(cell["source"])
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist: `make annotate` fetches it, or name --pipeline_input")
    with tempfile.TemporaryDirectory() as folder:
        return [_run(source, pathlib.Path(folder), run) for run in ("first", "second")]


def _run(source: pathlib.Path, folder: pathlib.Path, run: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tools.annotate", "--config=configs/normal.py"]
    command += [f"--input={source}", f"--output_dir={folder / run}"]
    start = time.perf_counter()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - start
    record = json.loads((folder / run / "run.json").read_text())
    return {"run": run, "input": source.name, "process_seconds": seconds, "seconds_by_stage": record["seconds"]}
