"""The page about the store: what it shows runs, and the tests that it names are there."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

from hardmo_jax.labels import store
from tests.labels.test_sharded_store import video_rows

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "store.md").read_text()


def test_what_the_page_shows_runs(tmp_path):
    for video in range(2):
        store.write_labels(tmp_path / "parts" / f"{video}.parquet", video_rows(video, 2))
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    # Of other programs those that are installed.
    blocks = [
        block
        for block in blocks
        if all(importlib.util.find_spec(name) for name in ("pandas", "duckdb") if f"import {name}" in block)
    ]
    assert len(blocks) >= 4
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(blocks)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "labels: complete, 4 labels" in done.stdout


@pytest.mark.parametrize("name", re.findall(r"`(test_\w+\.py::test_\w+)`", PAGE))
def test_promises_are_held_to_by_tests(name):
    file, test = name.split("::")
    assert f"def {test}(" in (ROOT / "tests" / "labels" / file).read_text()
