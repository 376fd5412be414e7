import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.pipelines import demo_clip
from hardmo_jax.rendering import closed_surfaces, painter, scene

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
# Quads by their corners, seen from outside against the clock in a frame with x right, y up, z towards the viewer.
QUADS = [(1, 5, 7, 3), (0, 2, 6, 4), (4, 6, 7, 5), (0, 1, 3, 2), (2, 3, 7, 6), (0, 4, 5, 1)]
CUBE_FACES = np.array([corners for a, b, c, d in QUADS for corners in ((a, b, c), (a, c, d))], np.int32)


def picture(meshes, view):
    return painter.PainterRenderer().render(meshes, view)


@pytest.fixture
def view():
    return scene.View(focal_length=np.full(2, 200.0), principal_point=np.array([79.5, 59.5]), width=160, height=120)


@pytest.fixture(scope="module")
def dancers():
    body, truth = hm.open_body(), demo_clip.packaged_truth()
    chosen = np.arange(0, len(truth.dancer), 97)
    vertices = np.asarray(body(jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], truth.params)).vertices)
    return vertices - vertices.mean(axis=1, keepdims=True) + np.array([0, 0, 3], np.float32), np.asarray(body.faces)


def test_closed_means_two_faces_at_each_edge_turned_the_same_way():
    assert closed_surfaces.is_closed_surface(CUBE_FACES)
    assert closed_surfaces.is_closed_surface(CUBE_FACES[:, ::-1])
    assert not closed_surfaces.is_closed_surface(CUBE_FACES[1:])
    one_turned = CUBE_FACES.copy()
    one_turned[3] = one_turned[3, ::-1]
    assert not closed_surfaces.is_closed_surface(one_turned)
    assert not closed_surfaces.is_closed_surface(np.concatenate([CUBE_FACES, CUBE_FACES[:1]]))
    assert not closed_surfaces.is_closed_surface(CUBE_FACES[:0])
    assert closed_surfaces.is_closed_surface(np.concatenate([CUBE_FACES, CUBE_FACES + 8]))


def test_what_is_remembered_is_not_mixed_up_and_does_not_grow():
    for shift in range(3 * closed_surfaces._MOST_REMEMBERED):
        assert closed_surfaces.is_closed_surface(CUBE_FACES + shift)
        assert not closed_surfaces.is_closed_surface(CUBE_FACES[2:] + shift)
    assert len(closed_surfaces._remembered) <= closed_surfaces._MOST_REMEMBERED


def test_face_normals_are_the_cross_products_of_edges(rng):
    vertices, faces = rng.normal(size=(50, 3)), rng.integers(0, 50, (70, 3))
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    assert np.allclose(closed_surfaces.face_normals(vertices, faces), np.cross(b - a, c - a), atol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_cube_before_the_camera_the_side_that_faces_it_is_left(order):
    seen = closed_surfaces.faces_towards_camera(CUBE + np.array([0, 0, 5], np.float32), CUBE_FACES[:, ::order])
    assert {frozenset(face) for face in seen.tolist()} == {
        frozenset(face) for face in CUBE_FACES.tolist() if (CUBE[face][:, 2] == -1).all()
    }
    beside = closed_surfaces.faces_towards_camera(CUBE + np.array([30, 0, 5], np.float32), CUBE_FACES[:, ::order])
    assert len(beside) == 4


def test_nothing_is_left_out_where_the_camera_may_be_inside_or_the_surface_is_open_or_flat():
    for vertices, faces in (
        (CUBE, CUBE_FACES),
        (CUBE + np.array([0, 0, 5], np.float32), CUBE_FACES[2:]),
        (CUBE * np.array([1, 1, 0], np.float32) + np.array([0, 0, 5], np.float32), CUBE_FACES),
        (CUBE[:0], CUBE_FACES[:0]),
    ):
        assert len(closed_surfaces.faces_towards_camera(vertices, faces)) == len(faces)


@pytest.mark.parametrize("depth", [0.5, 30.0, 300.0])
def test_half_of_a_body_is_seen_however_far_it_is(dancers, depth):
    vertices, faces = dancers
    for own in vertices[::3]:
        seen = closed_surfaces.faces_towards_camera(own + np.array([0.5, 0.2, depth], np.float32), faces)
        assert 0.4 < len(seen) / len(faces) < 0.65


def test_pictures_of_people_stay_the_same_but_for_folds(dancers, view, monkeypatch):
    vertices, faces = dancers
    meshes = [[scene.Mesh(vertices_camera=own, faces=faces)] for own in vertices]
    # Mirrored people are inside out.
    meshes += [[scene.Mesh(vertices_camera=vertices[0] * np.array([-1, 1, 1], np.float32), faces=faces)]]
    halves = [picture(mesh, view) for mesh in meshes]
    monkeypatch.setattr(scene, "faces_towards_camera", lambda vertices, faces: faces)
    for half, mesh in zip(halves, meshes, strict=True):
        whole = picture(mesh, view)
        assert whole.any()
        is_other = (np.abs(half.astype(int) - whole) > 16).any(axis=2)
        assert is_other.sum() <= 0.005 * (whole[..., 3] > 0).sum()
