"""Timing contestants side by side: in turn, so that a machine whose speed drifts cannot favour one of them."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import numpy as np

ROUNDS = 9
#: A call shorter than this is repeated within its turn.
_LEAST_SECONDS_A_TURN = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds a call of one contestant."""

    first: float
    """The first call, with everything it compiles."""
    rounds: tuple[float, ...]
    """One figure a round."""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return float(np.median(self.rounds))

    @property
    def least(self) -> float:
        """Fastest round."""
        return min(self.rounds)


def interleave(calls: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, Times]:
    """Time blocking calls in rounds; every round has each of them once, beginning with another one.

    Args:
        calls: By name; each returns when its result is there.
        rounds: Number of rounds.
    """
    first, repeats = {}, {}
    for name, call in calls.items():
        first[name] = _seconds(call, 1)
        repeats[name] = max(1, min(500, round(_LEAST_SECONDS_A_TURN / max(_seconds(call, 1), 1e-6))))
    names, seconds = list(calls), {name: [] for name in calls}
    for turn in range(rounds):
        offset = turn % len(names)
        for name in names[offset:] + names[:offset]:
            seconds[name].append(_seconds(calls[name], repeats[name]))
    return {name: Times(first=first[name], rounds=tuple(seconds[name])) for name in names}


def ratio(slower: Times, faster: Times) -> float:
    """How many times faster, as the median of the ratios of each round."""
    return float(np.median(np.array(slower.rounds) / np.array(faster.rounds)))


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
