"""What the stages are worth on a clip whose truth is known: labels by body keypoints, then hands and feet repaired.

Labels of most methods rest on the 17 points of COCO, and so do those that are made here first; their feet and hands are
what the lifter expects of such bodies. What was seen of feet and hands is in the labels too, and the second stage uses
it where it finds one of them wrong.
"""

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.evidence import CONFIDENT
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.hardcase.mine import SUBSETS, Subset
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines import annotate, demo_clip, refine
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.pipelines.part_errors import part_errors
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]
#: Labels farther from any dancer than this, in box sides, are of nobody.
_FARTHEST = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoScore:
    """Feet or hands of some labels against the truth, means."""

    subset: Subset
    is_repaired: bool
    """Of those that were repaired; else of all."""
    count: int
    """Feet or hands."""
    before: Mapping[str, float]
    """`from_base` (mm) and `angle` (degrees), see `part_errors`."""
    after: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What was found."""

    scores: tuple[DemoScore, ...]
    num_labels: int
    """Of the dancers."""
    num_unseen: int
    """Labels filled in where nobody was seen."""
    num_strangers: int
    """Labels of nobody who is there."""
    seconds: float


def run_demo(
    output_folder: pathlib.Path,
    *,
    annotate_options: annotate.AnnotateOptions,
    refine_options: Sequence[refine.RefineOptions],
    model_folder: pathlib.Path,
    progress: Progress | None = None,
) -> DemoSummary:
    """Label the clip of the package, refine the labels, and compare both with the truth.

    Args:
        output_folder: Gets the clip, its truth, `annotate` and `refine_*`.
        annotate_options: Of the labels.
        refine_options: Of each subset, in the order in which they are refined.
        model_folder: Where the packaged perception models are.
        progress: Called as work goes on.
    """
    begun = time.perf_counter()
    output_folder.mkdir(parents=True, exist_ok=True)
    for name in (demo_clip.CLIP, demo_clip.TRUTH):
        shutil.copyfile(demo_clip.ASSETS / name, output_folder / name)
    labels_folder = output_folder / "annotate"
    annotate.annotate(
        output_folder / demo_clip.CLIP,
        labels_folder,
        options=annotate_options,
        model_folder=model_folder,
        # What `tools.view` and `tools.report` find the clip by.
        command=("tools.demo", f"--input={output_folder / demo_clip.CLIP}"),
        progress=progress,
    )
    before = store.latest_labels(store.read_labels(labels_folder / "labels.parquet").rows)
    for options in refine_options:
        refine.refine(
            labels_folder,
            output_folder / f"refine_{options.subset}",
            options=options,
            pictures=output_folder,
            progress=progress,
        )
    after = {row.label_id: row for row in store.latest_labels(store.read_labels(labels_folder / "labels.parquet").rows)}
    body = annotate.load_body_option(annotate_options.body)
    usable = [row for row in before if row.is_usable]
    truth = demo_clip.packaged_truth()
    seen = [row for row in usable if (row.keypoint_confidence >= CONFIDENT).any()]
    rows, places = dancers_of_labels(body, seen, truth)
    scores = _scores(body, rows, [after[row.label_id] for row in rows], truth, places)
    return DemoSummary(
        scores=scores,
        num_labels=len(rows),
        num_unseen=len(usable) - len(seen),
        num_strangers=len(seen) - len(rows),
        seconds=time.perf_counter() - begun,
    )


def dancers_of_labels(
    body: BodyModel, rows: Sequence[LabelRow], truth: demo_clip.DemoTruth
) -> tuple[list[LabelRow], Int[np.ndarray, "N"]]:
    """Labels of dancers, and the row of the truth of each: whose keypoints lie nearest to those that were seen.

    Labels of whom nothing was seen (filled in over a gap) are left out.
    """
    if not rows:
        return [], np.zeros(0, int)
    layout = layouts.get_layout(rows[0].keypoint_layout)
    model, is_supported = landmarks.point_model(body, layout)
    counted = is_supported & np.array([layouts.part_of(point) == "body" for point in layout.points])
    _, pixels = project_in_pieces(model, _camera(rows, truth), truth.params)
    kept, places = [], []
    for row in rows:
        seen = counted & (row.keypoint_confidence >= CONFIDENT)
        if not seen.any():
            continue
        own = np.flatnonzero(truth.frame == row.frame_index)
        apart = np.linalg.norm(pixels[own][:, seen] - row.keypoints_2d[seen], axis=-1).mean(-1)
        nearest = int(apart.argmin())
        if apart[nearest] <= _FARTHEST * float(np.max(row.bbox[2:] - row.bbox[:2])):
            kept.append(row)
            places.append(own[nearest])
    return kept, np.array(places, int)


def _camera(rows: Sequence[LabelRow], truth: demo_clip.DemoTruth) -> Camera:
    count = len(truth.frame)
    return Camera(
        focal_length=np.full((count, 2), truth.focal_length, np.float32),
        principal_point=np.broadcast_to(rows[0].principal_point, (count, 2)),
    )


def _scores(
    body: BodyModel,
    before: Sequence[LabelRow],
    after: Sequence[LabelRow],
    truth: demo_clip.DemoTruth,
    places: Int[np.ndarray, "N"],
) -> tuple[DemoScore, ...]:
    """Of hands and feet, of all and of those that were repaired."""
    should_be = jax.tree.map(lambda leaf: leaf[places], truth.params)
    errors: dict[str, tuple[list, list, list]] = {subset: ([], [], []) for subset in SUBSETS}
    for subset in SUBSETS:
        for side in layouts.SIDES:
            part = f"{side}_{subset}"
            for table, rows in zip(errors[subset], (before, after), strict=False):
                table.append(part_errors(body, params_of_labels(rows, body), should_be, part))
            errors[subset][2].append(np.array([row.outcome_by_part[part] == "refined" for row in after], bool))
    found = []
    for subset in SUBSETS:
        tables = [
            {name: np.concatenate([one[name] for one in table]) for name in ("from_base", "angle")}
            for table in errors[subset][:2]
        ]
        is_repaired = np.concatenate(errors[subset][2])
        for only in (False, True):
            chosen = is_repaired if only else np.ones_like(is_repaired)
            before_means, after_means = (_means(table, chosen) for table in tables)
            found.append(
                DemoScore(
                    subset=subset, is_repaired=only, count=int(chosen.sum()), before=before_means, after=after_means
                )
            )
    return tuple(found)


def _means(table: Mapping[str, Float[np.ndarray, "N"]], chosen: Bool[np.ndarray, "N"]) -> dict[str, float]:
    return {name: float(values[chosen].mean()) if chosen.any() else float("nan") for name, values in table.items()}
