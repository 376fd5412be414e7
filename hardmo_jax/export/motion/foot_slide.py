"""How far standing feet slide, how often feet skate, and how far a person is below the floor: what is wrong with most
motion from video.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.joint_motion import check_exportable, joint_motion
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.standing_feet import StandingFeet, standing_feet
from hardmo_jax.geometry.foot_contact import STILL_SPEED, point_speeds

#: A foot is at the floor up to this height over it, metres.
_AT_FLOOR = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class FootSlide:
    """Of one track. None of these knows what the person did: each is a number to look at the motion by."""

    speed: float | None
    """Mean horizontal speed of heels and toes from one frame to the next while they stand in both, m/s; None if they
    never do. It is of feet that hardly move, so it is hardly ever above `foot_contact.STILL_SPEED`, and cannot show
    feet that skate faster; it shows how still still feet are."""
    millimetres_per_frame: float | None
    """The same as a step."""
    standing_share: float
    """Share of frames in which a heel or toe stands. A low one is that of a jump, of a handstand, or of feet that
    skate."""
    moving_share: float
    """Share of frames in which nothing stands, and the lowest heel or toe is at the floor and moves along it faster
    than `foot_contact.STILL_SPEED`. It shows feet that skate at any speed, and cannot tell them from feet that are
    meant to slide, as in a moonwalk or on skates, or swing low over the floor in a step or a run. At the floor is
    what is less than 5 cm over z = 0, or over the lowest that this foot ever is where that is higher: feet of
    somebody who is below the floor count, and those who float are measured by their own lowest place."""
    below_floor: float
    """How far the lowest vertex of any frame is below z = 0, metres; 0 if none is."""


def standing_slide(scene: SceneMotion, track: TrackMotion) -> FootSlide:
    """Measure the slide of a track's feet. Feet that stand are found by speed, height and the rest of the body.

    A foot that slides faster than `foot_contact.STILL_SPEED` does not count as standing: read `speed` with
    `standing_share`, which tells how often there was something to measure, and with `moving_share`, which finds the
    feet that are too fast to count.

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
    moves = _moves_at_floor(feet, rate) & ~feet.stands.any(axis=-1)
    both = feet.stands[1:] & feet.stands[:-1]
    step = float(steps[both].mean()) if both.any() else None
    lowest = float(np.min(in_pieces(jax.tree_util.Partial(_lowest, scene.body), track.params)))
    return FootSlide(
        speed=None if step is None else step * rate,
        millimetres_per_frame=None if step is None else 1000 * step,
        standing_share=float(feet.stands.any(axis=-1).mean()),
        moving_share=float(moves.mean()),
        below_floor=max(-lowest, 0.0),
    )


def _moves_at_floor(feet: StandingFeet, frames_per_second: float) -> Bool[np.ndarray, "T"]:
    """Whether the lowest point of each frame is at the floor, and moves along it."""
    points = feet.points
    frames, lowest = np.arange(len(points)), points[..., 2].argmin(axis=-1)
    sides = np.array([name.partition("_")[0] for name in feet.names])
    lowest_of_point = points[..., 2].min(axis=0)
    floor = np.array([max(float(lowest_of_point[sides == side].min()), 0.0) for side in sides])
    is_low = points[frames, lowest, 2] < floor[lowest] + _AT_FLOOR
    flat = points * np.array([1.0, 1.0, 0.0])
    return is_low & (point_speeds(flat, frames_per_second)[frames, lowest] > STILL_SPEED)


def _lowest(body: BodyModel, params: BodyParams) -> Float[Array, "T"]:
    posed = body(params)
    return jnp.min(jnp.concatenate([posed.vertices, posed.joints], axis=-2)[..., 2], axis=-1)
