import sys
import threading

import numpy as np
import pytest

from hardmo_jax.rendering import painter, raster, scene

# Antialiased edges of two renderers may differ by part of a pixel along the outline.
LEAST_IOU = 0.97


def make_renderer(name):
    try:
        return raster.choose_renderer(name)
    except raster.RendererUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["gl", "painter"])
def renderer(request):
    return make_renderer(request.param)


def make_view(width=160, height=120, focal=150.0, principal_point=None):
    center = ((width - 1) / 2, (height - 1) / 2) if principal_point is None else principal_point
    return scene.View(
        focal_length=np.array([focal, focal]), principal_point=np.array(center), width=width, height=height
    )


def make_sphere(center=(0, 0, 3), radius=0.8, rings=16, **options):
    """Closed sphere of about 2 * rings ** 2 * 2 faces."""
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)[None]
    unit = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], axis=-1
    ).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a = row * 2 * rings + column
    b = row * 2 * rings + (column + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return scene.Mesh(vertices_camera=unit * radius + np.array(center), faces=faces, normals=unit, **options)


def make_quad(depth, low=-5.0, high=5.0, **options):
    corners = [[low, low, depth], [high, low, depth], [high, high, depth], [low, high, depth]]
    return scene.Mesh(vertices_camera=np.array(corners), faces=np.array([[0, 1, 2], [0, 2, 3]]), **options)


def is_drawn(picture):
    return picture[..., 3] > 127


def iou(first, second):
    return (first & second).sum() / max((first | second).sum(), 1)


def oracle(meshes, view):
    """Number of the nearest mesh at each pixel centre, -1 for none; one triangle and pixel after the other."""
    nearest = np.full((view.height, view.width), np.inf)
    owner = np.full((view.height, view.width), -1)
    fx, fy = view.focal_length
    cx, cy = view.principal_point
    for number, mesh in enumerate(meshes):
        for face in mesh.faces:
            points = np.asarray(mesh.vertices_camera, np.float64)[face]
            x, y = points[:, 0] / points[:, 2] * fx + cx, points[:, 1] / points[:, 2] * fy + cy
            area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
            if area == 0:
                continue
            for row in range(max(0, int(y.min())), min(view.height, int(y.max()) + 2)):
                for column in range(max(0, int(x.min())), min(view.width, int(x.max()) + 2)):
                    weight = [
                        (x[j] - column) * (y[k] - row) - (x[k] - column) * (y[j] - row)
                        for j, k in ((1, 2), (2, 0), (0, 1))
                    ]
                    weight = np.array(weight) / area
                    if (weight < 0).any():
                        continue
                    depth = 1 / (weight / points[:, 2]).sum()
                    if depth < nearest[row, column]:
                        nearest[row, column] = depth
                        owner[row, column] = number
    return owner


@pytest.mark.parametrize("principal_point", [None, (20.0, 95.0), (150.25, 10.75)])
def test_silhouette_agrees_with_point_in_triangle_oracle(renderer, principal_point):
    view = make_view(principal_point=principal_point)
    mesh = make_sphere(center=(0.1, -0.05, 3), rings=6)
    expected = oracle([mesh], view) >= 0
    assert expected.any()
    assert iou(is_drawn(renderer.render([mesh], view)), expected) > LEAST_IOU


def test_painter_without_antialiasing_equals_the_oracle_at_every_pixel():
    view = make_view(64, 48, 60.0, (30.3, 22.8))
    meshes = [make_sphere((0.1, 0, 3), rings=5), make_sphere((0.3, 0.1, 2.8), rings=4)]
    expected = oracle(meshes, view) >= 0
    picture = painter.PainterRenderer(antialias=False).render(meshes, view)
    assert np.array_equal(picture[..., 3] == 255, expected)


def test_interpenetrating_meshes_hide_each_other_as_in_the_oracle(renderer):
    view = make_view(80, 60, 75.0)
    meshes = [
        make_sphere((-0.2, 0, 3), rings=6, colour=(1.0, 0.0, 0.0)),
        make_sphere((0.3, 0.1, 3.2), rings=6, colour=(0.0, 1.0, 0.0)),
    ]
    expected = oracle(meshes, view)
    picture = renderer.render(meshes, view)
    assert iou(is_drawn(picture) & (picture[..., 0] > picture[..., 1]), expected == 0) > 0.95
    assert iou(is_drawn(picture) & (picture[..., 0] < picture[..., 1]), expected == 1) > 0.95


@pytest.mark.parametrize("principal_point", [(79.5, 59.5), (10.0, 100.0), (150.3, 5.6), (-20.0, 60.0)])
@pytest.mark.parametrize("target", [(80.0, 60.0), (12.4, 100.2), (1.0, 1.0), (157.0, 117.5)])
def test_small_triangle_lands_where_the_pinhole_formula_says(renderer, principal_point, target):
    focal, depth = 150.0, 2.0
    view = make_view(focal=focal, principal_point=principal_point)
    center = (np.array(target) - principal_point) / focal * depth
    corners = np.array([[0, -1.2], [1.04, 0.6], [-1.04, 0.6]]) * depth / focal
    vertices = np.concatenate([center + corners, np.full((3, 1), depth)], axis=1)
    picture = renderer.render([scene.Mesh(vertices_camera=vertices, faces=np.array([[0, 1, 2]]))], view)
    weight = picture[..., 3].astype(float)
    rows, columns = np.mgrid[: view.height, : view.width]
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.abs(found - target).max() < 0.5


def test_rectangle_covers_exactly_the_pixels_whose_squares_it_holds(renderer):
    # Corners at pixel edges: 10 - 0.5 to 30 + 0.5 in x, 20 - 0.5 to 24 + 0.5 in y.
    view = make_view(64, 48, 100.0, (0.0, 0.0))
    corners = np.array([[9.5, 19.5], [30.5, 19.5], [30.5, 24.5], [9.5, 24.5]]) / 100 * 2
    vertices = np.concatenate([corners, np.full((4, 1), 2.0)], axis=1)
    mesh = scene.Mesh(vertices_camera=vertices, faces=np.array([[0, 1, 2], [0, 2, 3]]))
    rows, columns = np.nonzero(is_drawn(renderer.render([mesh], view)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 24, 10, 30)
    assert len(rows) == 5 * 21


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_mesh_hides_the_farther_one_whatever_their_order(renderer, order):
    meshes = [make_quad(2.0, -0.3, 0.3, colour=(1.0, 0.0, 0.0)), make_quad(4.0, colour=(0.0, 0.0, 1.0))]
    picture = renderer.render([meshes[index] for index in order], make_view())
    assert picture[60, 80, 0] > 2 * picture[60, 80, 2]
    assert picture[5, 5, 2] > 2 * picture[5, 5, 0]


def test_mesh_behind_the_camera_leaves_the_picture_empty(renderer):
    picture = renderer.render([make_sphere((0, 0, -3))], make_view())
    assert picture.shape == (120, 160, 4)
    assert not picture.any()


def test_no_mesh_leaves_the_picture_empty(renderer):
    assert not renderer.render([], make_view()).any()


def test_mesh_beside_the_picture_leaves_it_empty(renderer):
    assert not renderer.render([make_sphere((50, 0, 3))], make_view()).any()


def test_floor_running_from_behind_the_camera_to_the_horizon_fills_the_lower_half(renderer):
    floor = scene.Mesh(
        vertices_camera=np.array([[-500, 1, -5], [500, 1, -5], [500, 1, 400], [-500, 1, 400]], float),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
    )
    drawn = is_drawn(renderer.render([floor], make_view()))
    assert drawn[62:].all()
    assert not drawn[:60].any()


def test_body_crossing_the_camera_plane_looks_alike_in_both_renderers():
    gl = make_renderer("gl")
    mesh = make_sphere((0.2, 0.1, 0.5), radius=0.7)
    view = make_view(principal_point=(30.0, 60.0))
    first, second = (part.render([mesh], view) for part in (gl, painter.PainterRenderer()))
    assert iou(is_drawn(first), is_drawn(second)) > LEAST_IOU


def test_renderers_agree_in_silhouette_and_shade():
    gl = make_renderer("gl")
    meshes = [make_sphere((-0.3, 0, 3), colour=(0.9, 0.5, 0.2)), make_sphere((0.5, 0.2, 3.5))]
    view = make_view(320, 240, 300.0, (140.2, 130.7))
    first, second = (part.render(meshes, view) for part in (gl, painter.PainterRenderer()))
    assert iou(is_drawn(first), is_drawn(second)) > 0.99
    inside = (first[..., 3] == 255) & (second[..., 3] == 255)
    assert np.abs(first.astype(int) - second)[inside].mean() < 2.0


def test_edges_are_smooth_and_keep_the_colour_of_the_mesh(renderer):
    picture = renderer.render([make_sphere(colour=(0.9, 0.1, 0.1))], make_view())
    is_edge = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert is_edge.sum() > 50
    assert (picture[is_edge][:, 0] > 1.5 * picture[is_edge][:, 1]).mean() > 0.95


def test_both_sides_of_a_face_are_lit_alike(renderer):
    quad = make_quad(3.0)
    turned = scene.Mesh(vertices_camera=quad.vertices_camera, faces=quad.faces[:, ::-1])
    first, second = (renderer.render([mesh], make_view()) for mesh in (quad, turned))
    assert np.abs(first.astype(int) - second).max() <= 1  # rounding in the driver
    assert first[60, 80, :3].min() > 100


def test_inputs_are_not_changed(renderer):
    mesh = make_sphere()
    before = mesh.vertices_camera.copy(), mesh.faces.copy()
    renderer.render([mesh], make_view())
    assert np.array_equal(mesh.vertices_camera, before[0])
    assert np.array_equal(mesh.faces, before[1])


def test_same_scene_gives_the_same_picture_twice(renderer):
    first = renderer.render([make_sphere()], make_view())
    renderer.render([make_sphere((0.3, 0, 2))], make_view(64, 32))
    assert np.array_equal(first, renderer.render([make_sphere()], make_view()))


def test_gl_draws_in_another_thread_too():
    make_renderer("gl")
    pictures = []
    thread = threading.Thread(
        target=lambda: pictures.append(raster.choose_renderer("gl").render([make_sphere()], make_view()))
    )
    thread.start()
    thread.join(30)
    assert np.array_equal(pictures[0], raster.choose_renderer("gl").render([make_sphere()], make_view()))


def test_gl_context_is_made_once_per_thread():
    make_renderer("gl")
    assert raster.choose_renderer("gl")._gl is raster.choose_renderer("gl")._gl


def test_missing_moderngl_raises_for_gl_and_falls_back_for_auto(monkeypatch):
    monkeypatch.setattr(raster, "_store", threading.local())
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(raster.RendererUnavailableError, match="needs moderngl"):
        raster.choose_renderer("gl")
    chosen = raster.choose_renderer("auto")
    assert chosen.name == "painter"
    assert "moderngl" in chosen.reason


def test_failing_context_raises_for_gl_and_falls_back_for_auto(monkeypatch):
    moderngl = pytest.importorskip("moderngl")

    def fail(**options):
        raise Exception("cannot open\nlibEGL.so")

    monkeypatch.setattr(raster, "_store", threading.local())
    monkeypatch.setattr(moderngl, "create_standalone_context", fail)
    with pytest.raises(raster.RendererUnavailableError, match="cannot open libEGL"):
        raster.choose_renderer("gl")
    assert raster.choose_renderer("auto").name == "painter"


def test_painter_needs_no_graphics_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "moderngl", None)
    assert raster.choose_renderer("painter").render([make_sphere()], make_view()).any()


def test_unknown_renderer_is_refused():
    # Under the tests' type checks the name itself is a TypeError.
    with pytest.raises((ValueError, TypeError), match="vulkan"):
        raster.choose_renderer("vulkan")


def test_render_mesh_draws_one_mesh():
    sphere = make_sphere()
    view = make_view()
    picture = raster.render_mesh(
        sphere.vertices_camera,
        sphere.faces,
        focal_length=view.focal_length,
        principal_point=view.principal_point,
        width=view.width,
        height=view.height,
        renderer=painter.PainterRenderer(),
    )
    assert iou(is_drawn(picture), is_drawn(painter.PainterRenderer().render([sphere], view))) == 1


def test_painter_splits_large_pictures_into_parts_without_a_trace(monkeypatch):
    view = make_view()
    whole = painter.PainterRenderer().render([make_sphere()], view)
    monkeypatch.setattr(painter, "_MAX_RUN_PIXELS", 500)
    assert np.array_equal(painter.PainterRenderer().render([make_sphere()], view), whole)
