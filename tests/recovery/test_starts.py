"""Where fits of a person start: each start is a reading of the keypoints and a guess, of those who have it."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import priors, variables
from hardmo_jax.networks import lifter, lifter_file
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.recovery import starts as starting
from hardmo_jax.recovery.lift import guess_of, lift
from hardmo_jax.recovery.starts import START_NAMES, StartOptions, make_starts
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

COUNT, LAYOUT = 6, "openpose67"
POINTS = layouts.get_layout(LAYOUT).points
#: People without fingers of the left hand, and without toes and heels of the right foot.
NO_HAND, NO_FOOT = 2, 4


def points_where(is_chosen):
    return np.array([is_chosen(point) for point in POINTS])


FINGERS = points_where(lambda point: layouts.part_of(point) == "left_hand" and "root" not in point)
SOLE = points_where(lambda point: layouts.part_of(point) == "right_foot")
LEG = ("hip", "knee", "ankle", "big_toe", "small_toe", "heel")


@pytest.fixture(scope="module")
def body():
    return hm.open_body(view="smpl")


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(), LAYOUT, count=COUNT, seed=12)


@pytest.fixture(scope="module")
def observed(people):
    confidence = people.confidence.copy()
    confidence[NO_HAND, FINGERS] = confidence[NO_FOOT, SOLE] = 0
    camera = jax.tree.map(lambda leaf: np.tile(leaf, (COUNT, 1)), people.camera)
    box = np.arange(COUNT * 4.0).reshape(COUNT, 4)
    return people.observe("2d", confidence=confidence, camera=camera, bbox=box)


@pytest.fixture(scope="module")
def lifted(body, observed):
    return lift(body, observed)


@pytest.fixture(scope="module")
def starts(body, observed):
    return make_starts(body, observed, START_NAMES)


def of_start(starts, name):
    """Persons and guess of a start."""
    rows = np.flatnonzero(starts.hypothesis == starts.names.index(name))
    guess = starts.guess
    return (
        starts.person[rows],
        jax.tree.map(lambda leaf: np.asarray(leaf)[rows], guess.params),
        np.asarray(guess.spread)[rows],
        rows,
    )


def assert_params(ours, theirs, tolerance=1e-5):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_everybody_has_every_start_but_flipped_ends(starts):
    for name in START_NAMES:
        person, *_ = of_start(starts, name)
        expected = [NO_HAND, NO_FOOT] if name == "ends_flipped" else range(COUNT)
        np.testing.assert_array_equal(person, expected)
    assert len(starts.person) == 7 * COUNT + 2


def test_guesses_are_those_of_the_lifter(starts, lifted):
    for number in range(4):
        _, params, spread, rows = of_start(starts, f"guess_{number + 1}")
        assert_params(params, guess_of(*lifted, number).params, 1e-6)
        np.testing.assert_array_equal(spread, lifted[0].spread)
        np.testing.assert_allclose(starts.log_weight[rows], np.log(lifted[0].weights[:, number]), atol=1e-6)
    np.testing.assert_array_equal(starts.guess.precision, lifted[1])
    assert_params(starts.expected, guess_of(*lifted).params, 1e-6)
    others = ~np.isin(starts.hypothesis, [START_NAMES.index(f"guess_{k}") for k in (1, 2, 3, 4)])
    np.testing.assert_array_equal(starts.log_weight[others], 0)


def test_uncertainty_is_the_mean_logarithm_of_the_spread_of_pose_and_root(body, starts, lifted):
    _, _, _, rows = of_start(starts, "guess_1")
    pose = np.log(lifted[0].spread[:, variables.Layout.of(body).pose_start :].astype(np.float64))
    pose = np.where(np.isfinite(pose), pose, np.nan)
    np.testing.assert_allclose(starts.uncertainty[rows, 0], np.nanmean(pose, -1), atol=1e-4)
    np.testing.assert_allclose(starts.uncertainty[rows, 1], np.log(lifted[0].spread[:, 3:6]).mean(-1), atol=1e-4)
    assert np.isfinite(starts.uncertainty).all()


# ---- readings ---------------------------------------------------------------------------------------------------


def test_only_swaps_read_other_points(starts):
    straight = np.arange(len(POINTS))
    for name in START_NAMES:
        rows = of_start(starts, name)[3]
        for order in starts.order[rows]:
            names = [POINTS[place] for place in order]
            if name in ("swapped", "swapped_legs"):
                for point, taken in zip(POINTS, names, strict=True):
                    is_swapped = name == "swapped" or point.partition("_")[2] in LEG
                    assert taken == (synthetic_people.other_side(point) if is_swapped else point)
            else:
                np.testing.assert_array_equal(order, straight)


def test_swapped_guess_is_that_of_the_exchanged_keypoints(body, people, observed, starts):
    order = synthetic_people.mirror_order(LAYOUT)
    exchanged = dataclasses.replace(
        observed, keypoints_2d=people.pixels[:, order], confidence=observed.confidence[:, order]
    )
    expected = lift(body, exchanged)[0]
    _, params, spread, rows = of_start(starts, "swapped")
    assert_params(params, guess_of(expected, starts.guess.precision).params)
    np.testing.assert_allclose(spread, expected.spread, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(starts.guess.axes)[rows], expected.axes, atol=1e-5)


def test_observations_are_read_as_each_start_reads_them(people, observed, starts):
    read = starting.reread(observed, starts)
    mirror = synthetic_people.mirror_order(LAYOUT)
    for name, order in (("guess_1", slice(None)), ("swapped", mirror)):
        person, _, _, rows = of_start(starts, name)
        np.testing.assert_array_equal(read.keypoints_2d[rows], people.pixels[person][:, order])
        np.testing.assert_array_equal(read.confidence[rows], observed.confidence[person][:, order])
        np.testing.assert_array_equal(read.bbox[rows], observed.bbox[person])
    assert read.layout == observed.layout


def test_3d_keypoints_are_read_with_the_others(body, people, observed, starts):
    both = dataclasses.replace(observed, keypoints_3d=people.points, confidence_3d=people.confidence, bbox=None)
    read = starting.reread(both, starts)
    person, _, _, rows = of_start(starts, "swapped")
    mirror = synthetic_people.mirror_order(LAYOUT)
    np.testing.assert_array_equal(read.keypoints_3d[rows], people.points[person][:, mirror])
    np.testing.assert_array_equal(read.confidence_3d[rows], people.confidence[person][:, mirror])
    np.testing.assert_array_equal(read.camera.focal_length, observed.camera.focal_length[starts.person])
    assert read.bbox is None


# ---- other starts -----------------------------------------------------------------------------------------------


def test_plain_start_is_the_usual_pose_where_the_lifter_sees_the_person(body, starts, lifted):
    _, params, spread, _ = of_start(starts, "plain")
    guess = guess_of(*lifted).params
    usual = priors.pose_prior(body.joint_names).mean
    np.testing.assert_allclose(params.body_pose, np.broadcast_to(usual, params.body_pose.shape), atol=1e-6)
    np.testing.assert_array_equal(params.betas, 0)
    np.testing.assert_allclose(params.global_orient, guess.global_orient, atol=1e-6)
    # Shape and fingers are held near the usual ones, everything else is free.
    held = np.zeros(spread.shape[1], bool)
    held[6 : 6 + body.num_betas] = True
    np.testing.assert_array_equal(spread[:, held], 1)
    np.testing.assert_array_equal(spread[:, ~held], np.inf)


def test_ends_of_which_nothing_was_seen_turn_the_other_way(body, starts, lifted):
    person, params, _, _ = of_start(starts, "ends_flipped")
    guess = jax.tree.map(lambda leaf: np.asarray(leaf)[person], guess_of(*lifted).params)
    usual = priors.pose_prior(body.joint_names).mean
    for row, joint in ((0, "left_wrist"), (1, "right_ankle")):
        place = body.joint_names.index(joint) - 1
        middle = 0.5 * (params.body_pose[row, place] + guess.body_pose[row, place])
        np.testing.assert_allclose(middle, usual[place], atol=1e-6)
        others = np.delete(np.arange(23), place)
        np.testing.assert_allclose(params.body_pose[row, others], guess.body_pose[row, others], atol=1e-6)
    np.testing.assert_allclose(params.global_orient, guess.global_orient, atol=1e-6)
    np.testing.assert_allclose(params.transl, guess.transl, atol=1e-6)


def test_ends_are_hidden_from_whom_has_no_points_for_them(body, people):
    """A layout without fingers: nobody's hands are seen."""
    small = hm.Observations(
        keypoints_2d=people.pixels[:, :25], confidence=people.confidence[:, :25], camera=people.camera,
        layout="openpose25",
    )  # fmt: skip
    found = make_starts(body, small, ("guess_1", "ends_flipped"))
    np.testing.assert_array_equal(of_start(found, "ends_flipped")[0], np.arange(COUNT))


def test_a_lifter_with_fewer_guesses_leaves_starts_out(body, observed):
    options = LifterOptions(width=8, blocks=1, guesses=2)
    own = lifter_file.TrainedLifter(
        weights=lifter_file.initial_weights(options, 0),
        error_precision=np.eye(lifter.NUM_SPREAD, dtype=np.float32),
        options=options,
    )
    found = make_starts(body, observed, ("guess_1", "guess_4", "guess_2"), trained=own)
    assert found.names == ("guess_1", "guess_4", "guess_2")
    assert set(found.hypothesis) == {0, 2}
    assert len(of_start(found, "guess_4")[0]) == 0


def test_the_guess_keeps_the_precision_of_the_body_and_real_rotations(starts):
    for leaf in jax.tree.leaves(starts.guess.params):
        assert np.asarray(leaf).dtype == np.float32
        assert np.isfinite(leaf).all()
    turns = Rotation.from_matrix(np.asarray(starts.guess.axes)).as_matrix()
    np.testing.assert_allclose(turns, starts.guess.axes, atol=1e-5)


# ---- options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hypotheses": ("guess_1", "guess_9")}, "unknown starts.*guess_9.*known: guess_1"),
        ({"hypotheses": ("guess_2", "swapped")}, "guess_1 among them"),
        ({"hypotheses": ("guess_1", "guess_1")}, "each start once"),
        ({"hypotheses": ()}, "guess_1 among them"),
        ({"kind": "heading"}, "unknown start 'heading'"),
    ],
)
def test_options_that_are_none_are_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        synthetic_people.unchecked(StartOptions, **changes)
