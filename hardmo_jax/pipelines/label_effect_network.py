"""A small network of pictures trained on labels and scored against true ones: how much labels are worth to it."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from hardmo_jax.array_types import Array
from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import training_batches
from hardmo_jax.data.hmr2_augmentation import Hmr2AugmentationOptions
from hardmo_jax.data.training_batches import BrokenCount, SampleOptions
from hardmo_jax.data.training_records import PixelReference, TrainingSource
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.metrics import protocols
from hardmo_jax.networks import regressors
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.pipelines.label_records import LabelRecords, photos_of_labels
from hardmo_jax.pipelines.record_points import points_of_records, regress_records, samples_of
from hardmo_jax.pipelines.score_records import score_records
from hardmo_jax.pipelines.set_scores import SetScore
from hardmo_jax.pipelines.training_pixels import PixelReader
from hardmo_jax.training import regressor_objective, regressor_run
from hardmo_jax.training.regressor_objective import ObjectiveOptions
from hardmo_jax.training.regressor_run import RunOptions
from hardmo_jax.training.regressor_step import StepOptions, regressor_optimizer
from hardmo_jax.training.spin_loss import SpinLossOptions

Progress = Callable[[str, int, int | None], None]
#: Of `hmr2_44`, then fingertips.
_POINTS = 54
#: Distances are rounded off below this, sides of the crop.
_NEAR = 0.01
_REPORT_EVERY = 100
_RESNET = ResnetOptions(blocks=(1, 1, 1, 1), width=16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectStage:
    """How long and how fast a network learns; the rate rises over fifty steps and falls as a cosine."""

    steps: int
    learning_rate: float
    average_decay: float = 0.99

    @property
    def step(self) -> StepOptions:
        """The optimiser."""
        return StepOptions(
            learning_rate=self.learning_rate, schedule="cosine", warmup_steps=50, clip_norm=1.0,
            average_decay=self.average_decay,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectNetworkOptions:
    """The network, and how long it learns."""

    network: HmrOptions = HmrOptions(
        backbone=_RESNET, head=IterativeOptions(features=_RESNET.features, hidden=512), image_size=96
    )
    sample: SampleOptions = SampleOptions(
        augmentation=Hmr2AugmentationOptions(
            shift=0.02, scale=0.1, rotation_degrees=20.0, rotation_rate=0.6, flip_rate=0.0, colour=0.1, part_rate=0.0
        )
    )
    objective: ObjectiveOptions = ObjectiveOptions(spin=SpinLossOptions(openpose=1.0))
    keypoints: EffectStage = EffectStage(steps=1_000, learning_rate=3e-3, average_decay=0.0)
    """The backbone alone, on what was seen (`pretrained_on_keypoints`)."""
    first: EffectStage = EffectStage(steps=600, learning_rate=1e-3)
    """The network that all others begin as: on normal labels, as somebody has it who has no other ones."""
    then: EffectStage = EffectStage(steps=300, learning_rate=5e-4)
    """Each network on its own labels."""
    batch_size: int = 64


class PicturesInMemory:
    """Pictures that were read once."""

    def __init__(self, read_pixels: Callable[[PixelReference], np.ndarray]) -> None:
        self._read_pixels = read_pixels
        self._kept: dict[PixelReference, np.ndarray] = {}

    def __call__(self, reference: PixelReference) -> np.ndarray:
        """RGB.

        Raises:
            TrainingDataError: If there is no picture, or it is damaged.
        """
        found = self._kept.get(reference)
        if found is None:
            found = self._kept[reference] = self._read_pixels(reference)
        return found


def pictures_of(folder: pathlib.Path) -> PicturesInMemory:
    """Photos below a folder."""
    return PicturesInMemory(PixelReader(frames=folder))


def records_of(rows: Sequence[LabelRow], body: BodyModel, photos: pathlib.Path) -> LabelRecords:
    """Labels of rendered people as they are trained on; named alike, whatever their kind."""
    return LabelRecords(rows, body, photos_of_labels(photos), name="rendered")


def pretrained_on_keypoints(
    source: TrainingSource,
    read_pixels: Callable[[PixelReference], np.ndarray],
    options: EffectNetworkOptions,
    *,
    seed: int,
    on_report: Callable[[int, float], None] = lambda step, error: None,
    progress: Progress = lambda stage, done, total: None,
) -> Regressor:
    """HMR whose backbone has learnt where keypoints are, and whose head nothing, as HMR 2.0 begins with ViTPose.

    Keypoints are a linear function of the features. No label of a body is looked at.

    Args:
        source: Of the people, with keypoints as a detector saw them.
        read_pixels: RGB of a picture.
        options: The network.
        seed: Of its first weights, of the order of people, and of what is drawn.
        on_report: Told the step and the mean distance of keypoints, sides of the crop.
        progress: Told the stage, what is done, and of how much.
    """
    regressor = regressor_objective.with_usual_start(regressors.untrained("hmr", options.network, seed=seed))
    loader = training_batches.batches(
        [source], {}, read_pixels, samples_of(regressor, options.sample),
        batch_size=options.batch_size, seed=seed, broken=BrokenCount(0.0),
    )  # fmt: skip
    optimizer = regressor_optimizer(options.keypoints.step, options.keypoints.steps)
    params, remembered = jax.tree.map(jnp.copy, nnx.split_state(regressor.weights, nnx.Param, ...))
    width = options.network.backbone.features
    learnt = {"params": params, "places": jnp.zeros((width, _POINTS, 2)), "middles": jnp.zeros((_POINTS, 2))}
    blank = dataclasses.replace(regressor, weights=None)

    def loss_of(learnt: Any, remembered: Any, image: Array, points: Array, confidence: Array) -> Any:
        # Taken apart and put together: statistics may be written to only where they were made.
        own = jax.tree.map(lambda leaf: leaf, remembered)
        module: Any = dataclasses.replace(blank, weights=nnx.merge_state(learnt["params"], own)).module()
        features = module.features(image, is_training=True)
        found = jnp.einsum("bf,fkc->bkc", features, learnt["places"], precision="highest") + learnt["middles"]
        distance = jnp.sqrt(jnp.sum(jnp.square(found - points), -1) + _NEAR**2)
        kept = nnx.split_state(nnx.split(module)[1], nnx.Param, ...)[1]
        return jnp.sum(confidence * distance) / jnp.maximum(jnp.sum(confidence), 1.0), jax.lax.stop_gradient(kept)

    @jax.jit
    def step_once(learnt: Any, remembered: Any, state: Any, *batch: Array) -> Any:
        (loss, remembered), slope = jax.value_and_grad(loss_of, has_aux=True)(learnt, remembered, *batch)
        updates, state = optimizer.update(slope, state, learnt)
        return optax.apply_updates(learnt, updates), remembered, state, loss

    state, losses = optimizer.init(learnt), []
    for step in range(options.keypoints.steps):
        sample = next(loader)
        points = np.concatenate([sample["keypoints_2d"], sample["fingertips_2d"]], 1)
        confidence = np.concatenate([sample["confidence_2d"], sample["fingertips_confidence_2d"]], 1)
        learnt, remembered, state, loss = step_once(learnt, remembered, state, sample["image"], points, confidence)
        losses.append(float(loss))
        progress("keypoints", step + 1, options.keypoints.steps)
        if (step + 1) % _REPORT_EVERY == 0:
            on_report(step + 1, float(np.mean(losses)))
            losses = []
    return dataclasses.replace(regressor, weights=nnx.merge_state(learnt["params"], remembered))


def train_on_labels(
    source: TrainingSource,
    read_pixels: Callable[[PixelReference], np.ndarray],
    start: Regressor,
    options: EffectNetworkOptions,
    stage: EffectStage,
    *,
    seed: int,
    on_report: Callable[[regressor_run.Report], None] = lambda report: None,
    progress: Progress = lambda stage, done, total: None,
) -> Regressor:
    """Train a network on labels.

    Args:
        source: Of the people.
        read_pixels: RGB of a picture.
        start: Where it begins; all of its weights learn.
        options: What is done to samples, and the loss.
        stage: How long and how fast.
        seed: Of the order of people, and of what is drawn.
        on_report: Told of steps.
        progress: Told the stage, what is done, and of how much.
    """
    loader = training_batches.batches(
        [source], {}, read_pixels, samples_of(start, options.sample),
        batch_size=options.batch_size, seed=seed, broken=BrokenCount(0.0),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return regressor_run.run_training(
            start, regressor_objective.compared_body(load.open_body(view="smpl")), loader, pathlib.Path(folder),
            options=RunOptions(
                steps=stage.steps, batch_size=options.batch_size, report_every=_REPORT_EVERY, validate_every=0,
                checkpoint_every=stage.steps, keep=1, seed=seed,
            ),
            step_options=stage.step, objective=options.objective, on_report=on_report, progress=progress,
        )  # fmt: skip


def score_network(
    regressor: Regressor,
    truth: TrainingSource,
    read_pixels: Callable[[PixelReference], np.ndarray],
    *,
    method: str,
    batch_size: int = 64,
) -> SetScore:
    """Score a network on true labels by HardMo's protocol."""
    compared = regressor_objective.compared_body(load.open_body(view="smpl"))
    found = regress_records(
        regressor, compared, truth, read_pixels, batch_size=batch_size, broken=BrokenCount(0.0), name=method
    )
    return score_records(points_of_records(truth), found, protocols.PROTOCOLS["hardmo"], method=method)
