"""The command that removes: a table of what went, and mistakes in one line."""

import numpy as np
import pytest

from hardmo_jax.labels import store
from tests.export.dataset.labels_to_publish import label
from tests.tools.command_line import run_each

USAGE_STATUS = 2


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(1)
    rows = [label(rng, "clip.mp4", frame_index=n, track_id=track, fps=25.0) for n in range(3) for track in (0, 1)]
    for name in ("annotate", "refine"):
        store.write_labels(tmp_path / name / "labels.parquet", [*rows, label(rng, "solo.jpg", "c" * 64)])
    (tmp_path / "annotate" / "overlay.mp4").write_bytes(b"video")
    return tmp_path


def test_the_tool_says_what_went_and_what_is_wrong(run):
    labels = f"--labels={run / 'annotate'}"
    mistakes = (
        ([labels], "--source is missing"),
        ([labels, "--source=clp.mp4"], "did you mean clip.mp4?"),
        ([labels, "--source=clip.mp4", "--track_id=5"], "nobody of track_id 5"),
        ([f"--labels={run / 'none'}", "--source=clip.mp4"], "no such file or folder"),
    )
    good = [labels, "--source=clip.mp4", "--track_id=1", f"--output={run / 'refine'}"]
    lines = [[*good, "--dry_run"], *(arguments for arguments, _ in mistakes), good]
    dry, *others, done = run_each("remove", lines)
    for told, (_, message) in zip(others, mistakes, strict=True):
        assert told.returncode == USAGE_STATUS
        assert "Traceback" not in told.stderr
        (line,) = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
        assert message in line
    assert dry.returncode == 0, dry.stderr
    assert "6 rows in" in dry.stdout
    assert "of person 1 in clip.mp4 would be removed, 1 files would be deleted" in dry.stdout
    assert done.returncode == 0, done.stderr
    assert "of person 1 in clip.mp4 removed, 1 files deleted" in done.stdout
    assert "drawing: deleted" in done.stdout
    assert "never deleted" in done.stdout
    for name in ("annotate", "refine"):
        left = store.read_labels(run / name).rows
        assert [row.track_id for row in left] == [0, 0, 0, 0]
    assert not (run / "annotate" / "overlay.mp4").exists()
