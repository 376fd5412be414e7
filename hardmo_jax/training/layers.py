"""Small networks of a few dense layers, learnt in seconds from a table that is held in memory."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hardmo_jax.array_types import Array, Float, Int

Layers = list[tuple[Float[Array, "_ _"], Float[Array, "_"]]]


def apply_layers(
    layers: Layers, inputs: Float[Array, "*batch I"], activation: Callable[[Array], Array]
) -> Float[Array, "*batch O"]:
    """What the last layer gives; the activation stands between layers."""
    hidden = inputs
    for place, (kernel, bias) in enumerate(layers):
        hidden = hidden @ kernel + bias
        if place + 1 < len(layers):
            hidden = activation(hidden)
    return hidden


def learn_layers(
    loss: Callable[[Layers, Int[Array, "B"]], Float[Array, ""]],
    sizes: Sequence[int],
    num_rows: int,
    rng: np.random.Generator,
    *,
    batch: int,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    on_step: Callable[[int], None] = lambda step: None,
) -> tuple[tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_"]], ...]:
    """Layers by AdamW with a cosine schedule.

    Args:
        loss: Of layers on some rows of the table.
        sizes: Width of the inputs, of hidden layers, and of the output.
        num_rows: Of the table.
        rng: First weights and batches are drawn from it.
        batch: Rows of a step.
        steps: How many.
        learning_rate: At the beginning.
        weight_decay: Of AdamW.
        on_step: Told each step once it is taken.
    """
    layers: Layers = [
        (jnp.asarray(rng.normal(size=(a, b)) / np.sqrt(a), jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]
    optimizer = optax.adamw(optax.cosine_decay_schedule(learning_rate, steps), weight_decay=weight_decay)

    @jax.jit
    def step(layers: Layers, state: optax.OptState, rows: Array) -> tuple:
        updates, state = optimizer.update(jax.grad(loss)(layers, rows), state, layers)
        return optax.apply_updates(layers, updates), state

    state = optimizer.init(layers)
    for number in range(steps):
        layers, state = step(layers, state, jnp.asarray(rng.integers(num_rows, size=batch)))
        on_step(number)
    return tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in layers)
