"""Slide that was put into a motion is what is measured."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.foot_slide import standing_slide
from hardmo_jax.export.source_names import ExportError
from tests.export.motion import scenes_to_write

RATE, FRAMES = 30.0, 60
#: A foot that comes down or leaves counts as standing while it still moves slowly. Share of the slide.
OF_STEPS = 0.1


def walking_in_place(body, slide, height=0.0):
    """Legs are lifted in turn while the whole person drifts to the side, `slide` metres a second."""
    time = np.arange(FRAMES) / RATE
    params = jax.tree.map(np.array, hm.BodyParams.rest(body, batch=(FRAMES,)))
    # A held pause between steps, and lifts that begin at full speed.
    lift = np.clip(3 * np.sin(2 * np.pi * time), -1, 1)
    for joint, sign in ((0, 1), (1, -1)):
        raised = np.maximum(sign * lift, 0)
        params.body_pose[:, joint, 0] = -1.2 * raised
        params.body_pose[:, joint + 3, 0] = 1.5 * raised
    params.global_orient[:] = Rotation.from_euler("x", 90, degrees=True).as_rotvec()
    params.transl[:, 0] = slide * time
    params.transl[:, 2] = height - in_pieces(body, params).vertices[0, :, 2].min()
    track = dataclasses.replace(scenes_to_write.track(body, FRAMES), params=params)
    return scenes_to_write.scene(body, (track,), FRAMES, rate=RATE), track


@pytest.fixture(scope="module")
def body():
    full = hm.open_body(view="smpl")
    # Fewer vertices than the mesh has, the soles among them.
    soles = np.flatnonzero(np.asarray(full.template_planar)[1] < np.min(full.template_planar[1]) + 0.01)
    return full.subset(np.unique([*soles, *range(0, full.num_vertices, 50), *(vertex for _, vertex in full.landmarks)]))


def test_slide_of_standing_feet_is_measured(body):
    for slide in (0.0, 0.03, 0.09):
        found = standing_slide(*walking_in_place(body, slide))
        assert found.speed == pytest.approx(slide, rel=OF_STEPS, abs=0.004)
        assert found.millimetres_per_frame == pytest.approx(1000 * found.speed / RATE)
        assert found.standing_share > 0.9
        assert found.below_floor < 1e-5


def test_depth_below_the_floor_is_that_of_the_mesh(body):
    assert standing_slide(*walking_in_place(body, 0.0, height=-0.05)).below_floor == pytest.approx(0.05, abs=1e-4)


def gliding(body, speed, height=None):
    """A person in rest pose who is carried along the floor, at a height over it or below it."""
    time = np.arange(FRAMES) / RATE
    params = jax.tree.map(np.array, hm.BodyParams.rest(body, batch=(FRAMES,)))
    params.global_orient[:] = Rotation.from_euler("x", 90, degrees=True).as_rotvec()
    params.transl[:, 0] = speed * time
    ground = in_pieces(body, params).vertices[0, :, 2].min()
    params.transl[:, 2] = (0.0 if height is None else height) - ground
    track = dataclasses.replace(scenes_to_write.track(body, FRAMES), params=params)
    return scenes_to_write.scene(body, (track,), FRAMES, rate=RATE), track


def test_feet_that_skate_too_fast_to_stand_are_found(body):
    assert standing_slide(*gliding(body, 0.0)).moving_share == 0
    for speed in (0.2, 0.5, 1.0):
        found = standing_slide(*gliding(body, speed))
        assert (found.moving_share, found.standing_share, found.speed) == (1.0, 0.0, None)
    # Below the floor, and over one that was guessed too low.
    for height in (-0.2, 0.3):
        assert standing_slide(*gliding(body, 0.5, height)).moving_share == 1
    assert standing_slide(*walking_in_place(body, 0.03)).moving_share < 0.1


def test_a_jump_is_no_skating(body):
    time = np.arange(FRAMES) / RATE
    # Half a second in the air and 0.3 m high, between standing still here and there; a metre a second to the side.
    flight = np.clip((time - 0.7) / 0.5, 0, 1)
    scene, track = gliding(body, 0.0, 1.2 * flight * (1 - flight))
    track.params.transl[:, 0] = 0.5 * flight
    found = standing_slide(scene, track)
    assert found.standing_share == pytest.approx(0.75, abs=0.1)
    # What is less than 5 cm over the floor when it leaves and lands.
    assert found.moving_share < 0.1
    track.params.transl[:, 0] = 0.0
    assert standing_slide(scene, track).moving_share == 0


def test_nobody_stands_who_flies(body):
    found = standing_slide(*walking_in_place(body, 2.0, height=1.0))
    assert (found.speed, found.millimetres_per_frame, found.standing_share, found.below_floor) == (None, None, 0.0, 0.0)


def test_bodies_without_named_vertices_stand_on_ankles_and_feet(body):
    scene, track = walking_in_place(body, 0.06)
    scene = dataclasses.replace(scene, body=dataclasses.replace(body, landmarks=()))
    assert standing_slide(scene, track).speed == pytest.approx(0.06, rel=OF_STEPS)


def test_a_photo_has_no_speed(body):
    scene = scenes_to_write.photo(body)
    with pytest.raises(ExportError, match="no frame rate"):
        standing_slide(scene, scene.tracks[0])
