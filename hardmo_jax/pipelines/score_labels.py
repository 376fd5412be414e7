"""Scores of the feet and hands of labels: how probably each is wrong and why, kept in the label.

The lifter and a fit from its guess, by the keypoints of the label alone, are the second opinion; see
`hardcase.part_scores`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.limb_ends import LIMB_ENDS, LimbEndOptions
from hardmo_jax.hardcase import temporal
from hardmo_jax.hardcase.part_scores import PartScores, labelled_people, score_part
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.networks.part_scorer import PartScorer, packaged_part_scorer
from hardmo_jax.pipelines.label_rows import observations_of_labels, params_of_labels
from hardmo_jax.pipelines.second_opinion import PEOPLE_AT_ONCE, second_opinion

Progress = Callable[[str, int, int | None], None]
#: Columns of the label and what they are in `PartScores`.
_COLUMNS = {
    "direction_error_by_part": "direction_degrees",
    "turn_by_part": "turn_degrees",
    "disagreement_by_part": "disagreement_degrees",
    "cost_drop_by_part": "cost_drop",
    "implausibility_by_part": "implausibility",
    "refit_error_by_part": "refit_image_error",
}


def score_labels(
    rows: Sequence[LabelRow],
    body: BodyModel,
    *,
    scorer: PartScorer | None = None,
    solve: LimbEndOptions | None = None,
    around: tuple[Sequence[LabelRow], Sequence[LabelRow]] = ((), ()),
    progress: Progress | None = None,
) -> list[LabelRow]:
    """Labels with the scores of their feet and hands, where they have none yet.

    Args:
        rows: One version of each label, all of this body. Failed fits stay without scores.
        body: Of the labels.
        scorer: None takes that of the package.
        solve: Of the parts anew; None takes that which the scorer was trained with.
        around: Labels of the frame before and after these, where they are some of a video's: people are compared with
            themselves there.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The labels in their order; those that had all scores are the same objects.
    """
    scored = list(rows)
    lacking = [place for place, row in enumerate(rows) if row.is_usable and lacks_scores(row)]
    seen_at_all = [place for place in lacking if (rows[place].keypoint_confidence >= SEEN).any()]
    for place in set(lacking) - set(seen_at_all):
        for part in LIMB_ENDS:
            scored[place] = with_part(scored[place], part, {"reason_by_part": "unrepairable"})
    for places, part, scores in scores_of_labels(
        rows, seen_at_all, body, scorer=scorer or packaged_part_scorer(), solve=solve, progress=progress
    ):
        for at, place in enumerate(places):
            if rows[place].reason_by_part[part] is None:
                scored[place] = with_part(scored[place], part, _columns(scores, at))
    before, after = around
    return with_inconsistency([*before, *scored, *after])[len(before) : len(before) + len(scored)]


def scores_of_labels(
    rows: Sequence[LabelRow],
    places: Sequence[int],
    body: BodyModel,
    *,
    parts: Sequence[str] = LIMB_ENDS,
    scorer: PartScorer,
    solve: LimbEndOptions | None = None,
    progress: Progress | None = None,
) -> Iterable[tuple[list[int], str, PartScores]]:
    """Scores of some labels, some at a time.

    Args:
        rows: Labels.
        places: Which of them.
        body: Of the labels.
        parts: Feet and hands.
        scorer: Says how probably they are wrong.
        solve: None takes that which the scorer was trained with.
        progress: Told the stage, what is done, and of how much.

    Yields:
        Places, part, and its scores, one a place.
    """
    report = progress or (lambda stage, done, total: None)
    if places:
        report("score", 0, len(places))
    by_layout: dict[str, list[int]] = {}
    for place in places:
        by_layout.setdefault(rows[place].keypoint_layout, []).append(place)
    done = 0
    for group in by_layout.values():
        # Pieces of one size: another size would be another program to compile.
        for piece in np.array_split(group, math.ceil(len(group) / PEOPLE_AT_ONCE)):
            some = piece.tolist()
            chosen = [rows[place] for place in some]
            observations, params = observations_of_labels(chosen), params_of_labels(chosen, body)
            people = labelled_people(body, observations, params, second_opinion(body, observations))
            for part in parts:
                yield some, part, score_part(people, part, scorer=scorer, options=solve or LimbEndOptions())
            done += len(some)
            report("score", done, len(places))


def lacks_scores(row: LabelRow) -> bool:
    """Whether a foot or hand of a label was not scored."""
    return any(row.reason_by_part[part] is None for part in LIMB_ENDS)


def with_part(row: LabelRow, part: str, values: Mapping[str, Any]) -> LabelRow:
    """A label with other values of one part, by the names of its mappings."""
    return dataclasses.replace(row, **{name: {**getattr(row, name), part: value} for name, value in values.items()})


def without_scores(row: LabelRow, part: str) -> LabelRow:
    """A label of which a part is yet to be scored."""
    # How far it is from the frames around is of the former pose, too; `with_inconsistency` tells it anew.
    return with_part(row, part, dict.fromkeys(("wrong_by_part", "reason_by_part", "inconsistency_by_part", *_COLUMNS)))


def with_inconsistency(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Labels with how far each part is from the frames around it, by their poses as they are now."""
    found = list(rows)
    for part in LIMB_ENDS:
        for place, degrees in enumerate(temporal.inconsistency_degrees(rows, part)):
            value = float(np.float32(degrees)) if np.isfinite(degrees) else None
            if found[place].inconsistency_by_part[part] != value:
                found[place] = with_part(found[place], part, {"inconsistency_by_part": value})
    return found


def _columns(scores: PartScores, at: int) -> dict[str, Any]:
    """One label's scores as its columns."""
    values: dict[str, Any] = {name: _value(getattr(scores, field)[at]) for name, field in _COLUMNS.items()}
    # The network was never shown parts of which nothing was seen.
    is_known = scores.own_points[at] > 0 and np.isfinite(scores.wrong[at])
    values["wrong_by_part"] = float(np.clip(scores.wrong[at], 0, 1)) if is_known else None
    values["reason_by_part"] = scores.reason[at]
    return values


def _value(number: float | np.floating) -> float | None:
    return max(float(number), 0.0) if np.isfinite(number) else None
