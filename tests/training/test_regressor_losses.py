"""Losses of SPIN, CLIFF and ProHMR, and terms of hands and feet, against plain NumPy in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import part_terms, prohmr_loss, spin_loss
from hardmo_jax.training.hmr2_loss import ROOT, Hmr2Target
from hardmo_jax.training.part_terms import HandTarget, PartTermOptions

B, S, HIPS = 5, 3, (27, 28)


@pytest.fixture
def case(rng):
    """Numbers of every kind; person 1 has no pose, person 2 no betas, person 3 nothing in space."""

    def draw(*shape):
        return rng.normal(size=shape)

    target = Hmr2Target(
        keypoints_2d=draw(B, 44, 2), confidence_2d=rng.uniform(size=(B, 44)), keypoints_3d=draw(B, 44, 3),
        confidence_3d=rng.uniform(size=(B, 44)) * (np.arange(B) != 3)[:, None], global_orient=draw(B, 3, 3),
        body_pose=draw(B, 23, 3, 3), betas=draw(B, 10), has_global_orient=1.0 * (np.arange(B) != 1),
        has_body_pose=1.0 * (np.arange(B) != 1), has_betas=1.0 * (np.arange(B) != 2),
    )  # fmt: skip
    return target, draw


def answer(draw, *batch):
    return RegressorOutput(
        global_orient=draw(*batch, 3, 3), body_pose=draw(*batch, 23, 3, 3), betas=draw(*batch, 10),
        weak_camera=draw(*batch, 3), rot6d=draw(*batch, 24, 6),
    )  # fmt: skip


def in_float64(function, *values, **named):
    with jax.enable_x64(True):
        given = jax.tree.map(jnp.asarray, values)
        return {name: float(value) for name, value in function(*given, **named).items()}


@pytest.mark.parametrize("openpose", [0.0, 1.0])
def test_spin_is_the_published_mean(case, openpose):
    target, draw = case
    output, points_2d, points_3d = answer(draw, B), draw(B, 44, 2), draw(B, 44, 3)
    found = in_float64(spin_loss.spin_terms, output, points_2d, points_3d, target, hips=HIPS, openpose=openpose)
    weight = np.concatenate([np.full(25, openpose), np.ones(19)])
    # Tensors of 49 and 24 points, as SPIN has them, whose other places count nothing.
    squares = np.zeros((B, 49, 2))
    squares[:, :44] = (2 * points_2d - 2 * target.keypoints_2d) ** 2 * (target.confidence_2d * weight)[..., None]
    assert found["keypoints_2d"] == pytest.approx(squares.mean(), rel=1e-12)
    own = points_3d - points_3d[:, HIPS].mean(1, keepdims=True)
    true = target.keypoints_3d - target.keypoints_3d[:, HIPS].mean(1, keepdims=True)
    known = np.arange(B) != 3
    squares = ((own - true) ** 2 * (target.confidence_3d * weight)[..., None])[known]
    assert found["keypoints_3d"] == pytest.approx(squares.sum() / (known.sum() * 24 * 3), rel=1e-12)
    own = np.concatenate([output.global_orient[:, None], output.body_pose], 1)
    true = np.concatenate([target.global_orient[:, None], target.body_pose], 1)
    posed, shaped = np.arange(B) != 1, np.arange(B) != 2
    mean = ((own - true)[posed] ** 2).mean()
    assert found["global_orient"] + found["body_pose"] == pytest.approx(mean, rel=1e-12)
    assert found["betas"] == pytest.approx(((output.betas - target.betas)[shaped] ** 2).mean(), rel=1e-12)
    assert found["camera"] == pytest.approx((np.exp(-output.weak_camera[:, 0] * 10) ** 2).mean(), rel=1e-12)
    with jax.enable_x64(True):
        total = float(spin_loss.spin_sum({name: jnp.asarray(value) for name, value in found.items()}))
    weights = {"keypoints_2d": 5, "keypoints_3d": 5, "global_orient": 1, "body_pose": 1, "betas": 0.001, "camera": 1}
    assert total == pytest.approx(60 * sum(weights[name] * found[name] for name in weights), rel=1e-12)


def test_nobody_with_labels_is_a_loss_of_zero_and_has_a_slope(case):
    target, draw = case
    nothing = dataclasses.replace(
        target, **{name: 0 * getattr(target, name) for name in vars(target) if name.startswith(("has", "confidence"))}
    )
    output = answer(draw, B)

    def loss(points):
        terms = spin_loss.spin_terms(output, points, jnp.ones((B, 44, 3)), nothing, hips=HIPS)
        return sum(value for name, value in terms.items() if name != "camera")

    value, slope = jax.value_and_grad(loss)(jnp.ones((B, 44, 2)))
    assert value == 0
    assert np.isfinite(slope).all()


def test_prohmr_is_the_published_sum_by_the_batch(case):
    target, draw = case
    mode, samples = answer(draw, B), answer(draw, B, S - 1)
    points_2d, points_3d, log_prob = draw(B, S, 44, 2), draw(B, S, 44, 3), draw(B)
    found = in_float64(prohmr_loss.prohmr_terms, mode, samples, points_2d, points_3d, log_prob, target)
    apart = target.confidence_2d[:, None, :, None] * np.abs(points_2d - target.keypoints_2d[:, None])
    assert found["keypoints_2d"] == pytest.approx(apart[:, 0].sum() / B, rel=1e-12)
    assert found["keypoints_2d_samples"] == pytest.approx(apart[:, 1:].sum() / (B * (S - 1)), rel=1e-12)
    own = points_3d - points_3d[:, :, ROOT, None]
    true = (target.keypoints_3d - target.keypoints_3d[:, ROOT, None])[:, None]
    apart = target.confidence_3d[:, None, :, None] * np.abs(own - true)
    assert found["keypoints_3d"] == pytest.approx(apart[:, 0].sum() / B, rel=1e-12)
    assert found["keypoints_3d_samples"] == pytest.approx(apart[:, 1:].sum() / (B * (S - 1)), rel=1e-12)
    posed = np.arange(B) != 1
    assert found["body_pose"] == pytest.approx(((mode.body_pose - target.body_pose)[posed] ** 2).sum() / B, rel=1e-12)
    assert found["negative_log_prob"] == pytest.approx(-log_prob[posed].mean(), rel=1e-12)

    def skew(numbers):
        # The published view: two columns of three, transposed.
        columns = numbers.reshape(-1, 2, 3).transpose(0, 2, 1)
        return ((columns.transpose(0, 2, 1) @ columns - np.eye(2)) ** 2).mean()

    assert found["orthogonality"] == pytest.approx(skew(mode.rot6d) + skew(samples.rot6d), rel=1e-12)


def test_hands_are_compared_in_the_picture_and_from_their_own_wrists(case):
    _, draw = case
    found_2d, found_3d, wrists_2d, wrists_3d = draw(B, 12, 2), draw(B, 12, 3), draw(B, 2, 2), draw(B, 2, 3)
    hands = HandTarget(
        keypoints_2d=draw(B, 10, 2), confidence_2d=np.abs(draw(B, 10)), keypoints_3d=draw(B, 10, 3),
        confidence_3d=np.abs(draw(B, 10)),
    )  # fmt: skip
    confidence, confidence_3d = np.abs(draw(B, 2)), np.array([[1.0, 0]] * B)
    found = in_float64(
        part_terms.hand_terms, found_2d, found_3d, hands, wrists_2d, wrists_3d, confidence, confidence_3d
    )
    wanted = np.concatenate([wrists_2d, hands.keypoints_2d], 1)
    weight = np.concatenate([confidence, hands.confidence_2d], 1)
    assert found["hand_keypoints_2d"] == pytest.approx((weight[..., None] * np.abs(found_2d - wanted)).sum(), rel=1e-12)
    # Right wrist first, tips of the left hand first; the left wrist is not known.
    right = found_3d[:, 7:] - found_3d[:, :1], hands.keypoints_3d[:, 5:] - wrists_3d[:, :1]
    mean = (hands.confidence_3d[:, 5:, None] * np.abs(right[0] - right[1])).sum()
    assert found["hand_keypoints_3d"] == pytest.approx(mean, rel=1e-12)


def test_errors_below_the_noise_count_little_and_others_fully(rng):
    options = PartTermOptions(noise_threshold=0.02, below_threshold=0.25)
    wanted = rng.uniform(-0.5, 0.5, (2, 4, 2))
    way = rng.normal(size=wanted.shape)
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    length = np.array([0.0, 0.01, 0.0199, 0.03])[:, None]

    def loss(points):
        return jnp.sum(jnp.abs(part_terms.above_noise(points, wanted, options) - wanted), -1).sum()

    with jax.enable_x64(True):
        slope = np.asarray(jax.grad(loss)(jnp.asarray(wanted + length * way)))
    np.testing.assert_allclose(np.abs(slope[:, 1:3]), 0.25)
    np.testing.assert_allclose(np.abs(slope[:, 3]), 1)
    plain = part_terms.above_noise(jnp.asarray(wanted), wanted, PartTermOptions())
    np.testing.assert_array_equal(plain, jnp.asarray(wanted))


def test_factors_are_those_of_feet_and_wrists_by_whichever_annotation():
    factors = part_terms.part_factors(PartTermOptions(feet=3.0, wrists=2.0))
    named = dict(zip(layouts.get_layout("hmr2_44").points, factors.tolist(), strict=True))
    assert {named[name] for name in ("left_heel", "right_big_toe", "left_ankle", "left_ankle_lsp")} == {3.0}
    assert {named[name] for name in ("left_wrist", "right_wrist_lsp")} == {2.0}
    assert named["nose"] == named["left_knee_lsp"] == 1.0
    with pytest.raises(ValueError, match="negative"):
        PartTermOptions(feet=-1.0)
