"""Pictures of both renderers are the same, within what is said here, and OpenGL stays out until it is asked for."""

import pathlib
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.pipelines import demo_clip
from hardmo_jax.rendering import painter, raster, scene
from hardmo_jax.viz import overlay

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What `rendering/raster.py` promises. Brightness is of 255; outlines may differ by one pixel, as samples of a pixel lie
# elsewhere, and colours as one renderer lights pixels, the other vertices.
OUTLINE_PIXELS = 1
AREA = 0.01
MEAN_BRIGHTNESS = 4.0
BRIGHTNESS_OF_99_PERCENT = 36.0


@pytest.fixture(scope="module")
def gl():
    try:
        return raster.GlRenderer()
    except raster.RendererUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def dancers():
    """Four bodies in movement, around the origin: vertices and faces."""
    body, truth = hm.open_body(), demo_clip.packaged_truth()
    chosen = [0, 40, len(truth.dancer) // 2 + 3, len(truth.dancer) - 1]
    vertices = np.asarray(body(jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], truth.params)).vertices)
    return vertices - vertices.mean(axis=(0, 1)), np.asarray(body.faces)


def make_meshes(dancers, shift, size=1.0):
    vertices, faces = dancers
    return [
        scene.Mesh(vertices_camera=own * size + shift, faces=faces, colour=overlay.track_colour(track))
        for track, own in enumerate(vertices)
    ]


def make_view(width, height, focal_length, principal_point=None):
    center = ((width - 1) / 2, (height - 1) / 2) if principal_point is None else principal_point
    return scene.View(
        focal_length=np.array([focal_length, focal_length * 1.02]),
        principal_point=np.array(center),
        width=width,
        height=height,
    )


def grown(is_drawn, by):
    return cv2.dilate(is_drawn.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def assert_same_picture(first, second):
    assert first.shape == second.shape
    for one, other in ((first, second), (second, first)):
        # Whatever one draws the other draws too, or beside it.
        assert not ((one[..., 3] > 127) & ~grown(other[..., 3] > 0, OUTLINE_PIXELS)).any()
        assert not ((one[..., 3] == 255) & ~grown(other[..., 3] > 127, OUTLINE_PIXELS)).any()
    areas = [picture[..., 3].sum(dtype=np.int64) for picture in (first, second)]
    assert min(areas) > 0
    assert abs(areas[0] / areas[1] - 1) < AREA
    inside = (first[..., 3] == 255) & (second[..., 3] == 255)
    apart = np.abs(first[..., :3].astype(int) - second[..., :3])[inside]
    assert apart.mean() < MEAN_BRIGHTNESS
    assert np.percentile(apart, 99) < BRIGHTNESS_OF_99_PERCENT


VIEWS = {
    "people who hide each other": ((0, 0, 4), make_view(640, 360, 450.0)),
    "small ones": ((0, 0, 4), make_view(426, 240, 300.0)),
    "seen past the edge of the lens": ((0, 0, 4), make_view(640, 360, 450.0, (40.3, 310.7))),
    "cut by the picture": ((1.3, 0.5, 3), make_view(640, 360, 450.0)),
    "around the camera": ((0, 0, 0.5), make_view(640, 360, 300.0)),
    "in a high picture": ((0, 0, 3), make_view(270, 480, 330.0)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_both_renderers_draw_the_same_picture_of_people(gl, dancers, name):
    shift, view = VIEWS[name]
    meshes = make_meshes(dancers, shift)
    assert_same_picture(gl.render(meshes, view), painter.PainterRenderer().render(meshes, view))


def test_both_renderers_hide_the_same_people(gl, dancers):
    meshes = make_meshes(dancers, (0, 0, 4))
    plain = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)]
    meshes = [
        scene.Mesh(vertices_camera=mesh.vertices_camera, faces=mesh.faces, colour=colour)
        for mesh, colour in zip(meshes, plain, strict=True)
    ]
    view = make_view(640, 360, 450.0)
    # Light that shines from everywhere alike tells people apart by their colour alone.
    light = scene.Light(key=0.0, head=0.0, sky=0.8, ground=0.8)
    owners = []
    for renderer in (gl, painter.PainterRenderer()):
        picture = renderer.render(meshes, view, light).astype(int)
        owner = np.where(picture[..., :3].min(axis=2) > 100, 3, picture[..., :3].argmax(axis=2))
        owners.append(np.where(picture[..., 3] == 255, owner, -1))
    both = (owners[0] >= 0) & (owners[1] >= 0)
    assert set(np.unique(owners[0][both])) == {0, 1, 2, 3}
    # Pixels between two people may fall to either.
    assert (owners[0] != owners[1])[both].mean() < 0.01


def test_both_renderers_draw_the_same_floor_light_and_thin_lines(gl):
    floor = scene.Mesh(
        vertices_camera=np.array([[-50, 1, -5], [50, 1, -5], [50, 1, 40], [-50, 1, 40]], float),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
    )
    pole = scene.Mesh(
        vertices_camera=np.array([[0.3, -1, 3], [0.33, -1, 3], [0.33, 1, 3], [0.3, 1, 3]]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        colour=(0.9, 0.2, 0.1),
    )
    view = make_view(320, 240, 200.0)
    light = scene.Light(direction=np.array([0.3, -0.9, 0.2]), key=0.4, head=0.2, sky=0.3, ground=0.1)
    pictures = [one.render([floor, pole], view, light) for one in (gl, painter.PainterRenderer())]
    inside = (pictures[0][..., 3] == 255) & (pictures[1][..., 3] == 255)
    # One renderer lights vertices, which are far apart here, the other pixels: outlines alone must agree.
    for one, other in (pictures, pictures[::-1]):
        assert not ((one[..., 3] > 127) & ~grown(other[..., 3] > 0, OUTLINE_PIXELS)).any()
    is_pole = [picture[..., 0] > 1.8 * picture[..., 2].astype(int) for picture in pictures]
    assert (is_pole[0] & inside).sum() > 200
    assert ((is_pole[0] != is_pole[1]) & inside).sum() < 0.1 * (is_pole[0] & inside).sum()


def test_distant_people_are_as_bright_in_both(gl, dancers):
    # Triangles much smaller than pixels: what is left of them is their mean.
    meshes, view = make_meshes(dancers, (0, 0, 12)), make_view(320, 180, 300.0)
    means = []
    for renderer in (gl, painter.PainterRenderer()):
        picture = renderer.render(meshes, view).astype(float)
        weight = picture[..., 3:] / 255
        means.append((picture[..., :3] * weight).sum((0, 1)) / weight.sum())
    assert np.abs(means[0] - means[1]).max() < 6.0


def test_overlays_of_both_renderers_look_alike(gl, dancers, rng):
    photo = cv2.GaussianBlur(rng.integers(0, 255, (360, 640, 3), np.uint8), (0, 0), 5)
    people = [
        overlay.OverlayPerson(track_id=track, vertices_camera=own + np.array([0, 0, 4.0]), faces=dancers[1])
        for track, own in enumerate(dancers[0])
    ]
    first, second = (
        overlay.draw_overlay(
            photo, people, focal_length=np.full(2, 450.0), principal_point=np.array([319.5, 179.5]), renderer=renderer
        ).astype(int)
        for renderer in (gl, painter.PainterRenderer())
    )
    is_changed = (first != photo).any(axis=2) | (second != photo).any(axis=2)
    apart = np.abs(first - second)[is_changed]
    assert apart.mean() < MEAN_BRIGHTNESS
    assert np.percentile(apart, 99) < BRIGHTNESS_OF_99_PERCENT


def test_nothing_loads_opengl_until_it_is_asked_for():
    code = """
import importlib, pkgutil, sys
import numpy as np
import hardmo_jax
for found in pkgutil.walk_packages(hardmo_jax.__path__, "hardmo_jax."):
    importlib.import_module(found.name)
from hardmo_jax.rendering import raster
from hardmo_jax.viz import overlay as drawing
corners = np.array([[-1.0, -1, 3], [1, -1, 3], [0, 1, 3]])
person = drawing.OverlayPerson(vertices_camera=corners, faces=np.array([[0, 1, 2]]))
picture = drawing.draw_overlay(
    np.zeros((48, 64, 3), np.uint8), [person], focal_length=np.full(2, 50.0), principal_point=np.array([31.5, 23.5]),
    renderer=raster.choose_renderer("painter"),
)
assert picture.any()
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("moderngl", "glcontext", "OpenGL", "pyglet")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
