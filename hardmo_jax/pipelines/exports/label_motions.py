"""Stored labels as motion: tracks on an even grid of frames, without holes, in a world with z up.

Labels of a video come frame by frame, with frames missing where somebody was lost and times that need not be even.
Programs that play motion want one row a frame. Motion is read off at the frames of an even grid; short holes are
interpolated and marked, long ones end a piece of the track.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import move_in_pieces
from hardmo_jax.export.motion.scene_motion import SceneCamera, SceneMotion, TrackMotion
from hardmo_jax.export.source_names import ExportError, published_source
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports.frame_grid import grid_of_labels, nearest_frames, resampled
from hardmo_jax.pipelines.exports.label_worlds import (
    floor_height,
    held_still,
    nearest_places,
    root_at_rest,
    worlds_of_labels,
)
from hardmo_jax.pipelines.label_rows import check_body_of_labels, name_of_body, params_of_labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How labels become motion."""

    frames_per_second: float | None = None
    """Rate of labels that state none; those that do keep theirs."""
    max_gap_seconds: float = 1.0
    """Frames without a label are interpolated over at most so long; a longer hole ends a piece of the track."""

    def __post_init__(self) -> None:
        rate = self.frames_per_second
        if rate is not None and not 0 < rate < math.inf:
            raise ExportError(f"a frame rate must be positive, got {rate:g}; give for example --fps=30")
        if not 0 <= self.max_gap_seconds < math.inf:
            raise ExportError(f"`max_gap_seconds` must not be negative, got {self.max_gap_seconds}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMotions:
    """Motion of labels, and what became of them."""

    scenes: tuple[SceneMotion, ...]
    """One a video or photo, by name."""
    num_failed: int
    """Labels without a usable pose, left out."""
    num_rejected: int
    """Labels that a person rejected, left out."""
    num_interpolated: int
    """Frames of people that have no label of their own."""
    num_shapes: int
    """Tracks whose labels are of more than one shape, which was averaged."""


def scenes_of_labels(rows: Sequence[LabelRow], body: BodyModel, options: MotionOptions) -> LabelMotions:
    """Motion of everybody in labels of one body.

    Args:
        rows: Newest version of each.
        body: Of all of them.
        options: Rates and holes.

    Raises:
        ExportError: If no label has a usable pose.
        hardmo_jax.pipelines.label_rows.LabelBodyError: If they are of another body.
    """
    check_body_of_labels(rows, body, source="the labels")
    failed = [row for row in rows if not row.is_usable]
    rejected = [row for row in rows if row.is_usable and row.review == "rejected"]
    kept = [row for row in rows if row.is_usable and row.review != "rejected"]
    if not kept:
        raise ExportError(
            f"none of {len(rows)} labels can be exported: {len(failed)} have no usable pose, {len(rejected)} were "
            "rejected"
        )
    sources: dict[tuple[str, str], list[LabelRow]] = {}
    for row in kept:
        sources.setdefault((row.source_path, row.source_sha256), []).append(row)
    names = _scene_names(list(sources))
    found = [_scene(names[source], own, body, options) for source, own in sources.items()]
    return LabelMotions(
        scenes=tuple(one.scene for one in sorted(found, key=lambda one: one.scene.name)),
        num_failed=len(failed),
        num_rejected=len(rejected),
        num_interpolated=sum(int((~track.is_labelled).sum()) for one in found for track in one.scene.tracks),
        num_shapes=sum(one.num_shapes for one in found),
    )


def _scene_names(sources: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A relative path without suffix for each source, told apart by suffix and then checksum where they must be."""
    paths = {source: published_source(source[0]) for source in sources}
    names = {source: str(path.with_suffix("")) for source, path in paths.items()}
    endings = (
        {source: path.suffix[1:] for source, path in paths.items()},
        {source: source[1][:8] for source in sources},
    )
    for ending in endings:
        taken = Counter(name.casefold() for name in names.values())
        names = {
            source: name if taken[name.casefold()] == 1 else f"{name}_{ending[source]}"
            for source, name in names.items()
        }
    return names


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """A scene, and what its labels lost on the way."""

    scene: SceneMotion
    num_shapes: int


def _scene(name: str, rows: list[LabelRow], body: BodyModel, options: MotionOptions) -> _Found:
    grid = grid_of_labels(rows, frames_per_second=options.frames_per_second, name=name)
    order = np.lexsort((grid.places, np.array([row.track_id for row in rows])))
    rows, places = [rows[at] for at in order], grid.places[order]
    worlds = worlds_of_labels(rows, places, body)
    position = worlds.position.copy()
    own_tracks = np.array([row.track_id for row in rows])
    params, num_shapes = with_one_shape_each(body, params_of_labels(rows, body), own_tracks)
    params = jax.tree.map(np.array, move_in_pieces(body, params, worlds.rotation, worlds.position))
    for stretch in worlds.laid:
        height = floor_height(body, jax.tree.map(lambda leaf, at=stretch: leaf[at], params))
        params.transl[stretch, 2] -= height
        position[stretch, 2] -= height
    rate = grid.frames_per_second
    longest = 1.0 if rate is None else max(1.0, options.max_gap_seconds * rate)
    tracks: list[TrackMotion] = []
    for track_id in np.unique(own_tracks):
        at = np.flatnonzero(own_tracks == track_id)
        # Two frames of one time are one.
        at = at[np.concatenate([[True], np.diff(places[at]) > 0])]
        pieces = np.split(at, np.flatnonzero(np.diff(places[at]) > longest + 0.5) + 1)
        for number, piece in enumerate(pieces, start=1):
            ends = nearest_frames(places[piece[[0, -1]]])
            wanted = np.arange(ends[0], ends[1] + 1)
            filled, is_labelled = resampled(
                jax.tree.map(lambda leaf, at=piece: leaf[at], params), places[piece], wanted
            )
            part = "" if number == 1 else f"_part_{number}"
            tracks.append(
                TrackMotion(
                    name=f"person_{track_id:02d}{part}",
                    track_id=int(track_id),
                    first_frame=int(ends[0]),
                    params=filled,
                    is_labelled=is_labelled,
                )
            )
    scene = SceneMotion(
        name=name,
        source_name=published_source(rows[0].source_path).name,
        body=body,
        body_name=name_of_body(body),
        frames_per_second=rate,
        num_frames=grid.num_frames,
        first_source_frame=min(row.frame_index for row, place in zip(rows, places, strict=True) if place == 0),
        tracks=tuple(tracks),
        camera=_camera(rows, places, grid.num_frames, worlds.rotation, position),
        floor=worlds.floor,
    )
    return _Found(scene=scene, num_shapes=num_shapes)


def _camera(
    rows: Sequence[LabelRow],
    places: Float[np.ndarray, "N"],
    num_frames: int,
    rotation: Float[np.ndarray, "N 3 3"],
    position: Float[np.ndarray, "N 3"],
) -> SceneCamera:
    """The camera of each frame of a scene: that of the label which is nearest in time."""
    at = nearest_places(places, np.arange(num_frames, dtype=np.float64))
    turned, stands = held_still(rotation[at], position[at])
    return SceneCamera(
        rotation=turned.astype(np.float32),
        position=stands.astype(np.float32),
        focal_length=np.stack([row.focal_length for row in rows])[at],
        principal_point=np.stack([row.principal_point for row in rows])[at],
        image_size=(rows[0].image_width, rows[0].image_height),
    )


def with_one_shape_each(body: BodyModel, params: BodyParams, people: Int[np.ndarray, "N"]) -> tuple[BodyParams, int]:
    """The same with the mean of each person's shapes, whose pelvis stays where it was.

    Args:
        body: Of the parameters.
        params: NumPy arrays with one row a label; not changed.
        people: Number of the person of each row.

    Returns:
        Parameters, and how many people had more than one shape.
    """
    betas, transl = np.array(params.betas), np.array(params.transl)
    order = np.argsort(people, kind="stable")
    num_changed = 0
    for rows in np.split(order, np.flatnonzero(np.diff(people[order])) + 1):
        own = betas[rows]
        if (own == own[0]).all():
            continue
        mean = own.mean(axis=0, dtype=np.float64).astype(np.float32)
        transl[rows] += root_at_rest(body, own) - root_at_rest(body, mean[None])
        betas[rows] = mean
        num_changed += 1
    return dataclasses.replace(params, betas=betas, transl=transl), num_changed
