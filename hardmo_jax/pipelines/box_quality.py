"""People who are seen badly: who is left out for it, and how many are, by reason."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from hardmo_jax.perception.quality import REASONS
from hardmo_jax.pipelines.sightings import Sighting


@runtime_checkable
class WithReasons(Protocol):
    """A label, or what is noted of one."""

    @property
    def quality_reasons(self) -> Sequence[str] | None:
        """Why there is doubt that the person is seen well enough."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """People who get no label since they are seen too badly."""

    num_people: int = 0
    """Once a picture."""
    by_reason: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many of them for which reason; for several some."""

    @property
    def phrase(self) -> str:
        """Such as `2 people were left out (1 small, 2 blurred)`."""
        people = "1 person was" if self.num_people == 1 else f"{self.num_people} people were"
        return f"{people} left out ({counted_reasons(self.by_reason)})"


def counted_reasons(by_reason: dict[str, int]) -> str:
    """Such as `1 small, 2 blurred`."""
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in by_reason.items())


def without_badly_seen(sightings: Sequence[Sighting], drop: Sequence[str]) -> tuple[list[Sighting], LeftOut]:
    """People without those whom a reason of `drop` speaks against, and how many these are.

    In a video that leaves a gap in the track, which is filled in as any other if it is short.
    """
    kept, reasons = [], []
    for sighting in sightings:
        own = [] if sighting.quality is None else [one for one in sighting.quality.reasons if one in drop]
        if own:
            reasons.append(own)
        else:
            kept.append(sighting)
    return kept, LeftOut(num_people=len(reasons), by_reason=_counts(reasons))


def reason_counts(labels: Iterable[WithReasons]) -> dict[str, int]:
    """How many labels carry which reason; without reasons that none carries."""
    return _counts(label.quality_reasons or () for label in labels)


def _counts(reasons: Iterable[Sequence[str]]) -> dict[str, int]:
    found = Counter(reason for own in reasons for reason in own)
    return {reason: found[reason] for reason in REASONS if found[reason]}
