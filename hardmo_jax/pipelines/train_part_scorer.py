"""Training of the scorer of feet and hands: labels with planted errors, and what is known of them without the truth."""

import dataclasses
import itertools
import pathlib

import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from hardmo_jax.array_types import Array, Bool, Float, Int
from hardmo_jax.body import load
from hardmo_jax.data.planted_errors import PlantOptions
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.fitting.limb_ends import LimbEndOptions
from hardmo_jax.hardcase.part_scores import labelled_people, score_part
from hardmo_jax.labels import provenance
from hardmo_jax.networks.part_scorer import FEATURES, KINDS, PartNetwork, PartScorer, save_part_scorer
from hardmo_jax.pipelines import planted_labels, training_poses, training_runs
from hardmo_jax.pipelines.second_opinion import second_opinion
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.skeleton import layouts
from hardmo_jax.training.layers import Layers, apply_layers, learn_layers

#: Spread of features that a network does not see.
_BLIND = 1e12


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainPartScorerOptions:
    """What is learnt, and from whom."""

    plant: PlantOptions = PlantOptions()
    solve: LimbEndOptions = LimbEndOptions()
    people: int = 8_000
    """Each with labels of both kinds."""
    plantings: int = 2
    """Of every label."""
    hidden: int = 16
    members: int = 3
    steps: int = 3_000
    batch: int = 1_024
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    held_out_share: float = 0.2
    """Of the people, for the figures that are told."""
    frames_per_second: float = 30.0
    seed: int = 0


def train_part_scorer(
    options: TrainPartScorerOptions,
    output_dir: pathlib.Path,
    *,
    mocap: pathlib.Path,
    progress: Progress | None = None,
) -> tuple[pathlib.Path, str, dict[str, float]]:
    """Plant errors in labels of training poses, learn to find them, and write `part_scorer.npz`.

    Args:
        options: What to learn.
        output_dir: Folder.
        mocap: Folder of motion capture.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The file, its SHA-256, and areas under the ROC curve of people set aside, by kind of part and of label.

    Raises:
        PrepareError: If there is no motion capture.
    """
    report = progress or (lambda stage, done, total: None)
    pool, pool_path = training_poses.collect_poses(
        mocap, output_dir, frames_per_second=options.frames_per_second, progress=progress
    )
    tables = planted_tables(pool, options, report)
    scorer, summary = learn_scorer(tables, options, report)
    record = training_runs.record_of(
        options, pool, poses_sha256=provenance.file_sha256(pool_path), held_out_area_under_curve=summary
    )
    path = output_dir / "part_scorer.npz"
    return path, save_part_scorer(path, scorer, record), summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedTable:
    """Parts of one kind, of both kinds of labels."""

    features: Float[np.ndarray, "N F"]
    is_planted: Bool[np.ndarray, "N"]
    is_held_out: Bool[np.ndarray, "N"]
    """Of people who are not learnt from."""
    label_kind: Int[np.ndarray, "N"]
    """Place in `planted_labels.LABEL_KINDS`."""


def planted_tables(pool: PosePool, options: TrainPartScorerOptions, report: Progress) -> dict[str, PlantedTable]:
    """What is known of feet and hands of planted labels of training poses, by kind of part."""
    body = load.open_body(view="smplh")
    people = planted_labels.people_of_pool(body, pool, options.people, seed=options.seed)
    observations = people.observations()
    report("label", 0, len(planted_labels.LABEL_KINDS))
    second = second_opinion(body, observations)
    held_out = np.arange(len(people)) >= (1 - options.held_out_share) * len(people)
    tables: dict[str, list[tuple[np.ndarray, ...]]] = {kind: [] for kind in KINDS}
    for number, label_kind in enumerate(planted_labels.LABEL_KINDS):
        clean = planted_labels.clean_labels(body, people, label_kind, seed=options.seed)
        for planting in range(options.plantings):
            labels = planted_labels.planted_labels(
                body, clean, pool, options.plant, seed=options.seed, name=f"{label_kind}/{planting}"
            )
            labelled = labelled_people(body, observations, labels.params, second)
            for side, kind in itertools.product(layouts.SIDES, KINDS):
                part = f"{side}_{kind}"
                scores = score_part(labelled, part, scorer=None, options=options.solve)
                kept = scores.seen_points > 0
                place = np.full(len(people), number)
                tables[kind].append((scores.features[kept], labels.is_planted[part][kept], held_out[kept], place[kept]))
        report("label", number + 1, len(planted_labels.LABEL_KINDS))
    names = ("features", "is_planted", "is_held_out", "label_kind")
    return {
        kind: PlantedTable(
            **{name: np.concatenate(part) for name, part in zip(names, zip(*rows, strict=True), strict=True)}
        )
        for kind, rows in tables.items()
    }


def learn_scorer(
    tables: dict[str, PlantedTable],
    options: TrainPartScorerOptions,
    report: Progress,
    *,
    known: tuple[str, ...] = FEATURES,
) -> tuple[PartScorer, dict[str, float]]:
    """A scorer by maximum likelihood, and areas under the ROC curve of people set aside.

    Args:
        tables: By kind of part.
        options: Of the networks.
        report: Told the stage, what is done, and of how much.
        known: Features that it may look at; the others are the same for everybody.
    """
    networks, summary = {}, {}
    is_blind = ~np.isin(FEATURES, known)
    for kind, table in tables.items():
        held_out = table.is_held_out
        networks[kind] = _learn(table.features[~held_out], table.is_planted[~held_out], options, report, is_blind)
        odds = networks[kind](table.features[held_out])
        for number, label_kind in enumerate(planted_labels.LABEL_KINDS):
            rows = table.label_kind[held_out] == number
            summary[f"{kind} on {label_kind}"] = area_under_curve(odds[rows], table.is_planted[held_out][rows])
    return PartScorer(networks=networks), summary


def area_under_curve(score: Float[np.ndarray, "N"], is_positive: Bool[np.ndarray, "N"]) -> float:
    """Area under the ROC curve: how often a positive scores higher than a negative, ties counting half.

    NaN if either is lacking.
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _learn(
    features: Float[np.ndarray, "N F"],
    is_planted: Bool[np.ndarray, "N"],
    options: TrainPartScorerOptions,
    report: Progress,
    is_blind: Bool[np.ndarray, "F"],
) -> PartNetwork:
    """Networks by maximum likelihood, blind to some features: these have spreads without end."""
    spread = np.where(is_blind, _BLIND, features.std(0) + 1e-6)
    blank = PartNetwork(mean=features.mean(0), spread=spread, members=())
    inputs = jnp.asarray(blank.inputs(features), jnp.float32)
    target = jnp.asarray(is_planted, jnp.float32)

    def loss(layers: Layers, rows: Array) -> Array:
        odds = apply_layers(layers, inputs[rows], jnp.tanh)[:, 0]
        return optax.sigmoid_binary_cross_entropy(odds, target[rows]).mean()

    members = []
    for member in range(options.members):
        learnt = learn_layers(
            loss,
            (len(FEATURES), options.hidden, options.hidden, 1),
            len(features),
            np.random.default_rng([options.seed, member]),
            batch=options.batch,
            steps=options.steps,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
        )
        members.append(learnt)
        report("learn", member + 1, options.members)
    return dataclasses.replace(blank, members=tuple(members))
