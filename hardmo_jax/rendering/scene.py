"""What both renderers draw: meshes in the camera frame, seen through a pinhole camera, and how they shine.

OpenCV axes (x right, y down, z forward), metres and pixels, the centre of the top-left pixel at (0, 0).
NumPy only: neither JAX nor a graphics library is loaded.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Real, UInt8

from hardmo_jax.rendering.closed_surfaces import face_normals, faces_towards_camera

#: Parts of a mesh nearer than this (metres) are cut away.
NEAR = 0.02
#: Longest side of a picture that is rendered, in pixels.
MAX_SIDE = 8192

#: Skin-like grey that shows form well on most pictures.
DEFAULT_COLOUR = (0.68, 0.73, 0.82)

# Light comes from the camera's upper left, so that fingers and toes cast their form, and a little from
# everywhere. The dark rim separates limbs of one colour that lie over each other.
_KEY_DIRECTION = np.array([-0.45, -0.70, -0.56], np.float32)
_KEY, _HEAD, _SKY, _GROUND = 0.60, 0.42, 0.28, 0.14
_RIM, _RIM_POWER = 0.60, 3.0
_GLOSS, _GLOSS_POWER = 0.10, 24.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """One surface in the camera frame."""

    vertices_camera: Float[Any, "V 3"]
    """Metres."""
    faces: Int[Any, "F 3"]
    """Vertex indices; both sides of a face are drawn."""
    colour: tuple[float, float, float] = DEFAULT_COLOUR
    """Red, green, blue in [0, 1]."""
    normals: Float[Any, "V 3"] | None = None
    """Unit vectors in the camera frame; made from the faces if absent."""

    def __post_init__(self) -> None:
        vertices = np.asarray(self.vertices_camera, np.float32)
        faces = np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise ValueError(f"`vertices_camera` must be (V, 3), got {vertices.shape}; draw one body per mesh")
        if not np.isfinite(vertices).all():
            raise ValueError("`vertices_camera` must be finite; leave failed fits out of the picture")
        if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
            raise ValueError(f"`faces` must be integers of shape (F, 3), got {faces.dtype} {faces.shape}")
        if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise ValueError(f"`faces` name vertex {faces.max()} of a mesh of {len(vertices)}")
        colour = tuple(float(channel) for channel in self.colour)
        if len(colour) != 3 or not all(0 <= channel <= 1 for channel in colour):
            raise ValueError(f"`colour` must be three numbers in [0, 1], got {self.colour}")
        faces = faces.astype(np.int32, copy=False)
        if self.normals is None:
            normals = vertex_normals(vertices, faces)
        else:
            normals = np.asarray(self.normals, np.float32)
            if normals.shape != vertices.shape:
                raise ValueError(f"`normals` must be {vertices.shape}, got {normals.shape}")
        for name, value in (
            ("vertices_camera", vertices),
            ("faces", faces),
            ("colour", colour),
            ("normals", normals),
        ):
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A pinhole camera and the size of its picture."""

    focal_length: Real[Any, "2"]
    """(fx, fy) in pixels."""
    principal_point: Real[Any, "2"]
    """(cx, cy) in pixels; may lie anywhere."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    def __post_init__(self) -> None:
        for name in ("focal_length", "principal_point"):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != (2,) or not np.isfinite(value).all():
                raise ValueError(f"`{name}` must be two finite numbers in pixels, got {value.tolist()}")
            object.__setattr__(self, name, value)
        if not (self.focal_length > 0).all():
            raise ValueError(f"`focal_length` must be positive, got {self.focal_length.tolist()}")
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise ValueError(
                f"a picture of {self.width} x {self.height} cannot be rendered; sides are 1 to {MAX_SIDE} pixels"
            )

    @classmethod
    def from_camera(cls, camera: Any, width: int, height: int) -> "View":
        """View of anything with a `focal_length` and a `principal_point` of two numbers each."""
        return cls(
            focal_length=np.asarray(camera.focal_length, np.float64).reshape(2),
            principal_point=np.asarray(camera.principal_point, np.float64).reshape(2),
            width=width,
            height=height,
        )

    def resized(self, width: int, height: int) -> "View":
        """The same view as a picture of another size."""
        scale = np.array([width / self.width, height / self.height])
        return View(
            focal_length=self.focal_length * scale,
            principal_point=(self.principal_point + 0.5) * scale - 0.5,
            width=width,
            height=height,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """Light on a scene; the default shows form well."""

    direction: Float[Any, "3"] = dataclasses.field(default_factory=lambda: key_light())
    """Unit vector towards the main light, camera frame."""
    key: float = _KEY
    """Of the main light, on surfaces that face it."""
    head: float = _HEAD
    """From the camera."""
    sky: float = _SKY
    """From above, on surfaces that face up."""
    ground: float = _GROUND
    """From below."""

    def __post_init__(self) -> None:
        direction = np.asarray(self.direction, np.float64)
        length = float(np.linalg.norm(direction)) if direction.shape == (3,) else 0.0
        if not (np.isfinite(length) and length > 0):
            raise ValueError(f"`direction` must be three numbers that are not all zero, got {direction.tolist()}")
        if not all(0 <= weight <= 10 for weight in (self.key, self.head, self.sky, self.ground)):
            raise ValueError(f"weights of light must be from 0 to 10, got {self}")
        object.__setattr__(self, "direction", (direction / length).astype(np.float32))


@runtime_checkable
class Renderer(Protocol):
    """What turns meshes into a picture."""

    name: str
    """`gl` or `painter`."""
    reason: str | None
    """Why this renderer was taken instead of a better one."""

    def render(self, meshes: Sequence[Mesh], view: View, light: Light | None = None) -> UInt8[np.ndarray, "H W 4"]:
        """Draw meshes with correct depth between them.

        Args:
            meshes: Surfaces; what is behind the camera is left out.
            view: Camera and size.
            light: None is the usual one.

        Returns:
            Red, green, blue and coverage (0 where there is no mesh; colours are not multiplied by it).
        """
        ...


def vertex_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float32[np.ndarray, "V 3"]:
    """Unit normals by the area-weighted mean of the faces around each vertex; zero where there is none."""
    vertices = np.asarray(vertices, np.float32)
    return _unit_sums(vertices, faces, face_normals(vertices, faces))


def _unit_sums(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], normals: Float[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "V 3"]:
    index = faces.ravel()
    sums = np.stack(
        [np.bincount(index, np.repeat(normals[:, axis], 3), minlength=len(vertices)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.divide(sums, length, out=np.zeros_like(sums), where=length > 0).astype(np.float32)


def shade(
    points_camera: Float[np.ndarray, "N 3"],
    normals: Float[np.ndarray, "N 3"],
    colours: Float[np.ndarray, "N 3"],
    light: Light | None = None,
) -> Float32[np.ndarray, "N 3"]:
    """Colour in [0, 1] of points seen from the camera, both sides lit; the GL shader computes the same."""
    light = light or Light()
    to_camera = -points_camera / np.maximum(np.linalg.norm(points_camera, axis=1, keepdims=True), 1e-9)
    facing = np.sum(normals * to_camera, axis=1, keepdims=True)
    normals = np.where(facing < 0, -normals, normals)
    facing = np.abs(facing)
    key_direction = np.asarray(light.direction)
    key = np.maximum(normals @ key_direction, 0.0)[:, None]
    upward = 0.5 - 0.5 * normals[:, 1:2]
    bright = light.key * key + light.head * facing + light.ground + (light.sky - light.ground) * upward
    bright = bright * (1.0 - _RIM * (1.0 - np.minimum(facing, 1.0)) ** _RIM_POWER)
    half = to_camera + key_direction
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-9)
    gloss = _GLOSS * np.maximum(np.sum(normals * half, axis=1, keepdims=True), 0.0) ** _GLOSS_POWER
    return np.clip(colours * bright + gloss, 0.0, 1.0).astype(np.float32)


@functools.cache
def key_light() -> Float32[np.ndarray, "3"]:
    """Unit vector towards the main light, camera frame."""
    direction = _KEY_DIRECTION / np.linalg.norm(_KEY_DIRECTION)
    direction.flags.writeable = False
    return direction


def light_constants() -> dict[str, float]:
    """Weights of `shade` that all lights share, by the names they have in the GL shader."""
    return {
        "RIM": _RIM,
        "RIM_POWER": _RIM_POWER,
        "GLOSS": _GLOSS,
        "GLOSS_POWER": _GLOSS_POWER,
    }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Soup:
    """All meshes of a scene as one list of vertices and triangles."""

    vertices: Float32[np.ndarray, "V 3"]
    """Camera frame, metres."""
    normals: Float32[np.ndarray, "V 3"]
    """Unit vectors."""
    colours: Float32[np.ndarray, "V 3"]
    """Red, green, blue in [0, 1]."""
    faces: Int32[np.ndarray, "F 3"]
    """Vertex indices."""


def join_meshes(meshes: Sequence[Mesh]) -> Soup:
    """Put meshes into one list; vertices keep their order, and the far side of closed ones, unseen, is left out."""
    offsets = np.cumsum([0, *(len(mesh.vertices_camera) for mesh in meshes)])
    empty = np.zeros((0, 3), np.float32)
    return Soup(
        vertices=np.concatenate([empty, *(mesh.vertices_camera for mesh in meshes)]),
        normals=np.concatenate([empty, *(np.asarray(mesh.normals) for mesh in meshes)]),
        colours=np.concatenate(
            [
                empty,
                *(np.broadcast_to(np.asarray(mesh.colour, np.float32), mesh.vertices_camera.shape) for mesh in meshes),
            ]
        ),
        faces=np.concatenate(
            [
                np.zeros((0, 3), np.int32),
                *(
                    faces_towards_camera(mesh.vertices_camera, np.asarray(mesh.faces)) + np.int32(offset)
                    for mesh, offset in zip(meshes, offsets[:-1], strict=True)
                ),
            ]
        ),
    )


def clip_near(soup: Soup, near: float = NEAR) -> Soup:
    """Cut away what is nearer than a plane in front of the camera.

    Args:
        soup: Triangles.
        near: Depth of the plane in metres.

    Returns:
        The same triangles where none crosses the plane; otherwise new vertices stand behind the old ones.

    References:
        Sutherland and Hodgman, "Reentrant polygon clipping", CACM 1974, for one plane.
    """
    is_front = soup.vertices[soup.faces, 2] >= near
    count = is_front.sum(axis=1)
    if count.min(initial=3) == 3:
        return soup
    kept = [soup.faces[count == 3]]
    vertices, normals, colours = [soup.vertices], [soup.normals], [soup.colours]
    total = len(soup.vertices)
    for num_front in (1, 2):
        faces = soup.faces[count == num_front]
        if not len(faces):
            continue
        # Turn each triangle so that the odd corner comes first: the one alone on its side of the plane.
        odd = is_front[count == num_front] == (num_front == 1)
        first = odd.argmax(axis=1)
        rows = np.arange(len(faces))[:, None]
        faces = faces[rows, (first[:, None] + np.arange(3)) % 3]
        ends = []
        for corner in (1, 2):
            start, stop = faces[:, 0], faces[:, corner]
            depth = soup.vertices[start, 2], soup.vertices[stop, 2]
            part = ((near - depth[0]) / (depth[1] - depth[0]))[:, None]
            for old, new in (
                (soup.vertices, vertices),
                (soup.normals, normals),
                (soup.colours, colours),
            ):
                new.append((old[start] + part * (old[stop] - old[start])).astype(np.float32))
            ends.append(np.arange(total, total + len(faces), dtype=np.int32))
            total += len(faces)
        if num_front == 1:
            kept.append(np.stack([faces[:, 0], ends[0], ends[1]], axis=1))
        else:
            kept.append(np.stack([ends[0], faces[:, 1], faces[:, 2]], axis=1))
            kept.append(np.stack([ends[0], faces[:, 2], ends[1]], axis=1))
    return Soup(
        vertices=np.concatenate(vertices),
        normals=np.concatenate(normals),
        colours=np.concatenate(colours),
        faces=np.concatenate(kept),
    )
