"""What must become of people who are fitted over time when frames are numbered, left out or ordered another way."""

import dataclasses
import pathlib

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.pipelines import demo_clip
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions, fit_tracks
from hardmo_jax.pipelines.sightings import LAYOUT, Picture, Sighting
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks

FRAMES, PEOPLE, FAR = 48, 2, 10_000
#: Largest distance of a point from where it must be, metres, of what is the same but for rounding.
ROUNDED = 1e-4
#: Mean distance of poses that need not be the same, metres: 21, 15 and 6 mm were measured. With fewer frames, and near
#: the ends of a track, less is known of how deep a limb lies.
AT_HALF_RATE, OF_A_PART, BACKWARDS = 0.03, 0.025, 0.012


def _sightings(body):
    """The two dancers of the demo, with what a detector gets wrong."""
    truth = demo_clip.packaged_truth()
    model, is_supported = landmarks.point_model(body, layouts.get_layout(LAYOUT))
    camera = cameras.Camera(
        focal_length=np.full((len(truth.frame), 2), truth.focal_length, np.float32),
        principal_point=np.full((len(truth.frame), 2), (tracks.WIDTH / 2, tracks.HEIGHT / 2), np.float32),
    )
    _, pixels = project_in_pieces(model, camera, truth.params)
    pixels = pixels + np.random.default_rng(0).normal(scale=1.5, size=pixels.shape)
    found = []
    for at, own, points in zip(truth.frame, truth.dancer, pixels, strict=True):
        if at >= FRAMES:
            break
        kept = points[is_supported]
        found.append(
            Sighting(
                picture=_picture(int(at)), track_id=int(own), confidence=is_supported.astype(np.float32),
                keypoints_2d=np.where(is_supported[:, None], points, 0).astype(np.float32), keypoints_3d=None,
                confidence_3d=None, bbox=np.concatenate([kept.min(0), kept.max(0)]).astype(np.float32), score=0.9,
                source="made up",
            )
        )  # fmt: skip
    return found


def _picture(at, seconds=None):
    return Picture(
        position=at, source_path=pathlib.Path("clip.mp4"), source_sha256="0" * 64, frame_index=at,
        time_seconds=at / demo_clip.FRAMES_PER_SECOND if seconds is None else seconds,
        width=tracks.WIDTH, height=tracks.HEIGHT,
    )  # fmt: skip


def _renumbered(found, number, seconds=lambda at: at / demo_clip.FRAMES_PER_SECOND):
    return [
        dataclasses.replace(one, picture=_picture(number(one.picture.position), seconds(one.picture.position)))
        for one in found
    ]


@pytest.mark.slow
@pytest.mark.survive
def test_what_must_be_equal_over_time_is(promise, figure):
    body = hm.open_body()
    found = _sightings(body)

    def solved(sightings):
        """Points by person and frame."""
        pictures = {one.picture.position: one.picture for one in sightings}
        fitted = fit_tracks(
            body, [pictures[at] for at in sorted(pictures)], sightings, start=StartOptions(second_look=False),
            options=VideoFitOptions.of(FROM_LIFTER), report=lambda *_: None,
            motion=MotionOptions(window_frames=16, overlap_frames=4),
        )  # fmt: skip
        points = np.asarray(fitted.result.keypoints_3d)
        return {(one.track_id, one.picture.position): own for one, own in zip(fitted.sightings, points, strict=True)}

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
    backwards = [dataclasses.replace(one, picture=_picture(one.picture.position)) for one in backwards]
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
