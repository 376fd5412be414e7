"""Networks and predictions scored on labels as others publish them, or as this package does."""

import dataclasses
import difflib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import predictions as prediction_files
from hardmo_jax.data.hard_set import body_name
from hardmo_jax.data.predictions import Predictions
from hardmo_jax.data.training_batches import BrokenCount
from hardmo_jax.data.training_records import TrainingSource
from hardmo_jax.metrics import protocols
from hardmo_jax.networks import regressor_file
from hardmo_jax.pipelines.label_records import LabelRecordOptions
from hardmo_jax.pipelines.record_points import (
    LAYOUT,
    RecordPoints,
    points_of_records,
    regress_records,
)
from hardmo_jax.pipelines.score_records import score_records
from hardmo_jax.pipelines.scoring import params_of
from hardmo_jax.pipelines.set_scores import JOINTS, ScoreError, SetScore, world_rotations
from hardmo_jax.pipelines.training_pixels import PixelReader, take_out_frames
from hardmo_jax.pipelines.training_sources import (
    SOURCE_KINDS,
    ComparedPeople,
    SomeOf,
    TrainingSourceOptions,
    open_published,
    open_sources,
)
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import regressor_objective

Progress = Callable[[str, int, int | None], None]

#: Crops that a network looks at at once.
_CROPS_AT_ONCE = 16
_LAYOUT = layouts.get_layout("hmr2_44")
#: Larger shares of people without pixels are an error, as in training.
_MOST_BROKEN = 0.05


def published_kind(name: str) -> tuple[str, str] | None:
    """Kind and path of `KIND:PATH`; None if a name is not of that form.

    Raises:
        ScoreError: If it is nearly one.
    """
    kind, colon, path = name.partition(":")
    if colon and kind not in SOURCE_KINDS and not pathlib.Path(name).exists():
        close = difflib.get_close_matches(kind, SOURCE_KINDS, n=1)
        if close:
            raise ScoreError(f"{name}: unknown kind {kind!r}; did you mean {close[0]!r}?")
    return (kind, path) if colon and kind in SOURCE_KINDS else None


def evaluate_published(
    labels: Sequence[str],
    predictions: Sequence[str],
    body: BodyModel,
    *,
    images: str,
    protocol_name: str,
    frames: pathlib.Path,
    limit: int | None = None,
    progress: Progress | None = None,
) -> list[SetScore]:
    """Score predictions on published labels.

    Args:
        labels: Truth: `KIND:PATH`, such as `hmr2_npz:coco_val.npz`.
        predictions: Each a folder of a network, a file of predictions whose ids are the names of the people, or
            `KIND:PATH` of labels of the same people.
        body: Whose points networks are compared by.
        images: Folder of the pictures, for networks.
        protocol_name: Name in `metrics.protocols`.
        frames: Folder for frames that are taken out of videos.
        limit: People of each source at most, evenly spaced.
        progress: Told the stage, what is done, and of how much.

    Raises:
        FileNotFoundError: If a file is missing.
        TrainingDataError: If labels or pixels are damaged.
        ScoreError: If nothing is to be compared.
        hardmo_jax.data.predictions.PredictionError: If a file of predictions is damaged or of another body.
        hardmo_jax.networks.regressor_file.RegressorFileError: If a network is damaged.
    """
    report: Progress = progress or (lambda stage, done, total: None)
    if not predictions:
        raise ScoreError(
            "published labels are what predictions are scored on: name a network, a file or other labels with "
            "--predictions"
        )
    protocol, results = protocols.get_protocol(protocol_name), []
    for name in labels:
        has_network = any((pathlib.Path(other) / regressor_file.RECORD).is_file() for other in predictions)
        source = _opened(name, images, body, limit, needs_pictures=has_network)
        truth = points_of_records(source)
        for other in predictions:
            broken = BrokenCount(_MOST_BROKEN)
            if published_kind(other) is not None:
                predicted = points_of_records(_opened(other, images, body, limit))
            elif (pathlib.Path(other) / regressor_file.RECORD).is_file():
                predicted = _regressed(pathlib.Path(other), source, body, frames, broken, report)
            elif pathlib.Path(other).is_file():
                predicted = _of_file(prediction_files.read_predictions(pathlib.Path(other)), body, truth)
            else:
                raise ScoreError(
                    f"{other}: neither the folder of a network, nor a file of predictions, nor KIND:PATH of labels "
                    f"(kinds: {', '.join(SOURCE_KINDS)})"
                )
            scored = score_records(truth, predicted, protocol, method=pathlib.Path(other).name)
            if broken.broken:
                told = f"pictures of {broken.broken} people cannot be used, such as: {broken.reasons[0]}"
                scored = dataclasses.replace(scored, notes=(*scored.notes, told))
            results.append(scored)
    return results


def _opened(
    name: str, images: str, body: BodyModel, limit: int | None, *, needs_pictures: bool = False
) -> TrainingSource:
    """Labels of a name, all of them."""
    kind, path = published_kind(name) or ("", name)
    if not kind:
        raise ScoreError(
            f"{name}: say what it is, as KIND:PATH with one of {', '.join(SOURCE_KINDS)}; labels that were made for a "
            "prepared benchmark are not scored together with published ones"
        )
    chosen = TrainingSourceOptions(kind=kind, path=path, images=images)  # pyright: ignore[reportArgumentType]
    if kind == "labels":
        source = open_sources([chosen], body, labels=LabelRecordOptions(), validation_share=0.0).training[0]
    else:
        source = ComparedPeople(open_published(chosen, is_truth=True), landmarks.point_model(body, _LAYOUT)[1])
        source.check(images, needs_pictures=needs_pictures)
    return source if limit is None else SomeOf(source, limit)


def _regressed(
    folder: pathlib.Path,
    source: TrainingSource,
    body: BodyModel,
    frames: pathlib.Path,
    broken: BrokenCount,
    report: Progress,
) -> RecordPoints:
    regressor, _ = regressor_file.load_converted(folder)
    take_out_frames([source.record(row).pixels for row in range(len(source))], frames, progress=report)
    return regress_records(
        regressor, regressor_objective.compared_body(body), source, PixelReader(frames=frames),
        batch_size=_CROPS_AT_ONCE, broken=broken, name=folder.name,
        on_batch=lambda sample, found, done: report(folder.name, done, len(source)),
    )  # fmt: skip


def _of_file(predicted: Predictions, body: BodyModel, truth: RecordPoints) -> RecordPoints:
    """A file of predictions in the order and layout of records."""
    count = len(predicted.ids)
    points_2d, points_3d = np.full((count, 54, 2), np.nan), np.full((count, 54, 3), np.nan)
    has_2d, has_3d = np.zeros(54), np.zeros(54)
    turned = np.full((count, len(JOINTS), 3, 3), np.nan)
    if predicted.params is not None:
        predicted = predicted.check_body(body_name(body), num_betas=body.num_betas)
        params = params_of(body, dict(predicted.params or {}), predicted.source)
        model, is_supported = landmarks.point_model(body, LAYOUT)
        points_3d, has_3d = np.asarray(in_pieces(model, params), np.float64), is_supported.astype(np.float64)
        turned = _turned(params)
    else:
        layout = layouts.get_layout(predicted.layout or "")
        pairs = [(LAYOUT.index(point), layout.index(point)) for point in layout.points if point in LAYOUT.points]
        at, where = (list(each) for each in zip(*pairs, strict=True)) if pairs else ([], [])
        if predicted.keypoints_3d is not None:
            points_3d[:, at], has_3d[at] = predicted.keypoints_3d[:, where], 1.0
        if predicted.keypoints_2d is not None:
            points_2d[:, at], has_2d[at] = predicted.keypoints_2d[:, where], 1.0
    groups = dict(zip(truth.ids, truth.groups, strict=True))
    return RecordPoints(
        source=predicted.source,
        ids=predicted.ids,
        groups=tuple(groups.get(name, "") for name in predicted.ids),
        keypoints_2d=points_2d,
        confidence_2d=np.tile(has_2d, (count, 1)),
        keypoints_3d=points_3d,
        confidence_3d=np.tile(has_3d, (count, 1)),
        rotations=turned,
        box_sides=np.full(count, np.nan),
        box_centers=np.full((count, 2), np.nan),
    )


def _turned(params: BodyParams) -> np.ndarray:
    pose = np.asarray(params.full_pose(), np.float64)[:, : len(JOINTS)]
    local = np.full((*pose.shape, 3), np.nan)
    is_known = np.isfinite(pose).all(-1)
    local[is_known] = Rotation.from_rotvec(pose[is_known]).as_matrix()
    return world_rotations(local)
