"""Regression with feedback: a head that is shown its own guess and says by how much it is wrong, a few times over.

Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018, in the form of Kolotouros et al. (SPIN, ICCV
2019): rotations are six numbers each, and there is no activation between the two layers. Their dropout, of training
alone, is left out.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.compute_policy import ComputePolicy


class Initial(nnx.Variable):
    """A guess that heads start from: not trained, and part of every checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeOptions:
    """Size of the head."""

    features: int = 2048
    """Numbers of a feature vector."""
    box_numbers: int = 0
    """Numbers about the box in the picture, which CLIFF adds to the features: 3."""
    hidden: int = 1024
    joints: int = 24
    """Rotations, the root's among them: 24 of SMPL, 22 of SMPL-X."""
    betas: int = 10
    iterations: int = 3

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < (0 if field.name == "box_numbers" else 1):
                raise ValueError(f"`{field.name}` is too small: {getattr(self, field.name)}")

    @property
    def inputs(self) -> int:
        """Numbers that the first layer sees."""
        return self.features + self.box_numbers + 6 * self.joints + self.betas + 3


class IterativeHead(nnx.Module):
    """The head; see the module."""

    def __init__(self, options: IterativeOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.options = options
        layer = {"precision": policy.products, "rngs": rngs}
        # SPIN: Xavier with gain 0.01, so that an untrained head changes its guess by little.
        small = {**layer, "kernel_init": nnx.initializers.variance_scaling(1e-4, "fan_avg", "uniform")}
        self.fc1 = nnx.Linear(options.inputs, options.hidden, **layer)
        self.fc2 = nnx.Linear(options.hidden, options.hidden, **layer)
        self.decpose = nnx.Linear(options.hidden, 6 * options.joints, **small)
        self.decshape = nnx.Linear(options.hidden, options.betas, **small)
        self.deccam = nnx.Linear(options.hidden, 3, **small)
        self.init_pose = Initial(jnp.zeros((1, 6 * options.joints)))
        self.init_shape = Initial(jnp.zeros((1, options.betas)))
        self.init_cam = Initial(jnp.zeros((1, 3)))

    def __call__(
        self, features: Float[AnyArray, "batch F"], box: Float[AnyArray, "batch E"] | None = None
    ) -> tuple[Float[Array, "batch N"], Float[Array, "batch S"], Float[Array, "batch 3"]]:
        """The last guess: rotations (6 numbers a joint), betas, and (s, tx, ty) of the crop.

        Args:
            features: Of the picture.
            box: Numbers about the box, if the head has them.
        """
        seen = features if box is None else jnp.concatenate([features, box], -1)
        batch = features.shape[0]
        pose, betas, camera = (
            jnp.broadcast_to(start[...], (batch, start.shape[-1]))
            for start in (self.init_pose, self.init_shape, self.init_cam)
        )
        for _ in range(self.options.iterations):
            hidden = self.fc2(self.fc1(jnp.concatenate([seen, pose, betas, camera], -1)))
            pose = pose + self.decpose(hidden)
            betas = betas + self.decshape(hidden)
            camera = camera + self.deccam(hidden)
        return pose, betas, camera
