"""`python -m tools.annotate` as a user runs it: real photos, outputs, bad input, and the same command again."""

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from configs import normal
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.labels import store
from hardmo_jax.observations import ObservationError
from hardmo_jax.perception import video
from hardmo_jax.pipelines import annotate
from tests.reference import smpl_files
from tests.tools.command_line import ROOT, run_each
from tools import _cli

#: Bounds of the issue, shares of the person's box.
BODY_BOUND, FOOT_BOUND = 0.03, 0.04
USAGE_STATUS = 2
SMOKE = f"--config={ROOT}/configs/normal.py:smoke"


def smoke_line(source, output, *more):
    return (SMOKE, f"--input={source}", f"--output_dir={output}", *more)


def error_of(done):
    """The one line of an error; fails on a traceback or on success."""
    assert done.returncode == USAGE_STATUS, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def photo(reference_data):
    return reference_data / "keypoints2d/prohmr_openpose/pexels-anete-lusina-4793258.jpg"


@pytest.fixture(scope="module")
def annotated(photo, perception_models, tmp_path_factory):
    """One run on a real photo of a person in full."""
    output = tmp_path_factory.mktemp("out") / "annotate"
    done = subprocess.run(
        [sys.executable, "-m", "tools.annotate", *smoke_line(photo, output)], capture_output=True, text=True, cwd=ROOT,
        timeout=420, env={**os.environ, "PYTHONWARNINGS": "default"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output, done


@pytest.fixture(scope="module")
def runs(annotated, photo, reference_data, perception_models, tmp_path_factory):
    """How the tool ended, loaded once for all, and the folder: of a keypoint file, a photo of nobody, a video, and of a
    photo into a folder with something of the user's.
    """
    folder = tmp_path_factory.mktemp("runs")
    cv2.imwrite(str(folder / "empty.png"), np.full((240, 320, 3), 127, np.uint8))
    shutil.copytree(annotated[0], folder / "precious")
    (folder / "precious" / "thesis.txt").write_text("precious")
    sources = {
        "keypoints": reference_data / "keypoints2d/prohmr_openpose/pexels-anete-lusina-4793258_keypoints.json",
        "nobody": folder / "empty.png",
        "video": reference_data / "media/videos/mmhuman3d_single_person_demo.mp4",
        "precious": photo,
    }
    lines = {name: smoke_line(source, folder / name) for name, source in sources.items()}
    lines["video"] += ("--limit=6",)
    ended = run_each("annotate", list(lines.values()), environment={"PYTHONWARNINGS": "default"}, timeout=840)
    return {name: (done, folder / name) for name, done in zip(lines, ended, strict=True)}


def test_real_photo_gives_a_label_within_the_bounds(annotated, figure):
    output, done = annotated
    labels = store.read_labels(output / "labels.parquet").rows
    assert len(labels) == 1
    label = labels[0]
    parts = ", ".join(f"{part} {100 * error:.2f}" for part, error in label.error_by_part.items() if error is not None)
    figure(f"annotate        real photo, median reprojection error, % of the box: {parts}")
    assert label.status in ("CONVERGED", "MAX_STEPS")
    assert label.error_by_part["body"] < BODY_BOUND
    for side in ("left", "right"):
        error = label.error_by_part[f"{side}_foot"]
        assert error is None or error < FOOT_BOUND
    assert label.transl[2] > 1
    assert "1 people in 1 frames" in done.stdout
    assert label.quality_reasons == ()
    assert label.quality["num_points"] == 17
    assert "seen badly, of 1 labels: nobody" in done.stdout
    assert f"{output / 'report.html'}, for any browser" in done.stdout


def test_outputs_are_a_picture_and_a_record(annotated, photo):
    output, _ = annotated
    picture = cv2.imread(str(output / "overlay" / f"{photo.stem}.png"))
    assert picture is not None
    assert picture.std() > 20
    record = json.loads((output / "run.json").read_text())
    assert record["config"]["fit"]["solver"] == "levenberg_marquardt"
    assert record["results"]["quality"] == {"reasons": {}, "left_out": {"num_people": 0, "by_reason": {}}}
    assert set(record["seconds"]) >= {"decode", "perceive", "fit", "label", "draw", "write", "total"}
    assert len(record["results"]["sources"][photo.name]) == 64
    assert {path.name for path in output.iterdir()} == {"labels.parquet", "overlay", "report.html", "run.json"}


def test_fitted_body_projects_onto_the_keypoints_of_the_label(annotated):
    import hardmo_jax as hm
    from hardmo_jax.body import landmarks
    from hardmo_jax.geometry import cameras
    from hardmo_jax.skeleton import layouts, mapping

    label = store.read_labels(annotated[0] / "labels.parquet").rows[0]
    body = hm.open_body()
    params = hm.BodyParams(
        betas=label.betas,
        global_orient=label.global_orient,
        body_pose=label.body_pose,
        transl=label.transl,
        left_hand_pose=label.left_hand_pose,
        right_hand_pose=label.right_hand_pose,
    )
    layout = layouts.get_layout("openpose67")
    regressor, _ = mapping.point_regressor(layout, landmarks.point_names(body))
    points = regressor @ np.asarray(landmarks.named_points(body, body(params)))
    np.testing.assert_allclose(label.keypoints_3d, points, atol=2e-3)
    camera = cameras.Camera(focal_length=label.focal_length, principal_point=label.principal_point)
    distance = np.linalg.norm(cameras.project_points(camera, points) - label.keypoints_2d, axis=-1)
    is_body = np.array([layouts.part_of(point) == "body" for point in layout.points])
    kept = is_body & (label.keypoint_confidence >= 0.5)
    side = np.max(label.bbox[2:] - label.bbox[:2])
    assert np.median(distance[kept]) / side == pytest.approx(label.error_by_part["body"], abs=2e-4)


def test_running_again_replaces_the_run_and_nothing_else(annotated, photo, perception_models):
    output, _ = annotated
    before = store.read_labels(output / "labels.parquet").rows[0]
    record = (output / "run.json").read_bytes()
    annotate.annotate(photo, output, options=smoke_options(), model_folder=perception_models)
    assert (output / "run.json").read_bytes() != record
    assert not (output / "report.html").exists(), "it told of labels that are no more"
    after = store.read_labels(output / "labels.parquet").rows[0]
    np.testing.assert_allclose(after.body_pose, before.body_pose, atol=1e-3)


def test_a_folder_with_something_of_the_users_is_left_alone(runs):
    done, output = runs["precious"]
    assert "thesis.txt" in error_of(done)
    assert (output / "thesis.txt").read_text() == "precious"


def test_video_gives_tracks_and_a_playable_overlay(runs):
    import av

    done, output = runs["video"]
    assert done.returncode == 0, done.stderr
    labels = store.read_labels(output / "labels.parquet").rows
    assert [label.frame_index for label in labels] == list(range(6))
    assert len({label.track_id for label in labels}) == 1
    assert np.median([label.error_by_part["body"] for label in labels]) < BODY_BOUND
    feet = [label.error_by_part[f"{side}_foot"] for label in labels for side in ("left", "right")]
    assert np.median([error for error in feet if error is not None]) < FOOT_BOUND
    with av.open(str(output / "overlay.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_fists_do_not_pull_the_body_off_its_keypoints(reference_data, perception_models, tmp_path):
    # Found by a user: 42 finger points outvoted the body of the easiest of photos.
    source = reference_data / "media/images/expose/man-in-red-941693.png"
    few_looks = dataclasses.replace(smoke_options().perception, tiles=())
    annotate.annotate(
        source, tmp_path / "out", options=smoke_options(perception=few_looks), model_folder=perception_models
    )
    label = store.read_labels(tmp_path / "out" / "labels.parquet").rows[0]
    assert label.error_by_part["body"] < 0.02
    assert label.score_by_part["body"] > 0.9


def test_keypoint_file_is_labelled_with_the_photo_beside_it(runs):
    done, output = runs["keypoints"]
    assert done.returncode == 0, done.stderr
    label = store.read_labels(output / "labels.parquet").rows[0]
    assert label.keypoint_source.startswith("file:")
    angle = round(label.vertical_field_of_view_degrees)
    assert f"camera: 1 picture {label.camera_source} (vertical field of view {angle} degrees)" in done.stdout
    assert label.error_by_part["body"] < BODY_BOUND


def test_photo_without_people_is_a_result_with_zero_rows(runs):
    done, output = runs["nobody"]
    assert done.returncode == 0, done.stderr
    assert "0 people in 1 frames" in done.stdout
    assert len(store.read_labels(output / "labels.parquet").rows) == 0
    assert (output / "overlay" / "empty.png").exists()


def test_folder_of_which_nothing_can_be_read_is_an_error(perception_models, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"nothing")
    with pytest.raises(video.MediaError, match="none of"):
        annotate.annotate(tmp_path / "in", tmp_path / "out", options=smoke_options(), model_folder=perception_models)


def test_impossible_field_of_view_is_refused_when_the_options_are_made():
    with pytest.raises(ValueError, match="field_of_view_degrees"):
        annotate.CameraOptions(field_of_view_degrees=500.0)


# From here the pipeline itself is called: a process a case would cost minutes, and the tool only prints.

ODD_PHOTOS = {
    "one_pixel.png": np.zeros((1, 1, 3), np.uint8),
    "grey.png": np.full((64, 64), 90, np.uint8),
    "sixteen_bit.png": np.full((64, 64, 3), 30000, np.uint16),
    "alpha.png": np.full((64, 64, 4), 128, np.uint8),
}


def smoke_options(**changes):
    """The options of the runs above: what is compiled for those is found again."""
    return dataclasses.replace(_cli.build_options(annotate.AnnotateOptions, normal.get_config("smoke")), **changes)


@pytest.mark.parametrize("name", list(ODD_PHOTOS))
def test_odd_photos_are_looked_at_like_any_other(name, perception_models, tmp_path):
    cv2.imwrite(str(tmp_path / name), ODD_PHOTOS[name])
    summary = annotate.annotate(
        tmp_path / name, tmp_path / "out", options=smoke_options(), model_folder=perception_models
    )
    assert summary.num_pictures == 1
    assert summary.num_people == 0


@pytest.fixture(scope="module")
def folder_of_photos(photo, perception_models, tmp_path_factory):
    """Labels by path: the same photo twice in small, once upright, and once turned with EXIF that says so."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    small = cv2.resize(cv2.imread(str(photo)), None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    for name in ("a", "b", "whole"):
        (folder / "in" / name).mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / "in" / name / "1.jpg"), small)
    upright = Image.open(photo)
    upright.thumbnail((900, 900))
    upright.save(folder / "in" / "whole" / "upright.jpg", quality=95)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "in" / "whole" / "turned.jpg", quality=95, exif=exif)
    annotate.annotate(folder / "in", folder / "out", options=smoke_options(), model_folder=perception_models)
    rows = store.read_labels(folder / "out" / "labels.parquet").rows
    assert len(rows) == len({row.source_path for row in rows}) == 4
    return {row.source_path: row for row in rows}, folder / "out"


def test_exif_rotated_photo_gives_the_label_of_the_upright_one(folder_of_photos):
    labels, _ = folder_of_photos
    upright, turned = labels["whole/upright.jpg"], labels["whole/turned.jpg"]
    assert upright.image_height == turned.image_height > upright.image_width
    np.testing.assert_allclose(upright.keypoints_2d[1], turned.keypoints_2d[1], atol=8)


def test_equal_photos_in_two_folders_give_two_labels(folder_of_photos):
    labels, output = folder_of_photos
    assert sorted(labels) == ["a/1.jpg", "b/1.jpg", "whole/turned.jpg", "whole/upright.jpg"]
    assert labels["a/1.jpg"].source_sha256 == labels["b/1.jpg"].source_sha256
    assert len({row.label_id for row in labels.values()}) == 4
    assert len(list((output / "overlay").glob("*.png"))) == 4


def make_bad_source(kind, folder):
    if kind == "missing":
        return folder / "nothing.jpg"
    if kind == "empty_folder":
        (folder / "empty").mkdir()
        return folder / "empty"
    path = folder / {"zero_length": "a.mp4", "not_a_video": "b.mp4", "not_a_photo": "c.jpg", "bad_json": "d.json"}[kind]
    content = {"zero_length": b"", "not_a_video": b"hello" * 99, "not_a_photo": b"\x00" * 64, "bad_json": b"{"}
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["missing", "empty_folder", "zero_length", "not_a_video", "not_a_photo", "bad_json"])
def test_bad_source_is_refused_in_one_line_and_the_earlier_run_stays(kind, perception_models, tmp_path):
    source = make_bad_source(kind, tmp_path)
    (tmp_path / "out").mkdir()
    store.write_labels(tmp_path / "out" / "labels.parquet", [])
    before = (tmp_path / "out" / "labels.parquet").read_bytes()
    with pytest.raises((FileNotFoundError, ValueError)) as error:
        annotate.annotate(source, tmp_path / "out", options=smoke_options(), model_folder=perception_models)
    message = str(error.value)
    assert source.name in message
    assert "\n" not in message
    assert (tmp_path / "out" / "labels.parquet").read_bytes() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["labels.parquet"]
    assert not list(tmp_path.glob(".annotate-*"))


@pytest.mark.parametrize("inside", ["overlay.mp4", "overlay/1.png"])
def test_input_inside_the_output_folder_is_refused_and_kept(inside, perception_models, tmp_path):
    source = tmp_path / "out" / inside
    source.parent.mkdir(parents=True)
    source.write_bytes(b"precious")
    with pytest.raises(annotate.OutputFolderError, match="lies in the output folder"):
        annotate.annotate(source, tmp_path / "out", options=smoke_options(), model_folder=perception_models)
    assert source.read_bytes() == b"precious"


def test_labels_a_person_accepted_are_never_replaced(annotated, photo, perception_models, tmp_path):
    row = store.read_labels(annotated[0] / "labels.parquet").rows[0]
    (tmp_path / "out").mkdir()
    store.write_labels(tmp_path / "out" / "labels.parquet", [dataclasses.replace(row, review="accepted")])
    with pytest.raises(annotate.OutputFolderError, match="a person"):
        annotate.annotate(photo, tmp_path / "out", options=smoke_options(), model_folder=perception_models)


@pytest.mark.parametrize(
    ("name", "family", "gender"),
    [("SMPL_FEMALE.npz", "smpl", "female"), ("smplh/male/model.npz", "smplh", "male"),
     ("SMPLX_NEUTRAL.npz", "smplx", "neutral"), ("mine.npz", "smpl", "unknown")],
)  # fmt: skip
def test_body_of_a_label_is_called_after_its_file(name, family, gender, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    smpl_files.write_npz(file, smpl_files.make_model(family, num_vertices=300))
    body = annotate.load_body_option(annotate.BodyOptions(model=str(file)))
    assert (body.family, body.gender) == (family, gender)
    assert body.name == ("smplh_male" if name.endswith("model.npz") else file.stem)


def test_a_single_hand_is_refused_before_anything_is_looked_at(tmp_path):
    file = smpl_files.write_npz(tmp_path / "MANO_LEFT.npz", smpl_files.make_model("mano_left", num_vertices=300))
    with pytest.raises(BodyFileError, match="single hand"):
        annotate.load_body_option(annotate.BodyOptions(model=str(file)))


def test_truncated_video_is_refused_with_its_name(reference_data, perception_models, tmp_path):
    whole = (reference_data / "media/videos/mmhuman3d_single_person_demo.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(video.MediaError, match=r"cut\.mp4"):
        annotate.annotate(
            tmp_path / "cut.mp4", tmp_path / "out", options=smoke_options(), model_folder=perception_models
        )


def test_options_that_a_track_would_not_follow_are_refused_before_any_work(reference_data, tmp_path):
    """Before the models are read, even, of which there are none here."""
    clip = reference_data / "media/videos/mmhuman3d_single_person_demo.mp4"
    by_adam = dataclasses.replace(annotate.AnnotateOptions().fit, solver="adam")
    with pytest.raises(ObservationError, match=r"not by 'adam'.*--config\.fit\.temporal=False"):
        annotate.annotate(clip, tmp_path / "out", options=smoke_options(fit=by_adam), model_folder=tmp_path / "none")


@pytest.mark.parametrize("kind", ["missing", "folder", "photo", "malicious", "truncated"])
def test_bad_body_file_is_refused_before_any_work(kind, photo, perception_models, tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    canary = tmp_path / "canary"
    if kind == "folder":
        path.mkdir()
    elif kind == "photo":
        path.write_bytes(b"\xff\xd8\xff\xe0" + b"\x00" * 100)
    elif kind == "truncated":
        smpl_files.write_pickle(path, smpl_files.make_model("smpl"))
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "malicious":

        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {canary}",)

        path.write_bytes(pickle.dumps({"v_template": Evil()}))
    options = smoke_options(body=annotate.BodyOptions(model=str(path)))
    with pytest.raises((OSError, ValueError)) as error:
        annotate.annotate(photo, tmp_path / "out", options=options, model_folder=perception_models)
    assert "SMPL_NEUTRAL.pkl" in str(error.value)
    assert "\n" not in str(error.value)
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def test_missing_models_name_the_command_that_fetches_them(photo, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools\.fetch_models"):
        annotate.annotate(photo, tmp_path / "out", options=smoke_options(), model_folder=tmp_path / "none")


MISTAKES = [
    (("--config=configs/normal.py",), "--input is missing"),
    (("--input=x.jpg",), "--config is missing"),
    (("--config=configs/normal.py", "--input=nothing.jpg"), "nothing.jpg"),
    (("--config=configs/normal.py", "input=x.jpg"), "unexpected argument"),
    (("--config=configs/normal.py", "--input=x.jpg", "--config.body.model=no/SMPL.pkl"), "no/SMPL.pkl"),
    (("--config=configs/normal.py", "--input=x.jpg", "--config.fit.sovler=adam"), "--config.fit.sovler: no such"),
    (("--config=configs/normal.py:fast", "--input=x.jpg"), "unknown variant 'fast'"),
    (("--config=configs/nope.py", "--input=x.jpg"), "configs/nope.py"),
    (("--config=configs/normal.py", "--nope=3"), "Unknown command line flag 'nope'"),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--config.motion.lock=1"),
        "--config.motion.lock: no such option; config.motion has acceleration_share,",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--config.fit.temporl=False"),
        "--config.fit.temporl: no such option; did you mean --config.fit.temporal?",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--noconfig.temporal"),
        "--config.temporal: no such option; did you mean --config.fit.temporal?",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--config.xyzzy=1"),
        "--config.xyzzy: no such option; config has body, camera, fit,",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--config.seed.more=1"),
        "--config.seed.more: config.seed has no options of its own",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--temporal=False"),
        "Unknown command line flag 'temporal'; did you mean --config.fit.temporal?",
    ),
    (
        ("--config=configs/normal.py", "--input=x.jpg", "--config.fit.temporal=maybe"),
        "--config.fit.temporal: expected True or False, got 'maybe'",
    ),
    (("--config=configs/normal.py", "--config.seed=x"), "--config.seed: expected a whole number, got 'x'"),
    (
        ("--config=configs/normal.py", "--config.motion.lock_spread=x"),
        "--config.motion.lock_spread: expected a number, got 'x'",
    ),
    (("--config=configs/normal.py", "--input=a.mp4", "--start=3", "--end=2"), "--end) must be later than the start"),
    (("--config=configs/normal.py", "--input=a.mp4", "--stride=0"), "--stride"),
    (
        ("--config=configs/normal.py", "--input=a.mp4,b.mp4"),
        "give several inputs as --input=a.mp4 --input=b.mp4",
    ),
]


@pytest.fixture(scope="module")
def mistaken():
    """How each of the mistakes ended."""
    lines = [arguments for arguments, _ in MISTAKES]
    return dict(zip(lines, run_each("annotate", lines), strict=True))


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES)
def test_command_line_mistakes_end_in_one_line(mistaken, arguments, expected):
    assert expected in error_of(mistaken[arguments])
