"""`python -m tools.export` as a user runs it: a label in several formats, and what is wrong in one line."""

import json

import pytest

from hardmo_jax.body import load
from hardmo_jax.labels import store
from tests.pipelines.exports.test_label_motions import RATE, motion, row_of
from tests.tools.command_line import run_each

USAGE_STATUS = 2


@pytest.fixture
def labels(tmp_path, rng):
    body = load.open_body()
    params = motion(body, rng, 4)
    rows = [row_of(body, params, place) for place in range(4)]
    store.write_labels(tmp_path / "run" / "labels.parquet", rows)
    return tmp_path / "run"


def test_the_tool_says_what_it_wrote_and_what_is_wrong(tmp_path, labels):
    mistakes = (
        ([f"--labels={labels}"], "--format is missing; e.g. --format=glb,bvh; known: glb,"),
        ([f"--labels={tmp_path / 'none'}", "--format=glb", f"--output_dir={tmp_path / 'x'}"], "no such label file"),
        ([f"--labels={labels}", "--format=fbx"], "unknown format 'fbx'; known: glb, bvh"),
        ([f"--labels={labels}", "--format=glb", "--fps=0"], "a frame rate must be positive"),
        ([f"--labels={labels}", "--format=hmr2", f"--output_dir={tmp_path / 'x'}"], "give --pictures=FOLDER"),
    )
    good = [f"--labels={labels}", "--format=glb,bvh", f"--output_dir={tmp_path / 'out'}"]
    done, *others = run_each("export", [good, *(arguments for arguments, _ in mistakes)])
    assert done.returncode == 0, done.stderr
    assert "slide mm/frame" in done.stdout
    assert "clip person_00" in done.stdout
    assert "glb: 1 people, 1 file" in done.stdout
    assert "camera is taken as level" in done.stdout
    assert json.loads((tmp_path / "out" / "run.json").read_text())["results"]["exported"]["bvh"]["people"] == 1
    (bvh,) = (tmp_path / "out" / "bvh").glob("*.bvh")
    assert f"Frame Time: {1 / RATE:g}" in bvh.read_text()
    for other, (_, message) in zip(others, mistakes, strict=True):
        assert other.returncode == USAGE_STATUS
        assert "Traceback" not in other.stderr
        (line,) = [line for line in other.stderr.splitlines() if line.startswith("error: ")]
        assert message in line
    assert not (tmp_path / "x").exists()
