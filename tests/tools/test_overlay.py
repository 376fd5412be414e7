"""The tool that draws overlay videos: where they go, what it says, and one line for what is wrong."""

from hardmo_jax.labels import store
from tests.pipelines.test_overlay_video import FRAMES, body, made_labels, read, write_clip  # noqa: F401
from tests.tools.command_line import run_each


def test_a_video_is_drawn_beside_the_labels_and_mistakes_are_told(body, tmp_path):  # noqa: F811
    path = write_clip(tmp_path / "clip.mp4", sound="aac")
    labels = tmp_path / "labels"
    store.write_labels(labels / "labels.parquet", made_labels(body, path, frames=(0, 1)))
    given = [f"--labels={labels}", f"--pictures={tmp_path}"]
    lines = [
        given,
        [*given, "--renderer=painter", "--height=64", "--nokeypoints", f"--output={tmp_path / 'small.mp4'}"],
        [*given, f"--output={tmp_path / 'a.avi'}"],
        [f"--labels={tmp_path / 'nothing'}"],
    ]
    done = run_each("overlay", lines)
    assert [one.returncode for one in done] == [0, 0, 2, 2], done
    assert f"{FRAMES} frames with 2 bodies at" in done[0].stdout
    assert "sound copied" in done[0].stdout
    assert len(read(tmp_path / "labels_overlay.mp4")[1]) == FRAMES
    assert "(painter)" in done[1].stdout
    assert read(tmp_path / "small.mp4")[1][0][1].shape[0] == 64
    for one in done[2:]:
        assert sum(line.startswith("error: ") for line in one.stderr.splitlines()) == 1
        assert "Traceback" not in one.stderr
    assert "ends in .mp4" in done[2].stderr
