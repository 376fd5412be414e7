"""The evaluation of predictions whose errors are known, on a small benchmark that needs no motion capture."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.body import landmarks, load
from hardmo_jax.data.predictions import PredictionError, Predictions
from hardmo_jax.pipelines import benchmark_motion, evaluate, evaluation_report, scoring, set_scores
from hardmo_jax.pipelines.prepare import PrepareOptions

SMALL = PrepareOptions(
    benchmark="synth_hard", test_frames=6, validation_frames=2, test_windows=2, window_frames=5, tail_frames=4
)


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return evaluate.ensure_benchmark(SMALL, tmp_path_factory.mktemp("benchmarks"), mocap=None)


@pytest.fixture(scope="module")
def test_set(folder):
    return evaluate.load_set(folder, "test")


@pytest.fixture(scope="module")
def protocol(body):
    return scoring.protocol_for(body, "hardmo")


def truth_as_predictions(found, **changes):
    params = {
        field.name: np.asarray(getattr(found.params, field.name), np.float64)
        for field in dataclasses.fields(found.params)
        if getattr(found.params, field.name) is not None
    }
    return Predictions(**{"source": "truth", "ids": found.ids, "params": params, "body": found.body} | changes)


def test_the_truth_scores_zero_and_every_keypoint_is_hit(test_set, body, protocol):
    result = scoring.score(test_set, body, protocol, truth_as_predictions(test_set), method="truth")
    for name, value in result.means.items():
        assert value < (0.1 if "degrees" in name else 1e-5), name
    assert all(np.allclose(values, 1.0) for values in result.pck.values())
    assert (result.num_missing, result.num_nonfinite) == (0, 0)
    assert result.num_samples == len(test_set)


def test_metrics_move_by_the_error_that_was_made_and_by_no_other(test_set, body, protocol):
    """Everybody's left hand turned by 40 degrees about the wrist, which is joint 20, entry 19 of the body pose."""
    turned = truth_as_predictions(test_set)
    pose = turned.params["body_pose"].copy()
    local = Rotation.from_rotvec(pose[:, 19]) * Rotation.from_rotvec(np.deg2rad([0, 0, 40.0]))
    pose[:, 19] = local.as_rotvec()
    turned = dataclasses.replace(turned, params={**turned.params, "body_pose": pose})
    result = scoring.score(test_set, body, protocol, turned, method="turned")
    assert result.means["orientation_degrees/left_wrist"] == pytest.approx(40.0, abs=0.1)
    assert result.means["orientation_degrees/right_wrist"] < 0.1
    assert result.means["mpjpe/body_17"] < 1e-5
    assert result.means["mpjpe/foot_6"] < 1e-5
    assert result.means["relative_error/left_hand_5"] > 0.05
    assert result.means["relative_error/right_hand_5"] < 1e-5
    assert result.means["arm_pa/left_arm_7"] > 0.005
    assert result.means[f"vertex_error/mesh_{body.num_vertices}"] > 1e-4


def test_translation_costs_pixels_and_not_millimetres(test_set, body, protocol):
    moved = truth_as_predictions(test_set)
    transl = moved.params["transl"] + np.array([0.5, 0.0, 0.0])
    moved = dataclasses.replace(moved, params={**moved.params, "transl": transl})
    result = scoring.score(test_set, body, protocol, moved, method="moved")
    assert result.means["mpjpe/body_17"] < 1e-5
    assert max(result.pck["body_17"]) < 0.05


def test_missing_and_nan_people_are_counted_and_never_averaged_away(test_set, body, protocol):
    given = truth_as_predictions(test_set)
    half = dataclasses.replace(
        given, ids=given.ids[1:], params={name: array[1:].copy() for name, array in given.params.items()}
    )
    half.params["body_pose"][0, 0] = np.nan
    result = scoring.score(test_set, body, protocol, half, method="half")
    assert result.num_missing == 1
    assert result.num_nonfinite == 1
    assert np.isnan(result.errors["mpjpe/body_17"][:2]).all()
    assert np.isfinite(result.errors["mpjpe/body_17"][2:]).all()
    # PCK has no way to leave people out: those without a prediction miss.
    expected = 1 - 2 / len(test_set)
    assert result.pck["hand_12"][1] == pytest.approx(expected, abs=0.02)
    counts = next(t for t in evaluation_report.make_tables([result]) if t.title == "What was scored")
    assert counts.rows[0][1:4] == (str(len(test_set)), "1", "1")


def test_kinds_of_motion_are_reported_apart_and_make_up_the_whole(test_set, body, protocol, rng):
    truth = truth_as_predictions(test_set)
    turned = truth.params["body_pose"] + rng.normal(scale=0.2, size=truth.params["body_pose"].shape)
    wrong = dataclasses.replace(truth, params=truth.params | {"body_pose": turned})
    result = scoring.score(test_set, body, protocol, wrong, method="wrong")
    table = next(t for t in evaluation_report.make_tables([result]) if t.title.startswith("By kind of motion"))
    counts = [result.styles.count(style) for style in sorted(set(result.styles))]
    mean = np.average([float(cell) for cell in table.rows[0][1::2]], weights=counts)
    assert len(counts) > 1
    assert mean == pytest.approx(1000 * result.means["mpjpe/body_17"], abs=0.1)


def test_order_of_predictions_does_not_matter(test_set, body, protocol, rng):
    given = truth_as_predictions(test_set)
    noisy = {name: array + rng.normal(scale=0.1, size=array.shape) for name, array in given.params.items()}
    order = rng.permutation(len(test_set))
    shuffled = dataclasses.replace(
        given,
        ids=tuple(given.ids[row] for row in order),
        params={name: array[order] for name, array in noisy.items()},
    )
    first = scoring.score(test_set, body, protocol, dataclasses.replace(given, params=noisy), method="a")
    second = scoring.score(test_set, body, protocol, shuffled, method="a")
    for name, value in first.means.items():
        assert second.means[name] == pytest.approx(value, rel=1e-5), name


def test_points_of_another_layout_are_scored_where_they_cover_a_set(test_set, body, protocol):
    model, _ = landmarks.point_model(body, protocol.layout)
    full = np.asarray(model(test_set.params), np.float64)
    assert full.shape[1] == len(protocol.layout)
    smpl = landmarks.layout_points(body, "smplh52")
    joints = np.asarray(smpl(test_set.params), np.float64)
    lacking = Predictions(source="joints", ids=test_set.ids, layout="smplh52", keypoints_3d=joints)
    with pytest.raises(PredictionError, match="needs nose, right_eye, left_eye, right_ear, left_ear"):
        scoring.score(test_set, body, protocol, lacking, method="joints")
    by_smpl = scoring.score(test_set, body, scoring.protocol_for(body, "smpl24"), lacking, method="joints")
    assert all(value < 1e-6 for value in by_smpl.means.values())
    assert by_smpl.curves == {}


def test_predictions_in_millimetres_are_refused(test_set, body):
    joints = np.asarray(test_set.joints, np.float64) * 1000
    wrong = Predictions(source="mine.npz", ids=test_set.ids, layout="smplh52", keypoints_3d=joints)
    with pytest.raises(PredictionError, match="millimetres"):
        scoring.score(test_set, body, scoring.protocol_for(body, "smpl24"), wrong, method="mine")


def test_protocol_without_regressor_says_that_it_is_another(body):
    text = scoring.protocol_for(body, "hardmo").describe()
    assert "NOT the original protocol" in text
    assert "1.2" in text
    assert "pelvis" in text


def test_a_better_method_is_found_better_and_an_equal_one_is_not(test_set, body, protocol, rng):
    given = truth_as_predictions(test_set)

    def with_noise(scale):
        pose = given.params["body_pose"] + rng.normal(scale=scale, size=given.params["body_pose"].shape)
        noisy = dataclasses.replace(given, params={**given.params, "body_pose": pose})
        return scoring.score(test_set, body, protocol, noisy, method=f"noise {scale}")

    small, large, other = with_noise(0.05), with_noise(0.4), with_noise(0.05)
    difference = set_scores.compare(small, large, num_resamples=500)["mpjpe/body_17"]
    assert difference.mean < 0
    assert difference.high < 0
    same = set_scores.compare(small, dataclasses.replace(small, method="again"), num_resamples=500)["mpjpe/body_17"]
    assert same.mean == 0
    assert not same.is_significant
    table = evaluation_report.comparison_table(
        evaluation_report.Comparison(
            first="a", second="b", set_name="test", differences=set_scores.compare(small, other, num_resamples=500)
        )
    )
    assert len(table.rows) == sum(not name.startswith("joint_angle_degrees") for name in small.errors)


def test_methods_on_different_samples_are_not_compared(folder, body, protocol):
    results = []
    for name in ("test", "validation"):
        found = evaluate.load_set(folder, name)
        results.append(scoring.score(found, body, protocol, truth_as_predictions(found), method=name))
    with pytest.raises(set_scores.ScoreError, match="different samples"):
        set_scores.compare(*results)


def test_clips_have_an_acceleration_error(folder, body, protocol):
    found = evaluate.load_set(folder, "video")
    assert len(found) == 2 * 2 * 5
    truth = scoring.score(found, body, protocol, truth_as_predictions(found), method="truth")
    # float32 places of 3e-7 m, times 900 for 30 frames a second, three of them
    assert truth.means["acceleration_error/body_17"] < 3e-3
    still = truth_as_predictions(found)
    first = np.repeat(np.arange(0, len(found), 5), 5)
    still = dataclasses.replace(still, params={name: array[first] for name, array in still.params.items()})
    frozen = scoring.score(found, body, protocol, still, method="frozen")
    # A method that stands still misses the whole acceleration of the truth.
    model, _ = landmarks.point_model(body, protocol.layout)
    points = np.asarray(model(found.params), np.float64)[:, protocol.layout.indices(protocol.point_set("body").points)]
    root = np.asarray(model(found.params), np.float64)[:, protocol.layout.indices(protocol.root)].mean(1, keepdims=True)
    moving = (points - root).reshape(-1, 5, 17, 3)
    acceleration = (moving[:, 2:] - 2 * moving[:, 1:-1] + moving[:, :-2]) * 30.0**2
    expected = np.linalg.norm(acceleration, axis=-1).mean()
    assert frozen.means["acceleration_error/body_17"] == pytest.approx(expected, rel=1e-4)
    per_frame = frozen.errors["acceleration_error/body_17"].reshape(-1, 5)
    assert np.isnan(per_frame[:, [0, -1]]).all()
    assert np.isfinite(per_frame[:, 1:-1]).all()


def test_frames_and_clips_that_are_left_out_are_counted_and_shown(folder, body, protocol):
    """Of twenty frames in four clips one is no number: it takes the two beside it, and its clip, with it."""
    found = evaluate.load_set(folder, "video")
    given = truth_as_predictions(found)
    whole = scoring.score(found, body, protocol, given, method="truth").left_out
    assert {lost for lost, _ in whole.values()} == {0}
    assert whole["acceleration_error/body_17"] == whole["acceleration_share/body_17"] == (0, 12)
    for array in given.params.values():
        array[7] = np.nan
    result = scoring.score(found, body, protocol, given, method="holes")
    assert result.left_out["acceleration_error/body_17"] == (3, 12)
    assert result.left_out["acceleration_share/body_17"] == (3, 12)
    assert result.left_out["peak_speed_share/body_17"] == result.left_out["shape_spread/betas"] == (1, 4)
    assert result.left_out["foot_slide/contact_4"][0] <= 2
    table = next(t for t in evaluation_report.make_tables([result]) if t.title.startswith("Clips"))
    assert table.rows[0][table.columns.index("no number, left out: frames / clips")] == "3 of 12 / 1 of 4"
    (values,) = evaluation_report.results_mapping([result], [], {})["results"]
    assert values["left_out"]["shape_spread/betas"] == {"left_out": 1, "of": 4}


def test_methods_over_time_are_scored_on_clips_alone(folder, monkeypatch):
    def predicted(found, body, method, *, progress=None):
        return truth_as_predictions(found), {}

    monkeypatch.setattr(evaluate, "predict", predicted)
    methods = (evaluate.MethodOptions(name="single"), evaluate.MethodOptions(name="over_time", is_over_time=True))
    options = evaluate.EvaluateOptions(
        prepare=SMALL, methods=methods, sets=("test",), last_methods=2, last_method_sets=("video",)
    )
    results = evaluate.evaluate_methods(options, folder)
    assert [(result.method, result.set_name.partition("/")[2]) for result in results] == [
        ("single", "test"), ("single", "video"), ("over_time", "video"),
    ]  # fmt: skip
    alone = dataclasses.replace(options, methods=methods[1:], last_methods=1, last_method_sets=())
    with pytest.raises(evaluate.EvaluateError, match="no clips"):
        evaluate.evaluate_methods(alone, folder)


def test_a_file_that_was_changed_after_preparing_is_refused(tmp_path):
    folder = evaluate.ensure_benchmark(SMALL, tmp_path, mocap=None)
    path = folder / "test.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(evaluate.HardSetError, match="not the file that was prepared"):
        evaluate.load_set(folder, "test")
    with pytest.raises(evaluate.EvaluateError, match="has no set 'tset'"):
        evaluate.load_set(folder, "tset")


def test_limit_keeps_whole_clips(folder):
    some = evaluate.load_set(folder, "video", limit=7)
    assert len(some) == 5
    assert len(set(some.windows.tolist())) == 1
    assert len(evaluate.load_set(folder, "test", limit=3)) == 3


def test_mocap_hard_without_motion_capture_says_where_to_get_it(tmp_path):
    with pytest.raises(benchmark_motion.PrepareError, match=r"free for all uses.*HARDMO_DATA"):
        evaluate.ensure_benchmark(dataclasses.replace(SMALL, benchmark="mocap_hard"), tmp_path, mocap=tmp_path)


def test_reports_are_json_without_nan_and_equal_on_a_second_run(tmp_path, test_set, body, protocol):
    given = truth_as_predictions(test_set)
    result = scoring.score(test_set, body, protocol, given, method="truth")
    result = dataclasses.replace(result, means={**result.means, "pa_mpjpe/body_17": float("nan")})
    texts = []
    for run in ("a", "b"):
        tables = evaluation_report.make_tables([result])
        paths = evaluation_report.write_reports(
            tmp_path / run, tables, ["note"], evaluation_report.results_mapping([result], [], {"x": "y"}), title="T"
        )
        texts.append([path.read_text() for path in paths])
    assert texts[0] == texts[1]
    values = json.loads(texts[0][0])
    assert values["results"][0]["metrics"]["pa_mpjpe/body_17"] is None
    assert "synth_hard: all" in texts[0][1]


@pytest.mark.slow
def test_fits_are_scored_twice_alike(folder, body, protocol):
    found = evaluate.load_set(folder, "test", limit=4)
    method = evaluate.MethodOptions(name="default")
    results = []
    for _ in range(2):
        predicted, status = evaluate.predict(found, body, method)
        assert sum(status.values()) == 4
        results.append(scoring.score(found, body, protocol, predicted, method="default"))
    assert results[0].means == results[1].means
    jax.block_until_ready(found.params.transl)


def test_someone_turned_round_is_counted(test_set, body, protocol):
    given = truth_as_predictions(test_set)
    half_turn = Rotation.from_rotvec([0, np.pi, 0])
    orient = given.params["global_orient"].copy()
    orient[:3] = (Rotation.from_rotvec(orient[:3]) * half_turn).as_rotvec()
    turned = dataclasses.replace(given, params={**given.params, "global_orient": orient})
    result = scoring.score(test_set, body, protocol, turned, method="turned")
    assert result.means["turned_round_share/pelvis"] == pytest.approx(3 / len(test_set))
    assert all(value < 0.1 for name, value in result.means.items() if name.startswith("joint_angle_degrees/"))


def test_points_beyond_the_border_are_nobodys_miss(test_set, body, protocol):
    """What the picture does not show is not counted, however wrong the prediction is there."""
    middle = test_set.true_keypoints_2d[..., 1].mean(axis=1)
    border = np.array(test_set.border)
    border[:, 3] = middle
    cut = dataclasses.replace(test_set, border=border)
    given = truth_as_predictions(cut)
    pixels_moved = dataclasses.replace(
        given, params={**given.params, "transl": given.params["transl"] + np.array([0.3, 0.0, 0.0])}
    )
    assert scoring.score(cut, body, protocol, given, method="truth").pck["body_17"] == (1.0, 1.0)
    assert scoring.score(cut, body, protocol, pixels_moved, method="moved").pck["body_17"][1] < 0.2


def test_regressed_points_do_not_stand_for_joints(test_set, body):
    """A row of a regressor is centimetres from the joint of its name."""
    points = np.zeros((len(test_set), 17, 3))
    wrong = Predictions(source="mine.npz", ids=test_set.ids, layout="h36m_17", keypoints_3d=points)
    with pytest.raises(PredictionError, match="needs pelvis"):
        scoring.score(test_set, body, scoring.protocol_for(body, "smpl24"), wrong, method="mine")


def test_files_of_the_whole_set_are_scored_on_a_part_of_it(folder, tmp_path):
    found = evaluate.load_set(folder, "test")
    np.savez(tmp_path / "a.npz", ids=np.array(found.ids), layout="smplh52", keypoints_3d=found.joints)
    options = evaluate.EvaluateOptions(prepare=SMALL, protocol="smpl24", limit=3)
    (result,) = evaluate.evaluate_named(options, folder, [str(tmp_path / "a.npz")])
    assert (result.num_samples, result.num_missing) == (3, 0)
    assert result.means["mpjpe/joints_24"] < 1e-6


def test_two_files_of_one_name_keep_their_folders(folder, tmp_path):
    found = evaluate.load_set(folder, "test")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "mine.npz", ids=np.array(found.ids), layout="smplh52", keypoints_3d=found.joints)
    options = evaluate.EvaluateOptions(prepare=SMALL, protocol="smpl24")
    results = evaluate.evaluate_named(options, folder, [str(tmp_path / name / "mine.npz") for name in ("a", "b")])
    assert len({result.method for result in results}) == 2
