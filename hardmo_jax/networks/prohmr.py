"""ProHMR: a ResNet-50, and a density of poses given what it sees, of which the mode and samples are bodies.

Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021. Shape and camera follow from the
picture alone, and are the same for all samples.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import regressor_output
from hardmo_jax.networks.backbones.resnet import Resnet, ResnetOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.flows import conditional_glow
from hardmo_jax.networks.flows.conditional_glow import ConditionalGlow, GlowOptions
from hardmo_jax.networks.heads.iterative import Initial
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Sides of the square crop, pixels.
IMAGE_SIZE = 224
#: Numbers of a weak camera.
_CAMERA = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProhmrOptions:
    """Size of the network; the default is the published one."""

    backbone: ResnetOptions = ResnetOptions()
    flow: GlowOptions = GlowOptions()
    head_hidden: int = 1024
    """Numbers within the head of shape and camera."""
    betas: int = 10
    rot6d_layout: Rot6dLayout = "hmr2"

    def __post_init__(self) -> None:
        if self.backbone.features != self.flow.context:
            raise ValueError(f"the flow reads {self.flow.context} features, the backbone has {self.backbone.features}")
        if self.flow.features % 6:
            raise ValueError(f"rotations have 6 numbers each, the flow {self.flow.features}, which are not so many")
        if min(self.head_hidden, self.betas) < 1:
            raise ValueError(f"`head_hidden` and `betas` must be positive, got {self.head_hidden} and {self.betas}")


class Prohmr(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: ProhmrOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        self.backbone = Resnet(options.backbone, policy=policy, rngs=rngs)
        self.flow = ConditionalGlow(options.flow, policy=policy, rngs=rngs)
        self.head = ShapeHead(options, policy=policy, rngs=rngs)

    def __call__(self, images: Float[AnyArray, "batch 224 224 3"]) -> RegressorOutput:
        """The most likely body of each crop.

        Args:
            images: Square crops of 224 pixels, RGB, normalised by mean and spread of ImageNet.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images))

    def features(
        self, images: Float[AnyArray, "batch 224 224 3"], *, is_training: bool = False
    ) -> Float[Array, "batch C"]:
        """What the backbone sees in crops, averaged over the picture.

        Args:
            images: As in the call.
            is_training: Whether batches are normalised by themselves, and remembered.

        Raises:
            ValueError: If the crops are of another size.
        """
        if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"`images` must be (batch, 224, 224, 3), got {tuple(images.shape)}")
        return jnp.mean(self.backbone(images, is_training=is_training), (1, 2))

    def from_features(self, features: Float[Array, "batch C"]) -> RegressorOutput:
        """The most likely bodies of what the backbone sees."""
        return self.from_noise(features, jnp.zeros((features.shape[0], self.flow.features), features.dtype))

    def from_noise(
        self, features: Float[AnyArray, "batch C"], noise: Float[AnyArray, "batch *samples F"]
    ) -> RegressorOutput:
        """Bodies that noise stands for.

        Args:
            features: Of the crops.
            noise: One vector a crop, or several; zeros are the mode, normal noise samples of the density.

        Returns:
            Bodies with the batch axes of the noise. `log_prob` is of the six numbers a rotation as they leave the
            flow, not of rotations.
        """
        noise, features = jnp.asarray(noise), jnp.asarray(features)
        betas, camera = self.head(features)
        ones = [1] * (noise.ndim - 2)
        features, betas, camera = (each.reshape(len(each), *ones, each.shape[-1]) for each in (features, betas, camera))
        batch = noise.shape[:-1]
        return regressor_output.output_of_rot6d(
            self.flow.inverse(noise, features),
            jnp.broadcast_to(betas, (*batch, betas.shape[-1])),
            jnp.broadcast_to(camera, (*batch, _CAMERA)),
            self.layout,
            log_prob=conditional_glow.log_normal(noise) + self.flow.log_volume(),
        )


class ShapeHead(nnx.Module):
    """Shape and camera of features: two layers, added to a guess."""

    def __init__(self, options: ProhmrOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        layer = {"precision": policy.products, "rngs": rngs}
        # As published: Xavier with gain 0.02, so that an untrained head changes its guess by little.
        small = {**layer, "kernel_init": nnx.initializers.variance_scaling(4e-4, "fan_avg", "uniform")}
        self.first = nnx.Linear(options.flow.context, options.head_hidden, **layer)
        self.second = nnx.Linear(options.head_hidden, options.betas + _CAMERA, **small)
        self.init_betas = Initial(jnp.zeros((1, 1, options.betas)))
        self.init_cam = Initial(jnp.zeros((1, 1, _CAMERA)))

    def __call__(self, features: Float[Array, "batch C"]) -> tuple[Float[Array, "batch S"], Float[Array, "batch 3"]]:
        """Betas, and (s, tx, ty) of the crop."""
        found = self.second(nnx.relu(self.first(features)))
        return found[:, :-_CAMERA] + self.init_betas[...][0], found[:, -_CAMERA:] + self.init_cam[...][0]
