"""Random cameras: everybody in the picture, and distributed as declared."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

import hardmo_jax as hm
from hardmo_jax.data import synthetic, viewpoints
from hardmo_jax.data.viewpoints import ViewpointOptions

MARGIN = 0.03


@pytest.fixture(scope="module")
def people():
    """Joints of people in hard poses, anywhere in the world."""
    body = hm.open_body()
    poses = synthetic.sample_hard_poses(5, 1500).full_pose.astype(np.float32)
    joints = np.asarray(body.joints(hm.BodyParams.from_full_pose(body, poses)))
    return joints + np.random.default_rng(1).normal(size=(len(joints), 1, 3))


def project(views, points):
    seen = np.einsum("nij,nkj->nki", views.rotation, points) + views.translation[:, None]
    return views.focal_length[:, None] * seen[..., :2] / seen[..., 2:] + views.principal_point[:, None], seen


@pytest.fixture(scope="module")
def views(people):
    return viewpoints.sample_viewpoints(np.random.default_rng(2), people, ViewpointOptions())


def assert_inside(views, points, size):
    pixels, seen = project(views, points)
    free = MARGIN * np.array(size)
    assert seen[..., 2].min() > 0.2
    assert np.all(pixels >= free - 0.5 - 1e-6)
    assert np.all(pixels <= np.array(size) - 0.5 - free + 1e-6)


def test_everybody_is_inside_the_picture_with_a_margin(people, views):
    assert_inside(views, people, (1280, 720))


@pytest.mark.parametrize(
    "options",
    [
        ViewpointOptions(distance=(1.0, 1.6), vertical_field_of_view_degrees=(60.0, 100.0)),
        ViewpointOptions(image_size=(360, 720)),
        ViewpointOptions(distance=(0.2, 0.3), vertical_field_of_view_degrees=(5.0, 6.0)),
        ViewpointOptions(pitch_degrees=(-80.0, 80.0), roll_spread_degrees=60.0, distance=(1.0, 2.5)),
    ],
)
def test_near_cameras_and_narrow_pictures_hold_the_person_too(people, options):
    some = people[:400]
    assert_inside(viewpoints.sample_viewpoints(np.random.default_rng(3), some, options), some, options.image_size)


def test_paths_of_clips_are_inside_as_wholes(people):
    some = people[:100]
    walk = np.concatenate([some, some + np.array([1.5, 0.0, 2.0])], axis=1)
    views = viewpoints.sample_viewpoints(np.random.default_rng(3), walk, ViewpointOptions())
    assert_inside(views, walk, (1280, 720))


def test_rotations_are_proper(views):
    identity = views.rotation @ np.swapaxes(views.rotation, 1, 2)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(views.rotation), 1.0, atol=1e-12)


def angles_of(rotation):
    right, down, sight = np.moveaxis(rotation, -2, 0)
    yaw = np.arctan2(-sight[:, 0], -sight[:, 2]) % (2 * np.pi)
    pitch = np.degrees(np.arcsin(-sight[:, 1]))
    roll = np.degrees(np.arctan2(right[:, 1], -down[:, 1]))
    return yaw, pitch, roll


def test_angles_have_the_declared_distribution(views):
    yaw, pitch, roll = angles_of(views.rotation)
    assert stats.kstest(yaw, "uniform", args=(0, 2 * np.pi)).pvalue > 0.01
    assert stats.kstest(pitch, "uniform", args=(-15, 40)).pvalue > 0.01
    assert stats.kstest(roll, "norm", args=(0, 5)).pvalue > 0.01


def test_distance_and_lens_are_uniform_given_that_the_person_fits():
    # A pole before a level camera: it fits where its height in pixels does.
    pole = np.zeros((2000, 2, 3))
    pole[:, 1, 1] = 2.6
    options = ViewpointOptions(pitch_degrees=(0.0, 0.0), roll_spread_degrees=0.0)
    views = viewpoints.sample_viewpoints(np.random.default_rng(4), pole, options)
    middle = np.einsum("nij,nj->ni", views.rotation, pole.mean(axis=1)) + views.translation
    rng = np.random.default_rng(5)
    distance, field = rng.uniform(3, 8, 20_000), rng.uniform(30, 70, 20_000)
    focal = 360 / np.tan(np.radians(field / 2))
    fits = focal * 2.6 / distance < 720 * (1 - 2 * MARGIN)
    assert 0.5 < fits.mean() < 0.99
    assert stats.ks_2samp(middle[:, 2], distance[fits]).pvalue > 0.01
    ours = np.degrees(2 * np.arctan(360 / views.focal_length[:, 0]))
    assert stats.ks_2samp(ours, field[fits]).pvalue > 0.01


def test_distance_and_lens_stay_within_the_options(people, views):
    field = np.degrees(2 * np.arctan(360 / views.focal_length[:, 1]))
    assert field.min() >= 30 - 1e-9
    assert field.max() <= 70 + 1e-9
    middle = 0.5 * (people.min(axis=1) + people.max(axis=1))
    distance = np.einsum("nj,nj->n", views.rotation[:, 2], middle) + views.translation[:, 2]
    assert np.mean((distance >= 3) & (distance <= 8)) > 0.99
    np.testing.assert_array_equal(views.focal_length[:, 0], views.focal_length[:, 1])
    np.testing.assert_allclose(views.principal_point, np.tile([639.5, 359.5], (len(field), 1)))


def test_people_are_not_always_in_the_middle(people, views):
    pixels, _ = project(views, people)
    middle = 0.5 * (pixels.min(axis=1) + pixels.max(axis=1)) - views.principal_point
    assert np.ptp(middle[:, 0]) > 400
    assert np.abs(middle.mean(axis=0)).max() < 15


def test_camera_before_a_person_sees_it_upright_from_the_front():
    body = hm.open_body(view="smpl")
    joints = np.asarray(body.joints(hm.BodyParams.rest(body)))
    seen = joints @ viewpoints.look_rotation(0.0, 0.0, 0.0).T + (0, 0, 4)
    index = body.joint_names.index
    assert seen[index("left_wrist"), 0] > 0.5 > -0.5 > seen[index("right_wrist"), 0]
    assert seen[index("head"), 1] < seen[index("pelvis"), 1] < seen[index("left_ankle"), 1]
    assert seen[index("left_foot"), 2] < seen[index("left_ankle"), 2]  # toes point at the camera


def test_yaw_goes_round_and_pitch_looks_down():
    # From the person's left (+x), and from above.
    np.testing.assert_allclose(viewpoints.look_rotation(0.5 * math.pi, 0.0, 0.0)[2], [-1, 0, 0], atol=1e-12)
    assert viewpoints.look_rotation(0.3, math.radians(20), 0.0)[2, 1] == pytest.approx(-math.sin(math.radians(20)))


@pytest.mark.parametrize("roll", [0.0, 0.4])
def test_roll_turns_about_the_line_of_sight_only(roll):
    np.testing.assert_allclose(
        viewpoints.look_rotation(1.0, 0.2, roll)[2], viewpoints.look_rotation(1.0, 0.2, 0.0)[2], atol=1e-12
    )


def test_same_seed_gives_the_same_cameras(people, views):
    again = viewpoints.sample_viewpoints(np.random.default_rng(2), people, ViewpointOptions())
    for field in dataclasses.fields(views):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(views, field.name))


@pytest.mark.parametrize(
    "options",
    [
        {"pitch_degrees": (20.0, -20.0)}, {"pitch_degrees": (0.0, 90.0)}, {"roll_spread_degrees": -1.0},
        {"roll_spread_degrees": float("nan")}, {"distance": (0.0, 3.0)}, {"distance": (5.0, 3.0)},
        {"distance": (1.0, float("inf"))}, {"vertical_field_of_view_degrees": (30.0, 180.0)}, {"image_size": (0, 10)},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        ViewpointOptions(**options)
