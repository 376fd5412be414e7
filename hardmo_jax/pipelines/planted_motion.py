"""What the vote of frames is worth: errors that last for a while planted in clips, found frame by frame and by vote."""

import dataclasses
from collections.abc import Callable

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.hardcase.part_scores import labelled_people, score_part
from hardmo_jax.hardcase.temporal import VoteOptions, voted_probability
from hardmo_jax.networks.part_scorer import KINDS, packaged_part_scorer
from hardmo_jax.pipelines import planted_labels
from hardmo_jax.pipelines.planted_benchmark import PlantedOptions, recall_at_false_alarms
from hardmo_jax.pipelines.planted_labels import LabelKind
from hardmo_jax.pipelines.second_opinion import second_opinion
from hardmo_jax.pipelines.train_part_scorer import area_under_curve
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VotedScore:
    """Feet or hands of clips."""

    kind: str
    """`foot` or `hand`."""
    labels: LabelKind
    parts: int
    planted: int
    area_alone: float
    """Under the ROC curve of each frame's own probability."""
    area_voted: float
    """Of the median of the frames around it."""
    recall_alone: float
    """Where a twentieth of the right parts is taken for wrong."""
    recall_voted: float
    false_alarms_alone: float
    """Share of right parts above the gate's probability."""
    false_alarms_voted: float


def run_voted(
    body: BodyModel,
    people: HardSet,
    pool: PosePool,
    options: PlantedOptions,
    *,
    vote: VoteOptions | None = None,
    progress: Progress | None = None,
) -> list[VotedScore]:
    """Plant errors that last in labels of clips, and find them by single frames and by vote.

    Args:
        body: Of the people.
        people: Clips with truth and detections.
        pool: Poses that ankles are taken from.
        options: What is planted.
        vote: Which frames vote.
        progress: Told the stage, what is done, and of how much.
    """
    report = progress or (lambda stage, done, total: None)
    seconds = (vote or VoteOptions()).seconds
    observations = people.observations()
    second = second_opinion(body, observations)
    found = []
    for number, kind_of_labels in enumerate(planted_labels.LABEL_KINDS):
        report("vote", number, len(planted_labels.LABEL_KINDS))
        clean = planted_labels.clean_labels(body, people, kind_of_labels, seed=options.seed)
        labels = planted_labels.planted_clips(
            body, clean, pool, options.plant, windows=people.windows, frames_per_second=people.frames_per_second,
            seed=options.seed, name=f"{people.name}/{kind_of_labels}",
        )  # fmt: skip
        labelled = labelled_people(body, observations, labels.params, second)
        for kind in KINDS:
            alone, voted, is_planted = [], [], []
            for part in (f"{side}_{kind}" for side in layouts.SIDES):
                scores = score_part(labelled, part, scorer=packaged_part_scorer(), options=options.solve)
                alone.append(scores.wrong)
                voted.append(_voted(people, scores.wrong, seconds))
                is_planted.append(labels.is_planted[part])
            arrays = (np.concatenate(values) for values in (alone, voted, is_planted))
            found.append(_summary(kind, kind_of_labels, options, *arrays))
    report("vote", len(planted_labels.LABEL_KINDS), len(planted_labels.LABEL_KINDS))
    return found


def _voted(people: HardSet, wrong: Float[np.ndarray, "N"], seconds: float) -> Float[np.ndarray, "N"]:
    voted = np.array(wrong)
    for window in np.unique(people.windows):
        rows = np.flatnonzero(people.windows == window)
        voted[rows] = voted_probability(np.arange(len(rows)) / people.frames_per_second, wrong[rows], seconds)
    return voted


def _summary(
    kind: str,
    labels: LabelKind,
    options: PlantedOptions,
    alone: Float[np.ndarray, "N"],
    voted: Float[np.ndarray, "N"],
    is_planted: Bool[np.ndarray, "N"],
) -> VotedScore:
    limit = options.gate.min_probability
    return VotedScore(
        kind=kind,
        labels=labels,
        parts=len(alone),
        planted=int(is_planted.sum()),
        area_alone=area_under_curve(alone, is_planted),
        area_voted=area_under_curve(voted, is_planted),
        recall_alone=recall_at_false_alarms(alone, is_planted),
        recall_voted=recall_at_false_alarms(voted, is_planted),
        false_alarms_alone=float((alone[~is_planted] >= limit).mean()),
        false_alarms_voted=float((voted[~is_planted] >= limit).mean()),
    )
