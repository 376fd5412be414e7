"""The loop with jobs that do nothing: order, what each begins from, stops in every place, and what cannot go on."""

import dataclasses
import itertools
import json

import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines import loop, loop_stages, loop_store, refine
from hardmo_jax.pipelines.annotate_options import BodyOptions
from hardmo_jax.pipelines.loop_options import LoopError
from hardmo_jax.pipelines.loop_record import LoopStage
from hardmo_jax.pipelines.loop_stages import stages_of_loop
from hardmo_jax.pipelines.refine import RefineOptions
from hardmo_jax.pipelines.render_training import RenderTrainingOptions
from hardmo_jax.pipelines.train_regressor import TrainRegressorOptions
from hardmo_jax.whole_files import file_sha256
from tests.pipelines.loop_of_fakes import PEOPLE, Fakes, body, go, label, options_of, pictures_in

STAGES = stages_of_loop(1, is_rendered=True, begins=True)


class Killed(BaseException):
    """As `kill -9`: nobody catches it."""


@pytest.fixture(autouse=True)
def one_body(monkeypatch):
    """The body is read once."""
    monkeypatch.setattr(loop, "load_body_option", lambda options: body())


@pytest.fixture
def photos(tmp_path):
    """A user's folder; nobody looks into it."""
    return pictures_in(tmp_path / "in")


@pytest.fixture
def earlier(tmp_path):
    """Labels to begin from: of two people, of whom one is worse than she will be found."""
    store.write_labels(tmp_path / "earlier" / "labels.parquet", [label(0, error=0.5), label(1, error=0.001)])
    return tmp_path / "earlier"


def result(folder):
    """What a loop leaves, without times."""
    record = json.loads((folder / "loop.json").read_text())
    counted = {name: (stage["counted"], stage["notes"]) for name, stage in record["stages"].items()}
    return counted, store.read_labels(folder / "store" / "labels.parquet").rows


def test_rounds_go_from_network_to_network_on_one_store(tmp_path, photos):
    fakes, told, tables = Fakes([]), [], []
    done = go(tmp_path / "loop", fakes, options=options_of(rounds=2), source=photos, told=told, on_table=tables.append)
    networks = [str(tmp_path / "loop" / f"round_{number}" / "train" / "network") for number in (1, 2)]
    place = str(photos)
    assert fakes.calls == [
        ("annotate", place, None), ("hand", place), ("foot", place), ("train", None, PEOPLE, 0),
        ("annotate", place, networks[0]), ("hand", place), ("foot", place), ("train", networks[0], PEOPLE, 1),
        ("annotate", place, networks[1]),
    ]  # fmt: skip
    counted, rows = result(tmp_path / "loop")
    # Annotated, hands repaired; a better body from the first network, hands repaired again; the second is no better.
    assert [row.label_version for row in rows] == [1, 2, 3, 4] * PEOPLE
    assert [row.outcome_by_part["left_hand"] for row in rows[:4]] == [None, "refined", None, "refined"]
    merged = [counted[f"round_{number}/merge"][0] for number in (1, 2, 3)]
    assert [(one["new"], one["replaced"]) for one in merged] == [(PEOPLE, 0), (0, PEOPLE), (0, 0)]
    assert [counted[f"round_{number}/hand"][0]["refined"] for number in (1, 2)] == [PEOPLE, PEOPLE]
    assert "round 1: no wrong feet among 4 labels: nothing to refine, skipped" in told
    assert "round 2: no wrong feet among 4 labels: nothing to refine, skipped" in told
    assert "round 1: hands: 4 wrong, 4 repaired, 0 open" in told
    assert not any("goes on" in note for note in told)
    assert [table.columns for table in tables] == [
        ("round 1",), ("round 1", "round 2"), ("round 1", "round 2", "after"),
    ]  # fmt: skip
    assert str(done.network) == networks[1]
    cells = dict(done.table.rows)
    assert cells["people new / replaced by better"] == ("4 / 0", "0 / 4", "0 / 0")
    assert cells["wrong hands mined / refined"] == ("4 / 4", "4 / 4", "-")
    assert cells["held out, network: MPJPE"] == ("100/-/-", "100/-/-", "-")
    assert not any(name.startswith("truth") for name in cells)


def test_people_who_are_rendered_are_compared_with_the_truth(tmp_path):
    fakes = Fakes([])
    go(tmp_path / "loop", fakes)
    names = [call[0] for call in fakes.calls]
    assert names == ["render", "annotate", "score_labels", "hand", "foot", "score_labels", "train", "score_network",
                     "annotate", "score_labels"]  # fmt: skip
    text = (tmp_path / "loop" / "table.txt").read_text()
    assert "truth, network: MPJPE" in text
    assert "`held out` and `truth, network` are of 1 person only" in text
    assert "100/-/-" in text
    assert "-/-/0.70" in text
    assert "seconds: render" in text
    own = json.loads((tmp_path / "loop" / "round_1" / "table.json").read_text())
    assert own["columns"] == ["round 1"]
    assert own["rounds"][0]["score_network"]["scalars"]["pck05_foot"] == 0.7
    assert (tmp_path / "loop" / "round_2" / "table.txt").is_file(), "labels behind the last network"


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_loop_that_is_killed_in_every_place_ends_as_one_that_is_not(tmp_path, earlier, monkeypatch, when):
    """Once in each stage, from where the next try goes on; behind: its work is done, and the record does not know."""
    fakes, work = Fakes([]), loop.run_stage
    go(tmp_path / "whole", Fakes([]), begins_from=earlier)
    tried = []
    for place in STAGES:

        def killed(given, stage, before, place=place):
            tried.append(stage)
            if stage == place and when == "before":
                raise Killed
            counted = work(given, stage, before)
            if stage == place:
                raise Killed
            return counted

        monkeypatch.setattr(loop, "run_stage", killed)
        with pytest.raises(Killed):
            go(tmp_path / "loop", fakes, begins_from=earlier)
    monkeypatch.setattr(loop, "run_stage", work)
    # What was cut off is done again, and nothing else.
    assert tried == [STAGES[0], *(stage for pair in itertools.pairwise(STAGES) for stage in pair)]
    assert not go(tmp_path / "loop", fakes, begins_from=earlier).is_nothing_to_do
    assert go(tmp_path / "loop", fakes, begins_from=earlier).is_nothing_to_do
    again, whole = result(tmp_path / "loop"), result(tmp_path / "whole")
    assert again[0] == whole[0]
    assert len(again[1]) == len(whole[1])
    assert all(ours.same_as(theirs) for ours, theirs in zip(again[1], whole[1], strict=True))


def test_the_same_again_has_nothing_to_do_and_more_rounds_go_on(tmp_path, photos):
    fakes = Fakes([])
    go(tmp_path / "loop", fakes, source=photos)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    num_calls = len(fakes.calls)
    assert go(tmp_path / "loop", fakes, source=photos).is_nothing_to_do
    assert len(fakes.calls) == num_calls
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    told = []
    done = go(tmp_path / "loop", fakes, source=photos, options=options_of(rounds=2), told=told)
    assert told[0] == "goes on: 7 of 12 stages were done before; round 2 of 2: annotate, merge done before"
    # The annotation behind the first round is that of the second.
    assert [call[0] for call in fakes.calls[num_calls:]] == ["hand", "foot", "train", "annotate"]
    assert done.table.columns == ("round 1", "round 2", "after")
    with pytest.raises(LoopError, match=r"holds 2 finished rounds, and 1 are asked for; give --config\.rounds=2"):
        go(tmp_path / "loop", fakes, source=photos)


def test_other_options_are_told_by_name(tmp_path, photos):
    go(tmp_path / "loop", Fakes([]), source=photos)
    other = dataclasses.replace(options_of(), goes_on_training=False, least_labels=3)
    with pytest.raises(LoopError, match=r"--config\.goes_on_training was true, and is false; give them as they were"):
        go(tmp_path / "loop", Fakes([]), source=photos, options=other)
    with pytest.raises(LoopError, match=r"--input was .*, and is null"):
        go(tmp_path / "loop", Fakes([]))
    # What rendered people would be like says nothing of photos.
    assert go(tmp_path / "loop", Fakes([]), source=photos, options=options_of(people=9)).is_nothing_to_do


def test_each_round_can_begin_with_the_same_network(tmp_path, photos):
    fakes = Fakes([])
    go(tmp_path / "loop", fakes, source=photos, options=options_of(rounds=2, goes_on_training=False))
    assert [call for call in fakes.calls if call[0] == "train"] == [
        ("train", None, PEOPLE, 0),
        ("train", None, PEOPLE, 1),
    ]


def test_nobody_in_the_pictures_is_an_error_and_other_options_can_follow(tmp_path, photos):
    with pytest.raises(LoopError, match=r"in: nobody was found in 4 pictures.*crop closer"):
        go(tmp_path / "loop", Fakes([], people=0), source=photos)
    # Nothing is finished that depends on the options.
    go(tmp_path / "loop", Fakes([]), source=photos, options=options_of(goes_on_training=False))


def test_too_few_labels_to_train_on_are_told_and_going_on_is_possible(tmp_path, photos):
    options = options_of(least_labels=9)
    with pytest.raises(LoopError, match=r"round 1: 4 of 4 labels can be trained on, and fewer than 9 .*least_labels=4"):
        go(tmp_path / "loop", Fakes([]), source=photos, options=options)
    fakes = Fakes([])
    go(tmp_path / "loop", fakes, source=photos)
    assert fakes.calls[0][0] == "train"


def test_labels_of_other_bodies_are_named_and_left(tmp_path, photos):
    own, others = label(0), [label(place, body_model="smpl_neutral_smpl") for place in (1, 2)]
    store.write_labels(tmp_path / "loop" / "store" / "labels.parquet", [others[0], own, others[1]])
    fakes, told = Fakes([]), []
    go(tmp_path / "loop", fakes, source=photos, told=told)
    assert f"2 of the body smpl_neutral_smpl ({body().checksum[:12]})" in told[0]
    assert "neither refined nor trained on" in told[0]
    assert any("2 labels that a person made or reviewed, or of another body" in note for note in told)
    kept = [row for row in result(tmp_path / "loop")[1] if row.body_model == "smpl_neutral_smpl"]
    assert all(ours.same_as(theirs) for ours, theirs in zip(kept, others, strict=True))
    assert next(call for call in fakes.calls if call[0] == "train")[2] == PEOPLE - 2


def test_a_store_of_another_body_alone_is_an_error(tmp_path, photos, earlier):
    rows = [label(place, body_model="smpl_neutral_smpl") for place in range(3)]
    store.write_labels(earlier / "labels.parquet", rows)
    for begins_from in (earlier, None):
        folder = tmp_path / f"loop_{begins_from is None}"
        if begins_from is None:
            store.write_labels(folder / "store" / "labels.parquet", rows)
        fakes = Fakes([])
        with pytest.raises(
            LoopError, match=r"3 of the body smpl_neutral_smpl .* give .*--config\.annotate\.body\.model"
        ):
            go(folder, fakes, source=photos, begins_from=begins_from)
        assert not fakes.calls
        assert len(store.read_labels(folder / "store" / "labels.parquet")) == 3


def test_labels_to_begin_from_are_copied_and_better_ones_stay(tmp_path, photos, earlier):
    before = (earlier / "labels.parquet").read_bytes()
    go(tmp_path / "loop", Fakes([]), source=photos, begins_from=earlier)
    assert (earlier / "labels.parquet").read_bytes() == before
    counted, _ = result(tmp_path / "loop")
    first = counted["round_1/merge"][0]
    assert (first["new"], first["replaced"], first["labels"]) == (PEOPLE - 2, 1, PEOPLE)


def test_pictures_that_were_labelled_from_a_folder_above_are_not_labelled_twice(tmp_path, photos, earlier):
    files = sorted(photos.iterdir())
    for place, path in enumerate(files):
        path.write_text(str(place))
    sha256 = [file_sha256(path) for path in files]
    labelled = [
        label(0, source_path="day/in/000.jpg", source_sha256=sha256[0], error=0.5),
        label(1, source_path="001.jpg", source_sha256=sha256[1], error=0.5),
        label(2, source_path="day/in/002.jpg", source_sha256="f" * 64, error=0.5),
    ]
    store.write_labels(earlier / "labels.parquet", labelled)
    fakes, told = Fakes([]), []
    fakes.sha256 = sha256
    go(tmp_path / "loop", fakes, source=photos, begins_from=earlier, told=told)
    counted, rows = result(tmp_path / "loop")
    assert counted["round_0/begin"][0] == {"people": 3, "versions": 3, "elsewhere": 1}
    assert any(note.startswith("the store begins with 3 people (3 versions) of ") for note in told)
    assert any("1 of these are of pictures that this loop does not" in note for note in told)
    assert (counted["round_1/merge"][0]["new"], counted["round_1/merge"][0]["replaced"]) == (PEOPLE - 2, 2)
    assert {row.source_path for row in rows} == {f"{place:03d}.jpg" for place in range(PEOPLE)} | {"day/in/002.jpg"}
    # The one whose picture is not there is not trained on, and the label's name stays what it was.
    assert next(call for call in fakes.calls if call[0] == "train")[2] == PEOPLE
    assert counted["round_1/train"][0]["labels"] == PEOPLE
    assert labelled[0].label_id in {row.label_id for row in rows}


def test_a_second_loop_in_a_folder_is_kept_out_and_a_killed_one_lets_go(tmp_path, photos):
    tried = []

    def second(stage):
        if not tried:
            tried.append(stage)
            with pytest.raises(LoopError, match="another loop is at work in"):
                go(tmp_path / "loop", Fakes([]), source=photos)

    go(tmp_path / "loop", Fakes([]), source=photos, begun=second)
    assert tried
    go(tmp_path / "loop", Fakes([]), source=photos)


def test_a_store_that_somebody_else_wrote_to_during_a_merge_stays_as_they_left_it(tmp_path, photos, monkeypatch):
    folder = tmp_path / "loop"
    go(folder, Fakes([]), source=photos)
    path, merge = folder / "store" / "labels.parquet", store.merge_labels
    theirs = [label(7, review="accepted")]

    def meanwhile(*given, **named):
        store.write_labels(path, theirs)
        return merge(*given, **named)

    monkeypatch.setattr(loop_store.store, "merge_labels", meanwhile)
    with pytest.raises(LoopError, match="somebody else wrote to it"):
        loop_store.merge_into_store(path, [label(2, error=0.0001)], body())
    (kept,) = store.read_labels(path).rows
    assert kept.same_as(theirs[0])


def test_what_a_person_said_stays(tmp_path, photos):
    said = [
        label(0, error=0.9, review="accepted"),
        label(1, error=0.9, review="rejected"),
        label(2, error=0.9, origin="human"),
    ]
    store.write_labels(tmp_path / "loop" / "store" / "labels.parquet", said)
    go(tmp_path / "loop", Fakes([]), source=photos)
    rows = result(tmp_path / "loop")[1]
    for row in said:
        (kept,) = [own for own in rows if own.label_id == row.label_id]
        assert kept.same_as(row)


def test_what_a_person_said_of_one_part_stays_too(tmp_path):
    path = tmp_path / "labels.parquet"
    marked = label(0, error=0.9, review_by_part={"left_foot": "wrong"})
    store.write_labels(path, [marked, label(1, error=0.9)])
    assert loop_store.merge_into_store(path, [label(0, error=0.0001), label(1, error=0.0001)], body()) == 1
    rows = store.read_labels(path).rows
    assert [row.label_version for row in rows] == [1, 1, 2]
    assert rows[0].same_as(marked)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_hands_that_were_repaired_and_accepted_since_are_not_counted_against_those_still_wrong(tmp_path, photos):
    hand = {"outcome_by_part": {"left_hand": "refined"}, "review": "accepted"}
    store.write_labels(tmp_path / "loop" / "store" / "labels.parquet", [label(0, **hand), label(1, **hand)])
    go(tmp_path / "loop", Fakes([]), source=photos)
    counted = result(tmp_path / "loop")[0]["round_1/hand"][0]
    assert (counted["wrong"], counted["refined"]) == (PEOPLE - 2, PEOPLE - 2)


def test_a_network_that_saw_everybody_is_not_compared_with_the_truth(tmp_path):
    fakes, told = Fakes([]), []
    options = options_of()
    options = dataclasses.replace(options, train=dataclasses.replace(options.train, validation_share=0.0))
    done = go(tmp_path / "loop", fakes, options=options, told=told)
    assert not any(call[0] == "score_network" for call in fakes.calls)
    assert any("nobody was held out of the training" in note for note in told)
    assert not any(name.startswith("truth, network") for name, _ in done.table.rows)


def test_folders_and_inputs_that_cannot_be_used_are_told(tmp_path, photos, earlier):
    folder = tmp_path / "loop"
    with pytest.raises(FileNotFoundError, match="nothing: no such file or folder"):
        go(folder, Fakes([]), source=tmp_path / "nothing")
    with pytest.raises(LoopError, match="lies in the --input"):
        go(photos / "loop", Fakes([]), source=photos)
    with pytest.raises(LoopError, match=r"the --input .* lies in the output folder"):
        go(tmp_path, Fakes([]), source=photos)
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(LoopError, match=r"thesis\.txt"):
        go(folder, Fakes([]), source=photos)
    (folder / "thesis.txt").unlink()
    store.write_labels(folder / "store" / "labels.parquet", [label(0)])
    with pytest.raises(LoopError, match="holds a store already"):
        go(folder, Fakes([]), source=photos, begins_from=earlier)
    # A loop that ended before it began the store does not make it its own.
    (folder / "loop.json").write_text('{"format_version": 1, "options": {}, "stages": {}}')
    with pytest.raises(LoopError, match="holds a store already"):
        go(folder, Fakes([]), source=photos, begins_from=earlier)
    entry = '{"format_version": 1, "options": {"--config.rounds": 1}, "stages": {%s}}'
    for damaged in (
        "{", '{"format_version": 1, "options": {}, "stages": {"round_1/merge": {}}}', entry % '"x/y": {}',
        entry % '"round_1/merge": []', entry % '"round_1/merge": {"seconds": "a"}',
        entry % '"round_1/merge": {"seconds": NaN}', entry % '"round_1/merge": {"counted": 3}',
        entry % '"round_1/merge": {"notes": [3]}',
    ):  # fmt: skip
        (folder / "loop.json").write_text(damaged)
        with pytest.raises(LoopError, match="damaged"):
            go(folder, Fakes([]), source=photos)
    (folder / "loop.json").write_text('{"format_version": 9, "options": {}, "stages": {}}')
    with pytest.raises(LoopError, match="newer"):
        go(folder, Fakes([]), source=photos)


def test_what_became_of_parts_is_one_line():
    counts = refine.RefineCounts(
        name="all", wrong=25, mined=20, refined=18, no_better=4, outvoted=3, right=30, unrepairable=6, doubtful=2,
        error_before=None, error_after=None,
    )  # fmt: skip
    assert loop_stages._told_of_parts("hands", 25, 18, counts) == (
        "hands: 25 wrong, 18 repaired, 7 open (no better: 4, the frames around say otherwise: 3); 2 of those repaired "
        "are still doubtful; of 6 too little was seen to say"
    )


def test_places_of_stages_are_told_by_rounds_and_the_folder_behind_the_last_one():
    places = [LoopStage(number=number, name="annotate").place(2) for number in range(4)]
    assert places == ["", "round 1", "round 2", "after the last round (round_3)"]


def test_a_body_that_stages_do_not_share_is_told():
    with pytest.raises(ValueError, match=r"`hand\.body` must be `annotate\.body`"):
        options_of(hand=RefineOptions(subset="hand", body=BodyOptions(view="smpl")))
    with pytest.raises(ValueError, match=r"`train\.body_model` must be"):
        options_of(train=TrainRegressorOptions(body_model="own.npz"))
    with pytest.raises(ValueError, match=r"`render\.keypoints` must be true"):
        options_of(render=RenderTrainingOptions(keypoints="detected"))
