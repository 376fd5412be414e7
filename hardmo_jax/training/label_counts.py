"""How many people of a batch have which labels: what means over people with labels are divided by.

A batch that is cut into parts (`StepOptions.accumulate`) has other counts in each; means of parts are then divided by
those of the whole batch, so that the parts add up to it.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import Array, Float
from hardmo_jax.training.hmr2_loss import Hmr2Target


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """People with each label, at least one; of a part, its share of those of the whole batch."""

    placed: Float[Array, ""]
    """With some point in space."""
    turned: Float[Array, ""]
    """With an orientation."""
    posed: Float[Array, ""]
    """With a pose."""
    shaped: Float[Array, ""]
    """With a shape."""
    labelled: Float[Array, ""]
    """With an orientation and a pose."""


def label_counts(target: Hmr2Target, *, parts: int = 1) -> LabelCounts:
    """Counts of a batch.

    Args:
        target: Its labels.
        parts: That it is cut into.
    """

    def count(has: Array) -> Float[Array, ""]:
        return jnp.maximum(jnp.sum(jnp.asarray(has) > 0), 1) / parts

    return LabelCounts(
        placed=count(jnp.sum(jnp.asarray(target.confidence_3d), -1)),
        turned=count(target.has_global_orient),
        posed=count(target.has_body_pose),
        shaped=count(target.has_betas),
        labelled=count(jnp.asarray(target.has_global_orient) * jnp.asarray(target.has_body_pose)),
    )
