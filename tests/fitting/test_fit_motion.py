"""Frames of a track fitted together: exact steps, known motion found again, feet that stay, cuts, gaps, bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import evidence, fit_motion, motion, normal_equations, paths, trajectory, variables
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.job import guess_rows, make_job, start_of
from hardmo_jax.fitting.normal_equations import PullMatrices
from hardmo_jax.fitting.stages import FitOptions, Stage
from hardmo_jax.observations import ObservationError
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks

FREE = ("transl", "global_orient", "body_pose", "hand_pose")
OPTIONS = FitOptions(
    explore=(Stage(iterations=1),),
    refine=(Stage(iterations=1, free=FREE, pose_prior=0.1, hand_prior=0.5, guess=0.3, robust_scale=0.2),),
)
FRAMES = 24
USABLE = {hm.FitStatus.CONVERGED, hm.FitStatus.MAX_STEPS}
UNHELD = dataclasses.replace(OPTIONS.refine[0], guess=0.01)
#: Steps for the shape and after it together. A program serves all splits of one sum; the shape of the guess, which is
#: the true one, is kept by most tests, and they take no steps for it.
STEPS = 16


def with_steps(options, iterations, **changes):
    """Options with so many steps after those for the shape."""
    return dataclasses.replace(options, iterations=iterations, shape_iterations=STEPS - iterations, **changes)


MOTION = with_steps(MotionOptions(window_frames=32, overlap_frames=8, shape_share=0.0, acceleration_share=1.0), 5)


@pytest.fixture(scope="module")
def track():
    return tracks.make_track(hm.open_body(), frames=FRAMES)


def fitted(track, observations, guess=None, **changes):
    settings = {"frames_per_second": tracks.RATE, "options": OPTIONS, "motion_options": MOTION} | changes
    return fit_motion.fit_motion(track.body, observations, guess or track.guess(), **settings)


@pytest.fixture(scope="module")
def exact(track):
    return fitted(track, track.observe())


def joint_errors(track, params):
    """Errors of the first frames of the track, as many as there are parameters of."""
    count = len(params.transl)
    rows = np.minimum(np.arange(FRAMES), count - 1)  # always as many frames: the points are of one program
    points = track.points(jax.tree.map(lambda leaf: np.asarray(leaf)[rows], params))
    return np.linalg.norm(points - track.points(), axis=-1)[:count]


def first_frames(count, observed, guess):
    """What was seen of the first frames of a track and guessed of them."""
    cut = {name: getattr(observed, name)[:count] for name in ("keypoints_2d", "confidence")}
    params = jax.tree.map(lambda leaf: leaf[:count], guess.params)
    return dataclasses.replace(observed, **cut), dataclasses.replace(guess, params=params, spread=guess.spread[:count])


def jerkiness(points):
    return np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean()


def test_known_motion_is_found_again(track, exact, figure):
    before, after = joint_errors(track, track.guess().params).mean(), joint_errors(track, exact.params).mean()
    figure(f"fit_motion: exact keypoints, mean error of points {1000 * before:.1f} -> {1000 * after:.1f} mm")
    assert after < 0.35 * before
    assert np.asarray(exact.error_by_part["body"]).max() < 0.01
    assert set(np.asarray(exact.status).tolist()) <= USABLE


def test_the_cost_never_rises_and_the_shape_never_moves(track, exact):
    history = np.asarray(exact.loss_history)[0]
    assert (np.diff(history) <= 0).all()
    assert history[-1] < 0.2 * history[0]
    np.testing.assert_array_equal(exact.params.betas, track.guess().params.betas)


def test_a_wrong_shape_comes_nearer_to_the_truth_and_is_one(track, figure):
    guess = track.guess()
    betas = np.asarray(guess.params.betas)
    wrong = betas + np.linspace(1.0, -1.0, betas.shape[-1])
    first = 6
    spread = guess.spread.copy()
    spread[:, first : first + betas.shape[-1]] = 1.0
    params = dataclasses.replace(guess.params, betas=wrong.astype(np.float32))
    guess = dataclasses.replace(guess, params=params, spread=spread)
    options = with_steps(MOTION, STEPS - 4, shape_share=1.0)
    found = np.asarray(fitted(track, track.observe(), guess, motion_options=options).params.betas)
    assert np.ptp(found, axis=0).max() == 0
    before, after = (np.square(shape - betas).mean() for shape in (wrong, found))
    figure(f"fit_motion: mean square error of a wrong shape {before:.2f} -> {after:.2f}")
    assert after < 0.6 * before
    kept = fitted(track, track.observe(), guess, motion_options=MOTION).params.betas
    np.testing.assert_array_equal(kept, params.betas)


def test_nobody_seen_leaves_the_shape_to_the_guess(track):
    nobody = track.observe(seen=np.zeros(FRAMES, bool))
    found = fitted(track, nobody, motion_options=with_steps(MOTION, STEPS - 2, shape_share=1.0))
    assert (np.asarray(found.status) == hm.FitStatus.NO_EVIDENCE).all()
    np.testing.assert_array_equal(found.params.betas, track.guess().params.betas)


def test_noise_is_smoothed_and_motion_is_kept(track, figure):
    observed = track.observe(noise=4.0)
    tied = fitted(track, observed, frames_per_second=tracks.RATE)
    loose = fitted(track, observed, motion_options=dataclasses.replace(MOTION, acceleration_spread=1e6))
    truth = jerkiness(track.points())
    ours, single = (jerkiness(track.points(jax.tree.map(np.asarray, found.params))) for found in (tied, loose))
    figure(
        f"fit_motion: acceleration over that of the truth: frames tied {ours / truth:.2f}, loose {single / truth:.2f}"
    )
    assert ours < 0.5 * single
    assert ours > 0.5 * truth
    assert joint_errors(track, tied.params).mean() < joint_errors(track, loose.params).mean()


def test_feet_that_stand_stay(track):
    still = tracks.make_track(track.body, frames=FRAMES)
    still.vector[:] = still.vector[:1]
    observed = still.observe(noise=4.0)
    rows = list(layouts.get_layout(tracks.LAYOUT).indices(layouts.CONTACT_POINTS))

    def slide(stands):
        params = jax.tree.map(np.asarray, fitted(still, observed, still.guess(), stands=stands).params)
        return np.linalg.norm(np.diff(still.points(params)[:, rows], axis=0), axis=-1).mean()

    free, held = slide(None), slide(np.ones((FRAMES, 4)))
    assert held < 0.3 * free
    assert held < 0.001
    doubtful = slide(np.full((FRAMES, 4), 0.04))
    assert doubtful == pytest.approx(free, rel=1e-3)


def test_a_gap_is_filled_from_both_sides_and_says_so(track):
    seen = np.ones(FRAMES, bool)
    seen[9:14] = False
    found = fitted(track, track.observe(seen=seen))
    status = np.asarray(found.status)
    assert (status[9:14] == hm.FitStatus.FILLED).all()
    assert set(status[seen].tolist()) <= USABLE
    error = joint_errors(track, found.params).mean(-1)
    assert error[9:14].max() < 0.08
    assert np.isnan(np.asarray(found.error_by_part["body"])[9:14]).all()


@pytest.mark.parametrize(
    ("changes", "filled"),
    [
        ({}, range(4, 20)),
        ({"longest_gap_seconds": 4.5 / tracks.RATE}, (4, 5, 6, 7, 16, 17, 18, 19)),
        ({"longest_gap_seconds": 0.0}, ()),
        ({"longest_gap_seconds": np.inf}, range(4, 20)),
    ],
)
def test_frames_far_from_all_that_was_seen_are_no_evidence(track, changes, filled):
    seen = np.ones(FRAMES, bool)
    seen[4:20] = False
    options = dataclasses.replace(MOTION, **changes)
    status = np.asarray(fitted(track, track.observe(seen=seen), motion_options=options).status)
    assert np.flatnonzero(status == hm.FitStatus.FILLED).tolist() == list(filled)
    assert np.flatnonzero(status == hm.FitStatus.NO_EVIDENCE).tolist() == sorted(set(range(4, 20)) - set(filled))


def test_what_was_seen_behind_a_cut_is_of_no_use(track):
    seen = np.ones(FRAMES, bool)
    seen[10:] = False
    continued = np.ones(FRAMES, bool)
    continued[12] = False
    status = np.asarray(fitted(track, track.observe(seen=seen), is_continued=continued).status)
    assert (status[10:12] == hm.FitStatus.FILLED).all()
    assert (status[12:] == hm.FitStatus.NO_EVIDENCE).all()


@pytest.mark.parametrize("way", ["behind", "bent", "giant"])
def test_a_frame_that_is_no_human_before_the_camera_is_not_filled_in(track, way):
    """All of a gap is guessed there, and held to it."""
    guess = track.guess(jitter=0.001)
    params, gap = jax.tree.map(np.array, guess.params), slice(8, 12)
    if way == "behind":
        params.transl[gap, 2] = -4.0
    elif way == "bent":
        params.body_pose[gap, track.body.joint_names.index("left_knee") - 1, 0] = -1.5
    else:
        params.betas[:] = 6.0
    seen = np.ones(FRAMES, bool)
    seen[gap] = False
    spread = np.full_like(guess.spread, 1e-3)
    loose = dataclasses.replace(MOTION, acceleration_spread=1e6)
    held = dataclasses.replace(guess, params=params, spread=spread)
    status = np.asarray(fitted(track, track.observe(seen=seen), held, motion_options=loose).status)
    assert (status[gap] == hm.FitStatus.DIVERGED).all()


def test_frames_before_and_after_a_cut_do_not_know_each_other(track):
    """Another motion behind the cut changes nothing before it."""
    continued = np.ones(FRAMES, bool)
    continued[12] = False
    other = tracks.make_track(track.body, frames=FRAMES, seed=5)
    observed, of_other = track.observe(), other.observe()
    pixels = np.concatenate([observed.keypoints_2d[:12], of_other.keypoints_2d[12:]])
    mixed = dataclasses.replace(observed, keypoints_2d=pixels)
    first, second = (fitted(track, seen, is_continued=continued) for seen in (observed, mixed))
    before = np.asarray(first.params.body_pose)[:12] - np.asarray(second.params.body_pose)[:12]
    tied = [fitted(track, seen).params.body_pose for seen in (observed, mixed)]
    assert np.abs(before).max() < 0.01
    assert np.abs(np.asarray(tied[0])[:12] - np.asarray(tied[1])[:12]).max() > 10 * np.abs(before).max()


def test_long_tracks_in_pieces_are_what_they_are_as_a_whole(track):
    long = with_steps(MOTION, 12)
    short = dataclasses.replace(long, window_frames=16, overlap_frames=8)
    whole, pieces = (fitted(track, track.observe(noise=2.0), motion_options=given) for given in (long, short))
    apart = np.linalg.norm(np.asarray(whole.keypoints_3d) - np.asarray(pieces.keypoints_3d), axis=-1)
    assert np.nanmean(apart) < 0.004
    # No seam: steps between frames are those of the whole. Fingers are tied to nothing, and take what noise gives.
    steps = [np.diff(np.asarray(found.keypoints_3d)[:, :23], axis=0) for found in (whole, pieces)]
    assert np.nanmax(np.abs(steps[0] - steps[1])) < 0.02


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_tracks_of_few_frames(track, frames):
    found = fitted(track, *first_frames(frames, track.observe(), track.guess()))
    assert found.params.body_pose.shape[0] == frames
    assert set(np.asarray(found.status).tolist()) <= USABLE


def test_a_step_is_that_of_the_dense_equations(track):
    """Elimination of fingers and conjugate gradients against one solve with the whole matrix, in double precision."""
    with jax.enable_x64(True):
        body = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64) if leaf.dtype == jnp.float32 else leaf, track.body
        )
        wide = tracks.make_track(body, frames=5)
        observed, guess = wide.observe(noise=2.0), wide.guess()
        layout = layouts.get_layout(tracks.LAYOUT)
        batch, people = evidence.flatten(observed)
        job = make_job(body, layout, OPTIONS, guess)
        prepared = evidence.prepare(people, layout, job.is_supported, OPTIONS, job.dtype)
        (vector, orient), _ = start_of(body, guess.params, batch, job.prior)
        seen = dataclasses.replace(prepared.evidence, guess=guess_rows(guess, vector, batch, job.dtype))
        seen = jax.tree.map(jnp.asarray, seen.of_points(job.is_solved))
        followed, contacts = paths.path_model(body), paths.contact_rows(body)
        terms = fit_motion._terms(followed, orient, vector, 30.0, np.ones((5, 4)), None, MOTION)
        weights = jax.tree.map(lambda leaf: np.repeat(leaf[:1], 5, 0), job.schedules["refine"])
        entries = trajectory._entries(variables.Layout.of(body))
        shared = PullMatrices(
            parts=job.prior.parts, pose_start=6 + job.prior.num_betas, guess=job.prior.guess_precision
        )
        equations = jax.jit(fit_motion.objective.equations)
        frames = equations(job.solved, job.prior, seen, weights, orient, jnp.asarray(vector))
        moved = jax.jit(motion.motion)(followed, orient, jnp.asarray(vector))
        ties, jacobian = jax.jit(
            lambda moved, terms: (
                paths.path_equations(jnp.moveaxis(moved.points, -1, 0), terms, contacts),
                paths.path_jacobian(followed, moved, entries.of_twists),
            )
        )(moved, terms)
        now = trajectory._Linear(frames=frames, paths=ties, jacobian=jacobian, cost=ties.cost)
        damping = jnp.asarray(1e-3)
        step = jax.jit(lambda now, damping: trajectory._step(job.solved, shared, now, damping, entries, contacts, 400))(
            now, damping
        )
        # The same with NumPy.
        size, body_entries = vector.shape[1], entries.body
        matrix = np.zeros((5 * size, 5 * size))
        own = np.asarray(jax.jit(lambda frames: normal_equations.matrix(frames, job.solved, shared))(frames))
        for frame in range(5):
            rows = slice(frame * size, (frame + 1) * size)
            matrix[rows, rows] = own[frame]
        wide_jacobian = np.zeros((5, jacobian.shape[1], 5 * size))
        for frame in range(5):
            wide_jacobian[frame][:, frame * size + body_entries] = np.asarray(jacobian)[frame]
        of_points = wide_jacobian.reshape(5, -1, 3, 5 * size)
        product = jax.jit(jax.vmap(lambda column: ties.product(column, contacts), in_axes=-1, out_axes=-1))
        image = np.asarray(product(jnp.asarray(of_points))).reshape(-1, 5 * size)
        tied = wide_jacobian.reshape(-1, 5 * size).T @ image
        diagonal = np.zeros(5 * size)
        for frame in range(5):
            rows = np.asarray(jacobian)[frame] * np.sqrt(np.repeat(np.asarray(ties.diagonal)[frame], 3))[:, None]
            diagonal[frame * size + body_entries] = np.square(rows).sum(0)
        diagonal += np.diag(matrix)
        gradient = (
            np.asarray(frames.gradient).ravel()
            + wide_jacobian.reshape(-1, 5 * size).T @ np.asarray(ties.gradient).ravel()
        )
        matrix += tied
        free = np.concatenate([frame * size + np.sort(np.r_[entries.body, entries.local]) for frame in range(5)])
        damped = matrix[np.ix_(free, free)] + 1e-3 * np.diag(np.maximum(diagonal[free], 1e-3))
        expected = np.zeros(5 * size)
        expected[free] = -np.linalg.solve(damped, gradient[free])
    np.testing.assert_allclose(np.asarray(step).ravel(), expected, atol=1e-6 * np.abs(expected).max())


def test_the_status_says_whether_the_cost_still_fell(track):
    long = fitted(track, track.observe(), motion_options=dataclasses.replace(MOTION, iterations=40))
    short = fitted(track, track.observe(), motion_options=with_steps(MOTION, 1))
    assert set(np.asarray(long.status).tolist()) == {hm.FitStatus.CONVERGED}
    assert set(np.asarray(short.status).tolist()) == {hm.FitStatus.MAX_STEPS}
    settled = dataclasses.replace(track.guess(), params=jax.tree.map(np.asarray, long.params))
    again = fitted(track, track.observe(), settled, options=dataclasses.replace(OPTIONS, refine=(UNHELD,)))
    assert set(np.asarray(again.status).tolist()) <= USABLE | {hm.FitStatus.NO_BETTER}


def test_a_keypoint_that_is_no_number_makes_its_frame_so(track):
    seen = track.observe()
    points = np.array(seen.keypoints_2d)
    points[4, 2] = np.nan
    status = np.asarray(fitted(track, dataclasses.replace(seen, keypoints_2d=points)).status)
    assert status[4] == hm.FitStatus.NONFINITE
    assert set(np.delete(status, 4).tolist()) <= USABLE


def test_frames_that_fill_up_a_piece_change_nothing(track):
    """Seventeen frames are solved as thirty-two; the last one is far off, and would count fifteen times more."""
    seen, guess = first_frames(17, track.observe(), track.guess())
    points = np.array(seen.keypoints_2d)
    points[-1] += 40.0
    observed = dataclasses.replace(seen, keypoints_2d=points)
    exact = fitted(track, observed, guess, motion_options=with_steps(MOTION, 1))
    history = np.asarray(exact.loss_history)[0]
    assert history[-1] < 0.9 * history[0]
    error = joint_errors(track, exact.params).mean(-1)
    assert error[:14].max() < joint_errors(track, guess.params).mean(-1).max()


def test_accelerations_at_the_ends_and_at_cuts_are_those_beside_them():
    is_inner = np.ones(12, bool)
    is_inner[[0, 5, 6, 11]] = False
    values = np.where(np.arange(12) < 6, 2.0, 5.0)[:, None] * is_inner[:, None]
    found = fit_motion._blurred(values, is_inner, 1)[:, 0]
    np.testing.assert_allclose(found[:3], 2.0)
    np.testing.assert_allclose(found[9:], 5.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stands": np.full((FRAMES, 4), np.nan)}, "stands"),
        ({"stands": np.ones((FRAMES + 1, 4))}, "stands"),
        ({"is_continued": np.ones(3, bool)}, "is_continued"),
        ({"frames_per_second": 0.0}, "frames_per_second"),
        ({"frames_per_second": float("nan")}, "frames_per_second"),
    ],
)
def test_bad_requests_are_refused_in_words(track, changes, words):
    with pytest.raises(ObservationError, match=words):
        fitted(track, track.observe(), **changes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dataclasses.replace(OPTIONS, solver="adam"), "levenberg_marquardt, not by 'adam'"),
        (FitOptions(), "weights_of_frames"),
        (dataclasses.replace(OPTIONS, refine=(Stage(iterations=1, free=("transl",)),)), "got transl"),
    ],
)
def test_options_that_a_track_would_not_follow_are_refused(track, options, words):
    with pytest.raises(ObservationError, match=words):
        fitted(track, track.observe(), options=options)


def test_a_track_has_one_axis(track):
    pixels = np.asarray(track.observe().keypoints_2d)
    square = pixels.reshape(2, -1, *pixels.shape[1:])
    with pytest.raises(ObservationError, match="one batch axis"):
        fitted(track, hm.Observations(keypoints_2d=square, camera=track.camera, layout=tracks.LAYOUT))


@pytest.mark.parametrize(
    "changes",
    [
        {"acceleration_spread": 0.0}, {"lock_spread": -1.0}, {"iterations": 0}, {"overlap_frames": 1},
        {"overlap_frames": 40}, {"stands_from": 0.7}, {"acceleration_share": -1.0}, {"longest_gap_seconds": -0.1},
        {"longest_gap_seconds": np.nan},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        MotionOptions(**changes)
