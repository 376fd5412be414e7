"""The packaged clip shows what its truth says, and labels find their dancer."""

import itertools

import jax
import numpy as np
import pytest

from hardmo_jax.body import landmarks, load
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import schema
from hardmo_jax.perception import video
from hardmo_jax.pipelines import demo, demo_clip
from hardmo_jax.pipelines.label_rows import pose_columns
from hardmo_jax.skeleton import layouts


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def truth():
    return demo_clip.packaged_truth()


def test_truth_is_what_the_steps_say(body, truth):
    made = demo_clip.dancers(body)
    np.testing.assert_array_equal(made.frame, truth.frame)
    np.testing.assert_array_equal(made.dancer, truth.dancer)
    for ours, theirs in zip(jax.tree.leaves(made.params), jax.tree.leaves(truth.params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_clip_has_the_frames_of_the_truth_and_one_cut(truth):
    media = video.open_media(demo_clip.ASSETS / demo_clip.CLIP)
    frames = [np.asarray(frame.image, np.float32) for frame in media.frames()]
    assert len(frames) == demo_clip.NUM_FRAMES == truth.frame[-1] + 1
    changes = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(frames)]
    assert int(np.argmax(changes)) + 1 == demo_clip.CUT
    assert sorted(changes)[-2] < 0.25 * max(changes)


def test_dancers_are_where_the_truth_says(body, truth):
    """Shirts are where the shoulders are: colour of the picture at the projected chest."""
    media = video.open_media(demo_clip.ASSETS / demo_clip.CLIP)
    chest = body.joint_names.index("spine3")
    for frame in itertools.islice(media.frames(), 0, None, 37):
        if frame.frame_index not in (0, 37, 111, 148):
            continue
        for dancer, (reddish, bluish) in enumerate(((False, True), (True, False))):
            row = np.flatnonzero((truth.frame == frame.frame_index) & (truth.dancer == dancer))
            joint = np.asarray(body.joints(jax.tree.map(lambda leaf, at=row: leaf[at], truth.params)))[0, chest]
            height, width = frame.image.shape[:2]
            x = truth.focal_length * joint[0] / joint[2] + (width - 1) / 2
            y = truth.focal_length * joint[1] / joint[2] + (height - 1) / 2
            colour = frame.image[round(y), round(x)].astype(int)
            if (frame.frame_index, dancer) != (37, 1):  # behind the pillar
                assert (colour[0] > colour[2] + 40) == reddish, (frame.frame_index, dancer, colour)
                assert (colour[2] > colour[0] + 40) == bluish, (frame.frame_index, dancer, colour)


def test_the_second_shot_is_another_camera(body, truth):
    before, after = (
        np.asarray(body.joints(jax.tree.map(lambda leaf, at=truth.frame == frame: leaf[at], truth.params)))
        for frame in (demo_clip.CUT - 1, demo_clip.CUT)
    )
    assert np.linalg.norm(after[:, 0] - before[:, 0], axis=-1).max() > 0.3


def labels_of(body, truth, rows, *, shift=0.0):
    """Labels that have the keypoints and bodies of the truth."""
    layout = layouts.get_layout("openpose67")
    model, is_supported = landmarks.point_model(body, layout)
    params = jax.tree.map(lambda leaf: leaf[rows], truth.params)
    focal_length = np.full((len(rows), 2), truth.focal_length, np.float32)
    centre = np.tile(np.array([479.5, 359.5], np.float32), (len(rows), 1))
    camera = Camera(focal_length=focal_length, principal_point=centre)
    points, pixels = project_in_pieces(model, camera, params)
    labels = []
    for place, row in enumerate(rows):
        own = jax.tree.map(lambda leaf, at=place: np.asarray(leaf)[at], params)
        seen = np.where(is_supported[:, None], pixels[place] + shift, 0)
        labels.append(
            schema.LabelRow(
                source_path=demo_clip.CLIP, source_sha256="0" * 64, frame_index=int(truth.frame[row]), image_width=960,
                image_height=720, bbox=np.concatenate([pixels[place].min(0), pixels[place].max(0)]),
                track_id=place, keypoint_source="truth", keypoints_2d=seen,
                keypoint_confidence=is_supported.astype(np.float32), keypoints_3d=points[place],
                body_model="open_body_smplh", body_model_sha256=body.checksum, **pose_columns(own),
                focal_length=focal_length[place], principal_point=centre[place], camera_source="test",
                vertical_field_of_view_degrees=42.0, status="CONVERGED", error_by_part={}, score_by_part={},
            )
        )  # fmt: skip
    return labels


def test_labels_are_of_the_dancer_whose_keypoints_they_have(body, truth):
    rows = np.array([9, 2, 250, 251])
    kept, places = demo.dancers_of_labels(body, labels_of(body, truth, rows), truth)
    assert places.tolist() == rows.tolist()
    assert len(kept) == len(rows)
    strangers, places = demo.dancers_of_labels(body, labels_of(body, truth, rows, shift=300.0), truth)
    assert strangers == []
    assert places.shape == (0,)
