"""People from one picture each: several fits side by side, and the one that the ranker takes."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting.fit import fit
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.networks.ranker import CONTEXT, FEATURES, Ranker
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import lift_and_fit as recovery
from hardmo_jax.recovery import starts as starting
from hardmo_jax.recovery.lift import guess_of, lift
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, lift_and_fit
from hardmo_jax.recovery.starts import START_NAMES, StartOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import conftest as fitting
from tests.fitting import synthetic_people

COUNT, LAYOUT = 4, "openpose67"
POINTS = layouts.get_layout(LAYOUT).points
NAMES = ("guess_1", "guess_2", "swapped", "ends_flipped")
START = StartOptions(hypotheses=NAMES, second_look=False)
#: Row of a start in every batch of people.
FIRST, SECOND, SWAPPED, FLIPPED = range(4)


def make_ranker(order=(0.0, 0.0, 0.0, 0.0), **features):
    """A ranker that looks at where a fit started, and at features by name."""
    width = 2 * len(FEATURES) + len(START_NAMES) + len(CONTEXT)
    kernel = np.zeros((width, 1), np.float32)
    for name, weight in zip(NAMES, order, strict=True):
        kernel[2 * len(FEATURES) + START_NAMES.index(name), 0] = weight
    for name, weight in features.items():
        kernel[FEATURES.index(name), 0] = weight
    return Ranker(
        mean=np.zeros(len(FEATURES)), spread=np.ones(len(FEATURES)), context_mean=np.zeros(len(CONTEXT)),
        context_spread=np.ones(len(CONTEXT)), hypotheses=START_NAMES, layers=((kernel, np.zeros(1, np.float32)),),
    )  # fmt: skip


INDIFFERENT = make_ranker()
#: Hypotheses in the order of their names.
IN_ORDER = make_ranker((0.0, -1.0, -2.0, -3.0))


@pytest.fixture(scope="module")
def body():
    return hm.open_body(view="smpl")


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(), LAYOUT, count=COUNT, seed=14)


@pytest.fixture(scope="module")
def observed(people):
    """Everything is seen of the first two people; the others lack the fingers of a hand."""
    confidence = people.confidence.copy()
    fingers = [layouts.part_of(point) == "left_hand" and "root" not in point for point in POINTS]
    confidence[2:, np.array(fingers)] = 0
    return people.observe("2d", confidence=confidence)


@pytest.fixture(scope="module")
def recovered(body, observed):
    return in_numpy(lift_and_fit(body, observed, start=START, ranker=IN_ORDER))


def in_numpy(tree):
    return jax.tree.map(np.asarray, tree)


def rows_of(tree, rows):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], tree)


def exchanged(observations):
    """Left and right of everybody, as a detector may take them."""
    order = synthetic_people.mirror_order(LAYOUT)
    return dataclasses.replace(
        observations, keypoints_2d=observations.keypoints_2d[:, order], confidence=observations.confidence[:, order]
    )


def assert_params(ours, theirs, tolerance):
    for name in ("body_pose", "betas", "transl"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, err_msg=name)
    turns = [Rotation.from_rotvec(np.asarray(params.global_orient).reshape(-1, 3)) for params in (ours, theirs)]
    assert (turns[0] * turns[1].inv()).magnitude().max() < max(tolerance, 1e-6)


# ---- hypotheses -------------------------------------------------------------------------------------------------


def test_results_have_the_axes_of_the_observations(recovered):
    found = recovered.hypotheses
    assert found.names == NAMES
    assert found.probability.shape == found.status.shape == found.body_error.shape == (COUNT, 4)
    assert found.params.body_pose.shape == (COUNT, 4, 23, 3)
    assert found.chosen.shape == recovered.result.status.shape == (COUNT,)
    assert recovered.keypoint_order.shape == (COUNT, len(POINTS))
    assert recovered.result.keypoints_2d.shape == (COUNT, len(POINTS), 2)
    assert recovered.result.camera.focal_length.shape == (COUNT, 2)


def test_probabilities_sum_to_one_and_are_zero_where_there_is_no_fit(recovered):
    found = recovered.hypotheses.probability
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-9)
    np.testing.assert_array_equal(found[:2, FLIPPED], 0)
    assert np.all(found[2:, FLIPPED] > 0)
    odds = np.exp([0.0, -1.0, -2.0, -3.0])
    np.testing.assert_allclose(found[2:], np.broadcast_to(odds / odds.sum(), (2, 4)), rtol=1e-5)
    np.testing.assert_allclose(found[:2, :3], np.broadcast_to(odds[:3] / odds[:3].sum(), (2, 3)), rtol=1e-5)


def test_fits_that_are_not_there_repeat_the_first(recovered):
    found = recovered.hypotheses
    assert_params(rows_of(found.params, (slice(0, 2), FLIPPED)), rows_of(found.params, (slice(0, 2), FIRST)), 0.0)
    np.testing.assert_array_equal(found.status[:2, FLIPPED], found.status[:2, FIRST])
    apart = np.abs(found.params.body_pose[2:, FLIPPED] - found.params.body_pose[2:, FIRST]).max((1, 2))
    assert np.all(apart > 1e-3), "a start of its own leads to a fit of its own"


@pytest.mark.parametrize(
    ("order", "expected"),
    [((3.0, 0.0, 0.0, 0.0), FIRST), ((0.0, 3.0, 0.0, 0.0), SECOND), ((0.0, 0.0, 3.0, 0.0), SWAPPED),
     ((0.0, 0.0, 0.0, 3.0), FLIPPED)],
)  # fmt: skip
def test_the_fit_that_the_ranker_prefers_is_taken(body, observed, recovered, order, expected):
    found = in_numpy(lift_and_fit(body, observed, start=START, ranker=make_ranker(order)))
    hypotheses = found.hypotheses
    chosen = [FIRST if expected == FLIPPED and person < 2 else expected for person in range(COUNT)]
    usable = ~np.isin(hypotheses.status, (FitStatus.DIVERGED, FitStatus.NONFINITE))
    is_as_wished = usable[np.arange(COUNT), chosen]
    np.testing.assert_array_equal(hypotheses.chosen[is_as_wished], np.array(chosen)[is_as_wished])
    assert is_as_wished.any()
    rows = (np.arange(COUNT), hypotheses.chosen)
    assert_params(found.result.params, rows_of(hypotheses.params, rows), 0.0)
    np.testing.assert_array_equal(found.result.status, hypotheses.status[rows])
    np.testing.assert_array_equal(found.result.error_by_part["body"], hypotheses.body_error[rows])
    straight, mirror = np.arange(len(POINTS)), synthetic_people.mirror_order(LAYOUT)
    for order_of_person, hypothesis in zip(found.keypoint_order, hypotheses.chosen, strict=True):
        np.testing.assert_array_equal(order_of_person, mirror if hypothesis == SWAPPED else straight)
    # Who chooses does not change what there is to choose from.
    assert_params(hypotheses.params, recovered.hypotheses.params, 0.0)


def test_a_fit_that_failed_is_taken_only_where_all_have(body, observed, monkeypatch):
    """Statuses are put in the place of those of the fits: person 0 lost its best fit, person 1 all of them."""
    starts = starting.make_starts(body, observed, NAMES)
    spoilt = {(0, FIRST): FitStatus.DIVERGED, (0, SECOND): FitStatus.NONFINITE}
    spoilt |= {(1, place): FitStatus.DIVERGED for place in range(4)} | {(2, SECOND): FitStatus.DIVERGED}

    def failing(*arguments, **settings):
        result = in_numpy(fit(*arguments, **settings))
        pairs = zip(starts.person, starts.hypothesis, strict=True)
        status = [spoilt.get(pair, FitStatus.MAX_STEPS) for pair in pairs]
        return dataclasses.replace(result, status=np.array(status, np.int32))

    monkeypatch.setattr(recovery, "fit", failing)
    found = lift_and_fit(body, observed, start=START, ranker=IN_ORDER)
    np.testing.assert_array_equal(found.hypotheses.chosen, [SWAPPED, FIRST, FIRST, FIRST])
    np.testing.assert_array_equal(found.result.status[:2], [FitStatus.MAX_STEPS, FitStatus.DIVERGED])


def test_batch_axes_are_kept(body, observed, recovered):
    square = dataclasses.replace(
        observed,
        keypoints_2d=observed.keypoints_2d.reshape(2, 2, -1, 2), confidence=observed.confidence.reshape(2, 2, -1),
    )  # fmt: skip
    found = in_numpy(lift_and_fit(body, square, start=START, ranker=IN_ORDER))
    assert found.hypotheses.params.body_pose.shape == (2, 2, 4, 23, 3)
    assert found.keypoint_order.shape == (2, 2, len(POINTS))
    flat = jax.tree.map(lambda leaf: leaf.reshape(COUNT, *leaf.shape[2:]), found)
    for ours, theirs in zip(jax.tree.leaves(flat), jax.tree.leaves(recovered), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_people_have_nothing_to_do_with_each_other(body, observed, recovered):
    order = np.array([3, 1, 0, 2])
    turned = dataclasses.replace(
        observed, keypoints_2d=observed.keypoints_2d[order], confidence=observed.confidence[order]
    )
    found = in_numpy(lift_and_fit(body, turned, start=START, ranker=IN_ORDER))
    assert_params(found.hypotheses.params, rows_of(recovered.hypotheses.params, order), 2e-3)
    np.testing.assert_array_equal(found.hypotheses.chosen, recovered.hypotheses.chosen[order])


def test_left_taken_for_right_is_the_swapped_reading(body, observed, recovered):
    """Exchanged by the detector and exchanged once more by the reading: the keypoints as they were."""
    swapped_first = make_ranker((0.0, 0.0, 5.0, 0.0))
    found = in_numpy(lift_and_fit(body, exchanged(observed), start=START, ranker=swapped_first))
    ours, theirs = found.hypotheses, recovered.hypotheses
    assert_params(rows_of(ours.params, (slice(None), SWAPPED)), rows_of(theirs.params, (slice(None), FIRST)), 1e-3)
    np.testing.assert_array_equal(ours.status[:, SWAPPED], theirs.status[:, FIRST])
    np.testing.assert_allclose(ours.body_error[:, SWAPPED], theirs.body_error[:, FIRST], atol=1e-4)
    assert_params(rows_of(ours.params, (slice(None), FIRST)), rows_of(theirs.params, (slice(None), SWAPPED)), 1e-3)
    is_swapped = ours.chosen == SWAPPED
    assert is_swapped.any()
    taken = np.take_along_axis(exchanged(observed).keypoints_2d, found.keypoint_order[..., None], 1)
    np.testing.assert_array_equal(taken[is_swapped], observed.keypoints_2d[is_swapped])
    error = np.linalg.norm(found.result.keypoints_2d - observed.keypoints_2d, axis=-1)[is_swapped]
    assert np.nanmedian(error[observed.confidence[is_swapped] > 0]) < 20


def test_fits_explain_the_keypoints(recovered, observed, people, figure):
    error = recovered.hypotheses.body_error[:, FIRST]
    figure(f"lift_and_fit: median body error of the first guess's fits {100 * np.median(error):.2f} % of the box side")
    assert np.median(error) < 0.02
    side = np.ptp(people.pixels, axis=1).max(-1)
    apart = np.linalg.norm(recovered.result.keypoints_2d - observed.keypoints_2d, axis=-1) / side[:, None]
    assert np.nanmedian(apart[observed.confidence > 0]) < 0.03


# ---- one start --------------------------------------------------------------------------------------------------


def test_the_first_guess_alone_needs_no_ranker_and_is_the_first_hypothesis(body, observed, recovered):
    crowd = np.arange(16) % COUNT  # as many as the starts above fill: one program for both
    many = dataclasses.replace(
        observed, keypoints_2d=observed.keypoints_2d[crowd], confidence=observed.confidence[crowd]
    )
    found = in_numpy(lift_and_fit(body, many, start=StartOptions(second_look=False)))
    assert found.hypotheses.names == ("guess_1",)
    np.testing.assert_array_equal(found.hypotheses.probability, np.ones((16, 1)))
    np.testing.assert_array_equal(found.hypotheses.chosen, 0)
    expected = rows_of(recovered.hypotheses.params, (crowd, FIRST))
    assert_params(found.result.params, expected, 2e-3)
    assert_params(rows_of(found.hypotheses.params, (slice(None), 0)), found.result.params, 0.0)


@pytest.mark.slow
def test_headings_fit_3d_keypoints_alone():
    """Without a network: as `hm.fit` does it, of the same people and by the same program as its own tests."""
    people = synthetic_people.draw(hm.open_body(), LAYOUT)
    given = people.observe("3d")
    found = lift_and_fit(people.body, given, start=StartOptions(kind="headings"), options=fitting.OPTIONS)
    assert found.hypotheses is None
    np.testing.assert_array_equal(found.keypoint_order, np.tile(np.arange(len(POINTS)), (16, 1)))
    assert np.isin(found.result.status, (FitStatus.CONVERGED, FitStatus.MAX_STEPS)).mean() > 0.9
    errors = synthetic_people.joint_errors(people.body, found.result.params, people.params)
    assert np.median(errors) < 0.02


# ---- the second look --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy(people):
    """Sixteen people (as many as the starts above fill) of whom a hand is somewhere else, and a foot is not found."""
    crowd = np.arange(16) % COUNT
    pixels, confidence = people.pixels[crowd].copy(), people.confidence[crowd].copy()
    rng = np.random.default_rng(3)
    pixels[:, POINTS.index("left_wrist")] += rng.uniform(60, 120, (16, 2))
    confidence[:, [POINTS.index(f"right_{point}") for point in ("ankle", "big_toe", "small_toe", "heel")]] = 0
    return people.observe("2d", keypoints_2d=pixels, confidence=confidence)


@pytest.fixture(scope="module")
def looks(body, noisy):
    """Recovered without and with a second look."""
    return [in_numpy(lift_and_fit(body, noisy, start=StartOptions(second_look=again))) for again in (False, True)]


def test_a_second_look_asks_the_lifter_about_what_was_filled_in(body, noisy, looks):
    """Written out: outliers and gaps are where the first fit has them, and the fit sees what was measured."""
    first, second = looks
    fitted = first.result.keypoints_2d
    shown = noisy.confidence > 0
    seen = np.where(shown[..., None], noisy.keypoints_2d, np.nan)
    side = (np.nanmax(seen, 1) - np.nanmin(seen, 1)).max(-1)
    apart = np.linalg.norm(fitted - noisy.keypoints_2d, axis=-1) / side[:, None]
    has = np.isfinite(fitted).all(-1)
    kept = shown & (apart < 0.04) & has
    asked = dataclasses.replace(
        noisy,
        keypoints_2d=np.where((kept | ~has)[..., None], noisy.keypoints_2d, fitted),
        confidence=np.where(kept, noisy.confidence, np.where(has, 0.7, noisy.confidence)),
    )
    expected = in_numpy(fit(body, noisy, options=FROM_LIFTER, initial=guess_of(*lift(body, asked))))
    usable = ~np.isin(expected.status, (FitStatus.DIVERGED, FitStatus.NONFINITE))
    assert usable.any()
    assert_params(rows_of(second.result.params, usable), rows_of(expected.params, usable), 2e-3)
    assert not kept[:, POINTS.index("left_wrist")].all(), "the case must have outliers that are noticed"


def test_after_a_second_look_the_hypothesis_that_was_taken_is_the_result(looks):
    second = looks[1]
    rows = (np.arange(16), second.hypotheses.chosen)
    assert_params(rows_of(second.hypotheses.params, rows), second.result.params, 0.0)
    np.testing.assert_array_equal(second.hypotheses.status[rows], second.result.status)
    np.testing.assert_array_equal(second.hypotheses.body_error[rows], second.result.error_by_part["body"])


def test_a_second_look_at_swapped_sides_reads_them_as_the_first_did(body, people, observed):
    swapped_first = make_ranker((0.0, 0.0, 5.0, 0.0))
    start = dataclasses.replace(START, second_look=True)
    found = in_numpy(lift_and_fit(body, exchanged(observed), start=start, ranker=swapped_first))
    is_swapped = found.hypotheses.chosen == SWAPPED
    assert is_swapped.any()
    error = np.linalg.norm(found.result.keypoints_2d - people.pixels, axis=-1)[is_swapped]
    assert np.nanmedian(error[observed.confidence[is_swapped] > 0]) < 20


def test_a_second_look_that_fails_is_not_taken(body, noisy, looks, monkeypatch):
    calls = []

    def failing(*arguments, **settings):
        result = in_numpy(fit(*arguments, **settings))
        calls.append(None)
        status = np.full(16, FitStatus.MAX_STEPS if len(calls) == 1 else FitStatus.DIVERGED, np.int32)
        status[5] = FitStatus.DIVERGED
        return dataclasses.replace(result, status=status)

    monkeypatch.setattr(recovery, "fit", failing)
    found = in_numpy(lift_and_fit(body, noisy))
    assert len(calls) == 2
    kept = np.arange(16) != 5
    assert_params(rows_of(found.result.params, kept), rows_of(looks[0].result.params, kept), 1e-4)
    assert_params(rows_of(found.result.params, ~kept), rows_of(looks[1].result.params, ~kept), 1e-4)
    np.testing.assert_array_equal(found.result.status, np.where(kept, FitStatus.MAX_STEPS, FitStatus.DIVERGED))


# ---- what the ranker is told ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(body, observed):
    """Starts, their fits, and the features of both."""
    starts = starting.make_starts(body, observed, NAMES)
    camera = jax.tree.map(lambda leaf: np.tile(leaf, (COUNT, 1)), observed.camera)
    flat = dataclasses.replace(observed, camera=camera)
    fits = in_numpy(fit(body, starting.reread(flat, starts), options=FROM_LIFTER, initial=starts.guess))
    rows = recovery.hypothesis_rows(starts, COUNT)
    features, context = recovery.ranker_features(flat, starts, fits, rows)
    return flat, starts, fits, rows, features, context


def test_rows_say_whose_start_stands_where(told):
    _, starts, _, rows, _, _ = told
    assert rows.shape == (COUNT, 4)
    np.testing.assert_array_equal(rows[:2, FLIPPED], -1)
    for person in range(COUNT):
        for place in range(4):
            if rows[person, place] >= 0:
                assert starts.person[rows[person, place]] == person
                assert starts.hypothesis[rows[person, place]] == place
    assert sorted(rows[rows >= 0]) == list(range(len(starts.person)))


def test_features_are_those_of_numpy(told, people):
    flat, starts, fits, rows, features, context = told
    column = {name: features[..., place] for place, name in enumerate(FEATURES)}
    read = starting.reread(flat, starts)
    parts = np.array([layouts.part_of(point) or "" for point in POINTS])
    seen_points = read.keypoints_2d
    for person, place in np.argwhere(rows >= 0):
        row = rows[person, place]
        weight = read.confidence[row].astype(np.float64) ** 2
        shown = read.confidence[row] > 0
        side = np.ptp(seen_points[row][shown], axis=0).max()
        apart = np.nan_to_num(np.linalg.norm(fits.keypoints_2d[row] - seen_points[row], axis=-1)) / side / 0.05
        robust = apart**2 / (1 + apart**2)
        has = np.isfinite(fits.keypoints_2d[row]).all(-1)
        for name, chosen in (
            ("body_misfit", parts == "body"),
            ("ends_misfit", np.isin(parts, ["left_foot", "right_foot", "left_hand", "right_hand"])),
        ):
            mass = weight * chosen * has
            np.testing.assert_allclose(
                column[name][person, place], np.log(mass @ robust / mass.sum() + 1e-6), rtol=1e-3, atol=1e-3
            )
        np.testing.assert_allclose(column["cost"][person, place], np.log(fits.loss_history[row, -1]), rtol=1e-5)
        expected = rows_of(starts.expected, person)
        turn = Rotation.from_rotvec(fits.params.global_orient[row]) * Rotation.from_rotvec(expected.global_orient).inv()
        np.testing.assert_allclose(column["root_from_lifter"][person, place], turn.magnitude(), atol=2e-3)
        pose = np.linalg.norm(fits.params.body_pose[row] - expected.body_pose, axis=-1).mean()
        np.testing.assert_allclose(column["pose_from_lifter"][person, place], pose, rtol=1e-4)
        np.testing.assert_allclose(column["log_weight"][person, place], starts.log_weight[row], rtol=1e-6)
        np.testing.assert_allclose(column["shape"][person, place], np.abs(fits.params.betas[row]).max(), rtol=1e-6)
        assert column["overstep"][person, place] >= 0
        guess = rows_of(starts.guess.params, row)
        bent = (fits.params.body_pose[row] - guess.body_pose).ravel() / starts.guess.spread[row, 16 : 16 + 69]
        turn = Rotation.from_rotvec(fits.params.global_orient[row]) * Rotation.from_rotvec(guess.global_orient).inv()
        strain = np.mean(bent**2) + (turn.magnitude() / starts.guess.spread[row, 3:6].mean()) ** 2
        np.testing.assert_allclose(column["strain"][person, place], np.log1p(strain), rtol=2e-3, atol=1e-3)
    is_body = parts == "body"
    shown = flat.confidence > 0
    np.testing.assert_array_equal(context[:, 0], (shown & is_body).sum(-1))
    np.testing.assert_array_equal(context[:, 1], (shown & ~is_body & (parts != "")).sum(-1))
    sides = np.array([np.ptp(flat.keypoints_2d[p][shown[p]], axis=0).max() for p in range(COUNT)])
    np.testing.assert_allclose(context[:, 2], np.log(sides / flat.camera.focal_length[:, 0]), rtol=1e-6)


def test_swapped_fits_are_measured_by_the_points_that_they_took(told):
    """A person whose sides were exchanged must not look bad for it."""
    _, _, _, _, features, _ = told
    misfit = features[..., FEATURES.index("body_misfit")]
    assert np.median(misfit[:, FIRST]) < np.log(0.2)
    assert misfit[:, SWAPPED].max() < np.log(0.9)


def test_features_stay_numbers_where_the_fit_has_none(told):
    flat, starts, fits, rows, _, _ = told
    lost = dataclasses.replace(
        fits,
        keypoints_2d=np.full_like(fits.keypoints_2d, np.nan),
        loss_history=np.full_like(fits.loss_history, np.nan),
    )
    pixels = flat.keypoints_2d.copy()
    pixels[0] = np.nan
    features, context = recovery.ranker_features(dataclasses.replace(flat, keypoints_2d=pixels), starts, lost, rows)
    assert np.isfinite(features).all()
    assert np.isfinite(context).all()


# ---- what cannot be recovered -----------------------------------------------------------------------------------


def test_a_lifter_needs_2d_keypoints(body, people):
    with pytest.raises(ObservationError, match=r"a lifter needs `keypoints_2d` and `camera`.*headings"):
        lift_and_fit(body, people.observe("3d"))


def test_nobody_cannot_be_recovered(body, people):
    with pytest.raises(ObservationError, match="nobody"):
        lift_and_fit(body, people.observe("2d", rows=slice(0, 0)))


def test_a_ranker_that_does_not_know_a_start_says_so(body, observed):
    narrow = dataclasses.replace(IN_ORDER, hypotheses=("guess_1",))
    with pytest.raises(ValueError, match="the ranker knows guess_1"):
        lift_and_fit(body, observed, start=START, ranker=narrow)


def test_somebody_without_any_keypoints_is_no_ones_trouble(body, observed, recovered):
    confidence = observed.confidence.copy()
    confidence[1] = 0
    blank = dataclasses.replace(observed, confidence=confidence)
    found = in_numpy(lift_and_fit(body, blank, start=START, ranker=IN_ORDER))
    assert found.result.status[1] == FitStatus.NO_EVIDENCE
    for leaf in jax.tree.leaves(found.result.params):
        assert np.isfinite(leaf).all()
    others = np.array([0, 2, 3])
    assert_params(
        rows_of(found.hypotheses.params, (others, FIRST)), rows_of(recovered.hypotheses.params, (others, FIRST)), 2e-3
    )


def test_one_person_without_a_batch_axis_is_the_person_of_a_batch(body, observed):
    batch = recovery._flat(observed)
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[0], batch)
    alone = lift_and_fit(body, one)
    first = lift_and_fit(body, jax.tree.map(lambda leaf: np.asarray(leaf)[:1], batch))
    np.testing.assert_allclose(alone.result.params.body_pose, first.result.params.body_pose[0], atol=1e-5)
    assert alone.result.status.shape == ()
    assert alone.keypoint_order.shape == (len(POINTS),)


def test_confidences_out_of_range_are_refused_as_by_the_fit(body, observed):
    confidence = np.array(observed.confidence)
    confidence[0, 0] = -0.5
    with pytest.raises(ObservationError, match="must lie in"):
        lift_and_fit(body, dataclasses.replace(observed, confidence=confidence))


def test_keypoints_in_a_layout_of_ones_own_are_those_of_the_named_points(body, observed, monkeypatch):
    """The same points in another order, among points that no body has."""
    monkeypatch.setattr(layouts, "LAYOUTS", dict(layouts.LAYOUTS))
    order = np.random.default_rng(0).permutation(len(POINTS))
    hm.add_layout("own", ["_tail", *(POINTS[place] for place in order)])

    def reordered(array, missing):
        return np.concatenate([np.full_like(array[:, :1], missing), np.asarray(array)[:, order]], 1)

    seen = observed
    own = hm.Observations(
        keypoints_2d=reordered(seen.keypoints_2d, 100.0), confidence=reordered(seen.confidence, 0.9),
        camera=seen.camera, bbox=seen.bbox, layout="own",
    )  # fmt: skip
    given, expected = lift_and_fit(body, own).result, lift_and_fit(body, seen).result
    np.testing.assert_allclose(given.params.body_pose, expected.params.body_pose, atol=2e-3)
    np.testing.assert_allclose(given.params.transl, expected.params.transl, atol=2e-3)
