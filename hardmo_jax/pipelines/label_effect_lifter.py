"""A lifter trained on labels and scored against true ones: what labels are worth to a network that sees keypoints."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.data.lifter_samples import LifterSamples
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.metrics import protocols
from hardmo_jax.networks import lifter_file, lifter_input
from hardmo_jax.networks.lifter import NUM_SPREAD, LifterOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.pipelines import label_rows, training_runs
from hardmo_jax.pipelines.label_effect_network import records_of
from hardmo_jax.pipelines.label_effect_sets import with_own_points
from hardmo_jax.pipelines.record_points import points_of_records
from hardmo_jax.pipelines.score_records import score_records
from hardmo_jax.pipelines.set_scores import SetScore
from hardmo_jax.recovery import lift
from hardmo_jax.training import lifter_loss
from hardmo_jax.training.lifter_loss import LossOptions, Skeleton
from hardmo_jax.training.loop import LoopOptions

#: People who are lifted have a photo in no folder; records want one all the same.
_NOWHERE = pathlib.Path("photos")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectLifterOptions:
    """The network, and how long it learns."""

    network: LifterOptions = LifterOptions()
    loss: LossOptions = LossOptions()
    loop: LoopOptions = LoopOptions(
        steps=800, batch=256, learning_rate=1e-3, warmup_steps=80, average_decay=0.99, checkpoint_every=800
    )
    jitter: float = 0.006
    """Spread by which keypoints are moved anew in every step, longest sides of the box."""


def train_lifter_on_labels(
    labels: Sequence[LabelRow], seen: Sequence[LabelRow], body: BodyModel, options: EffectLifterOptions, *, seed: int
) -> TrainedLifter:
    """Train a lifter on labels.

    Args:
        labels: Bodies that it is to answer with.
        seen: The same people in the same order, with the keypoints that it is given.
        body: SMPL-H, of the labels.
        options: The network.
        seed: Of its first weights and of the order of people.
    """
    params, given = label_rows.params_of_labels(labels, body), label_rows.observations_of_labels(seen)
    points, confidence = lifter_input.from_layout(
        np.asarray(given.keypoints_2d), np.clip(np.asarray(given.confidence), 0, 1), given.layout
    )
    camera: Any = given.camera
    box = np.asarray(given.bbox)
    side = (box[:, 2:] - box[:, :2]).max(-1)
    skeleton = Skeleton.of(body)
    blank = np.eye(NUM_SPREAD, dtype=np.float32)

    def batch_of(number: int) -> LifterSamples:
        rng = np.random.default_rng([seed, number])
        rows = rng.integers(len(labels), size=options.loop.batch)
        moved = points[rows] + options.jitter * side[rows, None, None] * rng.normal(size=points[rows].shape)
        kept = np.where(confidence[rows, :, None] > 0, moved, 0.0).astype(np.float32)
        return LifterSamples(
            params=jax.tree.map(lambda leaf: leaf[rows], params),
            keypoints_2d=kept,
            confidence=confidence[rows].astype(np.float32),
            camera=Camera(focal_length=camera.focal_length[rows], principal_point=camera.principal_point[rows]),
            true_keypoints_2d=kept,
        )

    def loss(weights: Any, batch: LifterSamples) -> Any:
        told = lifter_input.encode(batch.keypoints_2d, batch.confidence, batch.camera)
        target = lifter_loss.make_target(skeleton, batch.params, told.rotation, told.size)
        found = TrainedLifter(weights=weights, error_precision=blank, options=options.network)(told.features)
        return lifter_loss.lifter_loss(skeleton, found, target, options.loss)

    loop = dataclasses.replace(options.loop, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        weights, _ = training_runs.train_network(
            lifter_file.initial_weights(options.network, seed), loss, batch_of, loop, pathlib.Path(folder),
            identity=str(options), progress=None, on_report=None,
        )  # fmt: skip
    return TrainedLifter(weights=weights, error_precision=blank, options=options.network)


def score_lifter(
    trained: TrainedLifter, truth: Sequence[LabelRow], seen: Sequence[LabelRow], body: BodyModel, *, method: str
) -> SetScore:
    """Score a lifter on true labels by HardMo's protocol.

    Args:
        trained: The lifter; its first guess counts.
        truth: True labels with true points.
        seen: The same people, with the keypoints that it is given.
        body: SMPL-H, of the labels.
        method: Name for tables.
    """
    lifted, _ = lift.lift(body, label_rows.observations_of_labels(seen), trained=trained)
    params = jax.tree.map(np.asarray, lifted.params)
    answers = []
    for place, row in enumerate(truth):
        own = jax.tree.map(lambda leaf, place=place: leaf[place, 0], params)
        answers.append(dataclasses.replace(row, **label_rows.pose_columns(own)))
    found = points_of_records(records_of(with_own_points(answers, body), body, _NOWHERE))
    true_points = points_of_records(records_of(truth, body, _NOWHERE))
    return score_records(true_points, found, protocols.PROTOCOLS["hardmo"], method=method)
