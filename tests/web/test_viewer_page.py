"""The viewer in a browser: what somebody sees there, clicks, types and drags lands in the label store."""

import contextlib
import time

import cv2
import jax
import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines import view
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people
from tests.web.browser import launched, opened_page, strangers
from tests.web.viewer_robot import Robot

pytest.importorskip("viser", reason="the viewer needs viser, of the extra `viz`")
POINTS = layouts.get_layout("openpose67").points
FOOT = ("big_toe", "small_toe", "heel")
#: Of viser itself, whenever something is dragged.
_KNOWN = "Unable to preventDefault inside passive event listener"


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def people():
    """Labels with wrong feet, what is true, and which foot is wrong."""
    found = refined_people.people(24, 3)
    params, is_planted = refined_people.planted(found)
    true = refined_people.labels_of(found, jax.tree.map(np.asarray, found.params))
    wrong = refined_people.labels_of(found, params)
    feet = ("left_foot", "right_foot")
    at = [place for place in range(24) if is_planted[feet[0]][place] or is_planted[feet[1]][place]][:10]
    part = [feet[0] if is_planted[feet[0]][place] else feet[1] for place in at]
    assert len(at) == 10
    return [wrong[place] for place in at], [true[place] for place in at], part


@contextlib.contextmanager
def viewed(folder, rows, port):
    if not (folder / "labels.parquet").exists():
        rows = refined_people.write_photos(rows, folder)
        store.write_labels(folder / "labels.parquet", rows)
    opened = view.open_view(folder, pictures=folder, port=port)
    try:
        yield opened
    finally:
        opened.close()


def errors_of(page):
    return [error for error in page.errors if _KNOWN not in error]


def pixels_of(page):
    return cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_a_person_looks_goes_on_judges_and_filters(browser, people, tmp_path):
    with viewed(tmp_path, people[0][:3], 8301) as opened:
        with opened_page(browser) as page:
            robot = Robot(page, opened)
            assert errors_of(page) == []
            assert strangers(page) == []
            # Bodies are drawn where the labels are: green or red over the grey noise of the pictures.
            person = opened.viewer.scene.people[0]
            x, y = robot.on_screen(person.joints[:10].mean(0))
            shown = pixels_of(page)[int(y) - 8 : int(y) + 8, int(x) - 8 : int(x) + 8].reshape(-1, 3)
            assert np.ptp(np.median(shown, 0)) > 25
            first = opened.viewer.scene.selected
            robot.press("n")
            assert robot.says("in order, 2 of 3: body")
            assert opened.viewer.scene.selected != first
            robot.press("b")
            assert opened.viewer.scene.selected == first
            robot.press("a")
            robot.until(lambda: robot.says("saved 1"))
            robot.click("rejected")
            assert robot.says("nothing is rejected")
            robot.press("n")
            robot.press("r")
            robot.until(lambda: robot.says("saved 1"))
            robot.click("rejected")
            assert robot.says("rejected, 1 of 1: body")
            robot.click("in order")
            robot.press("n")
            robot.press("n")
            page.get_by_role("button", name="Left", exact=True).first.click()
            robot.settle()
            assert errors_of(page) == []
        reviews = [row.review for row in store.read_labels(tmp_path).rows]
    rows = store.read_labels(tmp_path).rows
    assert sorted(reviews) == ["accepted", "none", "rejected"]
    assert [row.review_by_part["left_foot"] for row in rows if row.review == "none"] == ["wrong"]


@pytest.mark.parametrize(("width", "is_dark"), [(390, True), (390, False), (1280, False)])
def test_it_is_of_use_on_narrow_and_wide_windows(browser, people, tmp_path, width, is_dark):
    with viewed(tmp_path, people[0][:1], 8311) as opened, opened_page(browser, width=width, dark=is_dark) as page:
        robot = Robot(page, opened)
        for joint in opened.viewer.scene.people[0].joints[[0, 7, 8, 15]]:
            x, y = robot.on_screen(joint)
            assert 0 <= x <= (width if width < 700 else width - 340)
            assert 0 <= y <= 800 * (0.6 if width < 700 else 1)
        assert page.get_by_role("button", name="Accept (A)").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert errors_of(page) == []


def fixed_by_hand(browser, people, folder, port, count):
    """Mend wrong feet with the mouse: seconds and error of each, millimetres."""
    wrong, true, part = people
    seconds, errors = [], []
    with viewed(folder, wrong[:count], port) as opened, opened_page(browser) as page:
        robot = Robot(page, opened)
        for at in range(count):
            begun = time.monotonic()
            side = part[at].split("_")[0]
            opened.session.look_at_part(part[at])
            robot.settle()
            robot.press("x")
            if at == 0:
                robot.press("c")
            goals = {}
            for name in (f"{side}_{point}" for point in FOOT):
                place = true[at].keypoints_3d[POINTS.index(name)]
                goals[name] = place[:2] / place[2] * true[at].focal_length + true[at].principal_point
            robot.place(goals)
            robot.press("s")
            robot.until(lambda: robot.says("saved 1"))
            seconds.append(time.monotonic() - begun)
            robot.press("n")
        assert errors_of(page) == []
    rows = store.read_labels(folder).rows
    for at in range(count):
        versions = [
            row for row in rows if row.label_id == wrong[at].label_id or row.source_path == wrong[at].source_path
        ]
        made = max(versions, key=lambda row: row.label_version)
        assert made.origin == "human"
        own = [POINTS.index(f"{part[at].split('_')[0]}_{point}") for point in FOOT]
        errors.append(1e3 * np.linalg.norm(made.keypoints_3d[own] - true[at].keypoints_3d[own], axis=1).max())
    return np.array(seconds), np.array(errors)


def test_a_wrong_foot_is_dragged_right_and_saved(browser, people, tmp_path, figure):
    seconds, errors = fixed_by_hand(browser, people, tmp_path, 8321, 2)
    figure(
        f"viewer          two wrong feet mended with the mouse: {np.round(errors, 1)} mm in {np.round(seconds, 1)} s"
    )
    assert (errors < 5).all()


@pytest.mark.slow
def test_ten_wrong_feet_are_dragged_right(browser, people, tmp_path, figure):
    seconds, errors = fixed_by_hand(browser, people, tmp_path, 8331, 10)
    figure(
        f"viewer          ten wrong feet mended with the mouse: {np.round(errors, 1)} mm in {np.round(seconds, 1)} s"
    )
    assert (errors < 5).all()
