"""Which of several bodies that a network draws for each person explains the person's keypoints best.

Samples of a density of poses given the picture (ProHMR: Kolotouros et al., "Probabilistic Modeling for Human Mesh
Recovery", ICCV 2021) hold what the picture says in how often a pose comes up. What keypoints add is their likelihood
alone: a sample is not weighed by its density once more, which in 144 dimensions would only ever choose the mode.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Float, Int
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.observations import Observations
from hardmo_jax.recovery.crop_keypoints import CropKeypoints, crop_keypoints
from hardmo_jax.recovery.regressor_body import AnsweredBody, answered_body, params_of_answers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """Of S bodies for each of N people."""

    output: RegressorOutput
    """The chosen ones, one a person."""
    sample: Int[np.ndarray, "N"]
    """Which they are; 0, the most likely one, of people without keypoints."""
    misfit: Float[np.ndarray, "N S"]
    """Robust mean squared error of each body, in units of the expected error; infinite where it is no number."""


def choose_by_keypoints(
    output: RegressorOutput,
    body: BodyModel,
    observations: Observations,
    box: CropBox,
    *,
    spread: float = 0.03,
) -> Chosen:
    """The sample of each person that explains the keypoints best.

    Args:
        output: Of `pose_samples.sample_bodies`: axes (person, sample).
        body: Whose points are compared.
        observations: 2D keypoints of N people with the camera of their pictures. Those that are not finite, or that
            the body lacks, do not count.
        box: Of the crops, pixels of the pictures.
        spread: Expected error of a good sample, sides of the box. Points farther off count ever less (Geman and
            McClure), so that one wrong keypoint chooses nobody's pose.

    Raises:
        ObservationError: If there are no 2D keypoints or no camera, or the body is a single hand.
        ValueError: If numbers of people differ, or `spread` is not positive.
    """
    if not spread > 0:
        raise ValueError(f"`spread` must be positive, got {spread}")
    points, seen = crop_keypoints(body, observations, box)
    shape = tuple(output.weak_camera.shape[:-1])
    if len(shape) != 2 or shape[1] < 1 or shape[0] != len(seen.keypoints_2d):
        raise ValueError(
            f"bodies with axes (person, sample) are needed for {len(seen.keypoints_2d)} people, got shape {shape}"
        )
    taken = answered_body(body, output.body_pose.shape[-3])
    misfit = np.asarray(_misfit(points, output, seen, spread, taken=taken))
    misfit = np.where(np.isfinite(misfit), misfit, np.inf)
    sample = np.argmin(misfit, -1)
    rows = np.arange(shape[0])
    return Chosen(
        output=jax.tree.map(lambda leaf: np.asarray(leaf)[rows, sample], output), sample=sample, misfit=misfit
    )


@functools.partial(jax.jit, static_argnames="taken")
def _misfit(
    points: PointModel,
    output: RegressorOutput,
    seen: CropKeypoints,
    spread: float | Float[Array, ""],
    *,
    taken: AnsweredBody,
) -> Float[Array, "N S"]:
    def of_one(output: RegressorOutput, seen: CropKeypoints) -> Float[Array, "S"]:
        params, _ = params_of_answers(points.body, output, seen.box, seen.camera, taken=taken)
        found = cameras.project_points(seen.camera, points(params))
        squared = jnp.sum(jnp.square((found - seen.keypoints_2d) / (spread * seen.box.size)), -1)
        total = jnp.maximum(jnp.sum(seen.confidence), jnp.finfo(seen.confidence.dtype).tiny)
        return jnp.sum(seen.confidence / total * squared / (1 + squared), -1)

    return jax.vmap(of_one)(output, seen)
