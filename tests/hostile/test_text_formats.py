"""Motion capture and JSON of strangers: too much is refused before it is divided into lines, words or objects."""

import json
import tracemalloc

import numpy as np
import pytest

from hardmo_jax.data import hard_set
from hardmo_jax.data.published.coco_people import CocoPeople
from hardmo_jax.data.sources import motion_text
from hardmo_jax.data.sources.asf_amc import read_asf_amc
from hardmo_jax.data.sources.bvh import read_bvh
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.data.sources.deepmimic import read_deepmimic
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.perception.calibration import CalibrationError, read_calibrations
from hardmo_jax.perception.keypoint_files.parsing import KeypointFileError
from hardmo_jax.perception.keypoint_files.reading import read_keypoint_file
from tests.data.sources.motion_texts import AMC, ASF, BVH


def read_amc(path):
    (path.parent / "a.asf").write_text(ASF)
    return read_asf_amc(path.parent / "a.asf", path)


def read_asf(path):
    (path.parent / "a.amc").write_text(AMC)
    return read_asf_amc(path, path.parent / "a.amc")


READERS = {"bvh": read_bvh, "amc": read_amc, "asf": read_asf, "deepmimic": read_deepmimic}
HONEST = {"bvh": BVH, "amc": AMC, "asf": ASF}

HOSTILE = {
    "nothing": b"",
    "zeros": bytes(1000),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "an archive": b"PK\x03\x04" + bytes(100),
    "UTF-16": "HIERARCHY\nROOT a".encode("utf-16"),
    "every byte": bytes(range(1, 256)),
    "numbers without end": b"1 " * 600_000,
    "a number of a million digits": b"9" * 1_100_000,
    "braces without end": b"HIERARCHY\n" + b"{" * 1_000_000,
    "joints without end": b"HIERARCHY\nROOT a\n" + b"".join(
        b"{\nOFFSET 0 0 0\nJOINT j%d\n" % number for number in range(1200)
    ),
    "bones without end": b":root\norder\n:bonedata\n" + b"".join(
        b"begin\nname b%d\ndirection 0 1 0\nlength 1\naxis 0 0 0 XYZ\nend\n" % number for number in range(1200)
    ) + b":hierarchy\nbegin\n",
    "sections without end": b":bonedata\n" * 100_000,
    "lists without end": b'{"Frames": [' + b"[],[]," * 200_000,
    "lists nested without end": b'{"Frames": ' + b"[" * 100_000,
    "objects nested without end": b'{"Frames": ' + b'{"a":' * 100_000,
    "a row of a number of ten thousand digits": b'{"Frames": [[' + b"9" * 10_000 + b"]]}",
    "rows that are no lists": b'{"Frames": [1, 2, 3]}',
    "rows of infinity": b'{"Frames": [[' + b"Infinity," * 43 + b"NaN]]}",
}  # fmt: skip


@pytest.mark.parametrize("attack", list(HOSTILE))
@pytest.mark.parametrize("kind", list(READERS))
def test_hostile_text_is_refused_in_one_line(kind, attack, tmp_path):
    file = tmp_path / f"take.{kind}"
    file.write_bytes(HOSTILE[attack])
    with pytest.raises(MotionFileError) as told:
        READERS[kind](file)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < len(str(file)) + 500


@pytest.mark.parametrize("ending", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028"))
def test_lines_without_end_are_counted_before_they_are_made(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(motion_text, "MAX_LINES", 1000)
    file = tmp_path / "take.bvh"
    file.write_text("a" + ending * 300_000, encoding="utf-8", newline="")
    tracemalloc.start()
    with pytest.raises(MotionFileError, match="300000 lines, more than the cap of 1000"):
        motion_text.read_motion_lines(file)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", list(HONEST))
def test_a_line_of_a_megabyte_is_not_divided_into_words(kind, tmp_path):
    file = tmp_path / f"take.{kind}"
    file.write_text(HONEST[kind] + "1 " * (motion_text.MAX_LINE_LETTERS // 2 + 1))
    with pytest.raises(MotionFileError, match="letters"):
        READERS[kind](file)


@pytest.mark.parametrize("kind", list(HONEST))
def test_lines_of_every_system_are_read_alike(kind, tmp_path):
    clips = []
    for number, ending in enumerate(("\n", "\r\n", "\r")):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / f"take.{kind}"
        file.write_text(HONEST[kind].replace("\n", ending), newline="")
        clips.append(READERS[kind](file))
    for clip in clips[1:]:
        np.testing.assert_array_equal(clip.rotations, clips[0].rotations)


NUMBER = "9" * 5000  # more digits than Python makes a number of
JSON = {
    "nothing": "",
    "a number of thousands of digits": NUMBER,
    "such a number within": f'{{"images": [{{"id": {NUMBER}}}], "annotations": [], "people": [{NUMBER}]}}',
    "lists nested without end": "[" * 200_000,
    "objects nested without end": '{"a":' * 200_000,
    "cut off": '{"people": [{"pose_keypoints_2d": [1, 2',
    "half a character": '{"people": "\\ud800"',
    "two values": "{} {}",
    "a list of nothing": "[null, null]",
    "a text": '"text"',
    "infinity": "[Infinity, -Infinity, NaN]",
    "a key twice": '{"people": 1, "people": 2}',
    "an empty key": '{"": {"": {"": 1}}}',
    "a key of a megabyte": json.dumps({"k" * 1_000_000: 1}),
    "a prototype": '{"__class__": "os.system", "py/reduce": [{"py/function": "os.system"}, ["true"]]}',
}


@pytest.mark.parametrize("attack", list(JSON))
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (read_keypoint_file, KeypointFileError),
        (read_calibrations, CalibrationError),
        (lambda path: CocoPeople(path, path.parent), TrainingDataError),
        (read_deepmimic, MotionFileError),
    ],
    ids=["keypoints", "calibrations", "coco", "deepmimic"],
)
def test_hostile_json_is_refused_in_one_line(read, error, attack, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(JSON[attack])
    with pytest.raises(error) as told:
        read(file)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < len(str(file)) + 700


@pytest.mark.parametrize("text", [NUMBER, "[" * 100_000, "{}", "[]", "null", '{"format_version": ' + NUMBER + "}"])
def test_hostile_description_of_a_set_is_refused(text, tmp_path):
    file = tmp_path / "set.npz"
    np.savez(file, meta=np.array(text))
    with pytest.raises(hard_set.HardSetError):
        hard_set.load_hard_set(file)
