"""Edits written behind: nothing is lost, whoever else writes, and whatever goes wrong with the disk."""

import dataclasses
import subprocess
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import store
from hardmo_jax.labels.label_table import LabelTable
from hardmo_jax.pipelines.label_editor import LabelEditor, UnsavedEditsError
from hardmo_jax.pipelines.label_edits import LabelEdit, LabelEditError, with_edits
from hardmo_jax.pipelines.shared_store import held_store
from tests.labels.test_schema import make_row
from tests.pipelines.test_label_edits import corrected, edit_of, machine
from tests.tools.command_line import ROOT

QUICK = 0.02


@pytest.fixture
def rows():
    return [make_row(place) for place in range(6)]


@pytest.fixture
def path(tmp_path, rows):
    return store.write_labels(tmp_path / "labels.parquet", rows)


def read(path):
    return list(store.read_labels(path).rows)


def test_edits_are_on_disk_and_told_when_it_is_closed(path, rows):
    told = []
    with LabelEditor(path.parent, report=told.append) as editor:
        editor.put(edit_of(rows[0], review="accepted"))
        editor.put(edit_of(rows[1], corrected=corrected(rows[1])))
        editor.flush()
        assert read(path)[0].review == "accepted"
        assert sum(len(one.outcomes) for one in told) == 2
        editor.put(edit_of(rows[1], review_by_part={"left_foot": "right"}))
    found = read(path)
    assert [row.label_version for row in found] == [1, 1, 2, 1, 1, 1, 1]
    assert found[2].origin == "human"
    assert found[2].review_by_part["left_foot"] == "right"
    assert found[2].code_version
    assert all(ours.same_as(theirs) for ours, theirs in zip([found[1], *found[3:]], rows[1:], strict=True))
    assert [one.trouble for one in told] == [None] * len(told)
    assert told[-1].num_waiting == 0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(LabelEditError, match="closed"):
        editor.put(edit_of(rows[0], review="none"))


def test_two_editors_and_a_machine_on_one_store_lose_nothing(path, rows):
    def work(number):
        with LabelEditor(path, retry_seconds=QUICK) as editor:
            for row in rows:
                editor.put(edit_of(row, corrected=corrected(row, 10.0 * number)))
                editor.put(edit_of(rows[number], review_by_part={"left_hand": "wrong"}))

    def repair():
        for version in range(100, 104):
            with held_store(path):
                found = store.read_labels(path)
                newest = dataclasses.replace(machine(rows[5], version), created_utc=found.rows[0].created_utc)
                store.write_labels(path, [*found.rows, newest], extra=found.extra)

    workers = [threading.Thread(target=work, args=(number,)) for number in (1, 2)] + [threading.Thread(target=repair)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read(path)
    for row in rows:
        made = [one for one in found if one.label_id == row.label_id and one.origin == "human"]
        assert sorted(round(float((one.keypoints_2d - row.keypoints_2d).mean())) for one in made) == [10, 20]
    assert sum(row.label_version >= 100 and row.origin == "machine" for row in found) == 4


def test_editors_of_two_processes_lose_nothing(path, rows):
    code = (
        "import sys\nfrom hardmo_jax.labels import store\nfrom hardmo_jax.pipelines.label_edits import LabelEdit\n"
        "from hardmo_jax.pipelines.label_editor import LabelEditor\n"
        "rows = store.read_labels(sys.argv[1]).rows\nprint('read', flush=True)\n"
        "editor = LabelEditor(sys.argv[1])\n"
        "for row in rows:\n"
        "    editor.put(LabelEdit(label_id=row.label_id, label_version=1, review_by_part={'left_foot': 'wrong'}))\n"
    )  # not even closed
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "read\n"
        with LabelEditor(path) as editor:
            while job.poll() is None:
                for row in rows:
                    editor.put(edit_of(row, review_by_part={"right_hand": "wrong"}))
                editor.flush()
        assert job.returncode == 0
    for row in read(path):
        assert (row.review_by_part["left_foot"], row.review_by_part["right_hand"]) == ("wrong", "wrong")


def test_unknown_columns_stay(path, rows):
    table = pq.read_table(path)
    pq.write_table(table.append_column("mood", pa.array(list("abcdef"))), path)
    with LabelEditor(path) as editor:
        editor.put(edit_of(rows[2], review="accepted"))
        editor.put(edit_of(rows[3], corrected=corrected(rows[3])))
    assert pq.read_table(path).column("mood").to_pylist() == ["a", "b", "c", "d", None, "e", "f"]


def test_what_cannot_be_written_is_told_kept_and_written_when_it_can(path, rows, monkeypatch):
    told = []
    full = OSError(28, "No space left on device")
    write = LabelTable.write
    monkeypatch.setattr(LabelTable, "write", lambda *_: (_ for _ in ()).throw(full))
    with LabelEditor(path, report=told.append, retry_seconds=QUICK) as editor:
        editor.put(edit_of(rows[0], review="accepted"))
        with pytest.raises(UnsavedEditsError, match=r"1 edits of 1 labels.*No space left.*tried again"):
            editor.flush()
        assert editor.num_waiting == 1
        assert "No space left" in told[0].trouble
        assert (told[0].num_waiting, told[0].outcomes) == (1, ())
        monkeypatch.setattr(LabelTable, "write", write)
        editor.put(edit_of(rows[0], review_by_part={"left_foot": "wrong"}))
        editor.flush()
    assert (read(path)[0].review, read(path)[0].review_by_part["left_foot"]) == ("accepted", "wrong")


def test_closing_with_edits_that_cannot_be_written_gives_them_back(path, rows):
    editor = LabelEditor(path, retry_seconds=QUICK)
    path.rename(path.with_name("moved.parquet"))
    edit = edit_of(rows[0], corrected=corrected(rows[0]))
    editor.put(edit)
    with pytest.raises(UnsavedEditsError, match=r"could not be written: .*labels\.parquet") as caught:
        editor.close()
    assert caught.value.edits == (edit,)
    with LabelEditor(path.with_name("moved.parquet")) as other:
        other.put(caught.value.edits[0])
    assert read(path.with_name("moved.parquet"))[1].origin == "human"


def test_report_that_raises_costs_nothing(path, rows, caplog):
    def report(told):
        raise KeyError("viewer")

    with LabelEditor(path, report=report) as editor:
        editor.put(edit_of(rows[0], review="accepted"))
    assert read(path)[0].review == "accepted"
    assert "could not be told" in caplog.text


def test_reviews_of_replaced_and_removed_labels_are_told(path, rows):
    told = []
    store.write_labels(path, [*rows[1:], machine(rows[1], 2)])
    with LabelEditor(path, report=told.append) as editor:
        editor.put(edit_of(rows[0], review="accepted"))
        editor.put(edit_of(rows[1], review="accepted"))
    before, after = [outcome for one in told for outcome in one.outcomes]
    assert "removed" in before.note
    assert "replaced by version 2" in after.note
    assert [row.review for row in read(path)] == ["none"] * 6


def test_marks_of_an_own_version_find_it_behind_the_version_of_a_stranger(path, rows):
    told = []
    correction = edit_of(rows[0], corrected=corrected(rows[0]), seen=rows[0])
    shown = with_edits([rows[0]], [correction]).rows[1]
    store.write_labels(path, [rows[0], machine(rows[0], 2), *rows[1:]])
    with LabelEditor(path, report=told.append) as editor:
        editor.put(correction)
        editor.flush()  # written, and whoever shows it has not been told yet
        editor.put(edit_of(shown, review_by_part={"left_foot": "wrong"}, seen=shown))
        editor.flush()
        editor.put(edit_of(shown, corrected=corrected(shown), seen=shown))
    found = [row for row in read(path) if row.label_id == rows[0].label_id]
    assert [(row.label_version, row.parent_version) for row in found] == [(1, None), (2, 1), (3, 1), (4, 3)]
    assert found[2].review_by_part["left_foot"] == "wrong"
    notes = [outcome.note for one in told for outcome in one.outcomes]
    assert ["a machine wrote" in (note or "") for note in notes] == [True, False, False]
    assert notes[1:] == [None, None]


def test_impossible_edits_and_files_that_are_none_are_refused_at_once(path, tmp_path):
    with LabelEditor(path) as editor, pytest.raises(LabelEditError, match="got 'good'"):
        editor.put(LabelEdit(label_id="0" * 32, label_version=1, review="good"))
    with pytest.raises(FileNotFoundError):
        LabelEditor(tmp_path / "nothing")
