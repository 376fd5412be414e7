"""Everybody is in the side view, as large as that allows, and it does not shake."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body.params import BodyParams
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines import side_views
from hardmo_jax.pipelines.label_rows import name_of_body, pose_columns
from hardmo_jax.skeleton import layouts

COUNT = len(layouts.get_layout("openpose67"))


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def label(body, center, *, track=0, frame=0):
    """Somebody of 1.8 m whose points lie around a place."""
    rng = np.random.default_rng(track)
    points = np.asarray(center) + rng.uniform(-1, 1, (COUNT, 3)) * np.array([0.3, 0.9, 0.3])
    params = dataclasses.replace(jax.tree.map(np.asarray, BodyParams.rest(body)), transl=np.asarray(center, np.float32))
    return LabelRow(
        source_path="clip.mp4", source_sha256="0" * 64, frame_index=frame, time_seconds=frame / 25, fps=25.0,
        image_width=640, image_height=480, bbox=np.array([1.0, 2.0, 50.0, 90.0]), track_id=track,
        keypoint_source="made", keypoints_2d=np.ones((COUNT, 2)), keypoint_confidence=np.ones(COUNT, np.float32),
        keypoints_3d=points, body_model=name_of_body(body), body_model_sha256=body.checksum, **pose_columns(params),
        focal_length=np.full(2, 700.0), principal_point=np.array([319.5, 239.5]), camera_source="diagonal",
        status="CONVERGED", error_by_part={"body": 0.0},
    )  # fmt: skip


def pixels(view, row, size=400):
    seen = view.seen(np.asarray(row.keypoints_3d), 1.0)
    assert (seen[:, 2] > 0.1).all()
    return seen[:, :2] / seen[:, 2:] * size / (2 * np.tan(np.radians(11))) + (size - 1) / 2


def rows_of(body, centers):
    return {0: [label(body, center, track=track) for track, center in enumerate(centers)]}


@pytest.mark.parametrize(
    "centers",
    [[(0, 0, 4)], [(-1, 0, 4), (1, 0, 4)], [(-3, 0, 6), (3, 0.2, 6), (0, 0, 5)], [(0, 0, 3), (0, 0, 7)]],
    ids=["one", "side by side", "far apart", "one behind the other"],
)
def test_everybody_is_in_the_picture(body, centers):
    rows = rows_of(body, centers)
    view = side_views.side_views(rows, body, frames_per_second=25.0)[0]
    for row in rows[0]:
        points = pixels(view, row)
        assert points.min() > 0
        assert points.max() < 399


def test_people_side_by_side_are_drawn_almost_as_large_as_one_alone(body):
    heights = []
    for centers in ([(0, 0, 4)], [(-1, 0, 4), (1, 0, 4)]):
        rows = rows_of(body, centers)
        view = side_views.side_views(rows, body, frames_per_second=25.0)[0]
        heights.append(np.mean([np.ptp(pixels(view, row)[:, 1]) for row in rows[0]]))
    assert heights[1] > 0.85 * heights[0]
    assert heights[0] > 0.5 * 400


def test_the_view_follows_without_shaking_and_covers_frames_without_people(body, rng):
    frames = [frame for frame in range(75) if not 30 <= frame < 35]
    rows = {
        frame: [label(body, (0.02 * frame + rng.normal(0, 0.02), 0, 4 + rng.normal(0, 0.1)), frame=frame)]
        for frame in frames
    }
    views = side_views.side_views(rows, body, frames_per_second=25.0)
    assert set(views) == set(range(75))
    centers = np.stack([views[frame].center for frame in range(75)])
    assert np.abs(np.diff(centers, 2, axis=0)).max() < 0.01
    assert centers[-10, 0] - centers[10, 0] == pytest.approx(0.02 * 55, abs=0.25)
    assert len({views[frame].extent for frame in range(75)}) == 1


def test_a_cut_begins_a_view_of_its_own(body):
    rows = {
        frame: [label(body, (0, 0, 4) if frame < 5 else (0, 0, 40), track=int(frame >= 5), frame=frame)]
        for frame in range(10)
    }
    views = side_views.side_views(rows, body, frames_per_second=25.0)
    assert views[4].center[2] == pytest.approx(4, abs=0.3)
    assert views[5].center[2] == pytest.approx(40, abs=0.3)


def test_nobody_gives_no_view(body):
    assert side_views.side_views({}, body, frames_per_second=25.0) == {}
    assert side_views.side_views({3: []}, body, frames_per_second=25.0) == {}
