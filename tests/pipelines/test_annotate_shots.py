"""A video of several shots: each has its own people, camera and floor, as if it were a video by itself."""

import json

import av
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import store
from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import annotate_takes, warm_up
from hardmo_jax.pipelines.annotate import AnnotateOptions, annotate
from hardmo_jax.pipelines.annotate_drawing import OutputOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks
from tests.perception.test_keypoints_from_files import openpose, write

WIDTH, HEIGHT, RATE = 320, 240, 30
FRAMES = 12
"""Of a shot: the usual sizes of programs are compiled by other tests."""


def scene(seed, count=FRAMES):
    """A background with corners, which stands still."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    return [np.kron(coarse, np.ones((16, 16, 1), np.uint8))] * count


def write_video(path, images):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def points():
    """Of somebody who moves, OpenPose's 25."""
    body = hm.open_body()
    track = tracks.make_track(body, frames=FRAMES)
    model, _ = landmarks.point_model(body, layouts.get_layout("openpose25"))
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    return np.asarray(cameras.project_points(camera, model(track.params())))


def labelled(folder, name, images, poses, *, confidence=0.9, frames=None, **output):
    """Labels of a video, from files of its keypoints."""
    folder.mkdir(parents=True)
    write_video(folder / f"{name}.mp4", images)
    for at, pose in enumerate(poses):
        values = np.concatenate([pose, np.full((25, 1), confidence)], 1)
        write(folder / "json" / f"{name}_{at:012d}_keypoints.json", openpose(values.ravel().tolist()))
    options = AnnotateOptions(
        perception=PerceptionOptions(detector="files", keypoints_file=str(folder / "json")),
        output=OutputOptions(**{"part_scores": False, **output}),
        frames=frames or FrameChoice(),
    )
    reports = []
    summary = annotate(
        folder / f"{name}.mp4", folder / "out", options=options, model_folder=folder,
        progress=lambda *told: reports.append(told),
    )  # fmt: skip
    record = json.loads((folder / "out" / "run.json").read_text())
    return summary, store.read_labels(folder / "out" / "labels.parquet").rows, record, reports


@pytest.fixture(scope="module")
def cut(points, tmp_path_factory):
    """Two shots of one video: the same motion before two backgrounds, at the other end of the picture."""
    moved = points + np.array([40.0, 0.0])
    folder = tmp_path_factory.mktemp("cut") / "clip"
    return labelled(folder, "clip", scene(1) + scene(2), [*points, *moved], renderer="painter")


def test_each_shot_is_told_of(cut):
    summary, rows, record, _ = cut
    assert len(rows) == 2 * FRAMES
    shots = record["results"]["shots"]
    assert [(shot["first_frame"], shot["num_frames"]) for shot in shots] == [(0, FRAMES), (FRAMES, FRAMES)]
    assert all(shot["camera_motion"]["is_taken_to_be_fixed"] for shot in shots)
    assert len(summary.camera_motion) == 2


def test_nobody_is_one_person_across_a_cut(cut):
    _, rows, _, _ = cut
    first, second = ({row.track_id for row in rows if (row.frame_index < FRAMES) == early} for early in (True, False))
    assert len(first) == len(second) == 1
    assert first.isdisjoint(second)


def test_the_labels_of_a_shot_are_those_of_a_video_of_it(cut, points, tmp_path):
    _, alone, _, _ = labelled(tmp_path / "alone", "clip", scene(1), points, overlay=False)
    _, rows, _, _ = cut
    for row, own in zip(rows, alone, strict=False):
        np.testing.assert_allclose(row.body_pose, own.body_pose, atol=1e-5)
        np.testing.assert_allclose(row.transl, own.transl, atol=1e-5)
        np.testing.assert_allclose(row.betas, own.betas, atol=1e-5)


def test_all_frames_are_drawn_and_what_is_done_grows(cut, tmp_path_factory):
    summary, _, _, reports = cut
    with av.open(str(next(tmp_path_factory.getbasetemp().glob("cut*/clip/out/overlay.mp4")))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2 * FRAMES
    for stage in ("perceive", "fit", "draw"):
        done = [count for name, count, _ in reports if name == stage]
        assert done == sorted(done)
        assert done[-1] == 2 * FRAMES
        assert reports[-1][1] == reports[-1][2], "the end is told"
    rates = {rate.stage: rate for rate in summary.stages}
    assert {"decode", "perceive", "fit", "label", "draw", "write"} <= set(rates)
    assert sum(rate.seconds for rate in summary.stages) > 0
    assert summary.seconds > rates["fit"].seconds


def test_an_error_while_drawing_ends_the_other_stages(points, tmp_path, monkeypatch):
    import threading

    from hardmo_jax.viz import overlay

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(overlay.VideoOverlayWriter, "add", fail)
    before = threading.active_count()
    with pytest.raises(OSError, match="no space left"):
        labelled(tmp_path / "bad", "clip", scene(1) + scene(2), [*points, *points], renderer="painter")
    assert not (tmp_path / "bad" / "out").exists()
    assert not list((tmp_path / "bad").glob(".annotate-*"))
    assert threading.active_count() <= before + 1


def test_pieces_are_whole_frames_with_the_frames_around_them():
    positions = [0, 0, 1, 2, 2, 2, 3, 4]
    found = annotate_takes.pieces_of_frames(positions, 3)
    rows = list(range(len(positions)))
    assert [[rows[part] for part in piece] for piece in found] == [
        [[], [0, 1, 2], [3, 4, 5]],
        [[2], [3, 4, 5], [6]],
        [[3, 4, 5], [6, 7], []],
    ]
    assert annotate_takes.pieces_of_frames([], 3) == []
    assert annotate_takes.pieces_of_frames([7, 7, 7, 7], 3) == [(slice(0, 0), slice(0, 4), slice(4, 4))]


def test_labels_are_the_same_in_pieces(points, tmp_path, monkeypatch):
    """Scores too: the frame before and after a piece is that of the video."""
    whole = labelled(tmp_path / "whole", "clip", scene(1), points, overlay=False, part_scores=True)
    monkeypatch.setattr(annotate_takes, "_ROWS_AT_ONCE", 5)
    pieces = labelled(tmp_path / "pieces", "clip", scene(1), points, overlay=False, part_scores=True)
    assert len(whole[1]) == len(pieces[1]) == FRAMES
    for one, other in zip(whole[1], pieces[1], strict=True):
        np.testing.assert_array_equal(one.body_pose, other.body_pose)
        assert one.inconsistency_by_part == other.inconsistency_by_part
    assert whole[0].num_people == pieces[0].num_people
    assert whole[0].median_error_by_part == pieces[0].median_error_by_part


def test_a_second_decoding_that_lacks_a_frame_is_told(points, tmp_path, monkeypatch):
    from hardmo_jax.perception import video

    frames = video.Media.frames

    def shorter(self, *args, **kwargs):
        found = frames(self, *args, **kwargs)
        # Only who looks at people says what is to be done about unreadable photos.
        return found if "on_error" in kwargs else (frame for frame in found if frame.position < 8)

    monkeypatch.setattr(video.Media, "frames", shorter)
    with pytest.raises(video.MediaError, match="frame 8 could be decoded to look at it, and not to draw"):
        labelled(tmp_path / "clip", "clip", scene(1), points, renderer="painter")


def test_nothing_is_loaded_where_nobody_is_and_once_a_process_where_somebody_is(points, tmp_path, monkeypatch):
    monkeypatch.setattr(warm_up, "_LOADED", set())
    empty, *_ = labelled(tmp_path / "empty", "clip", scene(1), points, overlay=False, confidence=0.0)
    assert empty.num_people == 0
    assert not warm_up._LOADED
    first, *_ = labelled(tmp_path / "first", "clip", scene(1), points, overlay=False)
    assert len(warm_up._LOADED) == 1
    again, *_ = labelled(tmp_path / "again", "clip", scene(1), points, overlay=False)
    stages = [{rate.stage for rate in summary.stages} for summary in (first, again)]
    assert "warm up" in stages[0]
    assert "warm up" not in stages[1]


def test_an_overlay_begins_with_its_first_frame(points, tmp_path):
    folder = tmp_path / "late"
    labelled(folder, "clip", scene(1), points, renderer="painter", frames=FrameChoice(start_seconds=0.1))
    with av.open(str(folder / "out" / "overlay.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times[0] == 0
    assert len(times) == FRAMES - 3
