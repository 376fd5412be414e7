"""The discriminator of HMR 2.0: is a pose, joint by joint and as a whole, and a shape, one of motion capture?

Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018, in the form of Goel et al. (4DHumans, ICCV
2023). Of use in training only.
"""

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.compute_policy import ComputePolicy

NUM_JOINTS, NUM_BETAS = 23, 10
_WIDTH, _WHOLE_WIDTH = 32, 1024


class Hmr2Discriminator(nnx.Module):
    """The network; see the module."""

    def __init__(self, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        layer = {"precision": policy.products, "rngs": rngs}
        # Convolutions of one joint at a time in the sources: the same layer for every joint.
        self.D_conv1 = nnx.Linear(9, _WIDTH, **layer)
        self.D_conv2 = nnx.Linear(_WIDTH, _WIDTH, **layer)
        self.pose_out = nnx.List([nnx.Linear(_WIDTH, 1, **layer) for _ in range(NUM_JOINTS)])
        self.betas_fc1 = nnx.Linear(NUM_BETAS, 10, **layer)
        self.betas_fc2 = nnx.Linear(10, 5, **layer)
        self.betas_out = nnx.Linear(5, 1, **layer)
        self.D_alljoints_fc1 = nnx.Linear(NUM_JOINTS * _WIDTH, _WHOLE_WIDTH, **layer)
        self.D_alljoints_fc2 = nnx.Linear(_WHOLE_WIDTH, _WHOLE_WIDTH, **layer)
        self.D_alljoints_out = nnx.Linear(_WHOLE_WIDTH, 1, **layer)

    def __call__(
        self, body_pose: Float[AnyArray, "batch 23 3 3"], betas: Float[AnyArray, "batch 10"]
    ) -> Float[Array, "batch 25"]:
        """Near one for what looks real: 23 joints, then the shape, then all joints together.

        Args:
            body_pose: Rotation matrices without the root.
            betas: Shape, standard deviations.
        """
        batch = body_pose.shape[0]
        joints = nnx.relu(self.D_conv1(body_pose.reshape(batch, NUM_JOINTS, 9)))
        joints = nnx.relu(self.D_conv2(joints))
        single = [layer(joints[:, place]) for place, layer in enumerate(self.pose_out)]
        shape = self.betas_out(nnx.relu(self.betas_fc2(nnx.relu(self.betas_fc1(betas)))))
        # Channels before joints, as images are laid out in the sources.
        whole = jnp.swapaxes(joints, 1, 2).reshape(batch, -1)
        whole = self.D_alljoints_out(nnx.relu(self.D_alljoints_fc2(nnx.relu(self.D_alljoints_fc1(whole)))))
        return jnp.concatenate([*single, shape, whole], -1)
