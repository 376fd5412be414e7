"""How well people keep their numbers in a video: IDF1 (Ristani et al., ECCV workshops 2016)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityScore:
    """Counts of sightings, over all frames."""

    num_right: int
    """True sightings that carry the number that stands for their person."""
    num_true: int
    """True sightings."""
    num_told: int
    """Sightings that were told."""

    @property
    def idf1(self) -> float:
        """Twice the right ones over all true and told ones; 1 if there is nobody and nobody was told."""
        total = self.num_true + self.num_told
        return 2 * self.num_right / total if total else 1.0


def identity_score(matches: Sequence[Sequence[tuple[int, int]]], num_true: int, num_told: int) -> IdentityScore:
    """Score numbers by the assignment of numbers to people that makes most sightings right, one number a person.

    Args:
        matches: By frame, pairs of a person and the number that they were given, by where they are.
        num_true: True sightings, matched or not.
        num_told: Sightings that were told, matched or not.
    """
    pairs = [pair for frame in matches for pair in frame]
    people = sorted({person for person, _ in pairs})
    numbers = sorted({number for _, number in pairs})
    counts = np.zeros((len(people), len(numbers)), int)
    for person, number in pairs:
        counts[people.index(person), numbers.index(number)] += 1
    rows, columns = optimize.linear_sum_assignment(-counts)
    return IdentityScore(num_right=int(counts[rows, columns].sum()), num_true=num_true, num_told=num_told)
