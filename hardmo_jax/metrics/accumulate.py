"""Sums over samples that can be kept, stored and merged: shards and machines add up to what one run would give.

Values are not changed but made anew. The state of each is plain arrays (`to_mapping`), fit for an npz file.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.metrics import keypoints
from hardmo_jax.metrics.sample_errors import SampleErrors


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanAccumulator:
    """Mean of errors over the samples that have a truth."""

    total: float = 0.0
    """Sum of the finite errors."""
    num_samples: int = 0
    """Number of them."""
    num_nonfinite: int = 0
    """Samples with a truth whose error is NaN or infinite. They cannot be averaged, so a mean of a method that has any
    is too good, and they must be printed beside it."""

    def update(
        self, values: Float[np.ndarray, "*batch"], is_valid: Bool[np.ndarray, "*batch"] | None = None
    ) -> "MeanAccumulator":
        """Add samples.

        Args:
            values: Errors.
            is_valid: Samples that have a truth; None if all have.

        Raises:
            ValueError: If the shapes differ.
        """
        mask = np.ones(values.shape, bool) if is_valid is None else is_valid
        if mask.shape != values.shape:
            raise ValueError(f"values are {values.shape}, the mask is {mask.shape}; expected one truth value for each")
        is_summed = mask & np.isfinite(values)
        return self.merge(
            MeanAccumulator(
                total=float(values[is_summed].sum(dtype=np.float64)),
                num_samples=int(is_summed.sum()),
                num_nonfinite=int((mask & ~is_summed).sum()),
            )
        )

    def add(self, errors: SampleErrors) -> "MeanAccumulator":
        """Add the errors of samples."""
        return self.update(errors.values, errors.is_valid)

    def merge(self, other: "MeanAccumulator") -> "MeanAccumulator":
        """Both together. Counts are exact in any order, sums to the rounding of double precision."""
        return MeanAccumulator(
            total=self.total + other.total,
            num_samples=self.num_samples + other.num_samples,
            num_nonfinite=self.num_nonfinite + other.num_nonfinite,
        )

    @property
    def mean(self) -> float:
        """Mean of the finite errors; NaN if there are none."""
        return self.total / self.num_samples if self.num_samples else float("nan")

    def to_mapping(self) -> dict[str, np.ndarray]:
        """State as arrays."""
        return {
            "total": np.asarray(self.total, np.float64),
            "num_samples": np.asarray(self.num_samples, np.int64),
            "num_nonfinite": np.asarray(self.num_nonfinite, np.int64),
        }

    @classmethod
    def from_mapping(cls, state: Mapping[str, np.ndarray]) -> "MeanAccumulator":
        """Inverse of `to_mapping`.

        Raises:
            ValueError: If an entry is missing, unknown or no single number.
        """
        _check_state(cls.__name__, state, {"total": 0, "num_samples": 0, "num_nonfinite": 0})
        return cls(
            total=float(state["total"]),
            num_samples=int(state["num_samples"]),
            num_nonfinite=int(state["num_nonfinite"]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PckAccumulator:
    """Hits of each keypoint at each threshold."""

    thresholds: Float[np.ndarray, "T"]
    """Fractions of the box side."""
    num_hits: Int[np.ndarray, "T K"]
    """Predictions nearer than the threshold."""
    num_counted: Int[np.ndarray, "K"]
    """Keypoints with truth."""

    @classmethod
    def empty(cls, thresholds: tuple[float, ...], num_keypoints: int) -> "PckAccumulator":
        """Nothing counted yet."""
        return cls(
            thresholds=np.asarray(thresholds, np.float64),
            num_hits=np.zeros((len(thresholds), num_keypoints), np.int64),
            num_counted=np.zeros(num_keypoints, np.int64),
        )

    def update(
        self, hits: Bool[np.ndarray, "*batch T K"], is_counted: Bool[np.ndarray, "*batch K"]
    ) -> "PckAccumulator":
        """Add images, as `keypoints.pck_hits` gives them.

        Raises:
            ValueError: If the thresholds or keypoints are not those counted here.
        """
        wanted = self.num_hits.shape
        if hits.shape[-2:] != wanted or hits.shape[:-2] + hits.shape[-1:] != is_counted.shape:
            raise ValueError(
                f"hits are {hits.shape}, counted {is_counted.shape}; expected (..., {wanted[0]}, {wanted[1]}) and "
                f"(..., {wanted[1]}): {wanted[0]} thresholds of {wanted[1]} keypoints"
            )
        return dataclasses.replace(
            self,
            num_hits=self.num_hits + hits.reshape(-1, *wanted).sum(0, dtype=np.int64),
            num_counted=self.num_counted + is_counted.reshape(-1, wanted[1]).sum(0, dtype=np.int64),
        )

    def merge(self, other: "PckAccumulator") -> "PckAccumulator":
        """Both together, exactly.

        Raises:
            ValueError: If thresholds or keypoints differ.
        """
        if self.num_hits.shape != other.num_hits.shape or not np.array_equal(self.thresholds, other.thresholds):
            raise ValueError(
                f"cannot merge PCK at {other.thresholds.tolist()} of {other.num_hits.shape[1]} keypoints into "
                f"{self.thresholds.tolist()} of {self.num_hits.shape[1]}; count both under the same protocol"
            )
        return dataclasses.replace(
            self, num_hits=self.num_hits + other.num_hits, num_counted=self.num_counted + other.num_counted
        )

    @property
    def per_keypoint(self) -> Float[np.ndarray, "T K"]:
        """Share of hits of each keypoint; NaN for keypoints without any truth."""
        return keypoints.pck_from_counts(self.num_hits, self.num_counted)[0]

    @property
    def mean(self) -> Float[np.ndarray, "T"]:
        """Plain mean of the shares over the keypoints that have any truth; NaN if none has."""
        return keypoints.pck_from_counts(self.num_hits, self.num_counted)[1]

    def to_mapping(self) -> dict[str, np.ndarray]:
        """State as arrays."""
        return {"thresholds": self.thresholds, "num_hits": self.num_hits, "num_counted": self.num_counted}

    @classmethod
    def from_mapping(cls, state: Mapping[str, np.ndarray]) -> "PckAccumulator":
        """Inverse of `to_mapping`.

        Raises:
            ValueError: If an entry is missing or unknown, or the shapes do not fit each other.
        """
        _check_state(cls.__name__, state, {"thresholds": 1, "num_hits": 2, "num_counted": 1})
        thresholds, num_hits, num_counted = (state[name] for name in ("thresholds", "num_hits", "num_counted"))
        if num_hits.shape != (*thresholds.shape, *num_counted.shape):
            raise ValueError(
                f"PckAccumulator: {thresholds.shape} thresholds, {num_counted.shape} counts and {num_hits.shape} hits "
                "do not fit; expected (T), (K) and (T, K)"
            )
        return cls(
            thresholds=np.asarray(thresholds, np.float64),
            num_hits=np.asarray(num_hits, np.int64),
            num_counted=np.asarray(num_counted, np.int64),
        )


def _check_state(kind: str, state: Mapping[str, np.ndarray], axes: dict[str, int]) -> None:
    """Raise `ValueError` unless a state has these entries, each with that number of axes."""
    if set(state) != set(axes):
        raise ValueError(
            f"{kind}: the state holds {sorted(state)}, expected {sorted(axes)}; was it written by another?"
        )
    for name, number in axes.items():
        if np.ndim(state[name]) != number:
            raise ValueError(f"{kind}: {name} has {np.ndim(state[name])} axes, expected {number}")
