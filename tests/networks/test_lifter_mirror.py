"""The lifter asked of the person and of the mirror image: against real mirror images of people and bodies."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.geometry import rotations
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter, lifter_file, lifter_input, lifter_mirror
from hardmo_jax.networks.lifter import LifterOptions, LifterOutput
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

COUNT, LAYOUT = 8, lifter_input.LAYOUT
JOINTS = layouts.SMPLH_JOINTS
WIDTH = synthetic_people.WIDTH
MIRROR = np.diag([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def trained():
    """A network of large random weights: nothing that it says is symmetric by itself."""
    rng = np.random.default_rng(2)
    options = LifterOptions(width=16, blocks=1, guesses=2)
    weights = lifter_file.initial_weights(options, 0)
    weights = jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(np.float32), weights)
    precision = np.eye(lifter.NUM_SPREAD, dtype=np.float32)
    return lifter_file.TrainedLifter(weights=weights, error_precision=precision, options=options)


@jax.jit
def encode(pixels, confidence, camera):
    return lifter_input.encode(pixels, confidence, camera)


@pytest.fixture(scope="module")
def people():
    """Features of people, and of the same pictures in the mirror with left and right by their own names."""
    drawn = synthetic_people.draw(hm.open_body(), LAYOUT, count=COUNT, seed=21)
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.3, 1, drawn.confidence.shape) * (rng.random(drawn.confidence.shape) > 0.2)
    order = synthetic_people.mirror_order(LAYOUT)
    camera = Camera(
        focal_length=np.array([1400.0, 1400.0], np.float32), principal_point=np.array([600.0, 350.0], np.float32)
    )
    other = dataclasses.replace(camera, principal_point=np.array([WIDTH - 1 - 600.0, 350.0], np.float32))
    flipped = drawn.pixels[:, order] * np.array([-1.0, 1.0]) + np.array([WIDTH - 1.0, 0.0])
    ours = encode(drawn.pixels.astype(np.float32), confidence.astype(np.float32), camera)
    theirs = encode(flipped.astype(np.float32), confidence[:, order].astype(np.float32), other)
    return jax.tree.map(np.asarray, (ours, theirs))


@pytest.fixture(scope="module")
def outputs(trained, people):
    """What is said of people once, of people twice, and of their mirror images twice."""
    once = jax.jit(lambda trained, features: trained(features))
    twice = jax.jit(lifter_mirror.lifted_twice)
    ours, theirs = people[0].features, people[1].features
    return jax.tree.map(np.asarray, (once(trained, ours), twice(trained, ours), twice(trained, theirs)))


def mirrored(found: LifterOutput) -> LifterOutput:
    """The mirror image of guesses, joint by joint."""
    other = [JOINTS.index(synthetic_people.other_side(joint)) for joint in JOINTS]
    turned = np.stack([MIRROR @ found.rotations[:, :, other[joint]] @ MIRROR for joint in range(22)], 2)
    hands = np.stack([found.hands[:, other[joint] - 22] * np.array([1, -1, -1]) for joint in range(22, 52)], 1)
    spread = found.log_spread.copy()
    for joint in range(1, 52):
        to, source = 16 + 3 * (joint - 1), 16 + 3 * (other[joint] - 1)
        spread[:, to : to + 3] = found.log_spread[:, source : source + 3]
    return dataclasses.replace(
        found, rotations=turned, places=found.places * np.array([-1, 1, 1]), hands=hands, log_spread=spread
    )


def assert_outputs(ours, theirs, tolerance):
    for field in dataclasses.fields(LifterOutput):
        np.testing.assert_allclose(
            getattr(ours, field.name), getattr(theirs, field.name), atol=tolerance, err_msg=field.name
        )


def test_features_of_the_mirror_image_are_those_of_the_mirrored_picture(people):
    found = np.asarray(lifter_mirror.mirrored_features(people[0].features))
    np.testing.assert_allclose(found, people[1].features, atol=2e-4)


def test_two_mirrors_are_none(people, outputs):
    again = lifter_mirror.mirrored_features(lifter_mirror.mirrored_features(people[0].features))
    np.testing.assert_array_equal(again, people[0].features)
    twice = lifter_mirror.mirrored_output(lifter_mirror.mirrored_output(outputs[0]))
    assert_outputs(twice, outputs[0], 0.0)


def test_mirrored_output_is_the_mirror_image_joint_by_joint(outputs):
    found = lifter_mirror.mirrored_output(jax.tree.map(jax.numpy.asarray, outputs[0]))
    assert_outputs(found, mirrored(outputs[0]), 1e-6)


def test_a_mirrored_guess_is_the_body_in_the_mirror(outputs):
    """Joints of the real body: at the same place on the other side."""
    body = hm.open_body()
    rest = np.asarray(body.joint_template)
    order = [JOINTS.index(synthetic_people.other_side(joint)) for joint in JOINTS]
    symmetric = dataclasses.replace(body, joint_template=jax.numpy.asarray(0.5 * (rest + rest[order] @ MIRROR)))

    @jax.jit
    def joints(found):
        pose = rotations.matrix_to_axis_angle(found.rotations[:, 0])
        full_pose = jax.numpy.concatenate([pose, found.hands], 1)
        return symmetric.joints(hm.BodyParams.from_full_pose(symmetric, full_pose))

    own, other = np.asarray(joints(outputs[0])), np.asarray(joints(lifter_mirror.mirrored_output(outputs[0])))
    own, other = own - own[:, :1], other - other[:, :1]
    np.testing.assert_allclose(other, own[:, order] @ MIRROR, atol=1e-5)


def test_what_is_said_twice_of_the_mirror_image_is_the_mirror_image_of_what_is_said_twice(outputs):
    """The point of it: left and right are treated alike, but for turns where the answers contradict each other."""
    once, ours, theirs = outputs
    expected = mirrored(ours)
    first = (slice(None), slice(0, 1))
    # Of the mirror image its own answer is kept where they contradict each other: another one than that of the person.
    apart = np.abs(ours.rotations[:, 0] - once.rotations[:, 0]).max((-1, -2, -3))
    rows = np.flatnonzero(apart > 1e-6)
    np.testing.assert_allclose(theirs.rotations[rows, :1], expected.rotations[rows, :1], atol=2e-3)
    np.testing.assert_allclose(theirs.places[first], expected.places[first], atol=2e-3)
    np.testing.assert_allclose(theirs.hands, expected.hands, atol=2e-3)
    np.testing.assert_allclose(theirs.betas, expected.betas, atol=2e-3)
    np.testing.assert_allclose(theirs.log_spread, expected.log_spread, atol=2e-3)


def test_only_the_first_guess_is_a_mean(outputs):
    once, twice, _ = outputs
    np.testing.assert_allclose(twice.rotations[:, 1:], once.rotations[:, 1:], atol=1e-5)
    np.testing.assert_allclose(twice.places[:, 1:], once.places[:, 1:], atol=1e-5)
    np.testing.assert_allclose(twice.log_weights, once.log_weights, atol=1e-5)
    assert np.abs(twice.places[:, 0] - once.places[:, 0]).max() > 1e-2


def test_rotations_of_the_mean_are_proper(outputs):
    found = outputs[1].rotations.astype(np.float64)
    np.testing.assert_allclose(found @ found.swapaxes(-1, -2), np.broadcast_to(np.eye(3), found.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)


def test_a_lifter_that_is_symmetric_says_the_same_twice(trained, outputs):
    """What both answers agree on is not changed by taking their mean."""
    symmetric = jax.tree.map(jax.numpy.asarray, outputs[1])

    class Fixed:
        calls = 0

        def __call__(self, features):
            Fixed.calls += 1
            return symmetric if Fixed.calls == 1 else lifter_mirror.mirrored_output(symmetric)

    found = lifter_mirror.lifted_twice(Fixed(), jax.numpy.zeros((COUNT, lifter_input.NUM_FEATURES)))
    assert_outputs(found, outputs[1], 1e-5)
