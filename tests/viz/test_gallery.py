import pathlib

import numpy as np
import pytest
from absl.testing import flagsaver

import hardmo_jax as hm
from hardmo_jax.fitting import priors
from hardmo_jax.rendering import painter
from hardmo_jax.viz import gallery
from tools import gallery as tool

PICTURES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def points(body):
    """Joints and landmarks of a pose by name; y is up, the rest pose faces +z, left is +x."""

    def posed(pose):
        output = body(gallery.pose_params(body, pose))
        named = dict(zip(body.joint_names, np.asarray(output.joints), strict=True))
        return named | {name: np.asarray(output.vertices[vertex]) for name, vertex in body.landmarks}

    return posed


@pytest.mark.parametrize("pose", gallery.POSES)
def test_pose_respects_the_joint_limits_of_the_prior(body, pose):
    limits = priors.pose_prior(body.joint_names)
    angles = np.asarray(gallery.pose_params(body, pose).full_pose())[1:]
    wrong = [
        f"{name} {angle}"
        for name, angle, low, high in zip(body.joint_names[1:], angles, limits.low, limits.high, strict=True)
        if (angle < low - 1e-6).any() or (angle > high + 1e-6).any()
    ]
    assert wrong == []


@pytest.mark.parametrize("pose", gallery.POSES)
def test_pose_is_the_same_for_a_body_without_fingers(body, points, pose):
    plain = hm.open_body(view="smpl")
    joints = np.asarray(plain.joints(gallery.pose_params(plain, pose)))
    named = points(pose)
    for name, position in zip(plain.joint_names, joints, strict=True):
        if name in named:
            assert np.allclose(position, named[name], atol=1e-5), name


def test_unknown_joint_is_refused(body):
    with pytest.raises(KeyError, match="'left_knie' is no joint"):
        gallery.params_from_angles(body, {"left_knie": (10, 0, 0)})


def test_kick_lifts_the_left_foot_above_the_shoulders_and_in_front(points):
    at = points("high kick")
    assert at["left_ankle"][1] > at["left_shoulder"][1]
    assert at["left_ankle"][2] > at["right_ankle"][2] + 0.3


def test_split_puts_the_legs_apart_on_one_height(points):
    at = points("front split")
    assert at["left_ankle"][2] - at["right_ankle"][2] > 1.5
    assert abs(at["left_ankle"][1] - at["right_ankle"][1]) < 0.08


def test_tiptoe_lifts_the_heels_and_keeps_the_toes_level(points):
    at = points("tiptoe")
    for side in ("left", "right"):
        assert at[f"{side}_heel"][1] > at[f"{side}_big_toe"][1] + 0.08
        assert abs(at[f"{side}_big_toe"][1] - at[f"{side}_foot"][1]) < 0.03


def test_backbend_puts_the_head_behind_the_heels_and_looks_back(points):
    at = points("backbend")
    assert at["head"][2] < at["left_heel"][2] - 0.3
    assert at["nose"][1] < at["spine3"][1]
    assert abs(at["left_heel"][1] - at["left_big_toe"][1]) < 0.03


def test_push_turns_the_flat_left_palm_forward(points):
    at = points("flat palm push")
    along = at["left_middle1"] - at["left_wrist"]
    across = at["left_index1"] - at["left_pinky1"]
    palm = np.cross(along, across)
    assert palm[2] / np.linalg.norm(palm) > 0.9
    tips = at["left_middle_tip"] - at["left_wrist"]
    assert np.dot(tips, along) / np.linalg.norm(tips) / np.linalg.norm(along) > 0.98
    assert at["left_wrist"][2] > at["right_wrist"][2] + 0.2


def test_small_sheet_shows_the_left_arm_on_the_right_and_a_label_below(body):
    params = gallery.params_from_angles(body, {"left_shoulder": (0, 0, 80), "right_shoulder": (0, 0, 80)})
    cells = [gallery.Cell(params=params, viewpoint="front", label="left arm up")] * 2
    renderer = painter.PainterRenderer(antialias=False)
    sheet = gallery.draw_sheet(body, cells, columns=2, pixels_per_metre=40, renderer=renderer)
    height, width = sheet.shape[:2]
    is_ink = (sheet < 200).any(axis=2)
    cell = is_ink[:, : width // 2]
    assert height < 130
    assert np.array_equal(cell, is_ink[:, width // 2 :])
    drawn_rows = np.flatnonzero(cell.any(axis=1))
    highest = np.flatnonzero(cell[drawn_rows[0]])
    assert highest.min() > width / 4
    assert cell[-20:].any()
    assert not is_ink[:, 0].any()


def test_close_up_is_centred_on_its_joint(body):
    cell = gallery.Cell(params=hm.BodyParams.rest(body), viewpoint="top", label="", focus="left_wrist", focus_size=0.5)
    renderer = painter.PainterRenderer(antialias=False)
    sheet = gallery.draw_sheet(body, [cell], columns=1, pixels_per_metre=240, renderer=renderer)
    picture = (sheet[:120] < 240).any(axis=2)
    assert sheet.shape[1] == 120
    assert picture[60, 60]
    assert picture[55:65, 0].any()
    assert not picture[:, -8:].any()


def test_tool_writes_a_picture_for_every_sheet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "SHEETS", {"one": lambda body, renderer: np.zeros((4, 5, 3), np.uint8)})
    with flagsaver.flagsaver(output_dir=str(tmp_path / "new")):
        assert tool.main(["gallery"]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one.png"]
    assert "one.png" in capsys.readouterr().out


def test_pictures_of_the_page_are_there_and_small():
    page = (PICTURES.parent / "body_pictures.md").read_text()
    assert {path.stem for path in PICTURES.glob("*.png")} == set(gallery.SHEETS)
    for name in gallery.SHEETS:
        assert f"(pictures/{name}.png)" in page
        assert (PICTURES / f"{name}.png").stat().st_size < 256_000
