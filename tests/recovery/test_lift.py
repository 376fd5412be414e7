"""The lifter's guesses as bodies: before the right camera, the same in any company, and of any view of the body."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import variables
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter, lifter_file
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery.lift import guess_of, lift
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

COUNT = 12
LAYOUT = "openpose67"


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def people(body):
    return synthetic_people.draw(body, LAYOUT, count=COUNT, seed=9)


@pytest.fixture(scope="module")
def observed(people):
    return people.observe("2d")


@pytest.fixture(scope="module")
def lifted(body, observed):
    return lift(body, observed)


def in_numpy(tree):
    return jax.tree.map(np.asarray, tree)


def turned(params):
    return Rotation.from_rotvec(np.asarray(params.global_orient).reshape(-1, 3))


def assert_guesses(ours, theirs, tolerance=1e-4):
    """The same bodies; orientations may stand at either end of half a turn."""
    for name in ("weights", "spread", "axes"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, err_msg=name)
    for name in ("body_pose", "betas"):
        np.testing.assert_allclose(getattr(ours.params, name), getattr(theirs.params, name), atol=tolerance)
    np.testing.assert_allclose(ours.params.transl, theirs.params.transl, atol=10 * tolerance)
    assert (turned(ours.params) * turned(theirs.params).inv()).magnitude().max() < tolerance


def test_guesses_have_their_shapes(body, lifted):
    found, precision = lifted
    size = variables.Layout.of(body).size
    guesses = found.weights.shape[1]
    assert found.weights.shape == (COUNT, guesses)
    assert found.params.body_pose.shape == (COUNT, guesses, 21, 3)
    assert found.params.left_hand_pose.shape == (COUNT, guesses, 15, 3)
    assert found.spread.shape == (COUNT, size)
    assert found.axes.shape == (COUNT, 3, 3)
    assert precision.shape == (size, size)
    np.testing.assert_allclose(found.weights.sum(-1), 1, rtol=1e-5)


# ---- company ----------------------------------------------------------------------------------------------------


def test_one_person_alone_is_guessed_as_in_a_crowd(body, people, lifted):
    alone = lift(body, people.observe("2d", rows=slice(3, 4)))[0]
    assert_guesses(alone, jax.tree.map(lambda leaf: leaf[3:4], lifted[0]))
    crowd = np.arange(300) % COUNT
    found = lift(body, people.observe("2d", rows=crowd))[0]
    assert_guesses(found, jax.tree.map(lambda leaf: leaf[crowd], lifted[0]))


def test_batch_axes_are_kept_and_nobody_at_all_is_an_empty_batch(body, people, lifted):
    square = people.observe(
        "2d", keypoints_2d=people.pixels.reshape(3, 4, -1, 2), confidence=people.confidence.reshape(3, 4, -1)
    )
    found = lift(body, square)[0]
    assert found.weights.shape[:2] == found.params.body_pose.shape[:2] == (3, 4)
    flat = jax.tree.map(lambda leaf: leaf.reshape(COUNT, *leaf.shape[2:]), found)
    assert_guesses(flat, lifted[0])
    single = people.observe("2d", keypoints_2d=people.pixels[0], confidence=people.confidence[0])
    assert lift(body, single)[0].axes.shape == (3, 3)
    empty = lift(body, people.observe("2d", rows=slice(0, 0)))[0]
    assert empty.params.body_pose.shape[0] == empty.spread.shape[0] == 0


def test_a_camera_each_is_as_one_for_all(body, people, lifted):
    camera = jax.tree.map(lambda leaf: np.tile(leaf, (COUNT, 1)), people.camera)
    assert_guesses(lift(body, people.observe("2d", camera=camera))[0], lifted[0])


# ---- before the camera ------------------------------------------------------------------------------------------


def project(camera, points):
    return points[..., :2] / points[..., 2:] * np.asarray(camera.focal_length) + np.asarray(camera.principal_point)


def points_of(body, params):
    return np.asarray(synthetic_people.point_model(body, LAYOUT)(in_numpy(params)), np.float64)


def test_guesses_stand_where_the_keypoints_are(body, people, lifted, figure):
    points = points_of(body, guess_of(lifted[0], lifted[1]).params)
    pixels = project(people.camera, points)
    side = np.ptp(people.pixels, axis=1).max(-1)
    shown = people.confidence > 0
    apart = np.where(shown, np.linalg.norm(pixels - people.pixels, axis=-1), np.nan) / side[:, None]
    median = np.nanmedian(apart, -1)
    figure(f"lifter: first guesses are {100 * np.median(median):.1f} % of the box side from the keypoints")
    assert np.median(median) < 0.06
    assert median.max() < 0.2


def test_guesses_are_about_as_far_away_and_face_the_same_way_as_the_person(body, people, lifted, figure):
    guess = guess_of(lifted[0], lifted[1]).params
    depth = np.asarray(guess.transl)[:, 2] / np.asarray(people.params.transl)[:, 2]
    assert np.all((depth > 0.6) & (depth < 1.6))
    angle = np.degrees((turned(guess) * turned(people.params).inv()).magnitude())
    figure(f"lifter: the root of the first guess is {np.median(angle):.0f} degrees off (median)")
    assert np.median(angle) < 30


def test_guess_is_nearer_to_the_truth_than_a_body_at_rest(body, people, lifted):
    guess = guess_of(lifted[0], lifted[1]).params
    ours = synthetic_people.joint_errors(body, in_numpy(guess), people.params)
    still = dataclasses.replace(
        in_numpy(people.params),
        **{name: np.zeros_like(getattr(guess, name)) for name in ("body_pose", "left_hand_pose", "right_hand_pose")},
    )
    rest = synthetic_people.joint_errors(body, still, people.params)
    placed = np.linalg.norm(np.asarray(guess.transl) - np.asarray(people.params.transl), axis=-1)[:, None]
    assert np.median(ours - placed) < np.median(rest)


def test_moving_picture_and_principal_point_together_changes_nothing(body, people, lifted):
    shift = np.array([-200.0, 111.0])
    camera = Camera(
        focal_length=np.asarray(people.camera.focal_length), principal_point=people.camera.principal_point + shift
    )
    moved = people.observe("2d", keypoints_2d=people.pixels + shift, camera=camera)
    assert_guesses(lift(body, moved)[0], lifted[0], 2e-3)


def test_scaling_picture_and_camera_together_changes_nothing(body, people, lifted):
    camera = jax.tree.map(lambda leaf: 2.5 * np.asarray(leaf), people.camera)
    scaled = people.observe("2d", keypoints_2d=2.5 * people.pixels, camera=camera)
    assert_guesses(lift(body, scaled)[0], lifted[0], 2e-3)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_wrong_focal_length_changes_the_distance_and_hardly_the_pose(body, people, lifted, factor, figure):
    camera = dataclasses.replace(people.camera, focal_length=factor * np.asarray(people.camera.focal_length))
    found = lift(body, people.observe("2d", camera=camera))[0]
    apart = np.abs(found.params.body_pose - lifted[0].params.body_pose)[:, 0]
    figure(
        f"lifter: with {factor} of the focal length joints turn by {np.degrees(apart.mean()):.2f} degrees (mean), "
        f"{np.degrees(apart.max()):.0f} at most"
    )
    assert np.degrees(apart.mean()) < 1.5
    assert np.degrees(apart.max()) < 20
    ratio = np.asarray(found.params.transl)[:, 0, 2] / np.asarray(lifted[0].params.transl)[:, 0, 2]
    assert np.all(np.abs(ratio / factor - 1) < 0.1)
    turn = (turned(found.params) * turned(lifted[0].params).inv()).magnitude().reshape(COUNT, -1)[:, 0]
    assert np.degrees(turn).max() < 12


def test_turning_the_camera_turns_the_guess_in_its_axes(body, people, lifted):
    """People seen by a camera that was turned about its centre: the same people, in other axes."""
    turn = Rotation.from_rotvec([0.05, 0.15, 0.0]).as_matrix()
    points = people.points @ turn.T
    pixels = np.where(people.confidence[..., None] > 0, project(people.camera, np.maximum(points, -50) + 1e-9), 0.0)
    found = lift(body, people.observe("2d", keypoints_2d=pixels))[0]
    first, then = guess_of(lifted[0], lifted[1]).params, guess_of(found, lifted[1]).params
    angle = (turned(then) * (Rotation.from_matrix(turn) * turned(first)).inv()).magnitude()
    assert np.degrees(np.median(angle)) < 4
    assert np.degrees(angle.max()) < 15
    pelvis = [points_of(body, params)[:, layouts.get_layout(LAYOUT).index("mid_hip")] for params in (first, then)]
    apart = np.linalg.norm(pelvis[0] @ turn.T - pelvis[1], axis=-1) / np.linalg.norm(pelvis[0], axis=-1)
    assert apart.max() < 0.1


def test_axes_look_at_the_person(people, lifted):
    pelvis = people.points[:, layouts.get_layout(LAYOUT).index("mid_hip")]
    seen = np.einsum("nij,nj->ni", lifted[0].axes, pelvis)
    assert np.all(np.linalg.norm(seen[:, :2], axis=-1) / seen[:, 2] < 0.15)
    np.testing.assert_allclose(np.linalg.det(lifted[0].axes), 1, atol=1e-5)


# ---- what is missing --------------------------------------------------------------------------------------------


def test_people_without_keypoints_are_finite(body, people, lifted):
    confidence = people.confidence.copy()
    confidence[[2, 5]] = 0
    pixels = people.pixels.copy()
    pixels[5] = np.nan
    found = lift(body, people.observe("2d", keypoints_2d=pixels, confidence=confidence))[0]
    for leaf in jax.tree.leaves((found.params, found.weights, found.axes)):
        assert np.isfinite(leaf).all()
    assert np.all(found.spread > 0)
    np.testing.assert_allclose(found.params.body_pose[2], found.params.body_pose[5], atol=1e-6)
    others = np.delete(np.arange(COUNT), [2, 5])
    rest = [jax.tree.map(lambda leaf: leaf[others], part) for part in (found, lifted[0])]
    assert_guesses(*rest)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_points_that_are_not_there_may_be_anywhere(body, people, bad):
    nose = layouts.get_layout(LAYOUT).index("nose")
    confidence = people.confidence.copy()
    confidence[:, nose] = 0
    before = lift(body, people.observe("2d", confidence=confidence))[0]
    pixels = people.pixels.copy()
    pixels[:, nose] = bad
    assert_guesses(lift(body, people.observe("2d", keypoints_2d=pixels, confidence=confidence))[0], before, 1e-6)


@pytest.mark.parametrize("far", [1e7, 1e30])
def test_a_point_far_out_of_the_picture_is_no_ones_undoing(body, people, far):
    """What a damaged file may hold, said to be certain: the person is lost, nobody else is, and all is finite."""
    pixels = people.pixels.copy()
    pixels[1, 0] = far
    found = lift(body, people.observe("2d", keypoints_2d=pixels))[0]
    for leaf in jax.tree.leaves((found.params, found.weights, found.axes)):
        assert np.isfinite(leaf).all()
    assert np.all(found.spread > 0)


def test_no_confidence_is_full_confidence(body, people):
    """A layout of which the body has every point."""
    without = people.observe("2d", confidence=None)
    full = people.observe("2d", confidence=np.ones_like(people.confidence))
    assert_guesses(lift(body, without)[0], lift(body, full)[0], 1e-6)


def test_body_points_are_enough(body, people, lifted):
    """Of a detector without hands: bodies nearly the same, wrists as they may be."""
    shown = np.array([not (layouts.part_of(point) or "").endswith("hand") for point in
                      layouts.get_layout(LAYOUT).points])  # fmt: skip
    found = lift(body, people.observe("2d", confidence=people.confidence * shown))[0]
    small = Observations(
        keypoints_2d=people.pixels[:, :25], confidence=people.confidence[:, :25], camera=people.camera,
        layout="openpose25",
    )  # fmt: skip
    smaller = lift(body, small)[0]
    for other in (found, smaller):
        apart = np.abs(other.params.body_pose - lifted[0].params.body_pose)[:, 0, :15]
        assert np.degrees(np.median(apart)) < 8


# ---- other bodies -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simple(observed):
    body = hm.open_body(view="smpl")
    return body, *lift(body, observed)


def test_the_simple_view_has_the_same_pose(lifted, simple):
    _, found, _ = simple
    np.testing.assert_allclose(found.params.body_pose[:, :, :21], lifted[0].params.body_pose, atol=1e-5)
    np.testing.assert_array_equal(found.params.body_pose[:, :, 21:], 0)
    np.testing.assert_allclose(found.params.global_orient, lifted[0].params.global_orient, atol=1e-5)
    np.testing.assert_allclose(found.params.betas, lifted[0].params.betas, atol=1e-5)
    np.testing.assert_allclose(found.params.transl, lifted[0].params.transl, atol=1e-4)


def spread_by_name(body, spread):
    start = variables.Layout.of(body).pose_start
    return {joint: spread[:, start + 3 * place : start + 3 * place + 3]
            for place, joint in enumerate(body.joint_names[1:])}  # fmt: skip


def test_spreads_stand_at_the_joints_that_they_are_of(body, lifted, simple, observed):
    ours, theirs = spread_by_name(body, lifted[0].spread), spread_by_name(simple[0], simple[1].spread)
    for joint in set(ours) & set(theirs):
        np.testing.assert_allclose(ours[joint], theirs[joint], rtol=1e-4)
    for joint in ("left_hand", "right_hand"):
        np.testing.assert_array_equal(theirs[joint], np.inf)
    for body_spread in (lifted[0].spread, simple[1].spread):
        np.testing.assert_array_equal(body_spread[:, :3], np.inf)
        assert np.isfinite(body_spread[:, 3:16]).all()
    # Straight from the network, whose entries are named by its own joints.
    trained = lifter_file.packaged_lifter()
    points, confidence = lifting.lifter_input.from_layout(
        np.asarray(observed.keypoints_2d), np.asarray(observed.confidence), LAYOUT
    )
    seen = lifting.lifter_input.encode(points.astype(np.float32), confidence.astype(np.float32), observed.camera)
    expected = np.exp(np.asarray(trained(seen.features).log_spread))
    once, _ = lift(body, observed, mirror=False)
    np.testing.assert_allclose(once.spread[:, 3:], expected[:, 3:], rtol=1e-3)


def test_precision_is_that_of_the_entries_that_the_body_has(body, lifted, simple):
    """A marginal of a Gaussian: rows and columns of the covariance, inverted again."""
    covariance = np.linalg.inv(np.asarray(lifter_file.packaged_lifter().error_precision, np.float64))
    theirs = {joint: 16 + 3 * place for place, joint in enumerate(layouts.SMPLH_JOINTS[1:])}
    for own, precision in ((body, lifted[1]), (simple[0], simple[2])):
        layout = variables.Layout.of(own)
        at, known = [*range(3, 16)], [*range(3, 16)]
        for place, joint in enumerate(own.joint_names[1:]):
            if joint in theirs:
                at += [layout.pose_start + 3 * place + axis for axis in range(3)]
                known += [theirs[joint] + axis for axis in range(3)]
        at = np.array(at)
        expected = np.linalg.inv(covariance[np.ix_(known, known)])
        np.testing.assert_allclose(precision[np.ix_(at, at)], expected, rtol=1e-5, atol=1e-5)
        others = np.setdiff1d(np.arange(layout.size), at)
        np.testing.assert_array_equal(precision[np.ix_(others, others)], np.eye(len(others)))
        assert not precision[np.ix_(at, others)].any()
        assert np.linalg.eigvalsh(precision)[0] > 0.01


def test_bodies_of_another_shape_space_keep_their_mean_shape(body, observed, lifted):
    other = dataclasses.replace(body, name="smplh_neutral")
    found, precision = lift(other, observed)
    np.testing.assert_array_equal(found.params.betas, 0)
    np.testing.assert_array_equal(found.spread[:, 6:16], 1)  # as a prior of shapes has it
    np.testing.assert_array_equal(precision[6:16, 6:16], np.eye(10))
    np.testing.assert_allclose(found.params.body_pose, lifted[0].params.body_pose, atol=1e-5)
    # The pelvis is where it was, though the body at rest is another one.
    ours, theirs = (np.asarray(body.joints(guess_of(part, precision).params))[:, 0] for part in (found, lifted[0]))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_guesses_can_be_taken_one_by_one(lifted):
    for number in range(lifted[0].weights.shape[1]):
        guess = guess_of(*lifted, number)
        np.testing.assert_array_equal(guess.params.body_pose, lifted[0].params.body_pose[:, number])
        np.testing.assert_array_equal(guess.params.transl, lifted[0].params.transl[:, number])
        assert guess.spread is lifted[0].spread
        assert guess.axes is lifted[0].axes


def test_a_lifter_of_ones_own_is_used(body, observed, lifted):
    options = LifterOptions(width=8, blocks=1, guesses=2)
    own = lifter_file.TrainedLifter(
        weights=lifter_file.initial_weights(options, 0),
        error_precision=2 * np.eye(lifter.NUM_SPREAD, dtype=np.float32),
        options=options,
    )
    found, precision = lift(body, observed, trained=own)
    assert found.weights.shape == (COUNT, 2)
    np.testing.assert_allclose(np.diag(precision)[3:], 2)
    assert np.abs(found.params.body_pose[:, 0] - lifted[0].params.body_pose[:, 0]).max() > 0.05


# ---- what cannot be lifted --------------------------------------------------------------------------------------


def test_without_2d_keypoints_or_camera_there_is_nothing_to_lift(body, people):
    with pytest.raises(ObservationError, match="`keypoints_2d` and `camera`"):
        lift(body, people.observe("3d"))
    with pytest.raises(ObservationError, match="`keypoints_2d` and `camera`"):
        lift(body, people.observe("2d", camera=None))


def test_a_single_hand_is_no_person(body, observed):
    hand = dataclasses.replace(body, joint_names=("left_wrist", *body.joint_names[1:]), name="mano")
    hand = dataclasses.replace(hand, joint_names=tuple(name.replace("left_hip", "left_x") for name in hand.joint_names))
    with pytest.raises(ObservationError, match="mano is a single hand"):
        lift(hand, observed)


def test_float64_bodies_are_lifted_in_their_precision(people):
    with jax.enable_x64(True):
        body = hm.open_body(view="smpl", dtype=np.float64)
        found, _ = lift(body, people.observe("2d", rows=slice(0, 2)), mirror=False)
    assert found.params.body_pose.dtype == np.float64
    assert jnp.isfinite(found.params.transl).all()
