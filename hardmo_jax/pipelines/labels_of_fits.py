"""Labels of people who were fitted: what the schema holds, from sightings and fits."""

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.labels import schema
from hardmo_jax.pipelines.annotate_drawing import OutputOptions
from hardmo_jax.pipelines.label_rows import errors_and_scores, name_of_body, pose_columns
from hardmo_jax.pipelines.sightings import LAYOUT, PictureOrigin, Sighting, relative_source
from hardmo_jax.recovery.ground import Ground, in_world
from hardmo_jax.recovery.lift_and_fit import Hypotheses
from hardmo_jax.skeleton import layouts


def to_labels(
    sightings: list[Sighting],
    result: FitResult,
    hypotheses: Hypotheses | None,
    body: BodyModel,
    media: PictureOrigin,
    output: OutputOptions,
    *,
    origin: dict[str, str],
    ground: Ground | None = None,
    frames_per_second: float | None = None,
) -> list[schema.LabelRow]:
    """One label a person and picture.

    Args:
        sightings: People.
        result: Their fits.
        hypotheses: What else they might be.
        body: That was fitted.
        media: They were seen in.
        output: Category and licence.
        origin: Columns that say what made the labels.
        ground: The floor: labels are then in the world as well.
        frames_per_second: Of a video.
    """
    layout = layouts.get_layout(LAYOUT)
    arrays = jax.tree.map(np.asarray, result)
    others = None if hypotheses is None else jax.tree.map(np.asarray, hypotheses)
    world = None if ground is None else jax.tree.map(np.asarray, in_world(body, arrays.params, ground))
    rows = []
    for index, sighting in enumerate(sightings):
        picture = sighting.picture
        params = jax.tree.map(lambda leaf, at=index: leaf[at], arrays.params)
        # Against all that was seen, also what weighs nothing in the fit.
        errors, scores = errors_and_scores(
            sighting.bbox, sighting.keypoints_2d, sighting.confidence, arrays.keypoints_2d[index], layout
        )
        rows.append(
            schema.LabelRow(
                source_path=relative_source(media, picture),
                source_sha256=picture.source_sha256,
                frame_index=picture.frame_index,
                time_seconds=picture.time_seconds,
                fps=frames_per_second,
                image_width=picture.width,
                image_height=picture.height,
                bbox=sighting.bbox,
                track_id=sighting.track_id,
                category=output.category,
                licence=output.licence,
                person_score=sighting.score,
                keypoint_source=sighting.source,
                keypoints_2d=sighting.keypoints_2d,
                keypoint_confidence=sighting.confidence,
                keypoints_3d=arrays.keypoints_3d[index],
                body_model=name_of_body(body),
                gender=body.gender,
                **origin,
                body_model_sha256=body.checksum,
                **pose_columns(params),
                focal_length=arrays.camera.focal_length[index],
                principal_point=arrays.camera.principal_point[index],
                camera_source=picture.camera_source,
                vertical_field_of_view_degrees=picture.vertical_field_of_view_degrees,
                status=FitStatus(int(arrays.status[index])).name,
                error_by_part=errors,
                score_by_part=scores,
                evidence_by_part=sighting.evidence_by_part,
                spread_by_part=sighting.spread_by_part,
                quality_reasons=None if sighting.quality is None else sighting.quality.reasons,
                quality={} if sighting.quality is None else sighting.quality.measures,
                world_global_orient=None if world is None else world.global_orient[index],
                world_transl=None if world is None else world.transl[index],
                hypotheses=None if others is None else _hypotheses(others, index),
            )
        )
    return rows


def _hypotheses(found: Hypotheses, index: int) -> tuple[schema.Hypothesis, ...] | None:
    """What else a person might be, likeliest first; None where the fit had one start only."""
    if len(found.names) == 1:
        return None
    rows = []
    for place in np.argsort(-found.probability[index], kind="stable"):
        params = jax.tree.map(lambda leaf, at=place: leaf[index, at], found.params)
        columns = pose_columns(params)
        kept = ("global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
        is_finite = all(columns[name] is None or np.isfinite(columns[name]).all() for name in kept)
        if found.probability[index, place] <= 0 or not is_finite:
            continue
        rows.append(
            schema.Hypothesis(
                name=found.names[place],
                weight=float(min(found.probability[index, place], 1.0)),
                error=_value(found.body_error[index, place]),
                **{name: columns[name] for name in kept},
            )
        )
    return tuple(rows)


def _value(number: float | np.floating) -> float | None:
    return float(number) if np.isfinite(number) else None
