"""Exchanged sides in a track: found where they are, and nowhere else."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.recovery import track_sides
from hardmo_jax.recovery.track_sides import settle_sides
from hardmo_jax.skeleton import flips, layouts
from tests.fitting import tracks

FRAMES = 20
LAYOUT = layouts.get_layout(tracks.LAYOUT)
STRAIGHT = np.arange(len(LAYOUT))
FLIPPED, LEGS = (np.array(order) for order in (flips.flip_permutation(LAYOUT), flips.leg_permutation(LAYOUT)))


@pytest.fixture(scope="module")
def track():
    return tracks.make_track(hm.open_body(), frames=FRAMES)


def observe(track, readings, **changes):
    """What a detector says that takes points for others in some frames."""
    seen = track.observe(noise=3.0, **changes)
    points, confidence = np.array(seen.keypoints_2d), np.array(seen.confidence)
    for frame, order in readings.items():
        points[frame], confidence[frame] = points[frame][order], confidence[frame][order]
    camera = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (FRAMES, 2)), seen.camera)
    return dataclasses.replace(seen, keypoints_2d=points, confidence=confidence, camera=camera)


def expected(readings):
    return np.stack([readings.get(frame, STRAIGHT) for frame in range(FRAMES)])


@pytest.mark.parametrize(
    "readings", [{}, {4: FLIPPED}, {0: LEGS, 7: FLIPPED, 8: FLIPPED, 19: LEGS}, dict.fromkeys(range(5, 9), FLIPPED)]
)
def test_exchanges_are_found_where_they_are(track, readings):
    guess = jax.tree.map(np.asarray, track.guess(jitter=0.02).params)
    np.testing.assert_array_equal(settle_sides(track.body, observe(track, readings), guess), expected(readings))


def test_what_is_taken_is_what_was_meant(track):
    """Reading the points in the order that comes back undoes the exchange."""
    seen = observe(track, {3: FLIPPED, 9: LEGS})
    order = settle_sides(track.body, seen, jax.tree.map(np.asarray, track.params()))
    undone = np.take_along_axis(np.asarray(seen.keypoints_2d), order[..., None], 1)
    straight = np.asarray(observe(track, {}).keypoints_2d)
    np.testing.assert_allclose(undone, straight, atol=1e-6)


def test_frames_without_evidence_stay_as_they_are(track):
    hidden = np.ones(FRAMES, bool)
    hidden[6:9] = False
    seen = observe(track, {}, seen=hidden)
    guess = jax.tree.map(np.asarray, track.params())
    np.testing.assert_array_equal(settle_sides(track.body, seen, guess), expected({}))
    nowhere = dataclasses.replace(seen, keypoints_2d=np.full_like(seen.keypoints_2d, np.nan))
    np.testing.assert_array_equal(settle_sides(track.body, nowhere, guess), expected({}))


def test_limbs_that_coincide_are_no_exchange(track):
    seen = observe(track, {})
    points = np.array(seen.keypoints_2d)
    points[5] = 0.5 * (points[5] + points[5][FLIPPED])
    order = settle_sides(
        track.body, dataclasses.replace(seen, keypoints_2d=points), jax.tree.map(np.asarray, track.params())
    )
    np.testing.assert_array_equal(order, expected({}))


def test_the_cheapest_path_is_that_of_trying_all(rng):
    cost = rng.uniform(0, 3, (6, 3))
    best = min(
        (
            sum(cost[at, state] for at, state in enumerate(path))
            + track_sides._CHANGE * sum(first != second for first, second in itertools.pairwise(path)),
            path,
        )
        for path in np.ndindex(*(3,) * 6)
    )
    np.testing.assert_array_equal(track_sides._cheapest_path(cost), best[1])


def test_a_recovered_track_says_how_its_keypoints_were_read(track):
    found = hm.recover_motion(track.body, observe(track, {4: FLIPPED}), frames_per_second=30.0)
    np.testing.assert_array_equal(found.keypoint_order, expected({4: FLIPPED}))
