"""Drawing meshes by OpenGL without a screen (moderngl on EGL), and the choice of a renderer.

The context is made once per process and thread; Mesa's software driver is enough. Four samples per pixel,
light per pixel, the same shading as `scene.shade`.

The painter, which needs no OpenGL, gives the same picture of bodies at least 100 pixels high: outlines within a pixel,
areas within 1 %, brightness 4 of 255 apart in the mean and 36 for 99 of 100 pixels (measured: 3 and 29; a shift by a
third of a pixel is 7 and 45). What is left is that one lights pixels and the other vertices.
"""

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Real, UInt8

from hardmo_jax.rendering import painter, scene
from hardmo_jax.rendering.scene import Light, Mesh, Renderer, View

_SAMPLES = 4
#: Sides of what is drawn at once are multiples of this, or those of the picture, in pixels.
_WINDOW_STEP = 64

# `centroid`: a triangle smaller than a pixel, as fingers of distant people are made of, is lit where it is and not at
# the middle of the pixel, far outside of it. Otherwise small bodies differ twice as much from the painter's, and from
# a picture of many samples.
_VERTEX_SHADER = """
#version 330
uniform vec4 scale_offset;  // picture position = xy * scale + offset * depth, in clip space
uniform vec2 near_far;
in vec3 position;
in vec3 normal;
in vec3 colour;
centroid out vec3 point;
centroid out vec3 point_normal;
centroid out vec3 point_colour;
void main() {
    point = position;
    point_normal = normal;
    point_colour = colour;
    float depth = position.z;
    vec2 xy = position.xy * scale_offset.xy + scale_offset.zw * depth;
    float near = near_far.x, far = near_far.y;
    gl_Position = vec4(xy, (depth * (far + near) - 2.0 * far * near) / (far - near), depth);
}
"""

# Preceded by the version and the constants of `scene.light_constants`.
_FRAGMENT_SHADER = """
uniform vec3 key_direction;
uniform vec4 light_weights;  // key, head, sky, ground
centroid in vec3 point;
centroid in vec3 point_normal;
centroid in vec3 point_colour;
out vec4 picture;
void main() {
    vec3 to_camera = -normalize(point);
    float size = length(point_normal);
    vec3 normal = size > 0.0 ? point_normal / size : vec3(0.0);
    float facing = dot(normal, to_camera);
    if (facing < 0.0) normal = -normal;
    facing = min(abs(facing), 1.0);
    float key = max(dot(normal, key_direction), 0.0);
    float upward = 0.5 - 0.5 * normal.y;
    float sky = light_weights.z, ground = light_weights.w;
    float light = light_weights.x * key + light_weights.y * facing + ground + (sky - ground) * upward;
    light *= 1.0 - RIM * pow(1.0 - facing, RIM_POWER);
    float gloss = GLOSS * pow(max(dot(normal, normalize(to_camera + key_direction)), 0.0), GLOSS_POWER);
    picture = vec4(clamp(point_colour * light + gloss, 0.0, 1.0), 1.0);
}
"""

_store = threading.local()


class RendererUnavailableError(RuntimeError):
    """OpenGL was asked for by name and cannot be had."""


class GlRenderer:
    """Renderer by OpenGL. Use it in the thread that made it."""

    name = "gl"

    def __init__(self) -> None:
        """Open a context, or take the one this thread has.

        Raises:
            RendererUnavailableError: If moderngl or EGL is missing, or gives no context.
        """
        self.reason: str | None = None
        self._gl = _context()

    def render(self, meshes: Sequence[Mesh], view: View, light: Light | None = None) -> UInt8[np.ndarray, "H W 4"]:
        """Draw meshes with correct depth between them; see `scene.Renderer`."""
        soup = scene.join_meshes(meshes)
        in_front = soup.vertices[:, 2] > scene.NEAR
        if not len(soup.faces) or not in_front.any():
            return np.zeros((view.height, view.width, 4), np.uint8)
        rows, columns = (
            _seen_box(soup.vertices, view) if in_front.all() else (slice(0, view.height), slice(0, view.width))
        )
        picture = np.zeros((view.height, view.width, 4), np.uint8)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height > 0 and width > 0:
            # Clearing, averaging and reading cost more than the mesh, by the pixel; sizes come in steps so that few
            # targets are made.
            window = View(
                focal_length=view.focal_length,
                principal_point=view.principal_point - (columns.start, rows.start),
                width=min(-(-width // _WINDOW_STEP) * _WINDOW_STEP, max(view.width, width)),
                height=min(-(-height // _WINDOW_STEP) * _WINDOW_STEP, max(view.height, height)),
            )
            drawn = self._gl.draw(soup, window, float(soup.vertices[:, 2].max()), light or Light())
            picture[rows, columns] = drawn[:height, :width]
        return picture


class _Context:
    """GL objects of one thread of one process."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.largest = int(context.info["GL_MAX_RENDERBUFFER_SIZE"])
        self.samples = min(_SAMPLES, int(context.max_samples))
        constants = "".join(f"const float {name} = {value};\n" for name, value in scene.light_constants().items())
        fragment = f"#version 330\n{constants}{_FRAGMENT_SHADER}"
        self.program = context.program(vertex_shader=_VERTEX_SHADER, fragment_shader=fragment)
        self.size: tuple[int, int] | None = None
        self.targets: list[Any] = []

    def _resize(self, size: tuple[int, int]) -> None:
        if self.size == size:
            return
        for target in self.targets:
            target.release()
        context = self.context
        parts = [
            context.renderbuffer(size, 4, samples=self.samples),
            context.depth_renderbuffer(size, samples=self.samples),
            context.renderbuffer(size, 4),
        ]
        self.fine = context.framebuffer([parts[0]], parts[1])
        self.plain = context.framebuffer([parts[2]])
        self.targets = [self.fine, self.plain, *parts]
        self.size = size

    def draw(self, soup: scene.Soup, view: View, far: float, light: Light) -> UInt8[np.ndarray, "H W 4"]:
        size = (view.width, view.height)
        if max(size) > self.largest:
            raise ValueError(f"this OpenGL draws at most {self.largest} pixels a side, asked for {size}")
        context = self.context
        self._resize(size)
        # Clip space is -1 at the outer edge of the first pixel, whose centre is 0; row 0 is written first,
        # so that the picture need not be turned upside down after reading.
        image_size = np.array(size, np.float64)
        scale = 2 * view.focal_length / image_size
        offset = 2 * (view.principal_point + 0.5) / image_size - 1
        self.program["scale_offset"].value = (*map(float, scale), *map(float, offset))
        self.program["key_direction"].value = tuple(map(float, light.direction))
        self.program["light_weights"].value = (light.key, light.head, light.sky, light.ground)
        self.program["near_far"].value = (scene.NEAR, max(far * 1.01, scene.NEAR * 2))
        data = np.concatenate([soup.vertices, soup.normals, soup.colours], axis=1)
        vertices = context.buffer(np.ascontiguousarray(data, np.float32))
        indices = context.buffer(np.ascontiguousarray(soup.faces, np.int32))
        array = context.vertex_array(
            self.program, [(vertices, "3f 3f 3f", "position", "normal", "colour")], index_buffer=indices
        )
        try:
            self.fine.use()
            context.enable_only(context.DEPTH_TEST)
            context.viewport = (0, 0, *size)
            self.fine.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
            array.render()
            context.copy_framebuffer(self.plain, self.fine)
            pixels = np.frombuffer(self.plain.read(components=4, alignment=1), np.uint8)
        finally:
            for part in (array, vertices, indices):
                part.release()
        return _unmultiplied(pixels.reshape(view.height, view.width, 4))


def _seen_box(vertices: Float[np.ndarray, "V 3"], view: View) -> tuple[slice, slice]:
    """Rows and columns of a picture that hold all points, which are before the camera; empty if they are beside it."""
    points = vertices[:, :2].astype(np.float64) / vertices[:, 2:] * view.focal_length + view.principal_point
    size = np.array([view.width, view.height])
    low = np.clip(np.floor(points.min(axis=0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 2, 0, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _unmultiplied(pixels: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Colours of partly covered pixels, which the mean over samples has darkened, restored."""
    pixels = pixels.copy()
    alpha = pixels[..., 3]
    is_edge = (alpha > 0) & (alpha < 255)
    edge = pixels[is_edge].astype(np.float32)
    edge[:, :3] = np.minimum(edge[:, :3] * (255 / edge[:, 3:]) + 0.5, 255)
    pixels[is_edge] = edge.astype(np.uint8)
    return pixels


def _context() -> _Context:
    """The GL objects of this thread; a forked process must not use those of its parent."""
    if getattr(_store, "process", None) == os.getpid():
        return _store.gl
    try:
        import moderngl
    except ImportError as error:
        raise RendererUnavailableError(
            "drawing by OpenGL needs moderngl; `pip install hardmo_jax[viz]`, or choose the renderer 'painter'"
        ) from error
    try:
        # Screens are not looked for: EGL works on servers too, elsewhere the system's own way is taken.
        options: dict[str, Any] = {"backend": "egl"} if sys.platform == "linux" else {}
        gl = _Context(moderngl.create_standalone_context(require=330, **options))
    except Exception as error:  # moderngl raises its own, bare Exception and OSError alike
        raise RendererUnavailableError(
            f"OpenGL cannot be started ({' '.join(str(error).split())}); install EGL (`apt-get install libegl1 "
            "libgl1-mesa-dri`), or choose the renderer 'painter'"
        ) from error
    _store.gl, _store.process = gl, os.getpid()
    return gl


def choose_renderer(name: Literal["auto", "gl", "painter"] = "auto") -> Renderer:
    """Renderer by name.

    Args:
        name: `gl`, `painter`, or `auto` for OpenGL where it works and the painter elsewhere; what was taken
            stands in `.name` of the result, and why in `.reason`.

    Raises:
        RendererUnavailableError: If `gl` was asked for by name and cannot be had.
        ValueError: If there is no renderer of that name.
    """
    if name == "painter":
        return painter.PainterRenderer()
    if name == "gl":
        return GlRenderer()
    if name != "auto":
        raise ValueError(f"unknown renderer {name!r}; known: auto, gl, painter")
    try:
        return GlRenderer()
    except RendererUnavailableError as error:
        return painter.PainterRenderer(reason=str(error))


def render_mesh(
    vertices_camera: Float[Any, "V 3"],
    faces: Int[Any, "F 3"],
    *,
    focal_length: Real[Any, "2"],
    principal_point: Real[Any, "2"],
    width: int,
    height: int,
    colour: tuple[float, float, float] = scene.DEFAULT_COLOUR,
    normals: Float[Any, "V 3"] | None = None,
    renderer: Renderer | None = None,
) -> UInt8[np.ndarray, "H W 4"]:
    """Draw one mesh; several in one picture go through `Renderer.render`.

    Args:
        vertices_camera: Metres, OpenCV axes.
        faces: Vertex indices.
        focal_length: (fx, fy) in pixels.
        principal_point: (cx, cy) in pixels.
        width: Picture width in pixels.
        height: Picture height in pixels.
        colour: Red, green, blue in [0, 1].
        normals: Unit vectors per vertex; made from the faces if absent.
        renderer: None for `choose_renderer("auto")`.

    Returns:
        Red, green, blue and coverage, 0 to 255.
    """
    mesh = Mesh(vertices_camera=vertices_camera, faces=faces, colour=colour, normals=normals)
    view = View(focal_length=focal_length, principal_point=principal_point, width=width, height=height)
    return (renderer or choose_renderer()).render([mesh], view)
