"""Columns of recovery sheets: people of photos and videos, and people whose truth is known, recovered in two ways."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from hardmo_jax.array_types import Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import hard_set
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.observations import Observations
from hardmo_jax.perception import load_source, video
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, lift_and_fit
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.viz.recovery_sheet import RecoveryColumn

_LAYOUT = "openpose67"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to recover people."""

    name: str
    start: StartOptions = StartOptions()
    fit: FitOptions = FROM_LIFTER


def columns_of_media(
    sources: Sequence[pathlib.Path],
    body: BodyModel,
    ways: Sequence[Way],
    *,
    model_folder: pathlib.Path,
    frames: int = 1,
    shown: Sequence[pathlib.Path] = (),
) -> list[RecoveryColumn]:
    """The largest person of each photo, and of some frames of each video.

    Args:
        sources: Photos and videos.
        body: Whole body.
        ways: How people are recovered.
        model_folder: Where the packaged perception models are.
        frames: Frames of each video, evenly spaced.
        shown: Sources whose pixels may be shown; of others only keypoints are.

    Raises:
        hardmo_jax.perception.video.MediaError: If a source cannot be read.
    """
    estimator = load_source.load_estimator(model_folder)
    found = []
    for source in sources:
        media = video.open_media(source)
        total = media.frame_count or 1
        wanted = {0} if media.kind != "video" else set(np.linspace(0, total - 1, frames + 2)[1:-1].astype(int).tolist())
        for frame in media.frames(stop=max(wanted) + 1):
            if frame.position not in wanted:
                continue
            people = list(estimator(frame.image))
            if people:
                largest = max(people, key=lambda person: float(np.prod(person.bbox[2:] - person.bbox[:2])))
                found.append((source, frame, largest))
    if not found:
        return []
    views = [cameras.camera_from_image_size(frame.image.shape[1], frame.image.shape[0]) for _, frame, _ in found]
    observations = Observations(
        keypoints_2d=np.stack([person.keypoints_2d for _, _, person in found]),
        confidence=np.stack([person.confidence for _, _, person in found]),
        bbox=np.stack([person.bbox for _, _, person in found]),
        camera=cameras.Camera(
            focal_length=np.stack([np.asarray(view.focal_length) for view in views]),
            principal_point=np.stack([np.asarray(view.principal_point) for view in views]),
        ),
        layout=_LAYOUT,
    )
    meshes = _meshes(body, observations, ways)
    return [
        RecoveryColumn(
            title=f"{source.stem[:18]} {frame.frame_index}",
            image=frame.image if source in shown else None,
            image_size=(frame.image.shape[1], frame.image.shape[0]),
            keypoints_2d=np.asarray(person.keypoints_2d, np.float64),
            confidence=np.asarray(person.confidence, np.float64),
            layout=_LAYOUT,
            focal_length=np.asarray(views[row].focal_length, np.float64),
            principal_point=np.asarray(views[row].principal_point, np.float64),
            vertices=tuple(mesh[row] for mesh in meshes),
        )
        for row, (source, frame, person) in enumerate(found)
    ]


def columns_of_set(
    found: HardSet, rows: Int[np.ndarray, "N"], body: BodyModel, ways: Sequence[Way]
) -> list[RecoveryColumn]:
    """People of a benchmark, with their truth.

    Args:
        found: Set of the benchmark.
        rows: Which of its people.
        body: Body of the set.
        ways: How people are recovered.

    Raises:
        HardSetError: If the body is another one.
    """
    some = found.select(rows)
    truth = hard_set.truth_vertices(some, body)
    meshes = _meshes(body, some.observations(), ways)
    return [
        RecoveryColumn(
            title=f"{some.styles[row]} {some.takes[row]}/{int(some.frames[row])}",
            image=None,
            image_size=some.image_size,
            keypoints_2d=np.asarray(some.keypoints_2d[row], np.float64),
            confidence=np.asarray(some.confidence[row], np.float64),
            layout=some.layout,
            focal_length=np.asarray(some.assumed_camera.focal_length[row], np.float64),
            principal_point=np.asarray(some.assumed_camera.principal_point[row], np.float64),
            vertices=tuple(mesh[row] for mesh in meshes),
            truth=truth[row],
        )
        for row in range(len(some))
    ]


def _meshes(body: BodyModel, observations: Observations, ways: Sequence[Way]) -> list[np.ndarray]:
    """Vertices (N, V, 3) of everybody in each way."""
    meshes = []
    for way in ways:
        recovered = lift_and_fit(body, observations, start=way.start, options=way.fit)
        params: BodyParams = jax.tree.map(np.asarray, recovered.result.params)
        meshes.append(np.asarray(in_pieces(body, params).vertices, np.float64))
    return meshes
