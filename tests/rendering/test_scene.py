import types

import numpy as np
import pytest

from hardmo_jax.rendering import scene

TRIANGLE = np.array([[0, 1, 2]])


def make_soup(depths):
    vertices = np.array([[0, 0, depths[0]], [1, 0, depths[1]], [0, 1, depths[2]]], float)
    return scene.join_meshes([scene.Mesh(vertices_camera=vertices, faces=TRIANGLE)])


def test_normal_of_a_triangle_is_perpendicular_to_it():
    normals = scene.vertex_normals(np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0]], float), TRIANGLE)
    assert np.allclose(normals, [[0, 0, 1]] * 3)


def test_normals_of_a_cube_corner_point_outwards_by_area():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    faces = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3]])
    assert np.allclose(scene.vertex_normals(vertices, faces)[0], -np.ones(3) / np.sqrt(3))


def test_normal_of_an_unused_vertex_and_of_an_empty_face_is_zero():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 9, 9]], float)
    assert not scene.vertex_normals(vertices, TRIANGLE).any()


@pytest.mark.parametrize(
    ("depths", "num_faces", "area"),
    [((1, 1, 1), 1, 0.5), ((-1, -1, -1), 0, 0.0), ((1, -1, -1), 1, 0.125), ((-1, 1, 1), 2, 0.375)],
)
def test_clipping_keeps_the_part_in_front_of_the_plane(depths, num_faces, area):
    soup = scene.clip_near(make_soup(depths), near=0.0)
    corners = soup.vertices[soup.faces]
    assert len(soup.faces) == num_faces
    assert (corners[..., 2] >= -1e-6).all()
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    areas = 0.5 * np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    assert np.isclose(areas.sum(), area)


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_clipping_does_not_depend_on_the_first_corner_and_keeps_the_winding(turn):
    soup = make_soup((-1, 1, 1))
    turned = scene.Soup(
        vertices=soup.vertices,
        normals=soup.normals,
        colours=soup.colours,
        faces=np.roll(soup.faces, turn, axis=1),
    )
    corners = scene.clip_near(turned, near=0.0)
    corners = corners.vertices[corners.faces]
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    assert (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0] > 0).all()


def test_resized_view_keeps_the_picture_edges_in_place():
    view = scene.View(focal_length=np.array([100, 120]), principal_point=np.array([-0.5, 79.5]), width=100, height=80)
    half = view.resized(50, 40)
    assert np.allclose(half.focal_length, [50, 60])
    assert np.allclose(half.principal_point, [-0.5, 39.5])


def test_view_is_made_from_anything_with_a_camera_s_fields():
    camera = types.SimpleNamespace(focal_length=[10.0, 11.0], principal_point=np.array([1.0, 2.0]))
    view = scene.View.from_camera(camera, 30, 20)
    assert view.focal_length.tolist() == [10.0, 11.0]
    assert (view.width, view.height) == (30, 20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vertices_camera": np.full((3, 3), np.nan)}, "finite"),
        ({"faces": np.array([[0, 1, 3]])}, "name vertex 3"),
        ({"colour": (1.0, 2.0, 3.0)}, "in \\[0, 1\\]"),
    ],
)
def test_impossible_mesh_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        scene.Mesh(**({"vertices_camera": np.eye(3), "faces": TRIANGLE} | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"focal_length": np.array([0, 100])}, "positive"),
        ({"principal_point": np.array([np.nan, 0])}, "finite"),
        ({"width": 0}, "cannot be rendered"),
        ({"height": 100_000}, "cannot be rendered"),
    ],
)
def test_impossible_view_is_refused(changes, words):
    fields = {"focal_length": np.full(2, 100.0), "principal_point": np.full(2, 5.0), "width": 10, "height": 10}
    with pytest.raises(ValueError, match=words):
        scene.View(**(fields | changes))
