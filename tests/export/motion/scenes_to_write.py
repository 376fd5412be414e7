"""Small scenes of invented motion, for tests of files of motion: fingers and toes move, people come and go."""

import numpy as np
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.params import split_pose
from hardmo_jax.export.motion.scene_motion import SceneCamera, SceneMotion, TrackMotion

#: From the rest pose, whose y is up, to a world whose z is.
_UPRIGHT = Rotation.from_euler("x", 90, degrees=True)


def two_people(frames=12, body=None, *, rate=30.0, seed=5, moving_camera=True):
    """Two people of different shape: one there all the time, one from the third frame to the last but two.

    The second has a gap, and turns round about itself, so that its axis-angle vectors jump.
    """
    body = hm.open_body() if body is None else body
    tracks = (
        track(body, frames, seed=seed),
        track(body, frames - 4, first_frame=2, seed=seed + 1, track_id=7, turns=1.0, gap=(3, 5), at=(1.0, 0.5)),
    )
    return scene(body, tracks, frames, rate=rate, camera=camera_ahead(frames, moves=moving_camera))


def photo(body=None, *, seed=8):
    """One frame without a time."""
    body = hm.open_body() if body is None else body
    people = tuple(track(body, 1, track_id=who, seed=seed + who, at=(float(who), 0.0)) for who in range(2))
    return scene(body, people, 1, rate=None, camera=camera_ahead(1))


def scene(body, tracks, frames, *, rate=30.0, camera=None, name="takes/two"):
    """Tracks as a scene."""
    return SceneMotion(
        name=name, source_name="two.mp4", body=body, body_name="open_body", frames_per_second=rate, num_frames=frames,
        first_source_frame=40, tracks=tracks, camera=camera, floor="labels" if camera is not None else "file",
    )  # fmt: skip


def track(body, frames, *, track_id=0, first_frame=0, seed=0, turns=0.2, at=(0.0, 0.0), gap=(0, 0), dtype=np.float32):
    """A person whose every joint swings slowly, upright in a world with z up.

    Args:
        body: Of any family.
        frames: Number of them.
        track_id: Of the labels.
        first_frame: Of the scene.
        seed: Of shape and swing.
        turns: Whole turns about the vertical.
        at: Where it stands, metres.
        gap: First frame without a label, and the first after it that has one.
        dtype: Of the parameters.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 30.0
    reach = np.full((body.num_joints - 1, 1), 0.35)
    phase = rng.uniform(0, 2 * np.pi, (2, body.num_joints - 1, 3))
    swing = np.sin(6.0 * time[:, None, None] + phase[0]) + 0.5 * np.sin(11.0 * time[:, None, None] + phase[1])
    turned = 2 * np.pi * turns * np.arange(frames) / max(frames - 1, 1) + rng.uniform(0, 6)
    facing = Rotation.from_rotvec(turned[:, None] * np.array([0.0, 0.0, 1.0]))
    tilt = Rotation.from_rotvec(0.2 * np.stack([np.sin(5 * time), np.cos(4 * time), 0 * time], axis=1))
    place = np.stack([at[0] + 0.2 * np.sin(3 * time), at[1] + 0.1 * time, 1.0 + 0.05 * np.cos(7 * time)], axis=1)
    labelled = np.ones(frames, bool)
    labelled[slice(*gap)] = False
    has_face = bool(FAMILIES[body.family].expression_start)
    expression = np.tile(rng.normal(size=body.num_expression), (frames, 1)).astype(dtype) if has_face else None
    params = hm.BodyParams(
        betas=np.tile(rng.normal(size=body.num_betas).clip(-2, 2), (frames, 1)).astype(dtype),
        global_orient=(facing * tilt * _UPRIGHT).as_rotvec().astype(dtype),
        transl=place.astype(dtype),
        expression=expression,
        **split_pose(body.family, (reach * swing).astype(dtype)),
    )
    return TrackMotion(
        name=f"person_{track_id:02d}", track_id=track_id, first_frame=first_frame, params=params, is_labelled=labelled
    )


def camera_ahead(frames, *, moves=True, image_size=(640, 360), principal_point=None):
    """One that looks ahead from four metres before the origin, and pans and rises where it moves."""
    time = np.arange(frames) / 30.0 * moves
    ahead = Rotation.from_matrix([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    pan = Rotation.from_rotvec(np.stack([0 * time, 0.1 * time, 0.3 * np.sin(time)], axis=1))
    width, height = image_size
    centre = ((width - 1) / 2, (height - 1) / 2) if principal_point is None else principal_point
    return SceneCamera(
        rotation=(pan * ahead).as_matrix(),
        position=np.stack([0.3 * time, 0 * time - 4.0, 1.2 + 0.2 * time], axis=1),
        focal_length=np.full((frames, 2), 500.0),
        principal_point=np.tile(np.array(centre, float), (frames, 1)),
        image_size=image_size,
    )
