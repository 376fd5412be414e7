"""The vector of a fit: what stands where, and that it says the same as body parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import stages, variables

#: Float64: both sides are exact, so only rounding is left.
TOLERANCE_64 = 1e-10


def random_state(body, rng, scale):
    layout = variables.Layout.of(body)
    vector = rng.normal(size=layout.size) * scale
    orient = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return jnp.asarray(vector), jnp.asarray(orient * np.sign(np.linalg.det(orient)))


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_vector_to_params_and_back_is_the_same_body(view, rng):
    with jax.enable_x64(True):
        body = hm.open_body(view=view, dtype=np.float64)
        layout = variables.Layout.of(body)
        vector, orient = random_state(body, rng, 0.4)
        params = layout.to_params(vector, orient)
        again, turned = layout.from_params(params)
        same = layout.to_params(again, turned)
    for ours, theirs in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64)
    assert (params.left_hand_pose is None) == (view == "smpl")


@pytest.mark.parametrize(("view", "size"), [("smpl", 6 + 10 + 69), ("smplh", 6 + 10 + 153)])
def test_groups_cover_the_vector_without_overlap(view, size):
    layout = variables.Layout.of(hm.open_body(view=view))
    masks = [layout.group_mask((group,)) for group in stages.GROUPS]
    assert layout.size == size
    np.testing.assert_array_equal(np.sum(masks, 0), np.ones(size))
    np.testing.assert_array_equal(layout.group_mask(stages.GROUPS), np.ones(size, bool))
    assert masks[stages.GROUPS.index("hand_pose")].sum() == (0 if view == "smpl" else 90)
