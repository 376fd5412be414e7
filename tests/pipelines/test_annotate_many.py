"""Several inputs: each has a folder, one that fails stops nobody, and what is done stays done."""

import json
import pathlib

import av
import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import annotate, annotate_many
from tests.perception.test_fuse import standing
from tests.perception.test_keypoints_from_files import openpose, write


def clip(path, shade=40, count=3):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 448, "yuv420p"
        for at in range(count):
            image = np.full((448, 320, 3), shade + at, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def inputs(tmp_path):
    """Two clips of one name, one that is none, and keypoints of three frames."""
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        clip(tmp_path / folder / "clip.mp4", 40 if folder == "x" else 80)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for index in range(3):
        points = np.concatenate([standing(160)[:25], np.full((25, 1), 0.9)], axis=1)
        write(tmp_path / "json" / f"clip_{index:012d}_keypoints.json", openpose(points.ravel().tolist()))
    return [tmp_path / "x" / "clip.mp4", tmp_path / "bad.mp4", tmp_path / "y" / "clip.mp4"]


def outcomes(inputs, tmp_path, **fields):
    options = annotate.AnnotateOptions(
        perception=PerceptionOptions(detector="files", keypoints_file=str(tmp_path / "json")),
        output=annotate.OutputOptions(overlay=False, part_scores=False),
        **fields,
    )
    begun = []
    told = annotate_many.annotate_many(
        inputs, tmp_path / "out", options=options, model_folder=tmp_path,
        begun=lambda place, total, source: begun.append((place, total, source.name)),
    )  # fmt: skip
    return list(told), begun


def test_each_has_a_folder_and_one_that_fails_stops_nobody(inputs, tmp_path):
    found, begun = outcomes(inputs, tmp_path)
    assert [outcome.output.name for outcome in found] == ["clip", "bad", "clip_2"]
    assert begun == [(0, 3, "clip.mp4"), (1, 3, "bad.mp4"), (2, 3, "clip.mp4")]
    assert "bad.mp4" in found[1].error
    for outcome in (found[0], found[2]):
        assert outcome.error is None
        assert len(store.read_labels(outcome.output / "labels.parquet").rows) == 3
    assert not (tmp_path / "out" / "bad").exists()
    # Again: nothing is labelled that was; what is done otherwise is.
    again, _ = outcomes(inputs, tmp_path)
    assert [outcome.was_done for outcome in again] == [True, False, True]
    # What an earlier run could not use is still to be told.
    record = json.loads((found[0].output / "run.json").read_text())
    record["results"]["summary"]["unusable"] = 2
    (found[0].output / "run.json").write_text(json.dumps(record))
    again, _ = outcomes(inputs, tmp_path)
    assert [(outcome.was_done, outcome.num_unusable) for outcome in again] == [(True, 2), (False, 0), (True, 0)]
    (found[0].output / "run.json").write_text("{")
    clip(inputs[2], 120)
    again, _ = outcomes(inputs, tmp_path)
    assert [outcome.was_done for outcome in again] == [False, False, False]
    otherwise, _ = outcomes(inputs[:1], tmp_path, seed=1)
    assert not otherwise[0].was_done


def test_names_of_folders_are_plain_and_differ():
    sources = [
        pathlib.Path(name) for name in ("a/clip.mp4", "b/Clip.mov", "c/../..", "d/tänzer 日本.mp4", "e/" + 300 * "x")
    ]
    names = annotate_many.folder_names(sources)
    assert names[:2] == ["clip", "Clip_2"]
    assert names[3] == "tänzer_日本"
    assert len(names[4]) == 80
    assert len({name.casefold() for name in names}) == len(names)
    assert not any(set(name) & set("/\\") or name.startswith(".") for name in names)


def test_labels_of_other_keypoints_or_another_program_are_not_those(inputs, tmp_path):
    outcomes(inputs[:1], tmp_path)
    assert outcomes(inputs[:1], tmp_path)[0][0].was_done
    points = np.concatenate([standing(170)[:25], np.full((25, 1), 0.9)], axis=1)
    write(tmp_path / "json" / f"clip_{0:012d}_keypoints.json", openpose(points.ravel().tolist()))
    assert not outcomes(inputs[:1], tmp_path)[0][0].was_done
    path = tmp_path / "out" / "clip" / "run.json"
    record = json.loads(path.read_text())
    record["packages"]["hardmo_jax"] = "0.0.1"
    path.write_text(json.dumps(record))
    assert not outcomes(inputs[:1], tmp_path)[0][0].was_done


def test_overlays_of_an_earlier_run_are_no_input(tmp_path):
    (tmp_path / "clips" / "labels" / "a").mkdir(parents=True)
    clip(tmp_path / "clips" / "a.mp4")
    clip(tmp_path / "clips" / "labels" / "a" / "overlay.mp4")
    found = annotate_many.sources_below([tmp_path / "clips"], tmp_path / "clips" / "labels")
    assert [path.name for path in found] == ["a.mp4"]
    named = tmp_path / "clips" / "labels" / "a" / "overlay.mp4"
    assert annotate_many.sources_below([named], tmp_path / "clips" / "labels") == [named]


def test_an_error_of_ours_stops_nobody_either(inputs, tmp_path, monkeypatch):
    real = annotate_many.annotate

    def broken(source, *args, **kwargs):
        if source == inputs[0]:
            raise AssertionError
        return real(source, *args, **kwargs)

    monkeypatch.setattr(annotate_many, "annotate", broken)
    found, _ = outcomes([inputs[0], inputs[2]], tmp_path)
    assert "AssertionError" in found[0].error
    assert found[1].error is None
