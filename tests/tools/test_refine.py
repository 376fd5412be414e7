"""`python -m tools.refine` as a user runs it: a store with planted errors, the subset folder, and the same again."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import provenance, schema, store
from hardmo_jax.pipelines import refine
from hardmo_jax.pipelines.label_editor import LabelEditor
from hardmo_jax.pipelines.label_edits import LabelEdit
from hardmo_jax.pipelines.label_rows import LabelBodyError
from hardmo_jax.pipelines.refine import RefineOptions
from hardmo_jax.pipelines.score_labels import score_labels
from hardmo_jax.pipelines.shared_store import ShardedStoreError
from tests.pipelines import refined_people
from tests.tools.command_line import ROOT, run_each

USAGE_STATUS = 2
PEOPLE = 12


def run_tool(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "tools.refine", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=420, env=environment)


def error_of(done):
    """The one line of an error; fails on a traceback or on success."""
    assert done.returncode == USAGE_STATUS, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def make_store(folder, labels=None):
    """Photos in plain colours and a store of the people in them, as `tools.annotate` leaves it: without scores.

    Tests that need no scoring bring labels that have been scored (`scored`).
    """
    labels = refined_people.planted_labels(32)[0][:PEOPLE] if labels is None else labels
    (folder / "in" / "photos").mkdir(parents=True)
    (folder / "labels").mkdir()
    rows = []
    for place, row in enumerate(labels):
        path = folder / "in" / row.source_path.replace(".jpg", ".png")
        cv2.imwrite(str(path), np.full((row.image_height, row.image_width, 3), 20 * (place % 10), np.uint8))
        rows.append(
            dataclasses.replace(
                row, source_path=f"photos/{path.name}", source_sha256=provenance.file_sha256(path), label_id=""
            )
        )
    store.write_labels(folder / "labels" / "labels.parquet", rows)
    write_run(folder)
    return rows


def write_run(folder):
    """What `tools.annotate` says of the labels in a folder, and of where their pictures are."""
    run = {"command": ["tools/annotate.py", f"--input={folder / 'in'}"]}
    (folder / "labels" / "run.json").write_text(json.dumps(run))


def options(subset="hand", **changes):
    close_ups = refine.CloseUpOptions(most=2, most_on_sheet=2, renderer="painter")
    return dataclasses.replace(RefineOptions(subset=subset, close_ups=close_ups), **changes)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def scored():
    """The labels of `make_store`, scored: all that takes long in most runs."""
    return score_labels(refined_people.planted_labels(32)[0][:PEOPLE], refined_people.open_body())


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """A store after a run of the tool for hands."""
    folder = tmp_path_factory.mktemp("refine")
    rows = make_store(folder)
    done = run_tool(
        "--subset=hand", f"--config={ROOT}/configs/hand.py:smoke", f"--input={folder / 'labels'}",
        f"--output_dir={folder / 'hand'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, rows, done


@pytest.fixture
def finished(refined, tmp_path):
    """A copy of that store and its folder, here `out`: hands are refined, nothing is left to be solved."""
    for name, copied in (("in", "in"), ("labels", "labels"), ("hand", "out")):
        shutil.copytree(refined[0] / name, tmp_path / copied)
    write_run(tmp_path)
    return tmp_path


def test_subset_folder_has_labels_close_ups_a_sheet_and_a_record(refined, figure):
    folder, rows, done = refined
    assert {path.name for path in (folder / "hand").iterdir()} == {
        "labels.parquet",
        "closeups",
        "sheet.png",
        "run.json",
    }
    subset = store.read_labels(folder / "hand" / "labels.parquet").rows
    kept = store.read_labels(folder / "labels" / "labels.parquet").rows
    counts = json.loads((folder / "hand" / "run.json").read_text())["results"]["counts"][0]
    figure(f"refine tool     hands of {len(rows)} labels: {counts}")
    assert counts["refined"] > 0
    assert counts["wrong"] == counts["mined"] >= counts["refined"]
    assert counts["error_after"] < 0.5 * counts["error_before"]
    assert len(kept) > len(rows)
    assert {row.label_id for row in subset} <= {row.label_id for row in rows}
    assert {(row.label_id, row.label_version) for row in subset} <= {(row.label_id, row.label_version) for row in kept}
    assert len(list((folder / "hand" / "closeups").glob("*.png"))) == 3
    for path in [folder / "hand" / "sheet.png", *(folder / "hand" / "closeups").iterdir()]:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 10
    assert "hands of 12 labels" in done.stdout
    assert "right" in done.stdout
    assert "new version" in done.stdout


def test_new_versions_say_what_made_them(refined):
    folder = refined[0]
    kept = store.read_labels(folder / "labels" / "labels.parquet").rows
    new = [row for row in kept if row.label_version == 2]
    record = json.loads((folder / "hand" / "run.json").read_text())
    assert new
    for row in new:
        assert row.parent_version == 1
        assert row.config_sha256 == record["results"]["config_sha256"]
        assert row.code_version
        assert "refined" in row.outcome_by_part.values()
    assert record["results"]["labels_sha256"] == provenance.file_sha256(folder / "labels" / "labels.parquet")
    assert "part_scorer.npz" in record["results"]["learnt"]


def test_second_run_says_nothing_to_do_and_changes_no_byte(refined):
    folder = refined[0]
    before = files_of(folder)
    done = run_tool(
        "--subset=hand", f"--config={ROOT}/configs/hand.py:smoke", f"--input={folder / 'labels'}",
        f"--output_dir={folder / 'hand'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert files_of(folder) == before


def test_lost_folder_is_made_again_from_the_store(refined):
    folder = refined[0]
    summary = refine.refine(folder / "labels", folder / "again", options=options())
    assert not summary.is_nothing_to_do
    assert summary.num_refined == 0
    assert summary.counts[0].refined > 0
    first, again = (store.read_labels(folder / name / "labels.parquet").rows for name in ("hand", "again"))
    assert [row.label_id for row in first] == [row.label_id for row in again]
    assert all(ours.same_as(theirs) for ours, theirs in zip(first, again, strict=True))


def test_wrong_and_missing_subsets_are_told_with_the_valid_ones(tmp_path):
    lines = [
        ("--subset=elbow",), (), ("--subset=foot", f"--config={ROOT}/configs/hand.py"),
        ("--subset=foot", f"--input={tmp_path / 'nothing'}"),
    ]  # fmt: skip
    unknown, missing, other, nothing = map(error_of, run_each("refine", lines, cwd=tmp_path))
    assert unknown.endswith("unknown subset 'elbow'; known: hand, foot")
    assert "--subset=hand or --subset=foot" in missing
    assert "the config is of hand; give --config=configs/foot.py" in other
    assert "no such label file" in nothing


def test_dry_run_writes_the_sheet_and_nothing_else(tmp_path, scored):
    make_store(tmp_path, scored)
    before = files_of(tmp_path)
    summary = refine.refine(tmp_path / "labels", tmp_path / "out", options=options("foot"), dry_run=True)
    assert summary.counts[0].refined > 0
    after = files_of(tmp_path)
    assert set(after) - set(before) == {pathlib.Path("out/dry_run.png")}
    assert {name: data for name, data in after.items() if name in before} == before


def test_subset_folder_is_no_store(finished):
    with pytest.raises(refine.RefineError, match=r"is the subset of .*labels\.parquet.* give --input="):
        refine.refine(finished / "out", finished / "other", options=options("hand"))


def test_replacing_the_subset_of_other_labels_is_said_and_old_leftovers_go(finished):
    (finished / "labels").rename(finished / "labels2")
    old, new = finished / ".refine-old", finished / ".refine-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    summary = refine.refine(finished / "labels2", finished / "out", options=options("hand"))
    assert any("held the subset of" in warning for warning in summary.warnings)
    assert not old.exists()
    assert new.exists()


def test_dry_run_leaves_the_sheet_of_a_finished_run(finished):
    sheet = (finished / "out" / "sheet.png").read_bytes()
    other = dataclasses.replace(options().close_ups, most_on_sheet=1)
    refine.refine(finished / "labels", finished / "out", options=options(close_ups=other), dry_run=True)
    assert (finished / "out" / "sheet.png").read_bytes() == sheet != (finished / "out" / "dry_run.png").read_bytes()


def test_labels_that_a_person_edited_meanwhile_are_theirs_and_the_others_are_repaired(tmp_path, scored):
    make_store(tmp_path, scored)
    path = tmp_path / "labels" / "labels.parquet"
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(tmp_path / "labels", undisturbed)
    repaired = {row.label_id for row in refined_rows(undisturbed, tmp_path / "first") if row.label_version == 2}
    assert len(repaired) > 2
    accepted, corrected, removed = sorted(repaired)[:3]
    begun = []

    def edit(stage, done, total):
        if stage != "score" or begun:
            return
        begun.append(stage)
        rows = store.read_labels(path).rows
        store.write_labels(path, [row for row in rows if row.label_id != removed])
        with LabelEditor(path) as editor:
            editor.put(LabelEdit(label_id=accepted, label_version=1, review="accepted"))
            (row,) = [row for row in rows if row.label_id == corrected]
            made = dataclasses.replace(row, transl=row.transl + 1)
            editor.put(LabelEdit(label_id=corrected, label_version=1, corrected=made))

    summary = refine.refine(tmp_path / "labels", tmp_path / "out", options=options("hand"), progress=edit)
    found = {}
    for row in store.read_labels(path).rows:
        found.setdefault(row.label_id, []).append(row)
    assert removed not in found
    assert [row.review for row in found[accepted]] == ["accepted"]
    assert [row.origin for row in found[corrected]] == ["machine", "human"]
    assert {name for name, rows in found.items() if rows[-1].origin == "machine" and len(rows) == 2} == (
        repaired - {accepted, corrected, removed}
    )
    assert summary.num_refined == len(repaired) - 3
    assert any("3 labels were changed, added or removed by somebody else" in warning for warning in summary.warnings)
    subset = {row.label_id: row for row in store.read_labels(tmp_path / "out" / "labels.parquet").rows}
    assert removed not in subset
    # The next run makes the folder anew, of what is there now.
    again = refine.refine(tmp_path / "labels", tmp_path / "out", options=options("hand"))
    assert not again.is_nothing_to_do
    assert again.num_refined == 0
    rows = store.read_labels(path).rows
    assert [row.origin for row in rows if row.label_id == corrected] == ["machine", "human"]
    assert refine.refine(tmp_path / "labels", tmp_path / "out", options=options("hand")).is_nothing_to_do


def refined_rows(folder, out):
    """Labels of a store after its hands were refined."""
    refine.refine(folder, out, options=options("hand"))
    return store.read_labels(folder / "labels.parquet").rows


def test_categories_of_strangers_break_nothing(finished):
    """A category called as a side is counted apart, and markup, long names and wide letters are letters."""
    path = finished / "labels" / "labels.parquet"
    rows = store.read_labels(path).rows
    ids = sorted({row.label_id for row in rows})
    renamed = next(row for row in rows if row.label_version == 2)
    photo = finished / "in" / renamed.source_path
    wide = photo.with_name("\U0001f57a" * 50 + ".png")
    photo.rename(wide)
    changed = []
    for row in rows:
        row = dataclasses.replace(row, category="left" if ids.index(row.label_id) % 2 else "[/red]")
        if row.label_id == renamed.label_id:
            row = dataclasses.replace(row, source_path=f"photos/{wide.name}", label_id="")
        changed.append(row)
    store.write_labels(path, changed)
    done = run_tool("--subset=hand", f"--input={finished / 'labels'}", f"--output_dir={finished / 'out'}")
    assert done.returncode == 0, done.stderr
    assert "[/red]" in done.stdout
    counts = json.loads((finished / "out" / "run.json").read_text())["results"]["counts"]
    total = counts[0]["wrong"]
    assert total > 0
    assert sum(count["wrong"] for count in counts[1:]) == 2 * total, "once by side, once by category"


def test_labels_of_an_older_schema_are_migrated_and_it_is_said(tmp_path):
    make_store(tmp_path)
    path = tmp_path / "labels" / "labels.parquet"
    table = pq.read_table(path)
    older = table.drop_columns([name for name in table.column_names if name.startswith(("wrong_", "outcome_"))])
    pq.write_table(older, path)
    summary = refine.refine(tmp_path / "labels", tmp_path / "out", options=options())
    assert any("older schema" in warning and "wrong_body" in warning for warning in summary.warnings)
    assert summary.num_scored == PEOPLE
    assert "wrong_left_hand" in pq.read_schema(path).names
    assert json.loads((tmp_path / "out" / "run.json").read_text())["results"]["migrated_columns"]


def test_labels_of_a_newer_schema_are_refused(tmp_path):
    make_store(tmp_path)
    path = tmp_path / "labels" / "labels.parquet"
    table = pq.read_table(path)
    newer = {**table.schema.metadata, schema.FORMAT_KEY: str(schema.FORMAT_VERSION + 1).encode()}
    pq.write_table(table.replace_schema_metadata(newer), path)
    with pytest.raises(store.LabelFormatError, match="newer hardmo_jax"):
        refine.refine(tmp_path / "labels", tmp_path / "out", options=options())
    assert not (tmp_path / "out").exists()


def test_labels_of_another_body_are_refused_and_stay(tmp_path):
    make_store(tmp_path)
    before = files_of(tmp_path)
    other = options(body=dataclasses.replace(RefineOptions().body, view="smpl"))
    with pytest.raises(LabelBodyError, match=r"body\.view=smplh"):
        refine.refine(tmp_path / "labels", tmp_path / "out", options=other)
    assert files_of(tmp_path) == before


def test_labels_of_another_body_can_be_left_among_others(finished):
    path = finished / "labels" / "labels.parquet"
    rows = store.read_labels(path).rows
    name = rows[0].label_id
    others = [dataclasses.replace(row, body_model="another_body") for row in rows if row.label_id == name]
    own = [row for row in rows if row.label_id != name]
    store.write_labels(path, [*others, *own])
    with pytest.raises(LabelBodyError, match="another_body"):
        refine.refine(path, finished / "out", options=options())
    first = own[0]
    unscored = [dataclasses.replace(row, outcome_by_part={}) if row is first else row for row in own]
    store.write_labels(path, [*others, *unscored])
    summary = refine.refine(path, finished / "out", options=options(), leaves_other_bodies=True)
    assert summary.num_labels == PEOPLE - 1
    kept = store.read_labels(path).rows
    assert {row.label_id for row in kept} == {row.label_id for row in rows}
    left = [row for row in kept if row.body_model == "another_body"]
    assert len(left) == len(others)
    assert all(ours.same_as(theirs) for ours, theirs in zip(left, others, strict=True))


def test_folders_that_hold_other_things_are_refused(tmp_path):
    make_store(tmp_path)
    with pytest.raises(refine.RefineError, match="lie in the output folder"):
        refine.refine(tmp_path / "labels", tmp_path / "labels", options=options())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(refine.RefineError, match=r"thesis\.txt"):
        refine.refine(tmp_path / "labels", tmp_path / "out", options=options())
    (tmp_path / "shards").mkdir()
    store.write_shard(tmp_path / "shards", 0, [])
    with pytest.raises(ShardedStoreError, match="shards"):
        refine.refine(tmp_path / "shards", tmp_path / "other", options=options())


@pytest.mark.parametrize("trouble", ["gone", "changed", "outside", "unknown"])
def test_pictures_that_are_not_there_leave_close_ups_on_paper(finished, trouble):
    path = finished / "labels" / "labels.parquet"
    for photo in (finished / "in" / "photos").iterdir():
        if trouble == "gone":
            photo.unlink()
        elif trouble == "changed":
            cv2.imwrite(str(photo), np.zeros((9, 9, 3), np.uint8))
    if trouble == "outside":
        rows = store.read_labels(path).rows
        outside = [dataclasses.replace(row, source_path=f"../{row.source_path}", label_id="") for row in rows]
        store.write_labels(path, outside)
    if trouble == "unknown":
        (finished / "labels" / "run.json").unlink()
    summary = refine.refine(path, finished / "on_paper", options=options())
    assert any("on paper" in warning for warning in summary.warnings)
    assert (finished / "on_paper" / "sheet.png").exists()


def test_stopped_run_leaves_the_store_and_the_earlier_folder(tmp_path, scored, monkeypatch):
    make_store(tmp_path, scored)
    before = files_of(tmp_path)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(refine.overlay, "write_png", stopped)
    with pytest.raises(KeyboardInterrupt):
        refine.refine(tmp_path / "labels", tmp_path / "out", options=options())
    assert files_of(tmp_path) == before
    monkeypatch.undo()
    assert refine.refine(tmp_path / "labels", tmp_path / "out", options=options()).num_refined > 0


def test_store_without_labels_is_a_result_with_zero_rows(tmp_path):
    store.write_labels(tmp_path / "labels.parquet", [])
    summary = refine.refine(tmp_path / "labels.parquet", tmp_path / "out", options=options())
    assert (summary.num_labels, summary.counts[0].wrong) == (0, 0)
    assert len(store.read_labels(tmp_path / "out" / "labels.parquet")) == 0
