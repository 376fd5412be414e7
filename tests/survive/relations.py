"""What must become of a fit when what it is given changes in a known way, without knowing what is right.

Each relation changes keypoints and camera, and says where every point of the fitted body must be then.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

import hardmo_jax as hm
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import flips, layouts
from tests.fitting import tracks

LAYOUT = tracks.LAYOUT
PEOPLE = 8
#: Largest distance of a point from where it must be, metres. 0.01 mm was measured: rounding grows while a fit looks for
#: its minimum.
ROUNDED = 1e-4
#: 9.5 mm were measured: the lifter has learnt from people who are not quite as they are in a mirror.
MIRRORED = 0.02
#: That of a focal length as long as the diagonal, degrees.
_DIAGONAL_ANGLE = 53.13010235415598
#: Of the picture of all relations, pixels.
WIDTH, HEIGHT = tracks.WIDTH, tracks.HEIGHT


@dataclasses.dataclass(frozen=True)
class Relation:
    """A change, and what it does to the points of the body."""

    name: str
    change: Callable[[hm.Observations], hm.Observations]
    expected: Callable[[np.ndarray], np.ndarray]
    """From points (N, K, 3) of the fit of what was given, metres."""
    tolerance: float
    """Metres."""


def observed_people(body) -> hm.Observations:
    """People who move differently, with what a detector gets wrong; some points are absent."""
    parts = []
    for seed in range(2):
        track = tracks.make_track(body, frames=PEOPLE // 2, seed=seed)
        parts.append(track.observe(noise=1.5, seed=seed))
    keypoints = np.concatenate([part.keypoints_2d for part in parts]).astype(np.float32)
    confidence = np.concatenate([part.confidence for part in parts]).astype(np.float32)
    rng = np.random.default_rng(5)
    confidence *= rng.uniform(0.5, 1, confidence.shape)
    confidence[rng.uniform(size=confidence.shape) < 0.1] = 0
    keypoints[confidence == 0] = 0
    return hm.Observations(
        keypoints_2d=keypoints, confidence=confidence, camera=_each(parts[0].camera, PEOPLE), layout=LAYOUT
    )


def _each(camera: Camera, count: int) -> Camera:
    return Camera(
        focal_length=np.tile(np.asarray(camera.focal_length), (count, 1)),
        principal_point=np.tile(np.asarray(camera.principal_point), (count, 1)),
    )


def _replaced(seen: hm.Observations, keypoints=None, confidence=None, focal=1.0, centre=None) -> hm.Observations:
    camera = Camera(
        focal_length=np.float32(seen.camera.focal_length * focal),
        principal_point=np.float32(seen.camera.principal_point if centre is None else centre),
    )
    return dataclasses.replace(
        seen,
        keypoints_2d=seen.keypoints_2d if keypoints is None else np.float32(keypoints),
        confidence=seen.confidence if confidence is None else np.float32(confidence),
        camera=camera,
    )


def _rows(seen: hm.Observations, order) -> hm.Observations:
    return dataclasses.replace(
        seen,
        keypoints_2d=seen.keypoints_2d[order],
        confidence=seen.confidence[order],
        camera=Camera(focal_length=seen.camera.focal_length[order], principal_point=seen.camera.principal_point[order]),
    )


def _mirrored(seen: hm.Observations) -> hm.Observations:
    order = np.array(flips.flip_permutation(layouts.get_layout(LAYOUT)))
    keypoints = seen.keypoints_2d[:, order].copy()
    confidence = seen.confidence[:, order]
    keypoints[..., 0] = WIDTH - 1 - keypoints[..., 0]
    keypoints[confidence == 0] = 0
    centre = seen.camera.principal_point.copy()
    centre[:, 0] = WIDTH - 1 - centre[:, 0]
    return _replaced(seen, keypoints, confidence, centre=centre)


def _mirrored_points(points: np.ndarray) -> np.ndarray:
    order = np.array(flips.flip_permutation(layouts.get_layout(LAYOUT)))
    return points[:, order] * np.array([-1.0, 1.0, 1.0])


def _moved(seen: hm.Observations, by) -> hm.Observations:
    return _replaced(seen, seen.keypoints_2d + np.array(by), centre=seen.camera.principal_point + np.array(by))


def relations() -> Iterator[Relation]:
    """All of them; what they do is said by their names."""
    same = lambda points: points  # noqa: E731 said once
    shuffled = np.random.default_rng(1).permutation(PEOPLE)

    def absent_elsewhere(seen):
        keypoints = seen.keypoints_2d.copy()
        keypoints[seen.confidence == 0] = (-4000.0, 9000.0)
        return _replaced(seen, keypoints)

    def doubled_first(seen):
        order = np.arange(PEOPLE)
        order[-1] = 0
        return _rows(seen, order)

    def first_again(points):
        return np.concatenate([points[:-1], points[:1]])

    def every_other(points):
        expected = np.repeat(points[: PEOPLE // 2], 2, 0)
        expected[1::2] = np.nan
        return expected

    def far_apart(seen):
        # Another picture, of everybody beside somebody far away: whose points are in none of theirs.
        other = _rows(seen, np.arange(PEOPLE) // 2)
        keypoints = other.keypoints_2d.copy()
        keypoints[1::2] += 3000
        return _replaced(other, keypoints)

    yield Relation("mirrored", _mirrored, _mirrored_points, MIRRORED)
    yield Relation("moved with its camera (a crop)", lambda seen: _moved(seen, (-211.0, 97.0)), same, ROUNDED)
    yield Relation("cropped far", lambda seen: _moved(seen, (5000.0, -3000.0)), same, ROUNDED)
    for factor in (0.5, 2.0, 1.3):
        yield Relation(
            f"resized by {factor}",
            lambda seen, factor=factor: _replaced(
                seen, (seen.keypoints_2d + 0.5) * factor - 0.5, focal=factor,
                centre=(seen.camera.principal_point + 0.5) * factor - 0.5,
            ),
            same,
            ROUNDED,
        )  # fmt: skip
    yield Relation("in another order", lambda seen: _rows(seen, shuffled), lambda points: points[shuffled], ROUNDED)
    yield Relation("somebody twice", doubled_first, first_again, ROUNDED)
    yield Relation("absent points elsewhere", absent_elsewhere, same, 1e-6)
    yield Relation(
        "numbers of double precision",
        lambda seen: dataclasses.replace(
            seen, keypoints_2d=np.float64(seen.keypoints_2d), confidence=np.float64(seen.confidence)
        ),
        same,
        1e-6,
    )
    yield Relation("the same box told", lambda seen: dataclasses.replace(seen, bbox=_boxes(seen)), same, ROUNDED)
    yield Relation(
        "the focal length told of the size that it follows from",
        lambda seen: dataclasses.replace(
            seen,
            camera=_each(
                cameras.camera_from_image_size(WIDTH, HEIGHT, field_of_view_degrees=53.13010235415598), PEOPLE
            ),
        ),
        same,
        ROUNDED,
    )
    yield Relation("beside people far away", far_apart, every_other, ROUNDED)
    yield Relation("the same again", same, same, 0.0)


def _boxes(seen: hm.Observations) -> np.ndarray:
    points = np.where(seen.confidence[..., None] > 0, seen.keypoints_2d, np.nan)
    return np.float32(np.concatenate([np.nanmin(points, 1), np.nanmax(points, 1)], -1))
