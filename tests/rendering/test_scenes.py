"""Dressed people before made-up backgrounds: the same look twice, a shadow on the floor, light from where it comes."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.rendering import painter, raster, scene, scenes
from hardmo_jax.rendering.scenes import DressableBody
from tests.rendering.test_renderers import make_sphere

VIEW = scene.View(focal_length=np.full(2, 120.0), principal_point=np.full(2, 47.5), width=96, height=96)
RENDERERS = [painter.PainterRenderer(), raster.choose_renderer()]


def sphere():
    """A ball in front of the camera, as a body of skin."""
    made = make_sphere((0.0, 0.0, 3.0))
    count = len(made.vertices_camera)
    body = DressableBody(
        faces=made.faces, joint_of=("left_wrist",) * count, along=np.zeros(count), height=np.zeros(count),
        front=np.zeros(count),
    )  # fmt: skip
    return np.asarray(made.vertices_camera, np.float64), body


def plain(**changes):
    look = scenes.draw_look(np.random.default_rng(0))
    given = {"background": "plain", "noise": 0.0, "blur": 0.0, "gain": (1.0, 1.0, 1.0), "has_gloves": False}
    return dataclasses.replace(look, **{**given, **changes})


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda one: one.name)
def test_a_look_makes_the_same_picture_again(renderer):
    vertices, body = sphere()
    for seed in range(6):
        look = scenes.draw_look(np.random.default_rng(seed))
        first, second = (
            scenes.paint_person(renderer, look, body, vertices, VIEW, up=np.array([0.0, -1.0, 0.0])) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)
        assert first.shape == (96, 96, 3)


def test_looks_are_of_all_kinds():
    looks = [scenes.draw_look(np.random.default_rng(seed)) for seed in range(200)]
    assert {look.background for look in looks} == set(scenes._BACKGROUNDS)
    assert {look.has_shoes for look in looks} == {True, False}
    assert len({look.sleeves for look in looks}) > 3
    brightness = [sum(look.colours[0]) / 3 for look in looks]
    assert min(brightness) < 0.3 < 0.7 < max(brightness)


def test_nobody_is_green_or_wears_their_skin():
    for seed in range(300):
        look = scenes.draw_look(np.random.default_rng(seed))
        colours = np.array(look.colours)
        skin, clothes = colours[0], colours[2:]
        red, green, blue = skin * look.gain
        assert red > green > blue - 0.02
        assert np.linalg.norm(clothes - skin, axis=-1).min() > 0.25


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda one: one.name)
def test_light_comes_from_where_it_is(renderer):
    vertices, body = sphere()
    for side in (-1.0, 1.0):
        light = scene.Light(direction=np.array([side, 0.0, -0.2]), key=0.9, head=0.0, sky=0.1, ground=0.1)
        picture = scenes.paint_person(renderer, plain(light=light), body, vertices, VIEW).astype(float)
        middle = picture[48, :, 0]
        left, right = middle[44:47].mean(), middle[49:52].mean()
        assert (right > left) == (side > 0)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda one: one.name)
def test_the_shadow_lies_on_the_floor_away_from_the_light(renderer):
    vertices, body = sphere()
    light = scene.Light(direction=np.array([-1.0, -1.0, 0.0]))
    look = plain(light=light, shadow=0.6, softness=0.002)
    view = dataclasses.replace(VIEW, width=160, height=128)
    bare = scenes.paint_person(renderer, dataclasses.replace(look, shadow=0.0), body, vertices, view).astype(float)
    cast = scenes.paint_person(renderer, look, body, vertices, view, up=np.array([0.0, -1.0, 0.0])).astype(float)
    rows, columns = np.nonzero((bare - cast).sum(-1) > 6)
    assert len(rows)
    # A ball of radius r casts its shadow from a light 45 degrees up as far aside as its middle is high.
    low = vertices[:, 1].max()
    radius = 0.5 * np.ptp(vertices[:, 1])
    expected = 120.0 * radius / 3.0 + 47.5
    assert abs(columns.mean() - expected) < 8
    assert rows.min() >= np.floor(120.0 * low / 3.6 + 47.5) - 3
    assert not np.any((bare - cast) < -2)


def test_light_that_is_none_is_told():
    with pytest.raises(ValueError, match="direction"):
        scene.Light(direction=np.zeros(3))
    with pytest.raises(ValueError, match="weights"):
        scene.Light(key=-1.0)


def test_clothes_end_where_they_end():
    look = plain(sleeves=0.5, legs=1.4, stripe=0.0, has_shoes=True)
    joints = ("left_shoulder", "left_shoulder", "left_elbow", "right_knee", "right_knee", "left_ankle", "spine1")
    along = np.array([0.2, 0.8, 0.1, 0.2, 0.8, 0.0, 0.5])
    body = DressableBody(
        faces=np.zeros((1, 3), int), joint_of=joints, along=along, height=np.ones(7), front=np.zeros(7)
    )
    found = [scenes.CLOTHES[one] for one in scenes.clothes_of(look, body)]
    assert found == ["shirt", "skin", "skin", "trousers", "skin", "shoes", "shirt"]


def test_a_suit_has_one_colour_for_every_part_and_tells_sides_apart():
    joints = ["left_wrist", "right_wrist", "left_thumb2", "left_index1", "right_ankle", "spine2", "spine2", "head"]
    body = DressableBody(
        faces=np.zeros((0, 3), int), joint_of=tuple(joints), along=np.zeros(8), height=np.zeros(8),
        front=np.array([0, 0, 0, 0, 0, 0.1, -0.1, 0.1]),
    )  # fmt: skip
    parts = scenes.suit_parts(body)
    assert parts == [
        "left palm", "right palm", "left thumb", "left fingers", "right foot", "front trunk", "back trunk",
        "front head",
    ]  # fmt: skip
    colours = [scenes._suit_colour(part) for part in parts]
    assert len(set(colours)) == len(parts)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda one: one.name)
def test_a_suit_is_painted_before_grey(renderer):
    vertices, body = sphere()
    picture = scenes.paint_suit(renderer, np.random.default_rng(0), body, vertices, VIEW)
    corner, middle = picture[0, 0].astype(int), picture[48, 48].astype(int)
    assert np.ptp(corner) <= 1
    # The palm of the left is warm.
    assert middle[0] > middle[2] + 50
