"""After a removal no row and no pixel of a person is in any file, however it is packed and whenever it was killed."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines.exports import remove_labels as pipeline
from hardmo_jax.pipelines.exports.removal_mentions import without_mentions
from hardmo_jax.pipelines.exports.removal_places import RemovalError, SourceName
from tests.export.dataset.labels_to_publish import label
from tests.pipelines.exports.published_people import CLIP, PHOTO, SOLO, build, scan, shows_person, write_picture


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return folder, build(folder, np.random.default_rng(5))


@pytest.fixture
def world(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "world")
    return tmp_path / "world"


def remove(world, source, **changes):
    given = {"outputs": [world / "refine_hand", world / "hf"]} | changes
    return pipeline.remove_labels(world / "annotate", source=source, **given)


def ours(world):
    return [world / name for name in ("annotate", "refine_hand", "hf")]


def files_of(world):
    return {path.relative_to(world): path.read_bytes() for path in sorted(world.rglob("*")) if path.is_file()}


def assert_whole(world, num_labels):
    """The data set is one in which readers of others and checksums find nothing wrong."""
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=world / "hf", capture_output=True, check=False)
    assert sums.returncode == 0, sums.stdout
    assert f"| labels | {num_labels} |" in (world / "hf" / "README.md").read_text()
    assert json.loads((world / "hf" / "run.json").read_text())["results"]["exported"]["labels"] == num_labels
    assert len(store.read_labels(world / "hf" / "data").rows) == num_labels


def test_the_scan_finds_what_is_to_be_removed(world, built):
    for folder in ours(world):
        texts, pictures = scan(folder)
        assert any(built[1][PHOTO] in text for text in texts)
        assert any(map(shows_person, pictures))


@pytest.mark.parametrize("by_checksum", [False, True])
def test_of_a_source_no_row_no_pixel_and_no_mention_is_left(world, built, by_checksum):
    before = files_of(world / "pictures")
    shas = built[1]
    for name in (PHOTO, CLIP):
        summary = remove(world, shas[name] if by_checksum else name)
        assert summary.sources == (name,)
        assert not summary.warnings
    for folder in ours(world):
        texts, pictures = scan(folder)
        for word in (shas[PHOTO], shas[CLIP], shas[PHOTO][:16], PHOTO, CLIP, "group", "dance_clip"):
            assert not any(word in text for text in texts), (folder, word)
        assert not any(map(shows_person, pictures))
    left = store.read_labels(world / "annotate" / "labels.parquet").rows
    assert [(row.source_path, row.track_id) for row in left] == [(SOLO, 1)]
    assert (world / "annotate" / "overlay" / "solo.png").exists()
    assert [path.name[:9] for path in (world / "refine_hand" / "closeups").iterdir()] == ["0002_solo"]
    (image,) = scan(world / "hf")[1]
    assert image.shape == (48, 64, 3)
    record = json.loads((world / "annotate" / "run.json").read_text())
    assert record["results"]["sources"] == {SOLO: shas[SOLO]}
    assert record["results"]["warnings"] == ["(removed): odd", "plain"]
    assert_whole(world, 1)
    assert files_of(world / "pictures") == before


def test_of_one_person_nothing_is_left_and_of_the_others_their_labels(world, built):
    rows = {row.label_id: row for row in store.read_labels(world / "annotate").rows}
    summary = remove(world, PHOTO, track_id=1)
    assert (summary.num_labels, summary.track_id) == (2 + 2 + 1, 1)
    for folder in ours(world):
        texts, _ = scan(folder)
        gone = {one for one, row in rows.items() if row.source_path == PHOTO and row.track_id == 1}
        assert not any(one in text for one in gone for text in texts)
    left = store.read_labels(world / "annotate").rows
    assert [(row.source_path, row.track_id) for row in left] == [(PHOTO, 0), (SOLO, 1), *[(CLIP, 0), (CLIP, 1)] * 2]
    assert all(row.same_as(rows[row.label_id]) for row in left)
    # Nobody knows who else is in a picture, so those of the whole source go, and none of another.
    drawn = {path.name for folder in ours(world) for path in folder.rglob("*.png")}
    assert drawn == {"solo.png", "0002_solo_frame000000_person1_left_hand.png",
                     "0003_dance_clip_frame000000_person0_left_hand.png"}  # fmt: skip
    table = pq.read_table(world / "hf" / "data")
    images = dict(zip(table.column("label_id").to_pylist(), table.column("image").to_pylist(), strict=True))
    for label_id, image in images.items():
        assert (image is None) == (rows[label_id].source_path == PHOTO)
    assert_whole(world, 6)
    assert "Pictures are in 5 of 6 rows" in (world / "hf" / "README.md").read_text()
    remove(world, CLIP, track_id=1)
    for folder in ours(world):
        assert not any(map(shows_person, scan(folder)[1]))
    assert_whole(world, 4)


def test_data_set_of_which_something_was_removed_is_read_by_others(world, tmp_path):
    datasets = pytest.importorskip("datasets")
    remove(world, CLIP)
    remove(world, PHOTO, track_id=1)
    found = datasets.load_dataset(str(world / "hf"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found["source_path"][:] == [PHOTO, SOLO]
    assert [image is None for image in found["image"]] == [True, False]
    (shard,) = (world / "hf" / "data").iterdir()
    told = json.loads((world / "hf" / "croissant.json").read_text())
    assert told["distribution"][1]["sha256"] == hashlib.sha256(shard.read_bytes()).hexdigest()
    assert "2 labels of 2 tracks" in told["description"]
    remove(world, PHOTO)
    assert any("hf: the data set has no row any more" in note for note in remove(world, SOLO).warnings)


def test_a_dry_run_tells_the_same_and_changes_nothing(world):
    before = files_of(world)
    dry = remove(world, CLIP, dry_run=True)
    assert files_of(world) == before
    assert dry.is_dry
    assert dry.num_files_deleted == 4
    assert dataclasses.replace(dry, is_dry=False) == remove(world, CLIP)


@pytest.mark.parametrize("track_id", [None, 1])
def test_killed_between_any_two_files_the_same_command_completes_it(world, tmp_path, monkeypatch, track_id):
    before, plan, killed = files_of(world), pipeline._plan, []

    def planned(*arguments, **keywords):
        """What is there before each step is what is there when the removal is killed then."""
        for one in plan(*arguments, **keywords):

            def do(one=one):
                killed.append(shutil.copytree(world, tmp_path / f"killed_{len(killed)}"))
                one.do()

            yield dataclasses.replace(one, do=do)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_plan", planned)
        remove(world, PHOTO, track_id=track_id)
    expected = files_of(world)
    assert len(killed) > 5
    # Of one person among others what differs is the data set, whose steps are the last but one.
    for once in killed[1:] if track_id is None else killed[-3:-1]:
        for name, data in files_of(once).items():
            assert data in (before.get(name), expected.get(name)), name
        remove(once, PHOTO, track_id=track_id)
        assert files_of(once) == expected


def test_card_of_a_data_set_that_a_killed_removal_left_is_written_by_the_next(world, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hardmo_jax.export.dataset.dataset_folder.write_checksums", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.remove_labels(world / "hf", source=CLIP)
    summary = pipeline.remove_labels(world / "hf", source=CLIP)
    assert [step.what for step in summary.steps] == ["card, metadata and checksums written anew"]
    assert_whole(world, 3)
    with pytest.raises(RemovalError, match="no label is of a source"):
        pipeline.remove_labels(world / "hf", source=CLIP)


def test_tombstone_holds_hashes_of_labels_and_nothing_else(world):
    ids = {row.label_id: row.source_path for row in store.read_labels(world / "annotate").rows}

    def hashes(*names):
        return sorted(hashlib.sha256(one.encode()).hexdigest() for one, name in ids.items() if name in names)

    remove(world, PHOTO)
    tombstone = world / "annotate" / "removed.json"
    assert json.loads(tombstone.read_text()) == {"removed_format_version": 1, "label_id_sha256": hashes(PHOTO)}
    remove(world, CLIP)
    assert json.loads(tombstone.read_text())["label_id_sha256"] == hashes(PHOTO, CLIP)
    assert not (world / "hf" / "removed.json").exists()
    tombstone.write_text("{")
    with pytest.raises(RemovalError, match=r"removed\.json: is damaged"):
        remove(world, SOLO)


def test_what_else_a_store_holds_stays(tmp_path, rng):
    rows = [label(rng, "a.jpg"), label(rng, "b.jpg", "c" * 64)]
    path = tmp_path / "labels.parquet"
    store.write_labels(path, rows)
    table = pq.read_table(path)
    notes = pa.array(["of a", "of b"]).dictionary_encode()
    pq.write_table(table.append_column("note", notes).append_column("number", pa.array([1, 2])), path)
    pipeline.remove_labels(path, source="a.jpg")
    left = store.read_labels(path)
    assert left.extra.select(["note", "number"]).to_pylist() == [{"note": "of b", "number": 2}]
    assert left.rows[0].same_as(rows[1])
    assert b"of a" not in path.read_bytes()
    pipeline.remove_labels(path, source="b.jpg")
    assert store.read_labels(path).rows == ()
    with pytest.raises(RemovalError, match="holds no labels"):
        pipeline.remove_labels(path, source="b.jpg")


def test_shards_and_folders_of_runs_are_gone_through(tmp_path, rng):
    rows = [label(rng, f"{name}.mp4", name * 64, frame) for name in "abc" for frame in range(2)]
    with store.LabelWriter(tmp_path / "shards", rows_per_shard=4) as writer:
        writer.extend(rows)
    summary = pipeline.remove_labels(tmp_path / "shards", source="b.mp4")
    assert [step.num_labels for step in summary.steps] == [2]
    assert {row.source_path for row in store.read_labels(tmp_path / "shards").rows} == {"a.mp4", "c.mp4"}
    for name in "ab":
        own = [row for row in rows if row.source_path == f"{name}.mp4"]
        store.write_labels(tmp_path / "runs" / name / "labels.parquet", own)
        store.write_labels(tmp_path / "runs" / name / "round_1" / "hand" / "labels.parquet", own)
    pipeline.remove_labels(tmp_path / "runs", source="a.mp4")
    assert store.read_labels(tmp_path / "runs" / "a" / "labels.parquet").rows == ()
    assert store.read_labels(tmp_path / "runs" / "a" / "round_1" / "hand" / "labels.parquet").rows == ()
    assert len(store.read_labels(tmp_path / "runs" / "b" / "labels.parquet").rows) == 2
    assert [path.parent.name for path in (tmp_path / "runs").rglob("removed.json")] == ["runs"]


def test_a_photo_in_which_nobody_was_found_is_removed_too(world):
    write_picture(world / "annotate" / "overlay" / "empty.png", person=True)
    path = world / "annotate" / "run.json"
    record = json.loads(path.read_text())
    record["results"]["sources"]["empty.png"] = "d" * 64
    path.write_text(json.dumps(record))
    summary = remove(world, "empty.png")
    assert summary.num_labels == 0
    assert not (world / "annotate" / "overlay" / "empty.png").exists()
    assert "empty" not in path.read_text()


def test_unfinished_files_of_killed_jobs_go_and_strange_ones_are_told(world):
    (world / "annotate" / ".writing-12.parquet").write_bytes(b"half")
    (world / "annotate" / "notes.txt").touch()
    (world / ".annotate-x").mkdir()
    warnings = remove(world, PHOTO).warnings
    assert not (world / "annotate" / ".writing-12.parquet").exists()
    assert any("notes.txt" in one for one in warnings)
    assert any(".annotate-x" in one for one in warnings)


@pytest.mark.parametrize("wanted", [PHOTO, "group.png", f"./{PHOTO}", f"/home/me/pictures/{PHOTO}", "day\\group.png"])
def test_a_source_is_known_by_any_part_of_its_path(world, wanted):
    assert remove(world, wanted, dry_run=True).sources == (PHOTO,)


def test_the_same_file_in_two_places_is_removed_from_both(tmp_path, rng):
    path = tmp_path / "labels.parquet"
    store.write_labels(path, [label(rng, "a.jpg"), label(rng, "copy/b.jpg"), label(rng, "c.jpg", "c" * 64)])
    summary = pipeline.remove_labels(path, source="a.jpg", track_id=0)
    assert summary.sources == ("a.jpg", "copy/b.jpg")
    assert any("copy/b.jpg" in one for one in summary.warnings)


@pytest.mark.parametrize("name", ["overlay", "overlay.mp4", "overlay/group.png", "run.json"])
def test_drawings_that_lie_elsewhere_are_refused_before_anything_is_changed(world, name):
    path, elsewhere = world / "annotate" / name, world / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = files_of(world)
    with pytest.raises(RemovalError, match="is a link, behind which pictures or names would stay"):
        remove(world, PHOTO)
    assert files_of(world) == before
    path.unlink()
    elsewhere.rename(path)
    remove(world, PHOTO)
    assert not (world / "annotate" / "overlay" / "group.png").exists()


def test_a_report_goes_with_anybody_it_may_show(tmp_path, rng):
    for name in ("own", "other"):
        source = "a.jpg" if name == "own" else "b.jpg"
        store.write_labels(tmp_path / name / "labels.parquet", [label(rng, source, source[0] * 64)])
        (tmp_path / name / "report.html").write_text(source)
    summary = pipeline.remove_labels(tmp_path, source="a.jpg")
    assert not summary.warnings
    assert not (tmp_path / "own" / "report.html").exists()
    assert (tmp_path / "other" / "report.html").exists()


def test_a_source_that_is_called_as_any_number_takes_nothing_else_with_it():
    record = {
        "command": ["annotate", "--input=photos/1", "--source", "1", "--config.fit.rounds=1", "--fps", "1", "1"],
        "config": {"stage": "1", "names": ["1", "2"], "1": True},
        "results": {
            "sources": {"1": "a" * 64, "2": "b" * 64},
            "warnings": ["1 of 3 people", "1: is dark", "photos/1 and photos/1.jpg", "took 1", "see " + "a" * 64],
        },
    }
    assert without_mentions(record, {SourceName("1", "a" * 64)}) == {
        "command": ["annotate", "--input=photos/(removed)", "--source", "--config.fit.rounds=1", "--fps", "1"],
        "config": record["config"],
        "results": {
            "sources": {"2": "b" * 64},
            "warnings": [
                "1 of 3 people", "(removed): is dark", "photos/(removed) and photos/1.jpg", "took 1", "see (removed)",
            ],
        },
    }  # fmt: skip
    for sources in (set(), {SourceName("3", "c" * 64)}):
        assert without_mentions(record, sources) == record


@pytest.mark.parametrize(("stored", "typed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_the_same_however_they_are_stored_and_typed(tmp_path, rng, stored, typed):
    name = unicodedata.normalize(stored, "fête/élan.png")
    run = tmp_path / "run"
    store.write_labels(run / "labels.parquet", [label(rng, name), label(rng, "b.jpg", "c" * 64)])
    (run / "overlay").mkdir()
    (run / "closeups").mkdir()
    left = "".join(letter if letter.isascii() else "_" for letter in unicodedata.normalize(stored, "élan"))
    close_up = run / "closeups" / f"0001_{left}_frame000000_person0_left_hand.png"
    drawing = run / "overlay" / unicodedata.normalize(typed, "élan.png")
    for path in (close_up, drawing):
        path.touch()
    warnings = [f"{unicodedata.normalize(form, 'élan.png')}: is dark" for form in ("NFC", "NFD")]
    record = {"results": {"sources": {name: label(rng, name).source_sha256}, "warnings": warnings}}
    (run / "run.json").write_text(json.dumps(record))
    summary = pipeline.remove_labels(run, source=unicodedata.normalize(typed, "élan.png"))
    assert (summary.sources, summary.num_labels, summary.num_files_deleted) == ((name,), 1, 2)
    assert json.loads((run / "run.json").read_text())["results"] == {
        "sources": {}, "warnings": ["(removed): is dark"] * 2,
    }  # fmt: skip


def test_mistakes_are_told_before_anything_is_changed(world, tmp_path, rng):
    before = files_of(world)

    def refused(match, error=RemovalError, source=PHOTO, labels=world / "annotate", **changes):
        with pytest.raises(error, match=match):
            pipeline.remove_labels(labels, source=source, **changes)
        assert files_of(world) == before

    refused(r"did you mean day/group\.png", source="grup.png")
    refused(r"did you mean dance clip\.mp4\?", source="clip")
    refused(r"there are dance clip\.mp4, day/group\.png, solo\.png", source="zzzzzzzzz")
    refused("no label is of a source", source="f" * 64)
    refused("nobody of track_id 7; it has 0, 1", track_id=7)
    refused("no such file", FileNotFoundError, labels=tmp_path / "none")
    refused("no folder of ours", outputs=[world / "pictures"])
    refused("no label file", labels=world / "pictures" / PHOTO)
    refused("no label file", labels=next((world / "hf" / "data").iterdir()))
    store.write_labels(tmp_path / "two.parquet", [label(rng, "x/a.jpg"), label(rng, "y/a.jpg", "c" * 64)])
    refused(r"several sources are called 'a\.jpg': x/a\.jpg, y/a\.jpg", source="a.jpg", labels=tmp_path / "two.parquet")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "labels.parquet").symlink_to(world / "annotate" / "labels.parquet")
    refused("is a link", labels=tmp_path / "link")
