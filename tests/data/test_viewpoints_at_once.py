"""Cameras of very many people: everybody in the picture, and distributed as those that are drawn one by one."""

import numpy as np
import pytest
from scipy import stats

from hardmo_jax.data import viewpoints
from hardmo_jax.data.viewpoints import ViewpointOptions
from tests.data import test_viewpoints

COUNT = 1200
OPTIONS = (
    ViewpointOptions(),
    ViewpointOptions(distance=(1.0, 1.6), vertical_field_of_view_degrees=(60.0, 100.0)),
    ViewpointOptions(image_size=(360, 720)),
    ViewpointOptions(distance=(0.2, 0.3), vertical_field_of_view_degrees=(5.0, 6.0)),
    ViewpointOptions(pitch_degrees=(-80.0, 80.0), roll_spread_degrees=60.0, distance=(1.0, 2.5)),
)


@pytest.fixture(scope="module")
def people():
    """Clouds of points the size of people, anywhere in the world."""
    rng = np.random.default_rng(1)
    clouds = rng.normal(size=(COUNT, 20, 3)) * rng.uniform(0.15, 0.5, (COUNT, 1, 3))
    return clouds + rng.normal(size=(COUNT, 1, 3)) * 3


@pytest.fixture(scope="module", params=OPTIONS[:3])
def both(people, request):
    """Cameras of both ways, of the same people."""
    at_once = viewpoints.sample_viewpoints_at_once(np.random.default_rng(2), people, request.param)
    one_by_one = viewpoints.sample_viewpoints(np.random.default_rng(3), people, request.param)
    return at_once, one_by_one


@pytest.mark.parametrize("options", OPTIONS)
def test_everybody_is_inside_the_picture_with_a_margin(people, options):
    views = viewpoints.sample_viewpoints_at_once(np.random.default_rng(2), people, options)
    test_viewpoints.assert_inside(views, people, options.image_size)


def test_rotations_are_proper_and_of_the_camera_that_looks(people):
    views = viewpoints.sample_viewpoints_at_once(np.random.default_rng(2), people, OPTIONS[0])
    identity = views.rotation @ np.swapaxes(views.rotation, 1, 2)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(views.rotation), 1, atol=1e-12)
    yaw, pitch, roll = test_viewpoints.angles_of(views.rotation)
    again = [viewpoints.look_rotation(*angles) for angles in zip(yaw, np.radians(pitch), np.radians(roll), strict=True)]
    np.testing.assert_allclose(views.rotation, np.stack(again), atol=1e-9)


def test_lens_and_middle_of_the_picture_are_the_same_in_both_directions(both):
    for views in both:
        np.testing.assert_array_equal(views.focal_length[:, 0], views.focal_length[:, 1])
    np.testing.assert_array_equal(both[0].principal_point, both[1].principal_point)


def measures(views, people):
    middle = 0.5 * (people.min(1) + people.max(1))
    seen = np.einsum("nij,nj->ni", views.rotation, middle) + views.translation
    pixels = views.focal_length * seen[:, :2] / seen[:, 2:] + views.principal_point
    yaw, pitch, roll = test_viewpoints.angles_of(views.rotation)
    return {
        "yaw": yaw, "pitch": pitch, "roll": roll, "distance": seen[:, 2], "focal length": views.focal_length[:, 0],
        "column": pixels[:, 0], "row": pixels[:, 1], "size": views.focal_length[:, 0] / seen[:, 2],
    }  # fmt: skip


def test_cameras_are_distributed_as_those_drawn_one_by_one(both, people):
    ours, theirs = (measures(views, people) for views in both)
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 0.005, name
        for share in (0.1, 0.5, 0.9):
            spread = theirs[name].std()
            assert abs(np.quantile(values, share) - np.quantile(theirs[name], share)) < 0.15 * spread, name


def test_same_generator_gives_the_same_cameras(people):
    first, again = (
        viewpoints.sample_viewpoints_at_once(np.random.default_rng(5), people, OPTIONS[0]) for _ in range(2)
    )
    np.testing.assert_array_equal(first.rotation, again.rotation)
    np.testing.assert_array_equal(first.translation, again.translation)
    np.testing.assert_array_equal(first.focal_length, again.focal_length)


def test_one_person_is_a_crowd_too(people):
    views = viewpoints.sample_viewpoints_at_once(np.random.default_rng(5), people[:1], OPTIONS[0])
    test_viewpoints.assert_inside(views, people[:1], OPTIONS[0].image_size)
