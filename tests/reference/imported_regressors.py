"""Regressors of checkpoint files at any precision, and their numbers by the names of the references."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardmo_jax.networks import regressors, torch_import, torch_names
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.hmr2_discriminator import Hmr2Discriminator


@contextlib.contextmanager
def precision(dtype):
    """Both precisions in one process."""
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        yield jnp.dtype(dtype)


def regressor(imported, dtype, **changed):
    """Of an imported checkpoint; what a changed module constant has left in caches is forgotten."""
    regressors.forget_structures()
    return regressors.with_arrays(
        imported.network,
        changed.get("options", imported.options),
        changed.get("weights", imported.weights),
        dtype=dtype,
    )


def discriminator(imported, dtype):
    """Graph and state of the discriminator of an imported checkpoint."""
    graph, blank = nnx.split(nnx.eval_shape(lambda: Hmr2Discriminator(policy=ComputePolicy(), rngs=nnx.Rngs(0))))
    leaves = [jnp.asarray(imported.discriminator[path], dtype) for path in regressors.named_weights(blank)]
    return graph, jax.tree.unflatten(jax.tree.structure(blank), leaves)


def in_our_order(name, array, state):
    """A number of PyTorch, such as a gradient, beside ours of the same name."""
    wanted = regressors.named_weights(state)
    target = name.removeprefix("discriminator.") if name.startswith("discriminator.") else None
    path = torch_import._variable(target or torch_names.path_of(name, "hmr2"), wanted)
    return path, np.asarray(wanted[path]), torch_import._fitted(np.asarray(array), tuple(wanted[path].shape))


def relative(ours, theirs):
    """Largest difference by the largest value."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert np.isfinite(ours).all()
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float64).tiny))
