"""Training on labels: who is trained on, where their pixels are, and a whole run on people of real photos."""

import dataclasses
import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest

from hardmo_jax import options as options_module
from hardmo_jax.body.load import load_body, open_body
from hardmo_jax.data import training_batches
from hardmo_jax.data.hmr2_augmentation import TrainingPerson
from hardmo_jax.data.published.hmr2_npz import Hmr2Npz
from hardmo_jax.data.training_records import FINGERTIPS, PixelReference, TrainingDataError, TrainingRecord
from hardmo_jax.labels import store
from hardmo_jax.networks import regressor_file, regressors
from hardmo_jax.perception import crop_rules, regressor_crops
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import annotate, train_regressor
from hardmo_jax.pipelines.label_records import LabelRecordOptions, LabelRecords, photos_of_labels
from hardmo_jax.pipelines.label_rows import LabelBodyError, name_of_body
from hardmo_jax.pipelines.network_sizes import SMALL
from hardmo_jax.pipelines.record_points import samples_of
from hardmo_jax.pipelines.train_regressor import TrainedNetworkOptions, TrainRegressorOptions
from hardmo_jax.pipelines.training_pixels import PixelReader, take_out_frames
from hardmo_jax.pipelines.training_sources import (
    ComparedPeople,
    SomeOf,
    TrainingSourceOptions,
    body_of_labels,
    open_sources,
)
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import regressor_objective
from hardmo_jax.training.loop import TrainingError
from hardmo_jax.training.regressor_run import RunOptions
from hardmo_jax.training.regressor_step import StepOptions
from tests.pipelines import refined_people
from tests.reference import smpl_files

HMR2 = layouts.get_layout("hmr2_44")


@pytest.fixture(scope="module")
def people():
    found = refined_people.people(6)
    return found, refined_people.labels_of(found, found.params)


@pytest.fixture
def written(people, tmp_path):
    """Folder of labels, and their made photos."""
    _, rows = people
    rows = refined_people.write_photos(rows, tmp_path / "in")
    store.write_labels(tmp_path / "labels" / "labels.parquet", rows)
    return TrainingSourceOptions(path=str(tmp_path / "labels"), images=str(tmp_path / "in"))


def records(rows, **options):
    return LabelRecords(
        rows, open_body(), photos_of_labels(pathlib.Path()), name="made",
        options=LabelRecordOptions(**options),
    )  # fmt: skip


def test_a_label_says_what_was_seen_and_where_the_body_is(people):
    _, rows = people
    record = records(rows).record(2)
    row = rows[2]
    for point in ("nose", "left_knee", "right_big_toe"):
        at = layouts.get_layout(row.keypoint_layout).index(point)
        np.testing.assert_allclose(record.person.keypoints_2d[HMR2.index(point)], row.keypoints_2d[at], atol=1e-4)
        np.testing.assert_allclose(record.person.keypoints_3d[HMR2.index(point)], row.keypoints_3d[at], atol=1e-4)
    # The annotated points are where OpenPose's of the same place were measured.
    np.testing.assert_array_equal(
        record.person.keypoints_2d[HMR2.index("left_knee_lsp")], record.person.keypoints_2d[HMR2.index("left_knee")]
    )
    assert record.person.confidence[HMR2.index("head_top_lsp")] == 0
    assert record.person.confidence_3d[HMR2.index("pelvis_mpii")] == 0  # the open body has none
    np.testing.assert_allclose(record.person.body_pose[:21], row.body_pose, atol=1e-6)
    assert record.fingertips_2d.shape == (len(FINGERTIPS), 2)
    low, high = record.center - record.size / 2, record.center + record.size / 2
    assert (low <= row.bbox[:2]).all()
    assert (high >= row.bbox[2:]).all()


def test_feet_that_are_probably_wrong_count_little(people):
    _, rows = people
    doubted = dataclasses.replace(rows[0], wrong_by_part={"left_foot": 0.9})
    heel, other = HMR2.index("left_heel"), HMR2.index("right_heel")
    believed = records([doubted]).record(0).person.confidence_3d
    assert believed[heel] == pytest.approx(0.1)
    assert believed[other] == 1
    assert records([doubted], believes_scores=False).record(0).person.confidence_3d[heel] == 1


def test_what_a_person_said_of_feet_and_hands_stands_above_their_scores(people):
    _, rows = people
    heels = [HMR2.index("left_heel"), HMR2.index("right_heel")]
    doubted = {"wrong_by_part": {"left_foot": 0.9, "right_foot": 0.9, "left_hand": 0.9}}
    row = dataclasses.replace(rows[0], **doubted, review_by_part={"left_foot": "right", "right_foot": "wrong"})
    for believes_scores in (True, False):
        record = records([row], believes_scores=believes_scores).record(0)
        np.testing.assert_array_equal(record.person.confidence_3d[heels], [1, 0])
        assert record.person.confidence[heels[0]] > 0
        assert record.person.confidence[heels[1]] == 0
        assert not record.has_pose
    placed = layouts.get_layout(row.keypoint_layout).index("left_heel")
    confidence = np.array(row.keypoint_confidence)
    confidence[placed] = 1
    human = {"origin": "human", "placed_points": ("left_heel",), "keypoint_confidence": confidence}
    mended = {"wrong_by_part": {"right_foot": 0.75}, "review_by_part": {"left_foot": "right"}}
    record = records([dataclasses.replace(rows[0], **mended, **human)]).record(0)
    # Who mended one foot and saved it said nothing of the other.
    np.testing.assert_array_equal(record.person.confidence_3d[heels], [1, 0.25])
    assert record.person.confidence[heels[0]] == 1
    assert record.has_pose
    hand = records([dataclasses.replace(rows[0], review_by_part={"left_hand": "wrong"})]).record(0)
    np.testing.assert_array_equal(hand.fingertips_confidence[:5], 0)
    np.testing.assert_array_equal(hand.fingertips_confidence_3d[:5], 0)
    accepted = dataclasses.replace(rows[0], **doubted, review="accepted", evidence_by_part={"right_foot": "unseen"})
    np.testing.assert_array_equal(records([accepted]).record(0).person.confidence_3d[heels], [1, 0])


def test_people_who_are_seen_badly_count_less(people):
    _, rows = people
    doubtful = dataclasses.replace(rows[0], quality_reasons=("blurred",))
    assert [records([row]).record(0).weight for row in (rows[0], doubtful)] == [1.0, 0.5]
    assert records([doubtful], doubtful_weight=0.2).record(0).weight == 0.2
    with pytest.raises(TrainingDataError, match="badly seen"):
        records([doubtful], takes_doubtful=False)


def test_labels_that_cannot_be_trained_on_are_counted(people):
    _, rows = people
    failed = dataclasses.replace(rows[0], status="DIVERGED")
    rejected = dataclasses.replace(rows[1], review="rejected")
    filled = dataclasses.replace(rows[2], status="FILLED")
    source = records([failed, rejected, filled, *rows[3:]])
    assert len(source) == 3
    assert source.left_out == {"without a fit": 1, "rejected by a person": 1, "filled in from other frames": 1}
    assert len(records([filled, *rows[3:]], takes_filled=True)) == 4
    assert len(records([dataclasses.replace(filled, origin="human"), *rows[3:]])) == 4
    with pytest.raises(TrainingDataError, match="1 without a fit"):
        records([failed])
    with pytest.raises(LabelBodyError, match="another_body"):
        records([dataclasses.replace(rows[0], body_model="another_body")])


def test_paths_that_lead_out_of_the_folder_are_refused(people, tmp_path):
    _, rows = people
    for path in ("../secret.jpg", "/etc/passwd"):
        row = dataclasses.replace(rows[0], source_path=path)
        with pytest.raises(TrainingDataError, match="not in"):
            photos_of_labels(tmp_path)(row)


@pytest.mark.parametrize("rule", ["hmr", "prohmr", "bedlam_cliff"])
def test_training_sees_the_pixels_that_labelling_sees(rule):
    """A dim picture: SPIN's crops are stretched to full contrast."""
    y, x = np.mgrid[:400, :500]
    image = np.stack([20 + x / 20, 30 + y / 20, 25 + (x + y) / 50], -1).astype(np.uint8)
    bbox = np.array([[150.0, 100.0, 300.0, 300.0]], np.float32)
    there = regressor_crops.cut_people(image, bbox, crop_rules.crop_rule(rule)).image[0]
    made = regressors.untrained(rule, SMALL[rule])
    person = TrainingPerson(
        keypoints_2d=np.zeros((44, 2)), confidence=np.zeros(44), keypoints_3d=np.zeros((44, 3)),
        confidence_3d=np.zeros(44), global_orient=np.zeros(3), body_pose=np.zeros((23, 3)),
    )  # fmt: skip
    record = TrainingRecord(
        name="x", pixels=PixelReference(path="x"), center=np.array([225.0, 200.0]), size=240.0, person=person,
        betas=np.zeros(10), has_pose=False, has_betas=False,
    )  # fmt: skip
    options = dataclasses.replace(samples_of(made), augmentation=training_batches.PLAIN)
    here = training_batches.make_sample(record, image, np.random.default_rng(0), options)["image"]
    # Corners of whole pixels, and another filter where pictures shrink.
    assert np.abs(here - there).mean() < 0.06


def test_annotated_points_stand_where_a_body_has_no_others():
    """COCO's hips and knees are marked at places of their own; the open body has those of OpenPose."""
    person = TrainingPerson(
        keypoints_2d=np.arange(88.0).reshape(44, 2), confidence=np.zeros(44), keypoints_3d=np.zeros((44, 3)),
        confidence_3d=np.zeros(44), global_orient=np.zeros(3), body_pose=np.zeros((23, 3)),
    )  # fmt: skip
    person.confidence[[HMR2.index("left_knee_lsp"), HMR2.index("right_hip_lsp"), HMR2.index("right_hip")]] = [2, 3, 4]
    record = TrainingRecord(
        name="x", pixels=PixelReference(path="x"), center=np.zeros(2), size=1.0, person=person, betas=np.zeros(10),
        has_pose=False, has_betas=False,
    )  # fmt: skip

    class One:
        name = "one"

        def __len__(self):
            return 1

        def record(self, index):
            return record

    has = np.array([not point.endswith(("_lsp", "_mpii", "_h36m")) for point in HMR2.points])
    moved = ComparedPeople(One(), has).record(0).person
    assert moved.confidence[HMR2.index("left_knee")] == 2
    np.testing.assert_array_equal(
        moved.keypoints_2d[HMR2.index("left_knee")], person.keypoints_2d[HMR2.index("left_knee_lsp")]
    )
    # What is known of a place stays.
    assert moved.confidence[HMR2.index("right_hip")] == 4
    whole = ComparedPeople(One(), np.ones(44, bool)).record(0).person
    np.testing.assert_array_equal(whole.confidence, person.confidence)
    ComparedPeople(One(), has).check(needs_pictures=False)
    with pytest.raises(TrainingDataError, match="nothing could be learnt"):
        ComparedPeople(One(), np.zeros(44, bool)).check(needs_pictures=False)
    with pytest.raises(TrainingDataError, match="--images"):
        ComparedPeople(One(), has).check("photos")


def test_boxes_in_another_unit_are_told(tmp_path, rng):
    points = np.concatenate([rng.normal(100, 40, (3, 25, 2)), np.ones((3, 25, 1))], -1)
    for scale, is_wrong in ((1.2, True), (240.0, False)):
        np.savez(
            tmp_path / "some.npz", imgname=np.array(["a.jpg"] * 3), center=np.full((3, 2), 100.0),
            scale=np.full((3, 2), scale), body_keypoints_2d=points, extra_keypoints_2d=np.zeros((3, 19, 3)),
        )  # fmt: skip
        source = ComparedPeople(Hmr2Npz(tmp_path / "some.npz", "x"), np.ones(44, bool))
        if is_wrong:
            with pytest.raises(TrainingDataError, match="`scale` is in another unit"):
                source.check(needs_pictures=False)
        else:
            source.check(needs_pictures=False)


def test_people_who_are_held_out_are_not_trained_on(written, people):
    opened = open_sources([written], open_body(), labels=LabelRecordOptions(), validation_share=0.5)
    trained, held = ({source.record(at).name.split(":")[1] for at in range(len(source))}
                     for source in (opened.training[0], opened.validation[0]))  # fmt: skip
    assert trained
    assert held
    assert not trained & held
    assert len(trained | held) == len(people[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path": "nowhere"}, "no such labels"),
        ({"images": ""}, "hold no pixels"),
        ({"images": "nowhere"}, "no such photos"),
        ({"kind": "hmr2_tars", "path": "nowhere/*.tar"}, "no such file of hmr2_tars"),
    ],
)
def test_sources_that_are_missing_are_told(written, changes, words):
    with pytest.raises((FileNotFoundError, TrainingDataError), match=words):
        open_sources(
            [dataclasses.replace(written, **changes)], open_body(), labels=LabelRecordOptions(), validation_share=0.0
        )


def test_nothing_to_train_on_and_names_given_twice_are_told(written):
    for sources, words in (([], "mix is empty"), ([written, written], "several sources are called labels")):
        with pytest.raises(TrainingDataError, match=words):
            open_sources(sources, open_body(), labels=LabelRecordOptions(), validation_share=0.0)
    with pytest.raises(options_module.OptionsError, match="others"):
        options_module.from_mapping(TrainingSourceOptions, {"kind": "others"})


def test_frames_of_a_video_are_taken_out_once(reference_data, tmp_path):
    clip = str(next((reference_data / "media" / "videos").glob("*single*.mp4")))
    wanted = [PixelReference(path=clip, frame_index=index) for index in (3, 7, 3)]
    assert take_out_frames(wanted, tmp_path) == 2
    first = PixelReader(frames=tmp_path)(wanted[0])
    assert first.ndim == 3
    written = sorted(tmp_path.rglob("*.jpg"))
    times = [path.stat().st_mtime_ns for path in written]
    assert take_out_frames(wanted, tmp_path) == 2
    assert [path.stat().st_mtime_ns for path in written] == times
    with pytest.raises(TrainingDataError, match="has no frame 5000"):
        take_out_frames([PixelReference(path=clip, frame_index=5000)], tmp_path)


def test_pictures_that_are_missing_or_damaged_are_told(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    read = PixelReader(frames=tmp_path)
    for reference in (
        PixelReference(path=str(tmp_path / "none.jpg")),
        PixelReference(path=str(tmp_path / "bad.jpg")),
        PixelReference(path=str(tmp_path / "bad.jpg"), member_offset=4, member_bytes=100),
        PixelReference(path=str(tmp_path / "none.mp4"), frame_index=1),
    ):
        with pytest.raises(TrainingDataError):
            read(reference)


def test_another_picture_of_the_same_name_is_not_trained_on(written, reference_data, tmp_path):
    rows = store.read_labels(tmp_path / "labels").rows
    other = tmp_path / "in" / rows[0].source_path
    other.write_bytes((tmp_path / "in" / rows[2].source_path).read_bytes())
    (source,) = open_sources([written], open_body(), labels=LabelRecordOptions(), validation_share=0.0).training
    read = PixelReader(frames=tmp_path)
    with pytest.raises(TrainingDataError, match="another photo than the one that was labelled"):
        read(source.record(0).pixels)
    assert read(source.record(1).pixels).ndim == 3
    clip = str(next((reference_data / "media" / "videos").glob("*single*.mp4")))
    with pytest.raises(TrainingDataError, match="another video than the one that was labelled"):
        take_out_frames([PixelReference(path=clip, frame_index=3, sha256="0" * 64)], tmp_path)


def small_run(written, **changes):
    run = RunOptions(steps=2, batch_size=2, report_every=1, checkpoint_every=1, validate_every=2)
    given = {
        "network": TrainedNetworkOptions(network="hmr", size="small"), "sources": (written,),
        "validation_share": 0.4, "run": run,
    }  # fmt: skip
    return TrainRegressorOptions(**{**given, **changes})


def test_a_corrupt_photo_is_counted_and_many_stop_the_run(written, tmp_path):
    photos = sorted((tmp_path / "in").rglob("*.jpg"))
    for path in photos:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TrainingDataError, match="cannot be used"):
        train_regressor.train_regressor(small_run(written), tmp_path / "run")
    # Nothing was learnt, so that another try may be another run.
    other = small_run(written, step=StepOptions(average_decay=0.5))
    with pytest.raises(TrainingDataError, match="cannot be used"):
        train_regressor.train_regressor(other, tmp_path / "run")


def test_damaged_pictures_of_people_held_out_are_no_end_of_training(written, tmp_path):
    opened = open_sources([written], open_body(), labels=LabelRecordOptions(), validation_share=0.4)
    held = SomeOf(opened.validation[0], 4)
    for row in range(len(held)):
        path = pathlib.Path(held.record(row).pixels.path)
        path.write_bytes(path.read_bytes()[:200])
    found = train_regressor._validate(
        regressors.untrained("hmr", SMALL["hmr"]), regressor_objective.compared_body(open_body(view="smpl")), [held],
        PixelReader(frames=tmp_path), 2, tmp_path / "held_out.png", lambda stage, done, total: None,
    )  # fmt: skip
    assert found == {}


def test_people_of_real_photos_are_trained_on(reference_data, perception_models, tmp_path):
    (tmp_path / "in").mkdir()
    for photo in sorted((reference_data / "media" / "images").rglob("*.png"))[:2]:
        shutil.copy(photo, tmp_path / "in")
    options = annotate.AnnotateOptions(
        perception=PerceptionOptions(tiles=(), extra_looks=0),
        output=annotate.OutputOptions(overlay=False, part_scores=False),
    )
    annotate.annotate(tmp_path / "in", tmp_path / "labels", options=options, model_folder=perception_models)
    source = TrainingSourceOptions(path=str(tmp_path / "labels"), images=str(tmp_path / "in"))
    told = []
    done = train_regressor.train_regressor(
        small_run(source), tmp_path / "run", on_report=lambda step, scalars: told.append((step, scalars))
    )
    assert [step for step, _ in told][:2] == [1, 2]
    assert np.isfinite(told[0][1]["loss"])
    assert done.num_people
    lines = [json.loads(line) for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} == {1, 2}
    for name in ("curves.png", "pictures/training_0000002.png"):
        assert cv2.imread(str(tmp_path / "run" / name)) is not None
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    network, record = regressor_file.load_converted(done.path, "hmr")
    assert network.name == record.model == "hmr"
    # Longer is the same run; another learning rate is another one.
    longer = small_run(source)
    longer = dataclasses.replace(longer, run=dataclasses.replace(longer.run, steps=3))
    told.clear()
    train_regressor.train_regressor(
        longer, tmp_path / "run", on_report=lambda step, scalars: told.append((step, scalars))
    )
    assert {step for step, _ in told} == {3}
    # What a message about a bad batch advises is the same run, too.
    slower = dataclasses.replace(longer, step=dataclasses.replace(longer.step, learning_rate=1e-6, clip_norm=1.0))
    assert train_regressor._identity(slower) == train_regressor._identity(longer)
    other = dataclasses.replace(longer, step=dataclasses.replace(longer.step, average_decay=0.5))
    with pytest.raises(TrainingError, match="other options"):
        train_regressor.train_regressor(other, tmp_path / "run")


def test_bodies_of_motion_capture_are_those_of_the_step(tmp_path, rng):
    poses = rng.normal(size=(6, 72))
    np.savez(tmp_path / "mocap.npz", body_pose=poses, betas=rng.normal(size=(6, 10)))
    options = small_run(
        TrainingSourceOptions(), mocap=str(tmp_path / "mocap.npz"), network=TrainedNetworkOptions(network="hmr2")
    )
    drawn, again = (train_regressor._real_bodies(options) for _ in range(2))
    first, second = drawn(3), drawn(4)
    assert first.body_pose.shape == (4, 23, 3, 3)
    np.testing.assert_array_equal(again(3).body_pose, first.body_pose)
    assert not np.array_equal(first.body_pose, second.body_pose)
    spin = dataclasses.replace(options, network=TrainedNetworkOptions(network="hmr"))
    with pytest.raises(TrainingDataError, match="has none"):
        train_regressor._real_bodies(spin)


def test_labels_of_the_body_that_is_given_can_be_trained_on(tmp_path):
    path = smpl_files.write_npz(tmp_path / "smpl.npz", smpl_files.make_model("smpl", num_vertices=7000, seed=3))
    body = load_body(path)
    assert body_of_labels(name_of_body(body), body) is body
    assert body_of_labels("open_body_smplh", body).num_joints == 52
    with pytest.raises(TrainingDataError, match=r"--config\.body_model"):
        body_of_labels("smpl_neutral_smplx", body)
