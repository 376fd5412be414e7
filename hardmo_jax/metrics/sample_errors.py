"""One number for each sample, and whether there was a truth to take it from."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleErrors:
    """Errors of samples. Build it by `of`, so that what is not valid is NaN."""

    values: Float[np.ndarray, "*batch"]
    """Error of each sample in the unit of its metric; NaN where it is not valid or the prediction is not finite."""
    is_valid: Bool[np.ndarray, "*batch"]
    """Whether the truth suffices for the metric; the prediction has no say in it."""

    @classmethod
    def of(cls, values: Float[np.ndarray, "*batch"], is_valid: Bool[np.ndarray, "*batch"]) -> "SampleErrors":
        """Errors with everything NaN that is not valid."""
        return cls(values=np.asarray(np.where(is_valid, values, np.nan)), is_valid=np.asarray(is_valid))

    @property
    def is_nonfinite(self) -> Bool[np.ndarray, "*batch"]:
        """Samples that have a truth, but a prediction that is no number."""
        return np.asarray(self.is_valid & ~np.isfinite(self.values))
