"""HardMo-Hand and HardMo-Foot: the hands and feet among labels that are wrong although the body is right.

A label that is wrong all over is a failed fit, and no lesson about hands. A part of which hardly anything was seen
cannot be repaired from the picture; it is listed as such, and never counted as good.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts

Subset = Literal["hand", "foot"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
#: What is told of labels without a category.
NO_CATEGORY = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineOptions:
    """What is mined. The limits of HardMo's authors are not known; these are ours."""

    min_probability: float = 0.9
    """Of being wrong, from which a part is taken for wrong."""
    most_body_error: float = 0.03
    """Body error up to which a body is right, as a fraction of the box."""
    least_confidence: float = 0.5
    """Mean confidence of the points of a part that were seen, from which they are good enough to repair it."""
    apart_seconds: float = 0.5
    """The same part of the same person is taken once in this time: the surest one."""
    most_per_video: int | None = 200
    """Parts of one video or photo; None takes all."""
    most_per_category: int | None = None
    """Parts of one kind of motion; None takes all."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability <= 1 or not 0 <= self.least_confidence <= 1:
            raise ValueError(f"probabilities and confidences lie in [0, 1], got {self}")
        if not (self.most_body_error > 0 and self.apart_seconds >= 0):
            raise ValueError(f"`most_body_error` must be positive and `apart_seconds` not negative, got {self}")
        for name in ("most_per_video", "most_per_category"):
            quota = getattr(self, name)
            if quota is not None and quota < 1:
                raise ValueError(f"`{name}` must be positive, or None for all, got {quota}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinedPart:
    """One foot or hand of one label."""

    row: int
    """Place among the labels."""
    part: str
    """Such as `left_hand`."""
    probability: float
    """That it is wrong; 0 where nothing of it was seen."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mined:
    """What was found, the surest first."""

    wrong: tuple[MinedPart, ...]
    """All wrong parts of right bodies of which enough was seen: those to repair."""
    chosen: tuple[MinedPart, ...]
    """Those of them that make the subset: near-duplicates thinned, within the quotas."""
    right: tuple[MinedPart, ...]
    """Parts of right bodies that are right by their probability, and those that a person called right."""
    unrepairable: tuple[MinedPart, ...]
    """Parts of any usable label of which too little was seen to say or repair anything."""
    bodies_wrong: int
    """Labels left out because of their body, but for parts that a person called wrong."""


def mine(rows: Sequence[LabelRow], subset: Subset, options: MineOptions) -> Mined:
    """Find the wrong hands or feet of labels.

    Args:
        rows: One version of each label, with scores. Failed fits and labels without scores are left out. Parts that a
            person called wrong are wrong whatever their scores, others right. Of labels that a person made or accepted
            nothing else is looked at, and nothing at all of rejected ones.
        subset: `hand` or `foot`.
        options: Limits and quotas.
    """
    wrong, right, unrepairable = [], [], []
    bodies_wrong = 0
    for place, row in enumerate(rows):
        if not row.is_usable or row.review == "rejected":
            continue
        parts = tuple(f"{side}_{subset}" for side in layouts.SIDES)
        if row.has_a_persons_word:
            parts = tuple(part for part in parts if row.review_by_part[part] == "wrong")
            if not parts:
                continue
        body_error = row.error_by_part["body"]
        is_body_right = body_error is not None and body_error <= options.most_body_error
        bodies_wrong += not is_body_right
        for part in parts:
            reason, word = row.reason_by_part[part], row.review_by_part[part]
            if reason is None and word is None:
                continue
            probability = row.probability_wrong(part)
            found = MinedPart(row=place, part=part, probability=probability or 0.0)
            if word == "right":
                right.append(found)
            elif probability is None or reason == "unrepairable" or not _is_seen_well(row, part, options):
                unrepairable.append(found)
            # Who calls a hand wrong, and not the person, takes the body for right; without any point nothing is known.
            elif is_body_right or (word == "wrong" and body_error is not None):
                (wrong if probability >= options.min_probability else right).append(found)
    ranked = tuple(sorted(wrong, key=lambda found: (-found.probability, *_place(rows[found.row]), found.part)))
    return Mined(
        wrong=ranked,
        chosen=_within_quotas(rows, _thinned(rows, ranked, options), options),
        right=tuple(right),
        unrepairable=tuple(unrepairable),
        bodies_wrong=bodies_wrong,
    )


def category_of(row: LabelRow) -> str:
    """Kind of motion of a label, `NO_CATEGORY` without one."""
    return row.category or NO_CATEGORY


def _is_seen_well(row: LabelRow, part: str, options: MineOptions) -> bool:
    """Whether the points of a part that were seen were seen well on the average."""
    points = layouts.get_layout(row.keypoint_layout).points
    own = row.keypoint_confidence[[layouts.part_of(point) == part for point in points]]
    seen = own[own >= SEEN]
    return len(seen) > 0 and float(seen.mean()) >= options.least_confidence


def _place(row: LabelRow) -> tuple[str, int, int]:
    """What orders parts of equal probability, whatever the order of the labels."""
    return row.source_path, row.frame_index, row.track_id


def _thinned(rows: Sequence[LabelRow], ranked: Sequence[MinedPart], options: MineOptions) -> list[MinedPart]:
    """Without those near which in time a surer one was taken."""
    taken: dict[tuple[str, str, int, str], list[float]] = {}
    kept = []
    for found in ranked:
        row = rows[found.row]
        if row.time_seconds is None:
            kept.append(found)
            continue
        times = taken.setdefault((row.source_path, row.source_sha256, row.track_id, found.part), [])
        if all(abs(row.time_seconds - time) >= options.apart_seconds for time in times):
            times.append(row.time_seconds)
            kept.append(found)
    return kept


def _within_quotas(
    rows: Sequence[LabelRow], ranked: Sequence[MinedPart], options: MineOptions
) -> tuple[MinedPart, ...]:
    """The surest ones of each video and category."""
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for found in ranked:
        row = rows[found.row]
        limits = (
            (("video", f"{row.source_sha256}/{row.source_path}"), options.most_per_video),
            (("category", category_of(row)), options.most_per_category),
        )
        if all(limit is None or counts.get(key, 0) < limit for key, limit in limits):
            kept.append(found)
            for key, _ in limits:
                counts[key] = counts.get(key, 0) + 1
    return tuple(kept)
