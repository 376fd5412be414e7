"""Tables of planted errors, found and repaired, and what each source of knowledge is worth."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from hardmo_jax.networks.part_scorer import FEATURES
from hardmo_jax.pipelines.evaluation_report import Table
from hardmo_jax.pipelines.planted_benchmark import PlantedScore
from hardmo_jax.pipelines.planted_motion import VotedScore

#: What scorers of the ablation know, each more than the one before it.
KNOWLEDGE: dict[str, tuple[str, ...]] = {
    "points only": ("image_error", "evidence", "seen_points", "body_error"),
    "+ direction": ("direction", "length_ratio", "has_direction"),
    "+ prior": ("implausibility",),
    "+ refit": (
        "cost_drop", "turn_to_refit", "refit_image_error", "refit_implausibility", "refit_cost",
    ),
    "+ lifter and second opinion": (
        "from_guess", "refit_from_guess", "guess_spread", "turn_to_guess", "turn_to_second_opinion",
        "global_turn_to_second_opinion",
    ),
}  # fmt: skip

_MEASURES = {
    "from_base": "from ankle or wrist, mm",
    "angle": "angle, degrees",
    "below_pelvis": "below the pelvis, mm",
    "arm": "PA of arm, mm",
    "body": "MPJPE of body, mm",
}


def known_features() -> dict[str, tuple[str, ...]]:
    """Features of each scorer of the ablation."""
    found: dict[str, tuple[str, ...]] = {}
    so_far: tuple[str, ...] = ()
    for name, features in KNOWLEDGE.items():
        so_far = (*so_far, *features)
        found[name] = so_far
    if set(so_far) != set(FEATURES):
        raise ValueError(f"the ablation must name every feature once, it lacks {set(FEATURES) - set(so_far)}")
    return found


def planted_report(scores: Sequence[PlantedScore], *, ungated: Sequence[PlantedScore] = ()) -> list[Table]:
    """Tables: found, repaired, what it cost the others, and the ablation.

    Args:
        scores: Of each kind of part and label.
        ungated: The same people, with every part replaced that was seen well enough.
    """
    tables = [_found(scores), _repaired(scores), _cost(scores, "Parts that were right")]
    if ungated:
        tables.append(_cost(ungated, "Parts that were right, if everything is refined without a gate"))
    names = list(scores[0].other_areas)
    if names:
        rows = tuple((_name(score), *(_number(score.other_areas[name], 3) for name in names)) for score in scores)
        title = "What is known, and the area under the ROC curve"
        tables.append(Table(title=title, columns=("part, label", *names), rows=rows))
    return tables


def voted_table(scores: Sequence[VotedScore]) -> Table:
    """What the vote of frames is worth on clips."""
    return Table(
        title="Clips, errors that last: each frame by itself, then with the vote of the frames within 0.1 s",
        columns=("part, label", "parts", "planted", "area under ROC", "+ temporal", "recall at 5 % false alarms",
                 "+ temporal", "right ones above p 0.9, %", "+ temporal"),
        rows=tuple(
            (
                f"{score.kind}, {score.labels}", str(score.parts), str(score.planted), _number(score.area_alone, 3),
                _number(score.area_voted, 3), _number(score.recall_alone, 2), _number(score.recall_voted, 2),
                _number(100 * score.false_alarms_alone, 2), _number(100 * score.false_alarms_voted, 2),
            )
            for score in scores
        ),
    )  # fmt: skip


def planted_mapping(scores: Sequence[PlantedScore | VotedScore]) -> list[dict[str, Any]]:
    """The same as plain values; what is no number is null."""
    return [_plain(dataclasses.asdict(score)) for score in scores]


def _found(scores: Sequence[PlantedScore]) -> Table:
    return Table(
        title="Planted errors found",
        columns=("part, label", "parts", "planted", "area under ROC", "recall at 5 % false alarms", "mined: precision",
                 "mined: recall", "refined, of planted", "parts a second"),
        rows=tuple(
            (
                _name(score), str(score.parts), str(score.planted), _number(score.area_under_curve, 3),
                _number(score.recall_at_5_percent, 2), _number(score.precision, 3), _number(score.recall, 2),
                _number(score.refined, 2), _number(score.parts_per_second, 0),
            )
            for score in scores
        ),
    )  # fmt: skip


def _repaired(scores: Sequence[PlantedScore]) -> Table:
    def row(score: PlantedScore, measure: str) -> tuple[str, ...]:
        before, after, clean = (table[measure] for table in (score.before, score.after, score.clean))
        ratio = after / before if before else math.nan
        values = (_number(value, 1) for value in (before, after, clean))
        return _name(score), _MEASURES[measure], *values, _number(ratio, 2)

    rows = [row(score, measure) for score in scores for measure in _MEASURES if not math.isnan(score.before[measure])]
    return Table(
        title="Planted errors repaired: means over those that were replaced",
        columns=("part, label", "error", "planted", "refined", "never planted", "refined / planted"),
        rows=tuple(rows),
    )


def _cost(scores: Sequence[PlantedScore], title: str) -> Table:
    return Table(
        title=title,
        columns=("part, label", "replaced, %", "before, mm", "after, mm", "worst change, mm"),
        rows=tuple(
            (_name(score), _number(100 * score.good_changed, 2), _number(score.good_before, 1),
             _number(score.good_after, 1), _number(score.good_worst, 1))
            for score in scores
        ),
    )  # fmt: skip


def _name(score: PlantedScore) -> str:
    return f"{score.kind}, {score.label_kind}"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
