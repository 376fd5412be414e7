"""Labels in every format by one job: what each is called, what replaces what, what is told, and bad input."""

import dataclasses
import json
import os
import pathlib

import cv2
import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.data.sources.amass import read_amass
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels import store
from hardmo_jax.pipelines import output_folders
from hardmo_jax.pipelines.exports import export_labels
from hardmo_jax.pipelines.exports.export_options import OUTPUTS, ExportOptions
from hardmo_jax.pipelines.exports.frame_grid import usual_rate
from hardmo_jax.pipelines.exports.label_motions import MotionOptions
from hardmo_jax.whole_files import file_sha256
from tests.pipelines.exports.test_label_motions import motion, row_of


@pytest.fixture(scope="module")
def body():
    return load.open_body()


@pytest.fixture
def run(body, tmp_path, rng):
    """A run of the annotator with two photos, of two people and one."""
    photo = {
        "time_seconds": None, "fps": None, "frame_index": 0,
        "keypoints_2d": rng.uniform(20, 80, (67, 2)), "keypoint_confidence": np.ones(67),
    }  # fmt: skip
    params = motion(body, rng, 3)
    rows = []
    for name, track, place in (("day/a.png", 0, 0), ("day/a.png", 1, 1), ("b.png", 0, 2)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if track == 0:
            cv2.imwrite(str(path), rng.integers(0, 255, (480, 640, 3), dtype=np.uint8))
        rows.append(
            row_of(body, params, place, source_path=name, source_sha256=file_sha256(path), track_id=track, **photo)
        )
    store.write_labels(tmp_path / "run" / "labels.parquet", rows)
    command = ["annotate", f"--input={tmp_path / 'photos'}"]
    (tmp_path / "run" / "run.json").write_text(json.dumps({"command": command}))
    return tmp_path / "run"


def export(source, output, formats, **options):
    return export_labels.export_labels(source, output, formats, options=ExportOptions(**options))


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_format_writes_everybody_under_its_name(run, tmp_path):
    output = tmp_path / "out"
    rate = MotionOptions(frames_per_second=30.0)
    done = export(run, output, list(OUTPUTS), motion=rate, with_pixels=True, allow_unknown_licence=True)
    assert [one.format_name for one in done.formats] == list(OUTPUTS)
    assert {path.name for path in output.iterdir()} == {*OUTPUTS.values(), "run.json"}
    assert all(one.num_people == 3 for one in done.formats)
    assert files_in(output / "glb") == {"b.glb", "day/a.glb"}
    assert files_in(output / "bvh") == {"b_person_00.bvh", "day/a_person_00.bvh", "day/a_person_01.bvh"}
    assert files_in(output / "hmr2") == {"000000.tar", "mocap.npz"}
    for one in done.formats:
        assert one.path == output / OUTPUTS[one.format_name]
        assert one.num_files == (1 if one.path.is_file() else len(files_in(one.path))) or one.format_name == "hf"
    assert len(done.tracks) == 3
    assert any("camera is taken as level" in note for note in done.notes)
    rows = store.read_labels(run / "labels.parquet").rows
    clip = read_amass(output / "amass" / "b_person_00.npz")
    np.testing.assert_allclose(clip.poses[0, 1:22], rows[2].body_pose, atol=1e-6)
    record = json.loads((output / "run.json").read_text())
    assert record["results"]["exported"]["hmr2"].items() >= {"files": 2, "people": 3}.items()
    images = output / "spin" / "images"
    assert files_in(images) == {"b.jpg", "day/a.jpg"}
    assert set(np.load(output / "spin" / "spin.npz")["imgname"]) == {"b.jpg", "day/a.jpg"}
    assert str(tmp_path) not in (output / "hf" / "run.json").read_text()


def test_an_export_replaces_its_formats_and_leaves_the_others(run, tmp_path):
    output = tmp_path / "out"
    export(run, output, ["openpose", "glb"])
    before = (output / "glb" / "b.glb").read_bytes()
    (output / "openpose" / "old.json").touch()
    export(run, output, ["openpose", "coco_wholebody"])
    assert (output / "glb" / "b.glb").read_bytes() == before
    assert not (output / "openpose" / "old.json").exists()
    assert {path.name for path in output.iterdir()} == {"coco_wholebody.json", "glb", "openpose", "run.json"}
    # The record tells of all that lies there.
    assert set(json.loads((output / "run.json").read_text())["results"]["exported"]) == {
        "coco_wholebody", "glb", "openpose",
    }  # fmt: skip
    (output / "mine.txt").touch()
    with pytest.raises(ExportError, match=r"mine\.txt.*no export run wrote"):
        export(run, output, ["openpose"])
    with pytest.raises(ExportError, match="lies in the output folder"):
        export(run, run, ["openpose"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".export")]


def test_motion_files_become_other_motion_files(run, body, tmp_path):
    export(run, tmp_path / "out", ["amass"], motion=MotionOptions(frames_per_second=25.0))
    walk = tmp_path / "out" / "amass" / "b_person_00.npz"
    done = export(walk, tmp_path / "again", ["amass", "glb", "bvh"])
    (again,) = (tmp_path / "again" / "amass").glob("*.npz")
    first, second = read_amass(walk), read_amass(again)
    np.testing.assert_allclose(second.poses, first.poses, atol=1e-6)
    np.testing.assert_allclose(second.transl, first.transl, atol=1e-6)
    assert second.frames_per_second == 25.0
    assert [one.num_people for one in done.formats] == [1, 1, 1]
    # Some files state a wrong rate: the user's wins, and is told.
    faster = export(walk, tmp_path / "faster", ["amass"], motion=MotionOptions(frames_per_second=50.0))
    assert any("at --fps=50, whatever it states" in note for note in faster.notes)
    (made,) = (tmp_path / "faster" / "amass").glob("*.npz")
    assert read_amass(made).frames_per_second == 50.0
    with pytest.raises(ExportError, match="hmr2 cannot be written"):
        export(walk, tmp_path / "again", ["hmr2"])


def test_what_cannot_be_exported_is_told_before_anything_is_written(run, body, tmp_path):
    rows = store.read_labels(run / "labels.parquet").rows
    output = tmp_path / "out"

    def refused(match, source=run, formats=("glb",), error=ExportError, **options):
        with pytest.raises(error, match=match):
            export(source, output, list(formats), **options)
        assert not output.exists()

    refused(r"unknown format 'fbx'; known: glb, bvh", formats=["glb", "fbx"])
    refused("no format is named", formats=[" "])
    refused("bvh must state; a photo is one frame, and --fps=30", formats=["glb", "bvh"])
    refused("no such label file", source=tmp_path / "none", error=FileNotFoundError)
    store.write_labels(tmp_path / "empty.parquet", [])
    refused("holds no label", source=tmp_path / "empty.parquet")
    others = [dataclasses.replace(rows[0], body_model="SMPL_NEUTRAL_smpl", body_model_sha256="d" * 64), *rows[1:]]
    store.write_labels(tmp_path / "mixed.parquet", others)
    several = r"labels of 2 body models in one store: open_body_smplh .*: 2, SMPL_NEUTRAL_smpl"
    refused(several, source=tmp_path / "mixed.parquet")
    store.write_labels(tmp_path / "smpl.parquet", others[:1])
    refused("give its file as --body=FILE", source=tmp_path / "smpl.parquet")
    refused("no label is of the body open_body", source=tmp_path / "smpl.parquet", body="open_body")
    refused("give --pictures=FOLDER", source=tmp_path / "mixed.parquet", formats=["hmr2"], body="open_body")
    refused("no such folder of pictures", pictures=str(tmp_path / "none"), formats=["hmr2"], error=FileNotFoundError)
    two = tmp_path / "two"
    store.write_labels(two / "clip" / "labels.parquet", rows)
    refused(r"the labels of 1 inputs, in a folder each; give one of them, such as --labels=.*clip", source=two)


def test_labels_of_one_of_several_bodies_are_chosen_and_the_others_counted(run, tmp_path):
    rows = store.read_labels(run / "labels.parquet").rows
    others = [dataclasses.replace(rows[0], body_model="SMPL_NEUTRAL_smpl", body_model_sha256="d" * 64), *rows[1:]]
    store.write_labels(tmp_path / "mixed.parquet", others)
    done = export(tmp_path / "mixed.parquet", tmp_path / "out", ["glb"], body="open_body")
    assert done.formats[0].num_people == 2
    assert "1 labels of other bodies were left out" in done.notes
    # Whatever the format, it is that body's labels alone.
    done = export(tmp_path / "mixed.parquet", tmp_path / "out", ["openpose", "hf"], body="open_body")
    assert [one.num_people for one in done.formats] == [2, 2]


def test_pictures_of_a_training_set_are_those_that_were_labelled(run, tmp_path):
    """Another picture of the same size in the place of the labelled one is refused by every format with pictures."""
    path = tmp_path / "photos" / "b.png"
    cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    for name in ("spin", "cliff", "hmr2", "hardmo"):
        with pytest.raises(ExportError, match=r"b\.png"):
            export(run, tmp_path / "out", [name])
    assert not (tmp_path / "out").exists()


def test_a_kill_while_an_export_is_replaced_loses_nothing(run, tmp_path, monkeypatch):
    output = tmp_path / "out"
    export(run, output, ["openpose"])

    replace, looked = os.replace, []

    def watched(source, goal):
        if pathlib.Path(goal) == output / "openpose":
            # A kill here leaves the former export in the scratch folder, and the new one.
            looked.append(sorted(path.name for path in pathlib.Path(source).parent.iterdir()))
        replace(source, goal)

    monkeypatch.setattr(output_folders.os, "replace", watched)
    export(run, output, ["openpose"])
    assert looked == [[".former-openpose", "openpose", "run.json"]]
    assert files_in(output / "openpose")


def test_what_somebody_put_beside_exported_files_is_never_deleted(run, tmp_path):
    output = tmp_path / "out"
    export(run, output, ["glb"])
    scene = output / "glb" / "scene.blend"
    scene.write_text("a day's work")
    with pytest.raises(ExportError, match=r"scene\.blend was not written by an export"):
        export(run, output, ["glb"])
    assert scene.read_text() == "a day's work"
    (tmp_path / "own" / "amass").mkdir(parents=True)
    (tmp_path / "own" / "amass" / "mine.npz").write_text("mine")
    with pytest.raises(ExportError, match="tells of no export that wrote it"):
        export(run, tmp_path / "own", ["amass"], motion=MotionOptions(frames_per_second=30.0))
    assert (tmp_path / "own" / "amass" / "mine.npz").read_text() == "mine"


def test_pictures_that_are_given_as_one_file_must_be_that_file(run, tmp_path):
    other = tmp_path / "photos" / "other.png"
    other.write_bytes((tmp_path / "photos" / "b.png").read_bytes())
    with pytest.raises(ExportError, match=r"the labels are of a\.png, b\.png"):
        export(run, tmp_path / "out", ["hmr2"], pictures=str(other))


def test_motion_files_that_mean_no_motion_are_told(run, tmp_path):
    export(run, tmp_path / "out", ["amass"], motion=MotionOptions(frames_per_second=25.0))
    walk = tmp_path / "out" / "amass" / "b_person_00.npz"
    arrays = dict(np.load(walk))
    far = tmp_path / "far.npz"
    np.savez(far, **{**arrays, "trans": arrays["trans"] + 1e28, "pelvis": arrays["pelvis"] + 1e28})
    with pytest.raises(ExportError, match="m from the origin"):
        export(far, tmp_path / "again", ["glb"])
    with pytest.raises(FileNotFoundError, match="no such file of motion"):
        export(tmp_path / "typo.bvh", tmp_path / "again", ["glb"])
    with pytest.raises(ExportError, match="holds files of motion; give one of them"):
        export(walk.parent, tmp_path / "again", ["glb"])
    again = export(walk, tmp_path / "again", ["bvh"])
    assert [path.name for path in again.formats[0].path.iterdir()] == ["b_person_00.bvh"]


@pytest.mark.parametrize(
    ("stated", "meant"),
    [(1 / 0.0083334, 120.0), (1 / 0.0333333, 30.0), (29.97003, 30000 / 1001), (12.5, 12.5), (119.9, 119.9)],
)
def test_rates_that_a_text_rounded_are_the_usual_ones(stated, meant):
    assert usual_rate(stated) == meant
