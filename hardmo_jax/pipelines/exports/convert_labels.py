"""Labels of one body as labels of another: SMPL's betas for people who were fitted with the open body, and the like."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import move_in_pieces
from hardmo_jax.export.motion.scene_motion import SceneMotion
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports.label_motions import with_one_shape_each
from hardmo_jax.pipelines.exports.label_worlds import camera_poses
from hardmo_jax.pipelines.label_rows import measured_again, name_of_body, params_of_labels, pose_columns
from hardmo_jax.recovery.body_correspondence import load_vertex_map
from hardmo_jax.recovery.convert import ConvertOptions, convert_params


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertedLabels:
    """Labels of another body, and how near it came."""

    rows: tuple[LabelRow, ...]
    """In the order given. Those that could not be converted have the status that says why."""
    mean_error: Float[np.ndarray, "N"]
    """Mean distance of the points that both bodies have, of each label, metres; infinite for what was not finite."""
    matched_by: str
    """What was compared: `mesh`, `map`, or `landmarks`, which each model has in a place of its own."""


def convert_labels(
    rows: Sequence[LabelRow], source: BodyModel, target: BodyModel, *, vertex_map: pathlib.Path | None = None
) -> ConvertedLabels:
    """Labels with the parameters of another body that looks the same.

    A person of a video keeps one shape: the mean of the track is converted. Points, errors and scores are those of the
    new body; other poses that a label told (`hypotheses`) are of the old one and are left out.

    Args:
        rows: Usable labels of the source, one at least.
        source: Their body.
        target: The other one.
        vertex_map: File of a transfer matrix between the two meshes; None compares what both have.

    Raises:
        hardmo_jax.recovery.convert.ConvertError: If one of the bodies is a hand.
        hardmo_jax.recovery.body_correspondence.VertexMapError: If the matrix does not fit the bodies.
    """
    people = [(row.source_path, row.source_sha256, row.track_id) for row in rows]
    numbers = {person: number for number, person in enumerate(dict.fromkeys(people))}
    whose = np.array([numbers[person] for person in people])
    params, _ = with_one_shape_each(source, params_of_labels(rows, source), whose)
    found = convert_params(
        source,
        target,
        params,
        options=ConvertOptions(shape="frame"),
        vertex_map=None if vertex_map is None else load_vertex_map(vertex_map),
    )
    made = jax.tree.map(np.asarray, found.params)
    in_world: dict[int, Any] = {}
    with_world = [place for place, row in enumerate(rows) if row.world_transl is not None]
    if with_world:
        rotation, position = camera_poses([rows[place] for place in with_world], source)
        some = jax.tree.map(lambda leaf: leaf[with_world], made)
        moved = move_in_pieces(target, some, rotation, position)
        in_world = {place: (moved.global_orient[index], moved.transl[index]) for index, place in enumerate(with_world)}
    changed = []
    for place, row in enumerate(rows):
        world_global_orient, world_transl = in_world.get(place, (None, None))
        status = FitStatus(int(found.status[place]))
        changed.append(
            dataclasses.replace(
                row,
                **pose_columns(jax.tree.map(lambda leaf, at=place: leaf[at], made)),
                body_model=name_of_body(target),
                body_model_sha256=target.checksum,
                gender=target.gender,
                world_global_orient=world_global_orient,
                world_transl=world_transl,
                hypotheses=None,
                label_version=row.label_version + 1,
                parent_version=row.label_version,
                # A conversion that ended well says nothing of the fit, and one that did not leaves nothing to use.
                status=status.name if status in (FitStatus.DIVERGED, FitStatus.NONFINITE) else row.status,
            )
        )
    usable = [place for place, row in enumerate(changed) if row.is_usable]
    if usable:
        for place, row in zip(usable, measured_again([changed[at] for at in usable], target), strict=True):
            changed[place] = row
    return ConvertedLabels(rows=tuple(changed), mean_error=found.mean_error, matched_by=found.matched_by)


def convert_scene(
    scene: SceneMotion, target: BodyModel, *, vertex_map: pathlib.Path | None = None
) -> tuple[SceneMotion, Float[np.ndarray, "N"], str]:
    """The same motion of another body, for files of motion.

    Args:
        scene: Motion of people.
        target: The other body.
        vertex_map: File of a transfer matrix between the two meshes; None compares what both have.

    Returns:
        The scene; errors of its frames, track by track, metres; and what was compared, as of `ConvertedLabels`.

    Raises:
        ExportError: If a frame cannot be converted.
        hardmo_jax.recovery.convert.ConvertError: If one of the bodies is a hand.
        hardmo_jax.recovery.body_correspondence.VertexMapError: If the matrix does not fit the bodies.
    """
    people = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(track.params for track in scene.tracks))
    matrix = None if vertex_map is None else load_vertex_map(vertex_map)
    found = convert_params(scene.body, target, people, options=ConvertOptions(shape="frame"), vertex_map=matrix)
    wrong = np.isin(found.status, [int(FitStatus.DIVERGED), int(FitStatus.NONFINITE)])
    if wrong.any():
        raise ExportError(
            f"{scene.source_name}: {int(wrong.sum())} of {len(wrong)} frames cannot be converted to "
            f"{name_of_body(target)}: the bodies stay more than decimetres apart, or numbers are not finite"
        )
    made, tracks, first = jax.tree.map(np.asarray, found.params), [], 0
    for track in scene.tracks:
        rows = slice(first, first := first + track.num_frames)
        tracks.append(dataclasses.replace(track, params=jax.tree.map(lambda leaf, at=rows: leaf[at], made)))
    converted = dataclasses.replace(scene, body=target, body_name=name_of_body(target), tracks=tuple(tracks))
    return converted, found.mean_error, found.matched_by
