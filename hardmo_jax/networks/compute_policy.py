"""How exactly a network computes: of its own accord JAX multiplies matrices in few bits on accelerators."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from jax import lax


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputePolicy:
    """Numbers and products of a network. Hashable, so that it can be a static argument of `jit`."""

    precision: Literal["default", "high", "highest"] = "highest"
    """Of products of float32: `highest` is exact everywhere; `high` and `default` are three and one pass of bfloat16
    or TF32 on accelerators, and the same as `highest` on a CPU."""
    numbers: Literal["as weights", "bfloat16"] = "as weights"
    """Inputs and results of products in the backbone. Sums along the way, normalisation, softmax and the head stay in
    the type of the weights."""

    def __post_init__(self) -> None:
        if self.precision not in ("default", "high", "highest"):
            raise ValueError(f"`precision` must be default, high or highest, got {self.precision!r}")
        if self.numbers not in ("as weights", "bfloat16"):
            raise ValueError(f"`numbers` must be 'as weights' or 'bfloat16', got {self.numbers!r}")

    @property
    def products(self) -> lax.Precision:
        """Argument of products."""
        return lax.Precision[self.precision.upper()]

    @property
    def backbone_dtype(self) -> Any:
        """Type that layers of a backbone compute in; None for that of their weights."""
        return jnp.bfloat16 if self.numbers == "bfloat16" else None
