"""What a lifter is trained on: zero at the truth, with derivatives that are right everywhere, and as in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.networks import lifter
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.networks.lifter_input import LifterInput
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import lifter_loss
from hardmo_jax.training.lifter_loss import LifterTarget, LossOptions, Skeleton
from tests.fitting import synthetic_people

COUNT, GUESSES = 4, 3
OPTIONS = LossOptions()
JOINTS = [*range(22), *(layouts.SMPLH_JOINTS.index(f"{s}_{f}1") for s in layouts.SIDES for f in ("index", "pinky"))]


@dataclasses.dataclass(frozen=True)
class Problem:
    """People whose truth is known, before the cameras that look at them; float64."""

    body: hm.BodyModel
    skeleton: Skeleton
    params: hm.BodyParams
    seen: LifterInput
    target: LifterTarget
    joints: np.ndarray
    """Of the real body, camera frame."""
    full_pose: np.ndarray
    """Axis-angle of all joints."""


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        body = hm.open_body(dtype=np.float64)
        people = synthetic_people.draw(body, "coco_wholebody65", count=COUNT, seed=6)
        seen = LifterInput(
            features=np.zeros((COUNT, 0)),
            rotation=Rotation.from_rotvec(rng.normal(size=(COUNT, 3)) * 0.15).as_matrix(),
            size=rng.uniform(0.05, 0.2, COUNT),
        )
        skeleton = Skeleton.of(body)
        target = jax.jit(lifter_loss.make_target)(skeleton, people.params, seen.rotation, seen.size)
        joints = np.asarray(jax.jit(lambda body, params: body.joints(params))(body, people.params))
        full_pose = np.asarray(people.params.full_pose())
        target, params = jax.tree.map(np.asarray, (target, people.params))
    return Problem(body, skeleton, params, seen, target, joints, full_pose)


def output_at(target, rng=None, error=0.0):
    """Guesses at the truth, or around it."""

    def near(array, scale=1.0):
        repeated = np.repeat(np.asarray(array)[:, None], GUESSES, 1)
        return repeated if rng is None else repeated + error * scale * rng.normal(size=repeated.shape)

    turns = near(target.rotations)
    if rng is not None:
        wrong = Rotation.from_rotvec(error * rng.normal(size=(COUNT * GUESSES * 22, 3))).as_matrix()
        turns = wrong.reshape(COUNT, GUESSES, 22, 3, 3) @ near(target.rotations, 0)
    return LifterOutput(
        log_weights=np.log(np.full((COUNT, GUESSES), 1 / GUESSES)) if rng is not None else first_for_sure(),
        rotations=turns,
        places=near(target.places),
        hands=near(target.hands)[:, 0],
        betas=near(target.betas)[:, 0],
        log_spread=np.zeros((COUNT, lifter.NUM_SPREAD)) if rng is None else rng.normal(size=(COUNT, 169)) * 0.5,
    )


def first_for_sure():
    return np.tile([0.0, *[-50.0] * (GUESSES - 1)], (COUNT, 1))


@jax.jit
def _evaluate(skeleton, found, target):
    def total(found):
        return lifter_loss.lifter_loss(skeleton, found, target, OPTIONS)

    (value, parts), gradient = jax.value_and_grad(total, has_aux=True)(found)
    return value, parts, gradient, lifter_loss.error_vector(found, target)


def evaluate(problem, found, dtype=np.float64):
    with jax.enable_x64(dtype == np.float64):
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (problem.skeleton, found, problem.target))
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), _evaluate(*given))


# ---- truth ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_joints_of_the_skeleton_are_those_of_the_body(problem, dtype, tolerance):
    turns = Rotation.from_rotvec(problem.full_pose[:, :22].reshape(-1, 3)).as_matrix()
    with jax.enable_x64(dtype == np.float64):
        skeleton, turns, betas = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype),
            (problem.skeleton, turns.reshape(COUNT, 22, 3, 3), problem.params.betas),
        )
        found = np.asarray(jax.jit(lambda skeleton, turns, betas: skeleton(turns, betas))(skeleton, turns, betas))
    expected = problem.joints[:, JOINTS] - problem.joints[:, :1]
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_target_is_the_person_in_the_axes_of_the_camera_that_looks_at_it(problem):
    target, turn = problem.target, np.asarray(problem.seen.rotation)
    offsets = problem.joints[:, JOINTS] - problem.joints[:, :1]
    np.testing.assert_allclose(target.joints, np.einsum("nij,nkj->nki", turn, offsets), atol=1e-12)
    rotvec = problem.full_pose
    local = Rotation.from_rotvec(rotvec[:, :22].reshape(-1, 3)).as_matrix().reshape(COUNT, 22, 3, 3)
    np.testing.assert_allclose(target.rotations[:, 0], turn @ local[:, 0], atol=1e-12)
    np.testing.assert_allclose(target.rotations[:, 1:], local[:, 1:], atol=1e-12)
    np.testing.assert_array_equal(target.hands, rotvec[:, 22:])
    pelvis = np.einsum("nij,nj->ni", turn, problem.joints[:, 0])
    np.testing.assert_allclose(
        target.places[:, :2] * np.asarray(problem.seen.size)[:, None], pelvis[:, :2] / pelvis[:, 2:], atol=1e-12
    )
    np.testing.assert_allclose(np.exp(target.places[:, 2]), pelvis[:, 2] * np.asarray(problem.seen.size), rtol=1e-12)


# ---- at the truth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-4)])
def test_loss_and_error_are_zero_at_the_truth(problem, dtype, tolerance):
    value, parts, _, error = evaluate(problem, output_at(problem.target), dtype)
    assert abs(value) < tolerance
    assert np.abs(error).max() < tolerance
    for name in ("joints_mm", "best_joints_mm", "shape", "hands"):
        assert abs(parts[name]) < 1e3 * tolerance, name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_is_finite_at_the_truth_and_nothing_pulls_away(problem, dtype):
    _, _, gradient, _ = evaluate(problem, output_at(problem.target), dtype)
    for name in ("rotations", "places", "hands", "betas"):
        slope = getattr(gradient, name)
        assert np.isfinite(slope).all(), name
        assert np.abs(slope).max() < 1e-3, name
    assert np.isfinite(gradient.log_spread).all()
    assert np.isfinite(gradient.log_weights).all()


@pytest.mark.parametrize("angle", [0.0, 1e-7, np.pi - 1e-7, np.pi])
def test_gradient_is_finite_where_axis_angles_are_singular(problem, angle):
    """People face the camera: a turn of the root by half a circle; and joints at rest are not turned at all."""
    turn = Rotation.from_rotvec([angle, 0, 0]).as_matrix()
    target = dataclasses.replace(problem.target, rotations=np.broadcast_to(turn, (COUNT, 22, 3, 3)).copy())
    singular = dataclasses.replace(problem, target=target)
    for found in (output_at(target), output_at(problem.target)):
        for dtype in (np.float64, np.float32):
            value, parts, gradient, error = evaluate(singular, found, dtype)
            for leaf in jax.tree.leaves((value, parts, gradient, error)):
                assert np.isfinite(leaf).all()


# ---- away from it -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong(problem):
    """Guesses that are wrong, and what the loss makes of them."""
    found = output_at(problem.target, np.random.default_rng(3), 0.2)
    return found, evaluate(problem, found)


def test_error_is_the_truth_minus_the_first_guess_in_the_order_of_the_spread(problem, wrong):
    found, (_, _, _, error) = wrong
    guess = found.rotations[:, 0]
    turn = Rotation.from_matrix(problem.target.rotations[:, 0] @ guess[:, 0].swapaxes(-1, -2)).as_rotvec()

    def rotvec(matrices):
        return Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(COUNT, -1)

    expected = np.concatenate(
        [
            problem.target.places - found.places[:, 0],
            turn,
            problem.target.betas - found.betas,
            rotvec(problem.target.rotations[:, 1:]) - rotvec(guess[:, 1:]),
            (problem.target.hands - found.hands).reshape(COUNT, -1),
        ],
        -1,
    )
    assert expected.shape[1] == lifter.NUM_SPREAD
    np.testing.assert_allclose(error, expected, atol=1e-9)


def rounded(vectors, floor):
    return np.sqrt(np.sum(vectors**2, -1) + floor**2) - floor


def test_loss_is_that_of_numpy(problem, wrong):
    found, (value, parts, _, error) = wrong
    target, options = problem.target, OPTIONS
    ends = np.array([name in ("left_ankle", "right_ankle", "left_wrist", "right_wrist") for name in lifter.BODY_JOINTS])
    weights = np.where(ends, options.ends, 1.0)
    weights = weights * options.rotation / weights[1:].sum()
    weights[0] = options.root_rotation / 3
    with jax.enable_x64(True):
        skeleton = jax.jit(lambda skeleton, turns, betas: skeleton(turns, betas))
        joints = np.stack(
            [np.asarray(skeleton(problem.skeleton, found.rotations[:, k], found.betas)) for k in range(GUESSES)], 1
        )
    turned = rounded((found.rotations - target.rotations[:, None]).reshape(COUNT, GUESSES, 22, 9), 0.05) @ weights
    moved = rounded(joints - target.joints[:, None], 0.01).mean(-1)
    placed = rounded(found.places - target.places[:, None], 0.01)
    each = turned + options.joints * moved + options.place * placed
    total = each[:, 0] + options.other_guesses * each[:, 1:].min(-1) + options.every_guess * each[:, 1:].sum(-1)
    total = total + options.shape * np.mean((found.betas - target.betas) ** 2, -1)
    total = total + options.hands * rounded(found.hands - target.hands, 0.1).mean(-1)
    best = moved.argmin(-1)
    total = total - options.weights * found.log_weights[np.arange(COUNT), best]
    surprise = 0.5 * (error * np.exp(-found.log_spread)) ** 2 + found.log_spread
    surprise = np.clip(surprise, -20, 50).sum(-1)
    total = total + options.spread * surprise
    np.testing.assert_allclose(value, total.mean(), rtol=1e-6)
    np.testing.assert_allclose(parts["joints_mm"], 1000 * moved[:, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(parts["best_joints_mm"], 1000 * moved.min(-1).mean(), rtol=1e-6)
    np.testing.assert_allclose(parts["surprise"], surprise.mean(), rtol=1e-6)


def with_step(found, direction, step):
    return jax.tree.map(lambda leaf, way: leaf + step * way, found, direction)


@pytest.mark.parametrize("name", ["rotations", "places", "hands", "betas", "log_spread", "log_weights"])
def test_gradient_is_that_of_finite_differences(problem, wrong, name):
    found, (_, _, gradient, _) = wrong
    direction = jax.tree.map(np.zeros_like, found)
    way = np.random.default_rng(4).normal(size=getattr(found, name).shape)
    direction = dataclasses.replace(direction, **{name: way})
    # The spread's error does not pull at the guess: its part of the loss is held while the guess moves.
    held = np.full_like(found.log_spread, 40.0) if name not in ("log_spread", "log_weights") else found.log_spread
    held = dataclasses.replace(found, log_spread=held)
    step = 1e-6
    ahead, behind = (evaluate(problem, with_step(held, direction, sign * step))[0] for sign in (1, -1))
    slope = np.sum(getattr(gradient, name) * way)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


def test_spread_is_right_where_it_is_the_size_of_the_error(problem, wrong):
    found, (_, _, _, error) = wrong
    right = dataclasses.replace(found, log_spread=np.log(np.abs(error)))
    _, _, gradient, _ = evaluate(problem, right)
    np.testing.assert_allclose(gradient.log_spread, 0, atol=1e-9)


def test_order_of_the_other_guesses_does_not_matter(problem, wrong):
    found, (value, *_) = wrong
    order = [0, 2, 1]
    swapped = dataclasses.replace(
        found,
        rotations=found.rotations[:, order], places=found.places[:, order], log_weights=found.log_weights[:, order],
    )  # fmt: skip
    np.testing.assert_allclose(evaluate(problem, swapped)[0], value, rtol=1e-12)


def test_only_the_best_of_the_other_guesses_is_pulled_hard(problem, wrong):
    """The first is trained for itself; of the others the winner takes (nearly) all."""
    _, (_, _, gradient, _) = wrong
    pull = np.linalg.norm(gradient.places, axis=-1)
    # The pull of a place is of length one (beyond the floor), over the number of people, times its weight.
    shares = np.sort(pull[:, 1:], -1) * COUNT / OPTIONS.place
    np.testing.assert_allclose(pull[:, 0] * COUNT, OPTIONS.place, rtol=0.01)
    np.testing.assert_allclose(shares[:, -1], OPTIONS.other_guesses + OPTIONS.every_guess, rtol=0.02)
    np.testing.assert_allclose(shares[:, 0], OPTIONS.every_guess, rtol=0.02)


def test_a_person_far_out_does_not_spoil_the_numbers_of_others(problem, wrong):
    found, (_, _, gradient, _) = wrong
    lost = jax.tree.map(np.copy, found)
    lost.places[0] += 1e4
    _, _, after, _ = evaluate(problem, lost)
    for ours, theirs in zip(jax.tree.leaves(after), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-12)
