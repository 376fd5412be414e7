"""What must become of people who are fitted over time when frames are numbered, left out or ordered another way."""

import dataclasses

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.pipelines import demo_clip
from tests.survive.dancers_seen import FRAMES, dancers_seen, fit_dancers, picture, points_of

PEOPLE, FAR = 2, 10_000
#: Largest distance of a point from where it must be, metres, of what is the same but for rounding.
ROUNDED = 1e-4
#: Mean distance of poses that need not be the same, metres: 21, 15 and 6 mm were measured. With fewer frames, and near
#: the ends of a track, less is known of how deep a limb lies.
AT_HALF_RATE, OF_A_PART, BACKWARDS = 0.03, 0.025, 0.012


def _renumbered(found, number, seconds=lambda at: at / demo_clip.FRAMES_PER_SECOND):
    return [
        dataclasses.replace(one, picture=picture(number(one.picture.position), seconds(one.picture.position)))
        for one in found
    ]


@pytest.mark.slow
@pytest.mark.survive
def test_what_must_be_equal_over_time_is(promise, figure):
    body = hm.open_body()
    found = dancers_seen(body)

    def solved(sightings):
        return points_of(fit_dancers(body, sightings))

    usual = solved(found)

    def apart(sightings, number=lambda at: at, person=lambda own: own, of_pose=False):
        """Distances of points from those of the usual fit, whose frames and people have these numbers; `of_pose` leaves
        out where somebody stands."""
        other = solved(sightings)
        pairs = [
            (other[person(own), number(at)], points)
            for (own, at), points in usual.items()
            if (person(own), number(at)) in other
        ]
        theirs, ours = map(np.stack, zip(*pairs, strict=True))
        if of_pose:
            theirs, ours = (points - np.nanmean(points, 1, keepdims=True) for points in (theirs, ours))
        return np.linalg.norm(theirs - ours, axis=-1)

    even = [one for one in found if one.picture.position % 2 == 0]
    backwards = sorted(_renumbered(found, lambda at: FRAMES - 1 - at), key=lambda one: one.picture.position)
    backwards = [dataclasses.replace(one, picture=picture(one.picture.position)) for one in backwards]
    later = _renumbered(found, lambda at: at + FAR)
    alone = [one for one in found if one.track_id == 0]
    swapped = sorted(
        (dataclasses.replace(one, track_id=PEOPLE - 1 - one.track_id) for one in found),
        key=lambda one: (one.picture.position, one.track_id),
    )
    shuffled = [found[at] for at in np.random.default_rng(0).permutation(len(found))]
    shuffled.sort(key=lambda one: one.picture.position)
    window = [one for one in found if FRAMES // 4 <= one.picture.position < 3 * FRAMES // 4]
    halves = _renumbered(even, lambda at: at // 2)

    def halved(at):
        return at // 2 if at % 2 == 0 else -1

    with promise("relations of the fit over time") as row:
        rows = (
            ("frames numbered from elsewhere", apart(later, lambda at: at + FAR), np.max, ROUNDED),
            ("the first person alone", apart(alone), np.max, ROUNDED),
            ("people who change numbers", apart(swapped, person=lambda own: PEOPLE - 1 - own), np.max, ROUNDED),
            ("people of a frame in another order", apart(shuffled), np.max, ROUNDED),
            ("the same again", apart(found), np.max, 0.0),
            ("half the frame rate", apart(halves, halved, of_pose=True), np.mean, AT_HALF_RATE),
            ("the middle alone", apart(window, of_pose=True), np.mean, OF_A_PART),
            ("backwards", apart(backwards, lambda at: FRAMES - 1 - at, of_pose=True), np.mean, BACKWARDS),
        )
        for name, distances, summary, most in rows:
            # Points that the body has not are nowhere.
            error = float(summary(distances[np.isfinite(distances)]))
            figure(f"{name}: {1000 * error:.3f} mm (tolerance {1000 * most:g})")
            row.tried(None if error <= most else f"{name}: {1000 * error:.3f} mm, told {1000 * most:g}")
