"""Measuring sources: against truths that are told, and files of annotations that measure themselves."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.perception import calibration
from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.perception.fused_source import FusedSource, OtherPeople
from hardmo_jax.perception.keypoint_files import KeypointFileError
from hardmo_jax.perception.keypoints_from_files import FilePeople
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.perception.video import Frame
from hardmo_jax.pipelines import benchmark_sources, known_pictures, rendered_people
from hardmo_jax.pipelines.known_pictures import KnownPerson, KnownPicture
from hardmo_jax.skeleton import layouts
from tests.perception.test_fuse import standing

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data")).resolve()
COCO = DATA / "keypoints2d" / "mmpose_tests" / "coco" / "test_coco_wholebody.json"
LAYOUT = layouts.get_layout("openpose67")
needs_data = pytest.mark.skipif(not COCO.is_file(), reason="needs HARDMO_DATA: photos of COCO")


@pytest.fixture(scope="module")
def pictures():
    """Somebody 360 pixels tall, without pixels."""
    rng = np.random.default_rng(3)
    made = []
    for position in range(60):
        points = (standing(200) + rng.normal(0, 3, (len(LAYOUT), 2))).astype(np.float32)
        frame = Frame(image=np.zeros((500, 400, 3), np.uint8), source_path=pathlib.Path("a"), source_sha256="",
                      frame_index=0, position=position, time_seconds=None)  # fmt: skip
        made.append(KnownPicture(
            frame=frame, people=(KnownPerson(keypoints_2d=points, confidence=np.ones(len(LAYOUT), np.float32)),)
        ))  # fmt: skip
    return made


def moved(pictures, by, **fields):
    """A source that says the truth, moved by so many pixels."""
    told = benchmark_sources.drawn_source("drawn: good bodies", pictures, 0)._people
    return benchmark_sources.Replayed(
        "moved",
        [
            [dataclasses.replace(people[0], keypoints_2d=picture.people[0].keypoints_2d + np.float32(by),
                                 confidence=np.ones(len(LAYOUT), np.float32), **fields)]
            for people, picture in zip(told, pictures, strict=True)
        ],
    )  # fmt: skip


def test_the_truth_itself_is_right_and_a_known_shift_is_as_large_as_it_is(pictures):
    exact = known_pictures.errors_of_source(moved(pictures, 0), pictures)
    assert exact.num_found == len(pictures)
    assert exact.num_others == 0
    assert {kind: share for kind, (share, _) in exact.pck(0.01).items()} == {"body": 1.0, "foot": 1.0, "hand": 1.0}
    shifted = known_pictures.errors_of_source(moved(pictures, (18, 0)), pictures)
    sides = [np.ptp(one.people[0].keypoints_2d, axis=0).max() for one in pictures]
    np.testing.assert_allclose(shifted.distance, 18 / np.array(sides)[:, None].repeat(len(LAYOUT), 1), rtol=1e-4)
    assert shifted.pck(0.05)["body"][0] == 1.0
    assert shifted.pck(0.03)["hand"][0] == 0.0


def test_people_who_are_not_found_and_points_that_are_not_given_are_wrong(pictures):
    nobody = benchmark_sources.Replayed("none", [[] for _ in pictures])
    missed = known_pictures.errors_of_source(nobody, pictures)
    assert missed.num_found == 0
    assert missed.pck(0.05)["body"] == (0.0, 17 * len(pictures))
    no_feet = np.array([0.0 if calibration.kind_of(point) == "foot" else 1.0 for point in LAYOUT.points], np.float32)
    source = moved(pictures, 0)
    told = [[dataclasses.replace(people[0], confidence=no_feet)] for people in source._people]
    without = known_pictures.errors_of_source(benchmark_sources.Replayed("x", told), pictures)
    assert without.pck(0.05)["foot"][0] == 0.0
    assert without.pck(0.05)["body"][0] == 1.0
    far = known_pictures.errors_of_source(moved(pictures, (200, 0)), pictures)
    assert (far.num_found, far.num_others) == (0, len(pictures))


def test_what_is_not_known_does_not_count(pictures):
    unknown = [
        dataclasses.replace(
            one, people=(dataclasses.replace(one.people[0], confidence=np.full(len(LAYOUT), 0.5, np.float32)),)
        )
        for one in pictures
    ]
    found = known_pictures.errors_of_source(moved(pictures, 0), unknown)
    assert found.pck(0.05)["body"] == (None, 0)


def test_two_sources_of_which_each_is_good_at_one_thing_are_good_at_all_together(pictures):
    """What docs/perception.md measures on rendered people, on drawn ones: fused is not worse on any part."""
    names = list(benchmark_sources._DRAWN)
    told = [benchmark_sources.drawn_source(name, pictures, 5 + place) for place, name in enumerate(names)]
    alone = [known_pictures.errors_of_source(one, pictures) for one in told]
    other = [benchmark_sources.drawn_source(name, pictures, 50 + place) for place, name in enumerate(names)]
    known = {
        name: known_pictures.errors_of_source(one, pictures).calibrated()
        for name, one in zip(names, other, strict=True)
    }
    fused = FusedSource(
        told[0], {kind: OtherPeople(told[1]) for kind in ("foot", "hand")}, options=FusionOptions(),
        calibrations=known,
    )  # fmt: skip
    together = known_pictures.errors_of_source(fused, pictures)
    for kind in calibration.KINDS:
        best = max(one.pck(0.05)[kind][0] for one in alone)
        assert together.pck(0.05)[kind][0] >= best - 0.01, kind


@needs_data
def test_annotations_measure_themselves(tmp_path):
    pictures = list(known_pictures.pictures_of_file(COCO))
    assert len(pictures) == 4
    errors = known_pictures.errors_of_source(FilePeople(COCO), pictures)
    assert errors.num_found == len(errors.distance)
    assert errors.source == "file:coco_wholebody133"
    assert all(share == 1.0 for share, _ in errors.pck(0.01).values())
    output = tmp_path / "c.json"
    options = PerceptionOptions(detector="files", keypoints_file=str(COCO))
    for _ in range(2):
        measured = known_pictures.calibrate_source(COCO, output, options=options, model_folder=tmp_path)
    assert calibration.read_calibrations(output) == {"file:coco_wholebody133": measured.calibrations}
    assert set(measured.calibrations) == {"body", "hand"}, "19 points of feet are too few"


@needs_data
def test_truths_without_photos_or_people_are_refused(tmp_path):
    alone = tmp_path / "c.json"
    alone.write_bytes(COCO.read_bytes())
    with pytest.raises(KeypointFileError, match="no picture"):
        list(known_pictures.pictures_of_file(alone))


def test_rendered_points_lie_on_the_person():
    """The body is not the colour of the room: every point of the trunk and of the limbs is on it or at its edge."""
    body = load.open_body(view="smplh")
    (picture,) = rendered_people.rendered_pictures(body, 4, 1, 1)
    again = next(rendered_people.rendered_pictures(body, 4, 1, 1))
    np.testing.assert_array_equal(picture.frame.image, again.frame.image)
    person = picture.people[0]
    assert (person.confidence > 0).all()
    height, width = picture.frame.image.shape[:2]
    assert (person.keypoints_2d >= 0).all()
    assert (person.keypoints_2d <= [width - 1, height - 1]).all()
    # Colours of clothes are no grey and no brown of the room: the spread of channels differs from point to point.
    x, y = person.keypoints_2d[LAYOUT.index("mid_hip")].round().astype(int)
    trousers = picture.frame.image[y, x].astype(float)
    assert np.linalg.norm(trousers - picture.frame.image[5, 5]) > 30
