"""Observations check the shape of their keypoints at once, and pass through jax transformations."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax import observations
from hardmo_jax.geometry import cameras
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_batch_shape_is_the_leading_axes(batch):
    assert hm.Observations(keypoints_2d=np.zeros((*batch, 25, 2))).batch_shape == batch
    assert hm.Observations(keypoints_3d=np.zeros((*batch, 17, 3)), layout="coco17").batch_shape == batch


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_every_layout_is_accepted_at_its_own_size(name):
    size = len(layouts.get_layout(name))
    hm.Observations(keypoints_2d=np.zeros((1, size, 2)), layout=name)
    with pytest.raises(ValueError, match=rf"must end in \({size}, 2\) for layout '{name}'"):
        hm.Observations(keypoints_2d=np.zeros((1, size + 1, 2)), layout=name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keypoints_2d": np.zeros((2, 25, 3))}, r"`keypoints_2d` must end in \(25, 2\).*confidence as its own array"),
        ({"keypoints_2d": np.zeros((2, 17, 2))}, r"layout 'openpose25', got \(2, 17, 2\); pass `layout=`"),
        ({"keypoints_2d": np.zeros(50)}, r"`keypoints_2d` must end in"),
        ({"keypoints_3d": np.zeros((2, 25, 2))}, r"`keypoints_3d` must end in \(25, 3\)"),
    ],
)
def test_other_shapes_are_refused_with_what_to_do(given, message):
    with pytest.raises(ValueError, match=message):
        synthetic_people.unchecked(hm.Observations, **given)


def test_unknown_layout_names_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'openpose25'"):
        hm.Observations(keypoints_2d=np.zeros((1, 25, 2)), layout="openpose_25")


def test_nothing_measured_has_no_people():
    with pytest.raises(ValueError, match="neither `keypoints_2d` nor `keypoints_3d`"):
        _ = hm.Observations().batch_shape


def test_observations_are_a_pytree_with_a_static_layout():
    observed = hm.Observations(
        keypoints_2d=np.ones((2, 17, 2), np.float32),
        confidence=np.ones((2, 17), np.float32),
        camera=cameras.camera_from_image_size(640, 480),
        layout="coco17",
    )
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(observed)
    assert doubled.layout == "coco17"
    assert doubled.keypoints_3d is None
    np.testing.assert_array_equal(doubled.keypoints_2d, 2)
    assert len(jax.tree.leaves(observed)) == 4
    assert jax.tree.structure(observed) != jax.tree.structure(dataclasses.replace(observed, confidence=None))


def test_a_track_is_told_what_is_wrong_with_it():
    points = np.zeros((4, 25, 2))
    track = observations.Observations(keypoints_2d=points, layout="openpose25")
    for rate in (30, 29.97, np.float32(30), np.array(30.0)):
        observations.check_track(track, rate)
    for rate in ("30", None, True, 0, -1.0, float("nan"), float("inf"), [30.0]):
        with pytest.raises(observations.ObservationError, match="must be a positive number, got"):
            observations.check_track(track, rate)
    none = observations.Observations(keypoints_2d=points[:0], layout="openpose25")
    with pytest.raises(observations.ObservationError, match="one frame or more, got none"):
        observations.check_track(none, 30.0)
    several = observations.Observations(keypoints_2d=points[None], layout="openpose25")
    with pytest.raises(observations.ObservationError, match=r"one batch axis, its frames, got batch shape \(1, 4\)"):
        observations.check_track(several, 30.0)
