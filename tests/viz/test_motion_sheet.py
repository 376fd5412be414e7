"""Clips side by side: what is drawn where, and that one scale serves all frames."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.rendering import raster
from hardmo_jax.viz import motion_sheet
from hardmo_jax.viz.motion_sheet import MotionClip, MotionDrawing, MotionFrame
from hardmo_jax.viz.overlay import OverlayPerson
from hardmo_jax.viz.recovery_sheet import PAPER

BOX = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (-0.8, 0.8) for z in (-0.1, 0.1)])
FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]])
FOCAL = 500.0
SIZE = (640, 480)
TITLE = 26


def person(depth, sideways=0.0):
    vertices = BOX + np.array([sideways, 0.0, depth])
    points = np.zeros((17, 2)) + np.array(SIZE) / 2
    return OverlayPerson(
        vertices_camera=vertices, faces=FACES, keypoints_2d=points, confidence=np.ones(17), layout="coco17"
    )


def clip_of(depths, others, truth=None, **changes):
    frames = tuple(
        MotionFrame(index=10 + at, people=((person(one),), (person(two),)), truth=truth)
        for at, (one, two) in enumerate(zip(depths, others, strict=True))
    )
    plain = MotionClip(
        name="clip", ways=("by itself", "together"), frames=frames, frames_per_second=30.0, faces=FACES,
        image_size=SIZE, focal_length=np.full(2, FOCAL), principal_point=np.array(SIZE) / 2,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def renderer():
    return raster.choose_renderer("painter")


def columns_of(picture):
    """First and last column in which something is drawn."""
    drawn = np.flatnonzero((np.abs(picture.astype(int) - PAPER).max(-1) > 20).any(0))
    return drawn[0], drawn[-1]


def test_a_frame_has_a_way_beside_the_other(renderer):
    drawing = MotionDrawing(clip_of([4.0, 4.0], [4.0, 4.0]), renderer, is_cut=False, area=160 * 120)
    picture = motion_sheet.draw_motion_frame(drawing, 0, None)
    assert (drawing.width, drawing.height) == (160, 120)
    assert picture.shape == (TITLE + 120 + drawing.side_height, 320, 3)
    np.testing.assert_array_equal(picture[TITLE:, :160], picture[TITLE:, 160:])


def test_whoever_jumps_away_from_the_camera_does_so_from_the_side(renderer):
    """One scale and one middle for all frames and ways: depth that jitters is seen."""
    drawing = MotionDrawing(clip_of([4.0, 5.0], [4.5, 4.5]), renderer, is_cut=True, area=20_000)
    near, far = columns_of(drawing.from_side(0, 0)), columns_of(drawing.from_side(1, 0))
    still = [columns_of(drawing.from_side(at, 1)) for at in (0, 1)]
    assert far[1] < near[0], "away from the camera is to the left"
    assert still[0] == still[1]
    assert far[0] < still[0][0] < near[0]


def test_truth_is_green_and_moved_by_one_shift_for_the_clip(renderer):
    truth = BOX + np.array([0.0, 0.0, 9.0])
    drawing = MotionDrawing(clip_of([4.0, 4.0, 5.0], [4.0] * 3, truth=truth), renderer, is_cut=True, area=20_000)

    def green(picture):
        return (picture[..., 1].astype(int) - picture[..., 2] > 20) & (picture[..., 1] > picture[..., 0])

    assert green(drawing.from_side(2, 0)).sum() > 2 * green(drawing.from_side(0, 0)).sum()
    bare = MotionDrawing(clip_of([4.0], [4.0]), renderer, is_cut=True, area=20_000)
    assert not green(bare.from_side(0, 0)).any()


def test_the_floor_is_a_line_below_the_feet_and_only_where_it_is_known(renderer):
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    clips = clip_of([4.0], [4.0]), clip_of([4.0], [4.0], rotation=upright, camera_height=0.8)
    without, known = (MotionDrawing(clip, renderer, is_cut=True, area=20_000).from_side(0, 0) for clip in clips)
    edge = slice(0, 4)
    assert (without[:, edge] == PAPER).all()
    line = np.flatnonzero((known[:, edge] != PAPER).all((1, 2)))
    body = np.flatnonzero((without != PAPER).any((1, 2)))
    assert 1 <= len(line) <= 2
    assert abs(line[0] - body[-1]) <= 2


def test_sheet_has_a_column_a_frame_and_hides_pictures_that_it_is_not_given(renderer):
    drawing = MotionDrawing(clip_of([4.0] * 4, [4.0] * 4), renderer, is_cut=True, area=12_000)
    photo = np.full((SIZE[1], SIZE[0], 3), (200, 30, 30), np.uint8)
    sheet = motion_sheet.draw_motion_sheet(drawing, [0, 3], [None, photo])
    first = sheet[2 * TITLE :, -2 * drawing.width : -drawing.width]
    second = sheet[2 * TITLE :, -drawing.width :]
    assert sheet.shape[0] == 2 * TITLE + 2 * (drawing.height + drawing.side_height)
    corner = slice(0, 3), slice(0, 3)
    assert (first[corner] == PAPER).all()
    assert (second[corner] == (200, 30, 30)).all()


def test_nobody_is_drawn_as_nothing(renderer):
    frame = MotionFrame(index=0, people=((), ()))
    clip = clip_of([], [], frames=(frame,))
    drawing = MotionDrawing(clip, renderer, is_cut=True, area=12_000)
    assert (motion_sheet.draw_motion_sheet(drawing, [0], [None])[-drawing.side_height :, -20:] == PAPER).all()
