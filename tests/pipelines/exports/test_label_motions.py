"""Labels as motion: bodies stand where labels say, on an even grid, and nothing is invented in silence."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.body import load, placement
from hardmo_jax.body.params import BodyParams
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports import label_motions
from hardmo_jax.pipelines.exports.label_motions import MotionOptions
from hardmo_jax.pipelines.label_rows import LabelBodyError, name_of_body, pose_columns

RATE = 25.0
#: A camera that is tilted down and rolled, two metres above the floor.
TILT = Rotation.from_euler("xz", [-100, 4], degrees=True).as_matrix()
POSITION = np.array([0.3, -0.1, 2.0])


def motion(body, rng, num_frames):
    """Somebody who moves smoothly four metres before the camera, in its frame."""
    steps = np.cumsum(rng.normal(scale=0.05, size=(num_frames, body.num_joints, 3)), axis=0)
    steps[:, 0] += [3.0, 0.1, 0.2]
    transl = np.array([0, 0, 4.0]) + np.cumsum(rng.normal(scale=0.02, size=(num_frames, 3)), axis=0)
    betas = np.broadcast_to(rng.normal(size=body.num_betas), (num_frames, body.num_betas))
    return BodyParams.from_full_pose(
        body, steps.astype(np.float32), betas=betas.astype(np.float32), transl=transl.astype(np.float32)
    )


def row_of(body, params, place, *, world=None, source_path="clip.mp4", **changes):
    one = BodyParams(
        **{
            field.name: None if value is None else np.asarray(value)[place]
            for field in dataclasses.fields(params)
            for value in [getattr(params, field.name)]
        }
    )
    fields = {
        "source_path": source_path, "source_sha256": "a" * 64, "frame_index": place, "time_seconds": place / RATE,
        "fps": RATE, "image_width": 640, "image_height": 480, "bbox": np.array([1, 2, 300.5, 400]), "track_id": 0,
        "keypoint_source": "test", "keypoint_confidence": np.zeros(67), "keypoints_2d": np.zeros((67, 2)),
        "body_model": name_of_body(body), "body_model_sha256": body.checksum, **pose_columns(one),
        "focal_length": np.full(2, 500.0), "principal_point": np.array([319.5, 239.5]), "camera_source": "diagonal",
        "status": "CONVERGED", "error_by_part": {},
    }  # fmt: skip
    if world is not None:
        fields["world_global_orient"] = np.asarray(world.global_orient)[place]
        fields["world_transl"] = np.asarray(world.transl)[place]
    return LabelRow(**(fields | changes))


def joints(body, params):
    return np.asarray(body(params).joints)


@pytest.fixture(scope="module")
def body():
    return load.open_body()


@pytest.fixture
def truth(body, rng):
    params = motion(body, rng, 9)
    return params, placement.moved(body, params, TILT.astype(np.float32), POSITION.astype(np.float32))


def only_track(found):
    (scene,) = found.scenes
    (track,) = scene.tracks
    return scene, track


def test_people_stand_where_the_world_of_their_labels_has_them(body, truth):
    params, world = truth
    rows = [row_of(body, params, place, world=world) for place in range(9)]
    scene, track = only_track(label_motions.scenes_of_labels(rows[::-1], body, MotionOptions()))
    np.testing.assert_allclose(joints(body, track.params), joints(body, world), atol=2e-5)
    assert (scene.name, scene.source_name, scene.floor) == ("clip", "clip.mp4", "labels")
    assert (scene.frames_per_second, scene.num_frames, track.name) == (RATE, 9, "person_00")
    assert track.is_labelled.all()
    # What the camera of the scene sees of the world is what the labels have before the camera.
    seen = np.einsum("tji,tkj->tki", scene.camera.rotation, joints(body, track.params) - scene.camera.position[:, None])
    np.testing.assert_allclose(seen, joints(body, params), atol=5e-5)
    np.testing.assert_allclose(scene.camera.position, np.broadcast_to(POSITION, (9, 3)), atol=1e-4)
    assert (scene.camera.rotation == scene.camera.rotation[0]).all()


def test_a_camera_that_moves_is_followed(body, truth):
    params, _ = truth
    turns = Rotation.from_euler("z", np.linspace(0, 20, 9)[:, None], degrees=True).as_matrix() @ TILT
    path = POSITION + np.linspace(0, 1, 9)[:, None] * [1, 0, 0]
    world = placement.moved(body, params, turns.astype(np.float32), path.astype(np.float32))
    rows = [row_of(body, params, place, world=world) for place in range(9)]
    scene, track = only_track(label_motions.scenes_of_labels(rows, body, MotionOptions()))
    np.testing.assert_allclose(scene.camera.rotation, turns, atol=1e-5)
    np.testing.assert_allclose(scene.camera.position, path, atol=1e-4)
    np.testing.assert_allclose(joints(body, track.params), joints(body, world), atol=5e-5)


def test_without_a_floor_the_camera_is_level_and_the_floor_is_laid_under_the_lowest_point(body, truth):
    params, _ = truth
    rows = [row_of(body, params, place) for place in range(9)]
    scene, track = only_track(label_motions.scenes_of_labels(rows, body, MotionOptions()))
    assert scene.floor == "lowest_point"
    before, after = joints(body, params), joints(body, track.params)
    lift = after[0, 0, 2] + before[0, 0, 1]
    expected = np.stack([before[..., 0], before[..., 2], lift - before[..., 1]], axis=-1)
    np.testing.assert_allclose(after, expected, atol=2e-5)
    vertices = np.asarray(body(track.params).vertices)
    assert -0.05 < vertices[..., 2].min() < 0.0
    np.testing.assert_allclose(scene.camera.position, np.broadcast_to([0, 0, lift], (9, 3)), atol=1e-5)


def test_short_holes_are_interpolated_and_marked_and_long_ones_end_a_piece(body, truth):
    params, world = truth
    kept = [0, 1, 3, 4, 8]
    rows = [row_of(body, params, place, world=world) for place in kept]
    options = MotionOptions(max_gap_seconds=2 / RATE)
    found = label_motions.scenes_of_labels(rows, body, options)
    (scene,) = found.scenes
    first, second = scene.tracks
    assert (first.name, first.first_frame, first.num_frames) == ("person_00", 0, 5)
    assert (second.name, second.first_frame, second.num_frames) == ("person_00_part_2", 8, 1)
    np.testing.assert_array_equal(first.is_labelled, [True, True, False, True, True])
    assert found.num_interpolated == 1
    np.testing.assert_allclose(joints(body, first.params)[[0, 1, 3, 4]], joints(body, world)[:2].tolist()
                               + joints(body, world)[3:5].tolist(), atol=2e-5)  # fmt: skip
    around = [Rotation.from_rotvec(np.asarray(world.full_pose())[place]) for place in (1, 3)]
    halfway = around[0] * Rotation.from_rotvec(0.5 * (around[0].inv() * around[1]).as_rotvec())
    ours = Rotation.from_rotvec(np.asarray(first.params.full_pose())[2])
    assert (ours * halfway.inv()).magnitude().max() < 1e-4
    whole = label_motions.scenes_of_labels(rows, body, MotionOptions())
    assert only_track(whole)[1].num_frames == 9


def test_uneven_times_come_onto_the_even_grid_of_their_own_rate_and_nothing_is_dropped(body, truth):
    params, world = truth
    # 25 frames a second that stall once for four frames; the mean rate that labels state is too slow.
    places = np.array([0, 1, 2, 3, 8, 9, 10, 11, 12])
    rows = [
        row_of(body, params, place, world=world, time_seconds=at / RATE, fps=17.0) for place, at in enumerate(places)
    ]
    scene, track = only_track(label_motions.scenes_of_labels(rows, body, MotionOptions()))
    assert scene.frames_per_second == pytest.approx(RATE)
    np.testing.assert_array_equal(np.flatnonzero(track.is_labelled), places)
    np.testing.assert_allclose(joints(body, track.params)[places], joints(body, world), atol=2e-5)
    # Times that are rounded to milliseconds are of the stated rate.
    rounded = [
        row_of(body, params, place, world=world, time_seconds=round(place / 29.97, 3), fps=29.97) for place in range(9)
    ]
    scene, track = only_track(label_motions.scenes_of_labels(rounded, body, MotionOptions()))
    assert (scene.frames_per_second, track.num_frames) == (29.97, 9)
    assert track.is_labelled.all()


def test_between_two_times_motion_is_between_two_labels(body, truth):
    params, world = truth
    late = np.array([0, 1, 2, 3.3, 4, 5, 6, 7, 8])
    rows = [row_of(body, params, place, world=world, time_seconds=late[place] / RATE) for place in range(9)]
    _, track = only_track(label_motions.scenes_of_labels(rows, body, MotionOptions()))
    assert track.num_frames == 9
    assert track.is_labelled.all()
    turns = np.asarray(world.full_pose())
    around = [Rotation.from_rotvec(turns[place]) for place in (2, 3)]
    expected = around[0] * Rotation.from_rotvec((1 / 1.3) * (around[0].inv() * around[1]).as_rotvec())
    ours = Rotation.from_rotvec(np.asarray(track.params.full_pose())[3])
    assert (ours * expected.inv()).magnitude().max() < 1e-3
    np.testing.assert_allclose(track.params.transl[8], world.transl[8], atol=2e-5)


def test_strides_are_of_the_rate_that_labels_state(body, truth):
    params, world = truth
    rows = [
        row_of(body, params, place, world=world, frame_index=5 * place, time_seconds=None, fps=5.0)
        for place in range(9)
    ]
    scene, track = only_track(label_motions.scenes_of_labels(rows, body, MotionOptions()))
    assert (scene.frames_per_second, track.num_frames, scene.num_frames) == (5.0, 9, 9)


def test_a_floor_is_not_taken_from_another_shot(body, truth):
    params, world = truth
    rows = [row_of(body, params, place, world=world) for place in range(5)]
    rows += [row_of(body, params, place, track_id=1) for place in range(5, 9)]
    # Who has no world in a shot that has one gets it from the own track, or from others in the picture.
    rows[2] = row_of(body, params, 2)
    rows.append(row_of(body, params, 3, track_id=2))
    (scene,) = label_motions.scenes_of_labels(rows, body, MotionOptions()).scenes
    assert scene.floor == "mixed"
    first, second, third = scene.tracks
    np.testing.assert_allclose(joints(body, first.params), joints(body, world)[:5], atol=5e-5)
    np.testing.assert_allclose(joints(body, third.params)[0], joints(body, world)[3], atol=5e-5)
    np.testing.assert_allclose(scene.camera.position[0], POSITION, atol=1e-4)
    heights = np.asarray(body(second.params).vertices)[..., 2]
    assert -0.05 < heights.min() < 0.0
    np.testing.assert_allclose(scene.camera.rotation[8], [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-6)


def test_everybody_stands_where_the_own_label_says(body, truth):
    params, world = truth
    other = placement.moved(body, params, np.eye(3, dtype=np.float32)[[0, 2, 1]] * [1, 1, -1], np.float32([5, 0, 1]))
    rows = [row_of(body, params, place, world=world) for place in range(9)]
    rows += [row_of(body, params, place, world=other, track_id=1) for place in range(9)]
    (scene,) = label_motions.scenes_of_labels(rows, body, MotionOptions()).scenes
    for track, expected in zip(scene.tracks, (world, other), strict=True):
        np.testing.assert_allclose(joints(body, track.params), joints(body, expected), atol=5e-5)


def test_pieces_of_a_track_have_one_shape(body, truth):
    params, world = truth
    betas = np.array(params.betas)
    betas[4:] += 0.4
    params = dataclasses.replace(params, betas=betas)
    rows = [row_of(body, params, place, world=world) for place in (0, 1, 7, 8)]
    found = label_motions.scenes_of_labels(rows, body, MotionOptions(max_gap_seconds=0.1))
    first, second = found.scenes[0].tracks
    np.testing.assert_array_equal(first.betas, second.betas)
    assert found.num_shapes == 1


def test_a_mean_shape_leaves_the_pelvis_where_it_was(truth, body):
    """Of a body whose pelvis moves by a centimetre with each coefficient, which that of the open body hardly does."""
    moving = dataclasses.replace(body, joint_shape_basis=body.joint_shape_basis.at[:, 0].add(0.01))
    params, _ = truth
    betas = np.array(params.betas)
    betas[1::2] += 1.0
    params = dataclasses.replace(params, betas=betas)
    averaged, _ = label_motions.with_one_shape_each(moving, params, np.zeros(9, int))
    np.testing.assert_allclose(averaged.betas, np.broadcast_to(betas.mean(0), betas.shape), atol=1e-6)
    np.testing.assert_allclose(joints(moving, averaged)[:, 0], joints(moving, params)[:, 0], atol=1e-5)


def test_one_name_in_two_files_is_told_apart_by_suffix_then_content(body, truth):
    rows = [
        row_of(body, truth[0], 0, source_path="clip.MOV"),
        row_of(body, truth[0], 1, source_path="clip.mp4"),
        row_of(body, truth[0], 2, source_path="clip.mp4", source_sha256="b" * 64),
    ]
    names = [scene.name for scene in label_motions.scenes_of_labels(rows, body, MotionOptions()).scenes]
    assert names == ["clip_MOV", "clip_mp4_aaaaaaaa", "clip_mp4_bbbbbbbb"]


def test_labels_of_several_shapes_become_one_shape_at_the_same_place(body, truth):
    params, _ = truth
    betas = np.array(params.betas)
    betas[4:] += 0.4
    other = dataclasses.replace(params, betas=betas)
    moved = placement.moved(body, other, TILT.astype(np.float32), POSITION.astype(np.float32))
    rows = [row_of(body, other, place, world=moved) for place in range(9)]
    found = label_motions.scenes_of_labels(rows, body, MotionOptions())
    _, track = only_track(found)
    assert found.num_shapes == 1
    np.testing.assert_allclose(track.params.betas, np.broadcast_to(betas.mean(0), betas.shape), atol=1e-6)
    np.testing.assert_allclose(joints(body, track.params)[:, 0], joints(body, moved)[:, 0], atol=2e-5)


def test_all_people_of_all_sources_come_out_and_rejected_or_failed_labels_do_not(body, truth):
    params, world = truth
    photo = {"time_seconds": None, "fps": None, "frame_index": 0}
    broken = row_of(body, params, 0, track_id=7, status="NONFINITE", body_pose=np.full((21, 3), np.nan))
    rows = [
        row_of(body, params, 2, world=world),
        row_of(body, params, 3, world=world, track_id=5),
        row_of(body, params, 1, world=world, track_id=6, review="rejected"),
        row_of(body, params, 4, source_path="day/a.jpg", **photo),
        row_of(body, params, 5, source_path="day/A.png", source_sha256="b" * 64, **photo),
        row_of(body, params, 6, source_path="/home/somebody/c.jpg", **photo),
        broken,
    ]
    found = label_motions.scenes_of_labels(rows, body, MotionOptions())
    assert (found.num_failed, found.num_rejected) == (1, 1)
    names = [scene.name for scene in found.scenes]
    assert names == sorted(["c", "clip", "day/A_png", "day/a_jpg"])
    clip = found.scenes[names.index("clip")]
    assert [(track.track_id, track.first_frame) for track in clip.tracks] == [(0, 0), (5, 1)]
    assert (clip.num_frames, clip.first_source_frame) == (2, 2)
    assert found.scenes[0].frames_per_second is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": None, "time_seconds": None}, "give it as --fps"),
        ({"status": "NO_EVIDENCE"}, "none of 2 labels"),
        ({"source_path": ".."}, "no file can be named"),
    ],
)
def test_what_cannot_be_exported_is_told(body, truth, changes, message):
    rows = [row_of(body, truth[0], place, **changes) for place in range(2)]
    with pytest.raises(ExportError, match=message):
        label_motions.scenes_of_labels(rows, body, MotionOptions())


def test_labels_of_another_body_are_refused(body, truth):
    rows = [row_of(body, truth[0], 0, body_model_sha256="c" * 64)]
    with pytest.raises(LabelBodyError, match="cccccccccccc"):
        label_motions.scenes_of_labels(rows, body, MotionOptions())


def test_frame_numbers_that_no_video_has_are_told(body, truth):
    rows = [
        row_of(body, truth[0], place, frame_index=at, time_seconds=None) for place, at in enumerate((0, 1, 2**31 - 1))
    ]
    with pytest.raises(ExportError, match="frames apart, and a motion has 1000000 at most"):
        label_motions.scenes_of_labels(rows, body, MotionOptions())


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_rates_are_positive(rate):
    with pytest.raises(ExportError, match="--fps"):
        MotionOptions(frames_per_second=rate)
