"""Training of the ranker: fits of people whose truth is known, from every start, and which of them came nearest."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.filming import LAYOUT, NoiseShare
from hardmo_jax.data.lifter_samples import LifterSampler, SampleOptions
from hardmo_jax.data.pose_mixing import MixingOptions
from hardmo_jax.fitting.fit import fit
from hardmo_jax.labels import provenance
from hardmo_jax.metrics import pose
from hardmo_jax.networks import lifter_file
from hardmo_jax.networks import ranker as ranker_module
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.ranker import Ranker
from hardmo_jax.observations import Observations
from hardmo_jax.pipelines import training_poses, training_runs
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.recovery import lift_and_fit as recovery
from hardmo_jax.recovery import starts as starting
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.starts import START_NAMES
from hardmo_jax.training.layers import Layers, apply_layers, learn_layers

#: Batches that neither the lifter nor its calibration has seen.
_FIRST_BATCH = 20_000_000
_NUM_JOINTS = 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRankerOptions:
    """What is learnt, and from whom."""

    samples: SampleOptions = SampleOptions(
        # Nearer to what people do than the lifter's training: here it counts how often a start is right.
        mixing=MixingOptions(halfway=0.1, other_limb=0.04, noise_share=0.4, noise_degrees=4.0, tumble=0.01),
        noises=(
            NoiseShare(share=0.5, noise=DetectorNoise()),
            NoiseShare(share=0.3, noise=DetectorNoise(swap_all=0.15, swap_legs=0.15)),
            NoiseShare(share=0.1, noise=DetectorNoise(lose_limb=0.5)),
            NoiseShare(share=0.1, noise=DetectorNoise(body_spread=0.02, extremity_spread=0.03)),
        ),
    )
    people: int = 6_000
    batch: int = 500
    hidden: int = 48
    steps: int = 3_000
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    caution: float = 13.0
    """See `Ranker.caution`. From 6 on nobody of the validation split is exchanged whose sides are right; photos of
    people cut at the waist, which are not in the training, need more."""
    held_out_share: float = 0.2
    frames_per_second: float = 30.0
    seed: int = 0


def train_ranker(
    options: TrainRankerOptions,
    output_dir: pathlib.Path,
    *,
    mocap: pathlib.Path,
    trained: TrainedLifter | None = None,
    progress: Progress | None = None,
) -> tuple[pathlib.Path, str, dict[str, float]]:
    """Fit people from all starts, learn which fit to take, and write `ranker.npz`.

    Args:
        options: What to learn.
        output_dir: Folder.
        mocap: Folder of motion capture.
        trained: None takes the lifter of the package, which must be the one that is used later.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The file, its SHA-256, and mean errors (mm) of people set aside (other people, the same takes): of the first
        guess, of the fit with the lowest image error, of the one that the ranker takes, and of the best one.

    Raises:
        PrepareError: If there is no motion capture.
    """
    report = progress or (lambda stage, done, total: None)
    pool, pool_path = training_poses.collect_poses(
        mocap, output_dir, frames_per_second=options.frames_per_second, progress=progress
    )
    body = load.open_body(view="smplh")
    sampler = LifterSampler(body, pool, options.samples, seed=options.seed)
    tables = []
    for batch in range(-(-options.people // options.batch)):
        report("fit", batch * options.batch, options.people)
        tables.append(_fitted(body, sampler, _FIRST_BATCH + batch, options.batch, trained))
    report("fit", options.people, options.people)
    features, context, errors, is_there = (np.concatenate(column) for column in zip(*tables, strict=True))
    held_out = np.arange(len(features)) >= (1 - options.held_out_share) * len(features)
    found = _learn(tuple(column[~held_out] for column in (features, context, errors, is_there)), options, report)
    summary = _summary(found, *(column[held_out] for column in (features, context, errors, is_there)))
    record = training_runs.record_of(options, pool, poses_sha256=provenance.file_sha256(pool_path), held_out_mm=summary)
    path = output_dir / "ranker.npz"
    return path, ranker_module.save_ranker(path, found, record), summary


def _fitted(
    body: BodyModel, sampler: LifterSampler, batch: int, count: int, trained: TrainedLifter | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, context, errors in metres and presence of the fits of a batch of people."""
    people = sampler.draw(batch, count)
    observations = Observations(
        keypoints_2d=people.keypoints_2d, confidence=people.confidence, camera=people.camera, layout=LAYOUT
    )
    starts = starting.make_starts(body, observations, START_NAMES, trained=trained or lifter_file.packaged_lifter())
    fits = fit(body, starting.reread(observations, starts), options=FROM_LIFTER, initial=starts.guess)
    fits = jax.tree.map(np.asarray, fits)
    rows = recovery.hypothesis_rows(starts, count)
    features, context = recovery.ranker_features(observations, starts, fits, rows)
    truth = _joints(body, people.params)[starts.person]
    ours = _joints(body, fits.params)
    aligned = pose.similarity_align(ours, truth).apply(ours)
    error = np.linalg.norm(aligned - truth, axis=-1).mean(-1)
    error += 0.5 * np.linalg.norm((ours - ours[:, :1]) - (truth - truth[:, :1]), axis=-1).mean(-1)
    errors = np.where(rows >= 0, error[np.maximum(rows, 0)], 0.0)
    return features, context, errors, rows >= 0


def _joints(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "N 22 3"]:
    return np.asarray(in_pieces(_JointsOf(body), params), np.float64)[:, :_NUM_JOINTS]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _JointsOf:
    body: BodyModel

    def __call__(self, params: BodyParams) -> Array:
        return self.body.joints(params)


def _learn(
    table: tuple[np.ndarray, ...], options: TrainRankerOptions, report: Callable[[str, int, int | None], None]
) -> Ranker:
    """A ranker whose expected error is least."""
    features, context, errors, is_there = table
    present = features[is_there]
    blank = Ranker(
        mean=present.mean(0),
        spread=present.std(0) + 1e-6,
        context_mean=context.mean(0),
        context_spread=context.std(0) + 1e-6,
        hypotheses=START_NAMES,
        layers=(),
    )
    inputs = jnp.asarray(blank.inputs(features, context, START_NAMES), jnp.float32)
    # Errors against that of the first guess: whom nothing helps says nothing.
    relative = jnp.asarray(1000 * np.where(is_there, errors - errors[:, :1], 0), jnp.float32)
    mask = jnp.asarray(is_there)

    def expected(layers: Layers, rows: Array) -> Array:
        score = apply_layers(layers, inputs[rows], jax.nn.relu)[..., 0]
        chance = jax.nn.softmax(jnp.where(mask[rows], score, -1e9), -1)
        return jnp.mean(jnp.einsum("nh,nh->n", chance, relative[rows]))

    def tell(number: int) -> None:
        if number % 500 == 0:
            report("rank", number, options.steps)

    learnt = learn_layers(
        expected,
        (inputs.shape[-1], options.hidden, options.hidden, 1),
        len(features),
        np.random.default_rng([options.seed, 3]),
        batch=512,
        steps=options.steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        on_step=tell,
    )
    report("rank", options.steps, options.steps)
    return dataclasses.replace(blank, layers=learnt, caution=options.caution)


def _summary(
    found: Ranker, features: np.ndarray, context: np.ndarray, errors: np.ndarray, is_there: np.ndarray
) -> dict[str, float]:
    probability = found(features, context, START_NAMES, is_there)
    everybody = np.arange(len(errors))
    by_cost = np.where(is_there, features[..., ranker_module.FEATURES.index("body_misfit")], np.inf)
    return {
        "first_guess": 1000 * float(errors[:, 0].mean()),
        "least_image_error": 1000 * float(errors[everybody, by_cost.argmin(-1)].mean()),
        "ranker": 1000 * float(errors[everybody, probability.argmax(-1)].mean()),
        "best": 1000 * float(np.where(is_there, errors, np.inf).min(-1).mean()),
    }
