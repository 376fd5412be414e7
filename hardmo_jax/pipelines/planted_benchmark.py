"""Planted errors found and repaired: how many, how well, and what it costs those that were right.

Every foot and hand of a set of people is scored and offered to the gate; truth says which errors had been planted, and
how far parts are from where they should be before and after. Errors of feet and hands are told in three ways: of their
points from ankle or wrist, as an angle of the ankle or wrist in the camera frame, and as everybody else tells them,
below the pelvis.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.planted_errors import PlantOptions
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.fitting.limb_ends import LIMB_ENDS, LimbEndOptions
from hardmo_jax.hardcase.part_scores import labelled_people, score_part
from hardmo_jax.hardcase.refine import GateOptions, refine_part
from hardmo_jax.networks.part_scorer import KINDS, PartScorer, packaged_part_scorer
from hardmo_jax.pipelines import planted_labels
from hardmo_jax.pipelines.part_errors import part_errors
from hardmo_jax.pipelines.planted_labels import LabelKind
from hardmo_jax.pipelines.second_opinion import second_opinion
from hardmo_jax.pipelines.train_part_scorer import area_under_curve
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]
_FALSE_ALARMS = 0.05
#: Scores, planted, refined, errors before, after and without a planted error, seconds.
_Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedOptions:
    """What is planted, and how it is found and repaired."""

    plant: PlantOptions = PlantOptions()
    solve: LimbEndOptions = LimbEndOptions()
    gate: GateOptions = GateOptions()
    seed: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedScore:
    """One kind of part on one kind of label; errors in millimetres and degrees, means over parts."""

    kind: str
    label_kind: LabelKind
    parts: int
    planted: int
    area_under_curve: float
    other_areas: dict[str, float]
    """Areas of further scorers."""
    recall_at_5_percent: float
    """Share of the planted errors found where a twentieth of the right parts is taken for wrong."""
    precision: float
    """Share of the mined parts that had been planted."""
    recall: float
    """Share of the planted parts that are mined (thought wrong with the gate's probability)."""
    refined: float
    """Share of the planted parts that are replaced."""
    before: dict[str, float]
    """Errors of planted parts that are replaced: `from_base`, `angle`, `below_pelvis`, `arm` (PA of elbow, wrist and
    tips; NaN for feet), `body`."""
    after: dict[str, float]
    """The same after it."""
    clean: dict[str, float]
    """Errors that these parts had before anything was planted: what the label's own body and fingers leave."""
    all_before: dict[str, float]
    """Errors of all planted parts, mined or not."""
    all_after: dict[str, float]
    good_changed: float
    """Share of the parts without a planted error that were replaced."""
    good_worst: float
    """How much farther from the truth the worst of them came, from its base."""
    good_before: float
    """Their error from the base, of those replaced."""
    good_after: float
    parts_per_second: float


#: A gate that lets everything pass that was seen well enough.
NO_GATE = GateOptions(min_probability=0.0, least_fall=0.0, least_turn_degrees=0.0)


def run_planted(
    body: BodyModel,
    people: HardSet,
    pool: PosePool,
    options: PlantedOptions,
    *,
    scorer: PartScorer | None = None,
    progress: Progress | None = None,
) -> list[PlantedScore]:
    """`run_both` behind the gate alone."""
    return run_both(body, people, pool, options, scorer=scorer, progress=progress)[0]


def run_both(
    body: BodyModel,
    people: HardSet,
    pool: PosePool,
    options: PlantedOptions,
    *,
    scorer: PartScorer | None = None,
    others: dict[str, PartScorer] | None = None,
    progress: Progress | None = None,
) -> tuple[list[PlantedScore], list[PlantedScore]]:
    """Plant errors in labels of people, and find and repair them.

    Args:
        body: Of the people.
        people: Truth, and what was seen of them.
        pool: Poses that ankles are taken from; not those of the people.
        options: What is planted, and how it is repaired.
        scorer: None takes that of the package.
        others: Further scorers by name, which are asked and not followed.
        progress: Told the stage, what is done, and of how much.

    Returns:
        Scores behind the gate of the options, and behind none, feet and hands on each kind of label.
    """
    scorer = scorer or packaged_part_scorer()
    report = progress or (lambda stage, done, total: None)
    observations = people.observations()
    second = second_opinion(body, observations)
    gates = (options.gate, NO_GATE)
    found: tuple[list[PlantedScore], list[PlantedScore]] = ([], [])
    for number, label_kind in enumerate(planted_labels.LABEL_KINDS):
        report("planted", number, len(planted_labels.LABEL_KINDS))
        clean = planted_labels.clean_labels(body, people, label_kind, seed=options.seed)
        labels = planted_labels.planted_labels(
            body, clean, pool, options.plant, seed=options.seed, name=f"{people.name}/{label_kind}"
        )
        begun = time.perf_counter()
        labelled = labelled_people(body, observations, labels.params, second)
        shared_seconds = (time.perf_counter() - begun) / len(LIMB_ENDS)
        for kind in KINDS:
            rows: tuple[list[_Row], list[_Row]] = ([], [])
            for side in layouts.SIDES:
                part = f"{side}_{kind}"
                begun = time.perf_counter()
                scores = score_part(labelled, part, scorer=scorer, options=options.solve)
                seconds = shared_seconds + time.perf_counter() - begun
                fixed = [part_errors(body, values, people.params, part) for values in (labels.params, clean)]
                for place, gate in zip(rows, gates, strict=True):
                    begun = time.perf_counter()
                    refined = refine_part(body, labels.params, scores, gate)
                    taken = seconds + time.perf_counter() - begun
                    after = part_errors(body, refined.params, people.params, part)
                    errors = (fixed[0], after, fixed[1])
                    place.append((scores, labels.is_planted[part], refined.is_refined, *errors, taken))
            for place, some, gate in zip(found, rows, gates, strict=True):
                place.append(_summary(kind, label_kind, some, gate, others or {}))
    report("planted", len(planted_labels.LABEL_KINDS), len(planted_labels.LABEL_KINDS))
    return found


def _summary(
    kind: str, label_kind: LabelKind, rows: Sequence[_Row], gate: GateOptions, others: dict[str, PartScorer]
) -> PlantedScore:
    """Both sides together."""
    scores, planted, refined, *tables, seconds = zip(*rows, strict=True)
    wrong, is_planted, is_refined = (
        np.concatenate(values) for values in ([part.wrong for part in scores], planted, refined)
    )
    errors = [{name: np.concatenate([side[name] for side in sides]) for name in sides[0]} for sides in tables]
    is_mined = wrong >= gate.min_probability
    is_good = ~is_planted
    features = np.concatenate([part.features for part in scores])
    asked = {name: area_under_curve(other(kind, features), is_planted) for name, other in others.items()}

    def means(table: dict[str, np.ndarray], which: Bool[np.ndarray, "N"]) -> dict[str, float]:
        return {name: _mean(values[which]) for name, values in table.items()}

    worse = (errors[1]["from_base"] - errors[0]["from_base"])[is_good & is_refined]
    hits = is_planted & is_refined
    return PlantedScore(
        kind=kind,
        label_kind=label_kind,
        parts=len(wrong),
        planted=int(is_planted.sum()),
        area_under_curve=area_under_curve(wrong, is_planted),
        other_areas=asked,
        recall_at_5_percent=recall_at_false_alarms(wrong, is_planted),
        precision=_mean(is_planted[is_mined]),
        recall=_mean(is_mined[is_planted]),
        refined=_mean(is_refined[is_planted]),
        before=means(errors[0], hits),
        after=means(errors[1], hits),
        clean=means(errors[2], hits),
        all_before=means(errors[0], is_planted),
        all_after=means(errors[1], is_planted),
        good_changed=_mean(is_refined[is_good]),
        good_worst=float(worse.max()) if len(worse) else 0.0,
        good_before=_mean(errors[0]["from_base"][is_good & is_refined]),
        good_after=_mean(errors[1]["from_base"][is_good & is_refined]),
        parts_per_second=len(wrong) / sum(seconds),
    )


def recall_at_false_alarms(wrong: Float[np.ndarray, "N"], is_planted: Bool[np.ndarray, "N"]) -> float:
    """Share of the planted parts that are found where a twentieth of the right ones is taken for wrong."""
    return _mean(wrong[is_planted] > np.quantile(wrong[~is_planted], 1 - _FALSE_ALARMS))


def _mean(values: np.ndarray) -> float:
    """NaN of nothing, without a warning."""
    return float(np.mean(values)) if len(values) else float("nan")
