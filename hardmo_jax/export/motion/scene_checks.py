"""What every writer of motion asks of a scene before it begins."""

import dataclasses
import math

import numpy as np

from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import pose_shapes
from hardmo_jax.export.motion.scene_motion import SceneCamera, SceneMotion, TrackMotion
from hardmo_jax.export.source_names import ExportError


def check_scene(scene: SceneMotion) -> None:
    """See that a scene is complete, finite and consistent.

    Args:
        scene: Of any source.

    Raises:
        ExportError: If it has nobody, people outside of its frames, parameters that are not those of its body or not
            finite, a shape that changes, or a camera of other frames.
    """
    source = scene.source_name
    if not scene.tracks:
        raise ExportError(f"{source}: there is nobody in it to export; a scene has at least one track")
    if scene.frames_per_second is not None and not 0 < scene.frames_per_second < math.inf:
        raise ExportError(f"{source}: the frame rate must be positive, got {scene.frames_per_second}; set it by --fps")
    names = [track.name for track in scene.tracks]
    if len({*names}) < len(names):
        raise ExportError(f"{source}: two people have one name among {', '.join(names)}; names must differ")
    for track in scene.tracks:
        _check_track(f"{source}, {track.name}", scene, track)
    if scene.camera is not None:
        _check_camera(source, scene.camera, scene.num_frames)


def _check_track(place: str, scene: SceneMotion, track: TrackMotion) -> None:
    last = track.first_frame + track.num_frames
    if track.num_frames == 0 or track.first_frame < 0 or last > scene.num_frames:
        raise ExportError(
            f"{place}: frames {track.first_frame} to {last - 1} must be one or more of the {scene.num_frames} frames "
            "of the scene"
        )
    expected = _parameter_shapes(scene.body)
    for field in dataclasses.fields(track.params):
        value = getattr(track.params, field.name)
        if (value is None) != (field.name not in expected):
            wanted = "must be None" if value is not None else "is missing"
            raise ExportError(f"{place}: `{field.name}` {wanted}: the body is {scene.body!r}")
        if value is None:
            continue
        wanted_shape, value = (track.num_frames, *expected[field.name]), np.asarray(value)
        if value.shape != wanted_shape:
            raise ExportError(f"{place}: `{field.name}` must have shape {wanted_shape}, got {value.shape}")
        is_finite = np.isfinite(value).reshape(len(value), -1).all(axis=1)
        if not is_finite.all():
            frame = track.first_frame + int(np.argmin(is_finite))
            raise ExportError(
                f"{place}: `{field.name}` is not finite in frame {frame}; leave out labels whose fit failed, "
                "or fit them again"
            )
    betas = np.asarray(track.params.betas)
    if np.any(betas != betas[0]):
        raise ExportError(f"{place}: the shape must be one for all frames; take the median of `betas` over them")


def _parameter_shapes(body: BodyModel) -> dict[str, tuple[int, ...]]:
    shapes = {"betas": (body.num_betas,), "global_orient": (3,), "transl": (3,), **pose_shapes(body.family)}
    return shapes | ({"expression": (body.num_expression,)} if FAMILIES[body.family].expression_start else {})


def _check_camera(source: str, camera: SceneCamera, num_frames: int) -> None:
    shapes = {"rotation": (3, 3), "position": (3,), "focal_length": (2,), "principal_point": (2,)}
    for name, shape in shapes.items():
        value = np.asarray(getattr(camera, name))
        if value.shape != (num_frames, *shape):
            raise ExportError(f"{source}: `camera.{name}` must have shape {(num_frames, *shape)}, got {value.shape}")
        if not np.isfinite(value).all():
            raise ExportError(f"{source}: `camera.{name}` is not finite; leave the camera out, or mend it")
    if min(camera.image_size) <= 0 or np.min(camera.focal_length) <= 0:
        raise ExportError(
            f"{source}: image size and focal length must be positive, got {camera.image_size} and "
            f"{np.min(camera.focal_length)}"
        )
