"""The side view turns bodies by a quarter, keeps what is above above, and has everybody in the picture."""

import numpy as np
import pytest

from hardmo_jax.rendering import painter
from hardmo_jax.viz import side_by_side
from hardmo_jax.viz.overlay import OverlayPerson
from hardmo_jax.viz.side_by_side import SideView

UP = (0.0, -1.0, 0.0)
TILTED = (0.0, -np.cos(0.3), -np.sin(0.3))


def view(up=UP, center=(0.2, 0.1, 4.0), floor=-1.0, extent=2.0):
    return SideView(up=np.array(up), floor=floor, center=np.array(center), extent=extent)


@pytest.mark.parametrize("up", [UP, TILTED, (0.1, -0.9, 0.2), (0.0, 0.0, -1.0)])
def test_axes_are_right_handed_and_level(up):
    axes = view(up).axes()
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-12)
    assert abs(axes[0] @ np.array(up)) < 1e-12, "the right of the picture is level"
    assert axes[1] @ np.array(up) < 0, "and its top is up"


def test_the_side_camera_looks_across_the_line_of_sight_with_the_filming_camera_at_its_left():
    side = view()
    nearer, center, farther = side.seen(np.array([[0.2, 0.1, 3.0], [0.2, 0.1, 4.0], [0.2, 0.1, 5.0]]), 1.0)
    np.testing.assert_allclose(center[:2], 0, atol=1e-12)
    assert nearer[0] == pytest.approx(-1)
    assert farther[0] == pytest.approx(1)
    assert nearer[2] == pytest.approx(farther[2])
    head, foot = side.seen(np.array([[0.2, -0.7, 4.0], [0.2, 0.9, 4.0]]), 1.0)
    assert head[1] < -0.7 < 0.7 < foot[1]


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("up", [UP, TILTED])
def test_what_lies_within_the_extent_is_in_the_picture(aspect, up, rng):
    side = view(up)
    points = rng.uniform(-1, 1, (200, 3)) * 0.9
    points = points[np.linalg.norm(points, axis=1) < 1.0] + np.asarray(side.center)
    width, height = round(200 * aspect), 200
    seen = side.seen(points, width / height)
    assert (seen[:, 2] > 0.1).all()
    focal = height / (2 * np.tan(np.radians(11)))
    pixels = seen[:, :2] / seen[:, 2:] * focal + np.array([(width - 1) / 2, (height - 1) / 2])
    assert (pixels >= 0).all()
    assert (pixels <= np.array([width, height]) - 1).all()


def box(center, size):
    """A box as a mesh."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(size) / 2
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
         [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    return OverlayPerson(vertices_camera=corners + np.array(center), faces=faces, colour=(1.0, 0.0, 0.0))


def red(picture):
    return (picture[..., 0].astype(int) - picture[..., 1] > 40) & (picture[..., 0].astype(int) - picture[..., 2] > 40)


def test_a_deep_box_is_narrow_from_the_front_and_wide_from_its_side():
    image = np.full((120, 160, 3), 90, np.uint8)
    drawn = side_by_side.draw_side_by_side(
        image, [box((0.2, 0.1, 4.0), (0.2, 0.6, 1.6))], view(), focal_length=np.full(2, 200.0),
        principal_point=np.array([79.5, 59.5]), height=120, renderer=painter.PainterRenderer(),
    )  # fmt: skip
    assert drawn.shape == (120, 160 + 160 + 120, 3)
    original, over, side = np.split(drawn, [160, 320], axis=1)
    assert np.array_equal(original, image)
    front, across = (np.ptp(np.nonzero(red(part))[1]) for part in (over, side))
    assert front < 25
    assert across > 60


def test_large_pictures_are_scaled_to_the_height_and_small_ones_stay():
    for shape, height, expected in (
        ((200, 100), 100, (100, 50 * 3)),
        ((100, 200), 50, (50, 200 + 50)),
        ((48, 64), 720, (48, 128 + 48)),
    ):
        drawn = side_by_side.draw_side_by_side(
            np.zeros((*shape, 3), np.uint8), [], None, focal_length=np.ones(2), principal_point=np.zeros(2),
            height=height, renderer=painter.PainterRenderer(),
        )  # fmt: skip
        assert drawn.shape == (*expected, 3)


def test_the_grid_stays_in_its_place_when_the_view_follows_people():
    first, second = (
        side_by_side.draw_side_view([], view(center=(0.0, 0.0, depth)), 120, 120, renderer=painter.PainterRenderer())
        for depth in (4.0, 4.5)
    )
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 3, "there are lines"
    # Half a metre on, which is one step: the same picture again.
    assert np.abs(first.astype(int) - second).max() <= 40
    moved = side_by_side.draw_side_view([], view(center=(0.0, 0.0, 4.25)), 120, 120, renderer=painter.PainterRenderer())
    assert (np.abs(first.astype(int) - moved) > 8).any(-1).sum() > 100


@pytest.mark.parametrize(
    "wrong", [{"up": np.zeros(3)}, {"floor": np.nan}, {"extent": 0.0}, {"center": np.array([0.0, np.inf, 1.0])}]
)
def test_views_from_nowhere_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be"):
        SideView(**{"up": np.array(UP), "floor": 0.0, "center": np.zeros(3), "extent": 1.0, **wrong})
