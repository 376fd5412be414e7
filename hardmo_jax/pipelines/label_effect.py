"""What the repair of labels is worth to networks: rows of the poster for networks of each set of labels, side by side.

Scores of several seeds are averaged person by person. People of the test are drawn again and again for intervals; how
far seeds lie apart is told beside them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.pipelines.set_scores import ScoreError, SetScore, part_scalars

#: What is compared, in the poster's order; errors in millimetres.
PARTS = ("body", "hand", "foot")
METRICS = ("mpjpe", "pa_mpjpe")
_RESAMPLES, _LEVEL = 4_000, 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A number, and where it lies with 95 % of the people that might have been drawn."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectRow:
    """Networks of one set of labels, averaged over seeds."""

    labels: str
    """Which set: `normal`, `refined`, `true`."""
    num_seeds: int
    errors_mm: dict[str, Interval]
    """By `mpjpe_body`, `pa_mpjpe_hand` and so on."""
    seed_spreads_mm: dict[str, float]
    """Standard deviation of a seed's mean error; NaN of one seed."""
    pck: dict[str, float]
    """By `pck01_body`, `pck05_hand` and so on; shares."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovered:
    """Share of the way from networks of normal labels to those of true ones."""

    gaps_mm: dict[str, Interval]
    """Errors with normal labels minus those with true ones."""
    gains_mm: dict[str, Interval]
    """Errors with normal labels minus those with refined ones."""
    shares: dict[str, Interval | None]
    """Gain by gap; None where the gap is not surely above zero, as a share of it then means nothing."""


def effect_row(labels: str, scores: Sequence[SetScore]) -> EffectRow:
    """Means of the seeds of one set of labels.

    Args:
        labels: Name of the set.
        scores: One a seed, on the same people.

    Raises:
        ScoreError: If they are of different people, or an error is missing.
    """
    _check_people(scores)
    drawn = _drawn(len(scores[0].ids))
    errors = {name: _of_people(scores, name) for name in _names()}
    told = [part_scalars(one) for one in scores]
    return EffectRow(
        labels=labels,
        num_seeds=len(scores),
        errors_mm={name: _interval(values.mean(), values[drawn].mean(-1)) for name, values in errors.items()},
        seed_spreads_mm={
            name: float(np.std([one[f"{name}_mm"] for one in told], ddof=1)) if len(told) > 1 else float("nan")
            for name in errors
        },
        pck={
            name: float(np.mean([one[name] for one in told])) for name in told[0] if name.startswith("pck")
        },
    )  # fmt: skip


def recovered(normal: Sequence[SetScore], refined: Sequence[SetScore], true: Sequence[SetScore]) -> Recovered:
    """How much of what wrong hands and feet cost comes back with their repair.

    Args:
        normal: Scores of networks of normal labels, one a seed.
        refined: The same of repaired labels.
        true: The same of true labels.

    Raises:
        ScoreError: If they are of different people, or an error is missing.
    """
    _check_people([*normal, *refined, *true])
    drawn = _drawn(len(normal[0].ids))
    gaps, gains, shares = {}, {}, {}
    for name in _names():
        first, second, best = (_of_people(scores, name) for scores in (normal, refined, true))
        gap, gain = first - best, first - second
        gaps[name] = _interval(gap.mean(), gap[drawn].mean(-1))
        gains[name] = _interval(gain.mean(), gain[drawn].mean(-1))
        shares[name] = None
        if gaps[name].low > 0:
            # A draw without a gap has no share; of gaps that are surely there hardly any is.
            each = gap[drawn].mean(-1)
            shares[name] = _interval(gain.mean() / gap.mean(), (gain[drawn].mean(-1) / each)[each > 0])
    return Recovered(gaps_mm=gaps, gains_mm=gains, shares=shares)


def _check_people(scores: Sequence[SetScore]) -> None:
    if len({one.ids for one in scores}) != 1:
        raise ScoreError("networks were scored on different people; score all on one set")


def _names() -> list[str]:
    return [f"{metric}_{part}" for part in PARTS for metric in METRICS]


def _of_people(scores: Sequence[SetScore], name: str) -> Float[np.ndarray, "N"]:
    """Errors of each person, millimetres, averaged over seeds."""
    metric, _, part = name.rpartition("_")
    found = []
    for one in scores:
        values = [errors for key, errors in one.errors.items() if key.startswith(f"{metric}/{part}_")]
        if len(values) != 1 or not np.isfinite(values[0]).all():
            raise ScoreError(f"{one.method}: {metric} of {part} is not there of everybody")
        found.append(1000 * values[0])
    return np.mean(found, axis=0)


def _drawn(count: int) -> np.ndarray:
    """People of each draw."""
    return np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))


def _interval(value: float, draws: Float[np.ndarray, "R"]) -> Interval:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value=float(value), low=float(low), high=float(high))
