"""Feet and hands solved by themselves: geometry against the body, recovery of known turns, odd input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.body import landmarks, load
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import limb_ends
from hardmo_jax.fitting.limb_ends import LimbEndOptions
from hardmo_jax.observations import ObservationError
from hardmo_jax.skeleton import flips, layouts
from tests import staged_people

PEOPLE = 24
OPTIONS = LimbEndOptions()


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def people(body):
    return staged_people.people_in_hard_poses(body, PEOPLE, seed=3, staging_seed=1, name="limb_ends")


def seen_perfectly(people):
    observations = people.observations()
    return dataclasses.replace(
        observations,
        keypoints_2d=np.asarray(people.true_keypoints_2d),
        confidence=np.ones(people.confidence.shape, np.float32),
    )


def box_side(people):
    points = np.asarray(people.true_keypoints_2d)
    return (points.max(1) - points.min(1)).max(-1)


def params_of(people):
    return jax.tree.map(np.asarray, people.params)


def ends_of(body, people, part, params=None, observations=None, **changes):
    frames = limb_ends.body_frames(body, people.layout, params or params_of(people))
    observations = observations or seen_perfectly(people)
    return limb_ends.limb_ends(body, observations, frames, part, box_side=box_side(people), options=OPTIONS, **changes)


def turned(body, params, part, degrees, seed=0):
    """The same people with the ankle or wrist turned about any axis."""
    full_pose = np.array(params.full_pose())
    joint = body.joint_names.index(limb_ends.joints_of(part)[0])
    axes = np.random.default_rng(seed).normal(size=(len(full_pose), 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    extra = Rotation.from_rotvec(np.radians(degrees) * axes)
    full_pose[:, joint] = (Rotation.from_rotvec(full_pose[:, joint]) * extra).as_rotvec()
    made = BodyParams.from_full_pose(body, full_pose, betas=params.betas, transl=params.transl)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), made)


def solved(ends, body, part, starts=None):
    prior = limb_ends.limb_end_prior(body, part)
    starts = np.asarray(ends.pose)[None] if starts is None else starts
    return jax.tree.map(np.asarray, limb_ends.solve_in_pieces(ends, prior, starts, options=OPTIONS))


@pytest.mark.parametrize("part", limb_ends.LIMB_ENDS)
def test_points_of_a_part_are_those_of_the_body(body, people, part):
    ends = ends_of(body, people, part)
    layout, _ = limb_ends.limb_end_layout(part, layouts.get_layout(people.layout))
    model, is_supported = landmarks.point_model(body, layout)
    expected = np.asarray(in_pieces(model, people.params))
    found = np.asarray(limb_ends.points_of(ends, jnp.asarray(ends.pose)))
    np.testing.assert_allclose(found[:, is_supported], expected[:, is_supported], atol=2e-6)
    # In another pose, too, but for what skinning adds near the joint.
    params = turned(body, params_of(people), part, 35)
    pose = np.asarray(ends_of(body, people, part, params=params).pose)
    moved = np.asarray(limb_ends.points_of(ends, jnp.asarray(pose)))
    expected = np.asarray(in_pieces(model, params))
    assert np.linalg.norm(moved - expected, axis=-1)[:, is_supported].max() < 0.012


@pytest.mark.parametrize("part", limb_ends.LIMB_ENDS)
def test_a_turned_part_is_turned_back(body, people, part, figure):
    params = turned(body, params_of(people), part, 40)
    ends = ends_of(body, people, part, params=params)
    truth = ends_of(body, people, part)
    found = solved(ends, body, part)
    apart = np.linalg.norm(
        limb_ends.points_of(ends, jnp.asarray(found.pose)) - limb_ends.points_of(truth, jnp.asarray(truth.pose)),
        axis=-1,
    ).mean(-1)
    before = np.linalg.norm(
        limb_ends.points_of(ends, jnp.asarray(ends.pose)) - limb_ends.points_of(truth, jnp.asarray(truth.pose)), axis=-1
    ).mean(-1)
    figure(f"limb_ends: {part} turned by 40 degrees {1000 * before.mean():.0f} -> {1000 * np.median(apart):.1f} mm")
    assert np.median(apart) < 0.3 * before.mean()
    assert (found.cost <= found.start_cost + 1e-3).all()


def test_what_was_not_seen_goes_to_what_is_expected(body, people):
    params = params_of(people)
    observations = dataclasses.replace(seen_perfectly(people), confidence=np.zeros(people.confidence.shape))
    guess = np.asarray(ends_of(body, people, "left_foot").pose) * 0
    spread = np.full_like(guess, 1e-3)
    ends = ends_of(body, people, "left_foot", params=params, observations=observations, guess=guess, spread=spread)
    assert not np.asarray(ends.weight).any()
    found = solved(ends, body, "left_foot")
    assert np.abs(found.pose).max() < 0.02


def test_keypoints_that_are_no_numbers_are_not_seen(body, people):
    observations = seen_perfectly(people)
    points = np.array(observations.keypoints_2d)
    points[:, list(layouts.get_layout(people.layout).indices(("left_heel",)))] = np.nan
    ends = ends_of(body, people, "left_foot", observations=dataclasses.replace(observations, keypoints_2d=points))
    found = solved(ends, body, "left_foot")
    assert np.isfinite(found.pose).all()
    assert ((np.asarray(ends.weight) > 0).sum(1) == 3).all()  # ankle and both toes


def test_parts_do_not_depend_on_each_other(body, people):
    params = turned(body, params_of(people), "right_hand", 30)
    ends = ends_of(body, people, "right_hand", params=params)
    together = solved(ends, body, "right_hand")
    some = people.select(np.arange(3))
    alone = solved(
        ends_of(body, some, "right_hand", params=jax.tree.map(lambda leaf: leaf[:3], params)), body, "right_hand"
    )
    np.testing.assert_allclose(alone.pose, together.pose[:3], atol=1e-4)


def test_mirrored_people_have_mirrored_parts(body, people):
    layout = layouts.get_layout(people.layout)
    params = turned(body, params_of(people), "left_foot", 30)
    left = ends_of(body, people, "left_foot", params=params)
    seen = seen_perfectly(people)
    order = np.asarray(flips.flip_permutation(layout))
    points = np.array(seen.keypoints_2d)[:, order]
    points[..., 0] = 2 * np.asarray(people.camera.principal_point)[:, None, 0] - points[..., 0]
    mirrored = dataclasses.replace(
        left,
        keypoints_2d=points[:, limb_ends.limb_end_layout("right_foot", layout)[1]].astype(np.float32),
        parent=np.asarray(left.parent) * np.outer([-1, 1, 1], [-1, 1, 1]),
        base=np.asarray(left.base) * [-1, 1, 1],
        link=np.asarray(left.link) * np.float32([-1, 1, 1]),
        offsets=np.asarray(left.offsets) * np.float32([-1, 1, 1]),
        pose=np.asarray(left.pose) * np.tile(np.float32([1, -1, -1]), 2),
    )
    first = solved(left, body, "left_foot").pose
    second = solved(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), mirrored), body, "right_foot").pose
    np.testing.assert_allclose(second, first * np.tile([1, -1, -1], 2), atol=2e-3)


def test_small_systems_are_solved_as_by_lapack():
    rng = np.random.default_rng(0)
    for size in (1, 3, 6, 9):
        half = rng.normal(size=(50, size, size + 2))
        matrix = half @ half.swapaxes(1, 2) + 0.1 * np.eye(size)
        right = rng.normal(size=(50, size))
        found = limb_ends._cholesky_solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32))
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right[..., None])[..., 0], rtol=2e-3, atol=2e-3)


def test_bodies_without_the_joint_and_people_without_a_camera_are_refused(body, people):
    with pytest.raises(ObservationError, match="camera"):
        ends_of(body, people, "left_foot", observations=dataclasses.replace(seen_perfectly(people), camera=None))
