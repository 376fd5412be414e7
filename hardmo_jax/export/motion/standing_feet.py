"""Where the feet of a track are, and when they stand."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.joint_motion import JointMotion
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.geometry import foot_contact
from hardmo_jax.skeleton import layouts

#: What stands where a body has no named vertices of its feet.
_FOOT_JOINTS = tuple(f"{side}_{joint}" for side in layouts.SIDES for joint in ("ankle", "foot"))
_CONTACTS = layouts.KeypointLayout(name="contacts", points=layouts.CONTACT_POINTS)
_UP = np.array([0.0, 0.0, 1.0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandingFeet:
    """Points of both feet over time."""

    names: tuple[str, ...]
    """Of the points: heels and toes, or ankles and feet where the body has no named vertices."""
    points: Float[np.ndarray, "T N 3"]
    """World places, z up, metres."""
    stands: Bool[np.ndarray, "T N"]
    """Whether each stands on something, see `foot_contact.standing_points`."""


def standing_feet(scene: SceneMotion, track: TrackMotion, motion: JointMotion) -> StandingFeet:
    """The feet of a track.

    Args:
        scene: Where the person is; it must have a frame rate.
        track: The person.
        motion: Its joints.

    Raises:
        ExportError: If the scene has no frame rate.
    """
    rate = scene.rate("foot contacts")
    model, is_known = landmarks.point_model(scene.body, _CONTACTS)
    if is_known.all():
        names, points = _CONTACTS.points, np.asarray(in_pieces(model, track.params), np.float64)
    else:
        names = _FOOT_JOINTS
        points = motion.positions[:, [scene.body.joint_names.index(name) for name in names]]
    return StandingFeet(
        names=names, points=points, stands=foot_contact.standing_points(points, motion.positions, _UP, rate)
    )
