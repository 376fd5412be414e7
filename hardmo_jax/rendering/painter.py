"""Drawing meshes where there is no OpenGL: an exact z-buffer in NumPy.

Works through all triangles at once: each becomes its rows, each row its run of pixels whose centres lie
inside, and of all candidates for a pixel the nearest stays. Colours are computed at the vertices. With
antialiasing the picture is made at twice the size and averaged.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from hardmo_jax.rendering import scene
from hardmo_jax.rendering.scene import Light, Mesh, View

#: Pictures above this many pixels are drawn without antialiasing, to bound memory.
_MAX_FINE_PIXELS = 16_000_000
# Rows of triangles handled at once; bounds the memory of large triangles.
_MAX_RUN_PIXELS = 4_000_000


class PainterRenderer:
    """Renderer without OpenGL."""

    name = "painter"

    def __init__(self, *, antialias: bool = True, reason: str | None = None) -> None:
        """Set up.

        Args:
            antialias: Draw at twice the size and average; four times the work for the pixels.
            reason: Why this renderer was taken instead of a better one.
        """
        self.antialias = antialias
        self.reason = reason

    def render(self, meshes: Sequence[Mesh], view: View, light: Light | None = None) -> UInt8[np.ndarray, "H W 4"]:
        """Draw meshes with correct depth between them; see `scene.Renderer`."""
        factor = 2 if self.antialias and 4 * view.width * view.height <= _MAX_FINE_PIXELS else 1
        soup = scene.clip_near(scene.join_meshes(meshes))
        colours = scene.shade(soup.vertices, soup.normals, soup.colours, light)
        fine = view.resized(view.width * factor, view.height * factor)
        rgb, is_drawn, box = _rasterise(soup.vertices, soup.faces, colours, fine, factor)
        picture = np.zeros((view.height, view.width, 4), np.uint8)
        if rgb.size:
            rows, columns = (slice(edge.start // factor, edge.stop // factor) for edge in box)
            picture[rows, columns] = _average(rgb, is_drawn, factor)
        return picture


def _average(
    rgb: Float32[np.ndarray, "3 H W"], is_drawn: Bool[np.ndarray, "H W"], factor: int
) -> UInt8[np.ndarray, "h w 4"]:
    """Mean colour of the drawn samples of each pixel, and their share."""
    rgba = np.concatenate([rgb, is_drawn[None].astype(np.float32)])
    if factor > 1:
        # Slices are added one by one: several times faster than a mean over reshaped axes.
        rows = rgba[:, ::2] + rgba[:, 1::2]
        rgba = rows[:, :, ::2] + rows[:, :, 1::2]
        rgba[:3] /= np.maximum(rgba[3], 1)
        rgba[3] /= 4
    return np.moveaxis(np.clip(rgba * 255 + 0.5, 0, 255).astype(np.uint8), 0, 2)


def _rasterise(
    vertices: Float32[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    colours: Float32[np.ndarray, "V 3"],
    view: View,
    multiple: int,
) -> tuple[Float32[np.ndarray, "3 h w"], Bool[np.ndarray, "h w"], tuple[slice, slice]]:
    """Colour and coverage in the box of rows and columns that the mesh touches, both multiples of a number."""
    nothing = np.zeros((3, 0, 0), np.float32), np.zeros((0, 0), bool), (slice(0, 0), slice(0, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse_depth = 1.0 / vertices[:, 2].astype(np.float64)
        pixels = vertices[:, :2] * inverse_depth[:, None] * view.focal_length + view.principal_point
    corners = pixels[faces]
    low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])
    high = np.maximum(np.maximum(corners[:, 0], corners[:, 1]), corners[:, 2])
    size = np.array([view.width, view.height])
    is_seen = ((high >= 0) & (low <= size - 1)).all(axis=1)
    corners, faces, low, high = corners[is_seen], faces[is_seen], low[is_seen], high[is_seen]
    # Twice the signed area; triangles seen edge-on cover no pixel centre.
    edges = np.roll(corners, -1, axis=1) - corners
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    is_solid = np.abs(area) > 1e-6
    corners, faces, edges, area = corners[is_solid], faces[is_solid], edges[is_solid], area[is_solid]
    if not len(faces):
        return nothing
    low, high = low[is_solid], high[is_solid]
    box_low = np.maximum(np.ceil(low.min(axis=0)), 0).astype(int) // multiple * multiple
    box_high = -(-(np.minimum(np.floor(high.max(axis=0)), size - 1).astype(int) + 1) // multiple) * multiple
    if (box_high <= box_low).any():
        return nothing
    width, height = box_high - box_low

    # Values linear in the picture: inverse depth decides visibility exactly, colours are affine in a triangle
    # that covers a few pixels.
    values = np.concatenate([inverse_depth[:, None], colours], axis=1)[faces]
    slope_x, slope_y = _slopes(values, edges, area)
    constant = values[:, 0] - slope_x * corners[:, 0, :1] - slope_y * corners[:, 0, 1:]
    first_row = np.maximum(np.ceil(low[:, 1]), box_low[1]).astype(np.int64)
    last_row = np.minimum(np.floor(high[:, 1]), box_high[1] - 1).astype(np.int64)
    num_rows = np.maximum(last_row - first_row + 1, 0)
    triangle = np.repeat(np.arange(len(faces)), num_rows)
    row = _ramp(num_rows) + np.repeat(first_row, num_rows)
    first, last = _runs(corners, edges, area, triangle, row)
    first = np.maximum(first, box_low[0])
    last = np.minimum(last, box_high[0] - 1)
    is_run = last >= first
    triangle, row, first, last = triangle[is_run], row[is_run], first[is_run], last[is_run]

    # Along a run a value is `plane + slope * x`.
    plane = [constant[triangle, item] + slope_y[triangle, item] * row for item in range(4)]
    slope = [slope_x[triangle, item] for item in range(4)]
    pixel_of_row = (row - box_low[1]) * width - box_low[0]
    nearest = np.zeros(width * height, np.float32)
    picture = np.zeros((3, width * height), np.float32)
    length = last - first + 1
    bounds = np.searchsorted(
        np.cumsum(length), np.arange(_MAX_RUN_PIXELS, length.sum() + _MAX_RUN_PIXELS, _MAX_RUN_PIXELS), "right"
    )
    start = 0
    for stop in [*bounds.tolist(), len(length)]:
        if stop <= start:
            continue
        part = slice(start, stop)
        start = stop
        run = np.repeat(np.arange(part.start, part.stop), length[part])
        x = _ramp(length[part]) + first[run]
        at = pixel_of_row[run] + x
        depth = (plane[0][run] + slope[0][run] * x).astype(np.float32)
        np.maximum.at(nearest, at, depth)
        is_front = depth >= nearest[at]
        run, at, x = run[is_front], at[is_front], x[is_front]
        for channel in range(3):
            picture[channel, at] = plane[channel + 1][run] + slope[channel + 1][run] * x
    box = slice(int(box_low[1]), int(box_high[1])), slice(int(box_low[0]), int(box_high[0]))
    return picture.reshape(3, height, width), (nearest > 0).reshape(height, width), box


def _slopes(
    values: Float[np.ndarray, "F 3 C"], edges: Float[np.ndarray, "F 3 2"], area: Float[np.ndarray, "F"]
) -> tuple[Float[np.ndarray, "F C"], Float[np.ndarray, "F C"]]:
    """Change per pixel in x and in y of values given at the corners."""
    along_first = values[:, 1] - values[:, 0]
    along_last = values[:, 2] - values[:, 0]
    first, last = edges[:, 0], -edges[:, 2]
    by_x = (along_first * last[:, 1:] - along_last * first[:, 1:]) / area[:, None]
    by_y = (along_last * first[:, :1] - along_first * last[:, :1]) / area[:, None]
    return by_x, by_y


def _runs(
    corners: Float[np.ndarray, "F 3 2"],
    edges: Float[np.ndarray, "F 3 2"],
    area: Float[np.ndarray, "F"],
    triangle: Int[np.ndarray, "R"],
    row: Int[np.ndarray, "R"],
) -> tuple[Int[np.ndarray, "R"], Int[np.ndarray, "R"]]:
    """First and last pixel centre of each row of each triangle; first > last where there is none.

    A centre exactly on an edge counts for both neighbours, so that no gap opens between them.
    """
    first = np.full(len(row), -np.inf)
    last = np.full(len(row), np.inf)
    sign = np.sign(area)
    for corner in range(3):
        # Inside: cross(edge, point - corner) * sign >= 0, linear in x: slope * x + rest >= 0.
        slope = (-edges[:, corner, 1] * sign)[triangle]
        run = (edges[:, corner, 0] * sign)[triangle]
        origin = corners[triangle, corner]
        rest = run * (row - origin[:, 1]) - slope * origin[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            cut = -rest / slope
        first = np.where(slope > 0, np.maximum(first, cut), first)
        last = np.where(slope < 0, np.minimum(last, cut), last)
        last = np.where((slope == 0) & (rest < 0), -np.inf, last)
    margin = 1e-9
    first, last = np.ceil(first - margin), np.floor(last + margin)
    limit = float(2**40)
    return np.clip(first, -limit, limit).astype(np.int64), np.clip(last, -limit, limit).astype(np.int64)


def _ramp(lengths: Int[np.ndarray, "N"]) -> Int[np.ndarray, "M"]:
    """0, 1, ... up to each length, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)
