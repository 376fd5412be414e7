"""How far standing feet slide, and how far a person is below the floor: what is wrong with most motion from video."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.joint_motion import check_exportable, joint_motion
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.standing_feet import standing_feet


@dataclasses.dataclass(frozen=True, kw_only=True)
class FootSlide:
    """Of one track."""

    speed: float | None
    """Mean horizontal speed of heels and toes from one frame to the next while they stand in both, m/s; None if they
    never do."""
    millimetres_per_frame: float | None
    """The same as a step."""
    standing_share: float
    """Share of frames in which a heel or toe stands."""
    below_floor: float
    """How far the lowest vertex of any frame is below z = 0, metres; 0 if none is."""


def standing_slide(scene: SceneMotion, track: TrackMotion) -> FootSlide:
    """Measure the slide of a track's feet. Feet that stand are found by speed, height and the rest of the body.

    A foot that slides faster than `foot_contact.STILL_SPEED` does not count as standing: this measures how still
    still feet are, and `standing_share` tells how often they were.

    Args:
        scene: Where the person is; it must have a frame rate.
        track: The person.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported.
    """
    rate = scene.rate("foot slide")
    check_exportable(scene, track, "foot slide")
    feet = standing_feet(scene, track, joint_motion(scene, track))
    steps = np.linalg.norm(np.diff(feet.points[..., :2], axis=0), axis=-1)
    both = feet.stands[1:] & feet.stands[:-1]
    step = float(steps[both].mean()) if both.any() else None
    lowest = float(np.min(in_pieces(jax.tree_util.Partial(_lowest, scene.body), track.params)))
    return FootSlide(
        speed=None if step is None else step * rate,
        millimetres_per_frame=None if step is None else 1000 * step,
        standing_share=float(feet.stands.any(axis=-1).mean()),
        below_floor=max(-lowest, 0.0),
    )


def _lowest(body: BodyModel, params: BodyParams) -> Float[Array, "T"]:
    posed = body(params)
    return jnp.min(jnp.concatenate([posed.vertices, posed.joints], axis=-2)[..., 2], axis=-1)
