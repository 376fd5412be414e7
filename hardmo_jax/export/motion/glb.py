"""Scenes as binary glTF 2.0 (GLB), for Blender, game engines and browsers: everybody as a skinned mesh that moves.

World with y up, metres. A person is a node that holds their joints, and a mesh with a skin; all of them and the camera
play in one animation. Somebody who is not there has a root of size zero.
"""

import colorsys
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np

import hardmo_jax
from hardmo_jax.array_types import Float
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.gltf_buffers import GltfBuffer
from hardmo_jax.export.motion.pose_quaternions import continuous_quaternions
from hardmo_jax.export.motion.rigs import Rig, rig_mesh_error, rig_of
from hardmo_jax.export.motion.scene_checks import check_scene
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP, SceneCamera, SceneMotion, TrackMotion, y_up
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.geometry import rotations
from hardmo_jax.rendering.scene import vertex_normals
from hardmo_jax.whole_files import replacing

#: From the axes of a glTF camera (x right, y up, looking along -z) to those of OpenCV (x right, y down, z forward).
_OPENCV_FROM_GLTF = np.diag([1.0, -1.0, -1.0])
#: Step from a hue to the next: any number of people have hues far from each other.
_GOLDEN_RATIO = 0.6180339887
_FIRST_HUE = 0.58
#: Nearest thing that cameras show, metres.
_NEAR = 0.05


def write_glb(path: str | os.PathLike[str], scene: SceneMotion, *, with_mesh: bool = True) -> pathlib.Path:
    """Write one scene as a GLB file, complete or not at all.

    Frame 0 of the scene is at time 0. A scene of one frame is a pose without an animation; otherwise the nodes rest as
    the body does and the animation moves them. The same scene gives the same bytes.

    Args:
        path: File to write.
        scene: People, world with z up.
        with_mesh: False writes skeletons alone.

    Returns:
        The file.

    Raises:
        ExportError: If the scene cannot be written; nothing is, then.

    Notes:
        A pinhole of glTF looks through the middle of its picture and does not zoom: the principal point, and the focal
        length of a camera that changes it (its median is taken), are in the `extras` of the camera.
        Blend shapes of the pose are not carried; `glb_mesh_error` says what that amounts to.
    """
    data = glb_bytes(scene, with_mesh=with_mesh)
    path = pathlib.Path(path)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def glb_mesh_error(scene: SceneMotion) -> tuple[float, float]:
    """Greatest and mean distance between the vertices that a GLB file of a scene shows and those of its body, metres.

    Args:
        scene: As for `write_glb`.

    Raises:
        ExportError: As `write_glb`.
    """
    _check(scene, with_mesh=True)
    errors = [rig_mesh_error(scene.body, track, rig_of(scene.body, track)) for track in scene.tracks]
    frames = [track.num_frames for track in scene.tracks]
    return max(greatest for greatest, _ in errors), float(np.average([mean for _, mean in errors], weights=frames))


def glb_bytes(scene: SceneMotion, *, with_mesh: bool = True) -> bytes:
    """Content of the file of `write_glb`.

    Args:
        scene: People, world with z up.
        with_mesh: False gives skeletons alone.

    Raises:
        ExportError: If the scene cannot be written.
    """
    _check(scene, with_mesh=with_mesh)
    document = _Document(scene)
    for place, track in enumerate(scene.tracks):
        document.add_person(place, track, with_mesh=with_mesh)
    if scene.camera is not None:
        document.add_camera(scene.camera)
    return document.as_glb()


class _Document:
    """The lists of a glTF file while they grow."""

    def __init__(self, scene: SceneMotion) -> None:
        self._scene = scene
        self._buffer = GltfBuffer()
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._lists: dict[str, list[dict[str, Any]]] = {"meshes": [], "materials": [], "skins": [], "cameras": []}
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []

    def add_person(self, place: int, track: TrackMotion, *, with_mesh: bool) -> None:
        """A node with the joints below it; a mesh beside it, as nodes above do not move a mesh that has a skin."""
        body, rig = self._scene.body, rig_of(self._scene.body, track)
        group = self._node({"name": track.name, "extras": _person_extras(track)}, is_root=True)
        joints = [self._node(node) for node in _joint_nodes(self._scene, track.name, rig)]
        self._nodes[group]["children"] = joints[:1]
        for joint, node in enumerate(joints):
            children = [joints[child] for child, parent in enumerate(body.parents) if parent == joint]
            if children:
                self._nodes[node]["children"] = children
        bind = np.tile(np.eye(4), (body.num_joints, 1, 1))
        bind[:, :3, 3] = -rig.rest_joints
        skin = {
            "name": track.name,
            "inverseBindMatrices": self._buffer.add(bind, "values"),
            "joints": joints,
            "skeleton": group,
        }
        self._lists["skins"].append(skin)
        if with_mesh:
            self._add_mesh(place, track.name, rig)
        if self._scene.num_frames > 1:
            self._animate_person(track, rig, joints)

    def _add_mesh(self, place: int, name: str, rig: Rig) -> None:
        faces = np.asarray(self._scene.body.faces)
        normals = vertex_normals(rig.rest_vertices, faces)
        # A vertex of no triangle has no normal, which the format wants of unit length.
        normals[~normals.any(axis=1)] = (0.0, 1.0, 0.0)
        attributes = {
            "POSITION": self._buffer.add(rig.rest_vertices, "attribute", bounds=True),
            "NORMAL": self._buffer.add(normals, "attribute"),
        }
        joint_type = np.uint8 if self._scene.body.num_joints <= 256 else np.uint16
        for four in range(rig.bone_joints.shape[1] // 4):
            some = slice(4 * four, 4 * four + 4)
            attributes[f"JOINTS_{four}"] = self._buffer.add(rig.bone_joints[:, some].astype(joint_type), "attribute")
            attributes[f"WEIGHTS_{four}"] = self._buffer.add(rig.bone_weights[:, some], "attribute")
        # The greatest number of a type means something else in graphics libraries.
        index_type = np.uint16 if len(rig.rest_vertices) < 2**16 else np.uint32
        primitive = {
            "attributes": attributes,
            "indices": self._buffer.add(faces.reshape(-1).astype(index_type), "indices"),
            "material": len(self._lists["materials"]),
        }
        self._lists["materials"].append(_material(place, name))
        self._lists["meshes"].append({"name": name, "primitives": [primitive]})
        mesh, skin = len(self._lists["meshes"]) - 1, len(self._lists["skins"]) - 1
        self._node({"name": f"{name}_mesh", "mesh": mesh, "skin": skin}, is_root=True)

    def _animate_person(self, track: TrackMotion, rig: Rig, joints: list[int]) -> None:
        frames = track.first_frame + np.arange(track.num_frames)
        for joint, node in enumerate(joints):
            self._animate(node, "rotation", frames, rig.quaternions[:, joint])
        self._animate(joints[0], "translation", frames, rig.root_positions)
        after = track.first_frame + track.num_frames
        sizes = {0: 1.0 * (track.first_frame == 0), track.first_frame: 1.0}
        if after < self._scene.num_frames:
            sizes[after] = 0.0
        if len(sizes) > 1:
            scale = np.repeat(np.array(list(sizes.values()))[:, None], 3, axis=1)
            self._animate(joints[0], "scale", np.array(list(sizes)), scale, interpolation="STEP")

    def add_camera(self, camera: SceneCamera) -> None:
        """A camera with its pose; it is animated as far as it moves."""
        turned = Y_UP_FROM_Z_UP @ np.asarray(camera.rotation, np.float64) @ _OPENCV_FROM_GLTF
        wxyz = in_pieces(jax.tree_util.Partial(rotations.matrix_to_quaternion), turned.astype(np.float32)).astype(
            np.float64
        )
        quaternions = continuous_quaternions(np.roll(wxyz, -1, axis=-1))
        positions = y_up(np.asarray(camera.position, np.float64))
        self._lists["cameras"].append(_camera(camera))
        node = self._node(
            {
                "name": "camera",
                "camera": len(self._lists["cameras"]) - 1,
                "rotation": _floats(quaternions[0]),
                "translation": _floats(positions[0]),
            },
            is_root=True,
        )
        frames = np.arange(self._scene.num_frames)
        for target, values in (("rotation", quaternions), ("translation", positions)):
            if np.any(values != values[0]):
                self._animate(node, target, frames, values)

    def as_glb(self) -> bytes:
        """The file."""
        scene = self._scene
        document: dict[str, Any] = {
            "asset": {
                "version": "2.0",
                "generator": f"hardmo_jax {hardmo_jax.__version__}",
                "extras": {
                    "source": scene.source_name,
                    "body": scene.body_name,
                    "frames_per_second": scene.frames_per_second,
                    "num_frames": scene.num_frames,
                    "first_source_frame": scene.first_source_frame,
                    "floor": scene.floor,
                },
            },
            "scene": 0,
            "scenes": [{"name": scene.name, "nodes": self._roots}],
            "nodes": self._nodes,
            **{name: entries for name, entries in self._lists.items() if entries},
        }
        if self._channels:
            document["animations"] = [{"name": scene.name, "channels": self._channels, "samplers": self._samplers}]
        return self._buffer.as_glb(document)

    def _node(self, node: dict[str, Any], *, is_root: bool = False) -> int:
        self._nodes.append(node)
        if is_root:
            self._roots.append(len(self._nodes) - 1)
        return len(self._nodes) - 1

    def _animate(
        self,
        node: int,
        target: str,
        frames: np.ndarray,
        values: Float[np.ndarray, "N C"],
        *,
        interpolation: str = "LINEAR",
    ) -> None:
        """A channel of the animation; values that stay the same are one key."""
        values = values.astype(np.float32)
        if np.all(values == values[0]):
            frames, values = frames[:1], values[:1]
        times = (frames / self._scene.rate("glTF")).astype(np.float32)
        if np.any(np.diff(times) <= 0):
            raise ExportError(
                f"{self._scene.source_name}: frames up to {int(frames[-1])} at {self._scene.rate('glTF'):g} a second "
                "are so late that the times of glTF, which are float32, cannot tell them apart; export fewer frames, "
                "or such that begin near 0"
            )
        sampler = {
            "input": self._buffer.add(times, "values", bounds=True),
            "output": self._buffer.add(values, "values"),
            "interpolation": interpolation,
        }
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": target}})
        self._samplers.append(sampler)


def _joint_nodes(scene: SceneMotion, name: str, rig: Rig) -> list[dict[str, Any]]:
    """Joints at rest, as retargeting wants to find them, or in the pose of the only frame."""
    nodes = []
    for joint, parent in enumerate(scene.body.parents):
        start = np.zeros(3) if parent < 0 else rig.rest_joints[parent]
        node: dict[str, Any] = {
            "name": f"{name}_{scene.body.joint_names[joint]}",
            "translation": _floats(rig.rest_joints[joint] - start),
        }
        if scene.num_frames == 1:
            node["rotation"] = _floats(rig.quaternions[0, joint])
        nodes.append(node)
    if scene.num_frames == 1:
        nodes[0]["translation"] = _floats(rig.root_positions[0])
    return nodes


def _person_extras(track: TrackMotion) -> dict[str, Any]:
    """What labels know of a person and the format has no place for."""
    return {
        "track_id": track.track_id,
        "first_frame": track.first_frame,
        "num_frames": track.num_frames,
        "interpolated_frames": (track.first_frame + np.flatnonzero(~track.is_labelled)).tolist(),
        "betas": _floats(track.betas),
    }


def _material(place: int, name: str) -> dict[str, Any]:
    """A dull colour that no other person has."""
    hue = (_FIRST_HUE + _GOLDEN_RATIO * place) % 1.0
    colour = np.array(colorsys.hsv_to_rgb(hue, 0.55, 0.72))
    # From sRGB to the linear numbers of the format.
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*np.round(linear, 4).tolist(), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }


def _camera(camera: SceneCamera) -> dict[str, Any]:
    width, height = camera.image_size
    fx, fy = np.median(np.asarray(camera.focal_length, np.float64), axis=0).tolist()
    return {
        "name": "camera",
        "type": "perspective",
        "perspective": {
            "yfov": 2.0 * math.atan(0.5 * height / fy),
            "aspectRatio": width / height * fy / fx,
            "znear": _NEAR,
        },
        "extras": {
            "image_size": [width, height],
            "focal_length": _path(camera.focal_length),
            "principal_point": _path(camera.principal_point),
        },
    }


def _path(values: Float[np.ndarray, "T 2"]) -> list[Any]:
    """Rows of all frames, or one row if they are all the same."""
    values = np.asarray(values, np.float64)
    return values[0].tolist() if np.all(values == values[0]) else values.tolist()


def _floats(values: Float[np.ndarray, "N"]) -> list[float]:
    """Numbers that a reader with float32 gets as they are written."""
    return np.asarray(values, np.float32).astype(np.float64).tolist()


def _check(scene: SceneMotion, *, with_mesh: bool) -> None:
    check_scene(scene)
    if scene.num_frames > 1:
        scene.rate("glTF")
    if with_mesh and len(scene.body.faces) == 0:
        raise ExportError(
            f"{scene.source_name}: {scene.body!r} has no triangles, as it is a subset of a body; take the whole body, "
            "or write skeletons alone (with_mesh=False)"
        )
