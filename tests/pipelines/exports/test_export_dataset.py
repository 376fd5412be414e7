"""Labels as a data set: equal in readers that others wrote, without what is nobody's business, refused where unsure."""

import dataclasses
import getpass
import hashlib
import io
import json
import pathlib
import socket
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hardmo_jax.export.dataset.dataset_facts import DatasetExportError, DatasetWords
from hardmo_jax.labels import store
from hardmo_jax.pipelines.exports import export_dataset as pipeline
from hardmo_jax.viz import overlay
from tests.export.dataset.labels_to_publish import GPS_DEGREES, hypotheses, label, pixels_of, write_photo

RED, GREEN = (200, 20, 30), (20, 190, 40)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    shas = {
        "day/a.jpg": write_photo(folder / "day" / "a.jpg", RED),
        "turned.jpg": write_photo(folder / "turned.jpg", GREEN, orientation=6),
    }
    with overlay.VideoOverlayWriter(folder / "clip.mp4", 25.0) as writer:
        for frame in range(5):
            writer.add(np.full((48, 64, 3), 40 * frame, np.uint8))
    shas["clip.mp4"] = hashlib.sha256((folder / "clip.mp4").read_bytes()).hexdigest()
    return folder, shas


@pytest.fixture
def rows(rng, pictures):
    shas = pictures[1]
    clip = {"fps": 25.0, "category": None, "origin": "human", "review": "accepted"}
    return [
        label(rng, "day/a.jpg", shas["day/a.jpg"], hypotheses=hypotheses(rng)),
        label(rng, "day/a.jpg", shas["day/a.jpg"], track_id=1, review="rejected", keypoints_3d=None),
        label(rng, "clip.mp4", shas["clip.mp4"], 3, 7, time_seconds=0.12, **clip),
        label(rng, "clip.mp4", shas["clip.mp4"], 1, 7, time_seconds=0.04, **clip),
        label(rng, "turned.jpg", shas["turned.jpg"], image_width=48, image_height=64, hypotheses=()),
    ]


@pytest.fixture
def labels(tmp_path, rows):
    newest = dataclasses.replace(rows[0], label_version=2, parent_version=1, betas=np.ones(10))
    path = tmp_path / "run" / "labels.parquet"
    store.write_labels(path, [*rows, newest])
    return path.parent


WORDS = DatasetWords(name='Dance: "hard" | motion # 1', licence="cc-by-4.0", citation="@misc{dance}")


def exported_rows(rows):
    newest = dataclasses.replace(rows[0], label_version=2, parent_version=1, betas=np.ones(10))
    return [newest, rows[1], rows[3], rows[2], rows[4]]


def test_data_set_reads_back_as_the_labels_by_our_reader_and_by_datasets(tmp_path, labels, rows, pictures, no_network):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    summary = pipeline.export_dataset(labels, out, pictures=pictures[0], with_pixels=True, words=WORDS)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "SHA256SUMS", "croissant.json", "data", "run.json",
    ]  # fmt: skip
    assert [shard.name for shard in summary.shards] == ["data/train-00000-of-00001.parquet"]
    assert summary.num_old_versions == 1
    expected = exported_rows(rows)
    back = store.read_labels(out / "data")
    assert all(one.same_as(other) for one, other in zip(back.rows, expected, strict=True))
    assert back.unknown_columns == ("image",)
    found = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found.features["image"], datasets.Image)
    for one, row in zip(found, expected, strict=True):
        assert one["label_id"] == row.label_id
        assert one["licence"] == "cc-by-4.0"
        assert one["origin"] == row.origin
        assert one["review"] == row.review
        assert one["label_version"] == row.label_version
        assert one["body_model_sha256"] == "b" * 64
        assert one["created_utc"] == row.created_utc
        np.testing.assert_array_equal(np.float32(one["body_pose"]), row.body_pose.ravel())
        np.testing.assert_array_equal(np.float32(one["keypoints_2d"]).reshape(67, 2), row.keypoints_2d)
        assert (one["keypoints_3d"] is None) == (row.keypoints_3d is None)
        assert one["wrong_left_hand"] == row.wrong_by_part["left_hand"]
        assert one["image"].size == (row.image_width, row.image_height)
    hypothesis = found[0]["hypotheses"][1]
    np.testing.assert_array_equal(
        np.float32(hypothesis["left_hand_pose"]), rows[0].hypotheses[1].left_hand_pose.ravel()
    )


def test_croissant_is_without_errors_and_warnings_and_its_records_are_the_labels(
    tmp_path, labels, rows, pictures, no_network
):
    mlcroissant = pytest.importorskip("mlcroissant")
    out = tmp_path / "out"
    pipeline.export_dataset(labels, out, pictures=pictures[0], with_pixels=True, words=WORDS)
    dataset = mlcroissant.Dataset(jsonld=out / "croissant.json")
    assert dataset.metadata.ctx.issues.errors == set()
    assert dataset.metadata.ctx.issues.warnings == set()
    assert dataset.metadata.personal_sensitive_information
    records = list(dataset.records("labels"))
    for record, row in zip(records, exported_rows(rows), strict=True):
        value = {name.removeprefix("labels/"): one for name, one in record.items()}
        assert value["label_id"].decode() == row.label_id
        assert value["track_id"] == row.track_id
        assert value["category"] == (None if row.category is None else row.category.encode())
        np.testing.assert_array_equal(np.array(value["keypoints_2d"]).reshape(67, 2), row.keypoints_2d)
        np.testing.assert_array_equal(np.array(value["left_hand_pose"]), row.left_hand_pose.ravel())
        assert value["right_hand_pose"] is None
        assert value["image"].size == (row.image_width, row.image_height)
    first = [one["labels/hypotheses/name"] for one in records[0]["labels/hypotheses"]]
    assert first == [b"lifter_1", b"lifter_2"]


def test_pixels_are_upright_and_nothing_beside_them_is_published(tmp_path, labels, rows, pictures, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("HOME", str(tmp_path))
    labelled = Image.open(pictures[0] / "day" / "a.jpg")
    assert labelled.getexif().get_ifd(0x8825)[2] == GPS_DEGREES
    assert b"Secretname" in (pictures[0] / "day" / "a.jpg").read_bytes()
    command = ("/somewhere/tools/export.py", f"--labels={labels}", f"--pictures={pictures[0]}")
    pipeline.export_dataset(labels, out, pictures=pictures[0], with_pixels=True, command=command)
    (shard,) = (out / "data").iterdir()
    table = pq.read_table(shard)
    images = table.column("image").to_pylist()
    for data, row in zip(images, exported_rows(rows), strict=True):
        image = pixels_of(data["bytes"])
        assert image.shape == (row.image_height, row.image_width, 3)
        assert not Image.open(io.BytesIO(data["bytes"])).getexif()
        assert b"Exif" not in data["bytes"]
        assert b"Secretname" not in data["bytes"]
    np.testing.assert_allclose(pixels_of(images[0]["bytes"])[40, 40], RED, atol=6)
    # Turned clockwise by a quarter: what was white at the top left is at the top right.
    turned = pixels_of(images[4]["bytes"])
    np.testing.assert_allclose(turned[10, 40], 255, atol=6)
    np.testing.assert_allclose(turned[10, 5], GREEN, atol=6)
    assert abs(pixels_of(images[3]["bytes"]).mean() - 120) < 8
    assert abs(pixels_of(images[2]["bytes"]).mean() - 40) < 8
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    private = [str(tmp_path), str(pathlib.Path.home()), "Secretname", "/somewhere"]
    if getpass.getuser() != "root":
        # Which is a word of its own.
        private.append(getpass.getuser())
    for text in private:
        assert text.encode() not in everything, text
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False)
    assert sums.returncode == 0, sums.stdout + sums.stderr
    assert sums.stdout.count("OK") == 4


def test_paths_of_somebodys_disk_lose_their_folders(tmp_path, rng):
    home = str(pathlib.Path.home())
    names = [f"{home}/a.jpg", "C:\\Users\\me\\b.jpg", "../../c.jpg", "backup/home/me/d.jpg", "day/e.jpg"]
    rows = [label(rng, name, keypoint_source=f"file:{home}/points.json") for name in names]
    store.write_labels(tmp_path / "x.parquet", rows)
    pipeline.export_dataset(tmp_path / "x.parquet", tmp_path / "out")
    found = store.read_labels(tmp_path / "out" / "data").rows
    assert [row.source_path for row in found] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "day/e.jpg"]
    assert [row.label_id for row in found] == [row.label_id for row in rows]
    if len(home) > 1:
        assert {row.keypoint_source for row in found} == {"file:~/points.json"}


@pytest.mark.parametrize(
    ("argument", "published"),
    [
        ("--labels=../../alice/secret/annotate", "--labels=annotate"),
        (r"--pictures=..\bob\x", "--pictures=x"),
        ("file:///home/dave/x", "x"),
        ("--labels=file:///home/dave/x/", "--labels=x"),
        ("~erin/x", "x"),
        ("alice/x", "x"),
        ("--flags/home/carl/x", "x"),
        ("--labels=a=/home/carl/x", "--labels=x"),
        ("--format=hf", "--format=hf"),
        ("export", "export"),
    ],
)
def test_command_in_the_record_has_no_folders(tmp_path, labels, argument, published):
    pipeline.export_dataset(labels, tmp_path / "out", command=("export", argument))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["command"] == ["export", published]


def test_the_same_picture_is_stored_once_for_all_of_its_people(tmp_path, rng):
    noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(noise).save(tmp_path / "pictures" / "crowd.png")
    sha = hashlib.sha256((tmp_path / "pictures" / "crowd.png").read_bytes()).hexdigest()
    sizes = []
    for count in (1, 20):
        rows = [label(rng, "crowd.png", sha, track_id=n, image_width=400, image_height=300) for n in range(count)]
        store.write_labels(tmp_path / "x.parquet", rows)
        out = tmp_path / str(count)
        summary = pipeline.export_dataset(tmp_path / "x.parquet", out, pictures=tmp_path / "pictures", with_pixels=True)
        sizes.append(summary.shards[0].num_bytes)
    picture = len(pq.read_table(tmp_path / "1" / "data").column("image")[0].as_py()["bytes"])
    assert picture > 100_000
    assert sizes[1] - sizes[0] < picture


def test_what_is_unsure_is_refused_before_anything_is_written(tmp_path, labels, rows, pictures):
    folder = pictures[0]
    out = tmp_path / "out"

    def refused(match, source=labels, **changes):
        with pytest.raises(DatasetExportError, match=match):
            pipeline.export_dataset(source, out, **({"pictures": folder, "with_pixels": True} | changes))
        assert not out.exists()

    refused("give --pictures", pictures=None)
    refused("no such folder", pictures=tmp_path / "none")
    unknown = [dataclasses.replace(rows[0], licence=None), dataclasses.replace(rows[4], licence=" Unknown ")]
    store.write_labels(tmp_path / "unknown.parquet", unknown)
    refused(r"licence of 2 .*day/a\.jpg, turned\.jpg.*--allow_unknown_licence", tmp_path / "unknown.parquet")
    store.write_labels(tmp_path / "away.parquet", [dataclasses.replace(rows[0], source_path="../pictures/day/a.jpg")])
    refused("is not in", tmp_path / "away.parquet", pictures=folder / "day")
    store.write_labels(tmp_path / "none.parquet", [dataclasses.replace(rows[0], source_path="gone.jpg")])
    refused("no such picture", tmp_path / "none.parquet")
    store.write_labels(tmp_path / "empty.parquet", [])
    refused("holds no labels", tmp_path / "empty.parquet")
    store.write_labels(tmp_path / "size.parquet", [dataclasses.replace(rows[0], image_width=65)])
    refused("64 x 48 pixels, its labels say 65 x 48", tmp_path / "size.parquet")
    store.write_labels(tmp_path / "late.parquet", [dataclasses.replace(rows[2], frame_index=9)])
    refused("no frame 9", tmp_path / "late.parquet")
    write_photo(folder / "day" / "a.jpg", GREEN)
    refused("another file than the one that was labelled")
    # Labels alone may have any licence, and pixels of unknown ones where that is said to be right.
    pipeline.export_dataset(tmp_path / "unknown.parquet", out)
    store.write_labels(tmp_path / "one.parquet", unknown[1:])
    summary = pipeline.export_dataset(
        tmp_path / "one.parquet", out, pictures=folder, with_pixels=True, allow_unknown_licence=True
    )
    assert summary.facts.licences == {None: 1}
    assert any("do not tell the licence" in warning for warning in summary.warnings)
    (out / "mine.txt").touch()
    with pytest.raises(DatasetExportError, match=r"mine\.txt"):
        pipeline.export_dataset(labels, out)


def test_record_tells_how_it_was_made(tmp_path, labels):
    pipeline.export_dataset(labels, tmp_path / "out", words=WORDS, command=("export", "--format=hf"))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["config"]["words"]["licence"] == "cc-by-4.0"
    assert record["results"]["exported"] == {"labels": 5, "sources": 3, "pictures": 4, "people": 4, "with_pixels": 0}
    assert record["results"]["labels_sha256"] == hashlib.sha256((labels / "labels.parquet").read_bytes()).hexdigest()
    assert not (tmp_path / "out" / "removed.json").exists()
