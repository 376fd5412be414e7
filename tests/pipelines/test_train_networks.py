"""Training jobs from a pool of poses to the files that ship, in small; no motion capture is needed."""

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.data import pose_mixing, splits
from hardmo_jax.data.lifter_samples import LifterSampler, SampleOptions
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.fitting import pose_mixture
from hardmo_jax.labels import provenance
from hardmo_jax.networks import lifter, lifter_file, lifter_input
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.networks.lifter_file import read_lifter
from hardmo_jax.networks.ranker import CONTEXT, FEATURES
from hardmo_jax.pipelines import train_lifter, train_prior, train_ranker, training_poses
from hardmo_jax.pipelines.train_lifter import TrainLifterOptions
from hardmo_jax.pipelines.train_prior import TrainPriorOptions
from hardmo_jax.pipelines.train_ranker import TrainRankerOptions
from hardmo_jax.recovery.starts import START_NAMES
from hardmo_jax.skeleton import joint_limits, layouts
from hardmo_jax.training import calibration, lifter_loss
from hardmo_jax.training.loop import LoopOptions

TINY = TrainLifterOptions(
    network=LifterOptions(width=16, blocks=1, guesses=2),
    loop=LoopOptions(
        steps=8, batch=32, warmup_steps=2, average_decay=0.5, report_every=4, checkpoint_every=4, learning_rate=3e-3
    ),
    calibration_people=48,
)


@pytest.fixture(scope="module", autouse=True)
def few_hands():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_mixing, "_HANDS_KEPT", 500)
        patch.setattr(pose_mixing, "_KEY_POSES_KEPT", 300)
        yield


@pytest.fixture(scope="module", autouse=True)
def pool(tmp_path_factory):
    """What motion capture would give."""
    rng = np.random.default_rng(1)
    found = PosePool(
        body_pose=rng.normal(size=(90, 22, 3)) * 0.2,
        styles=("martial", "indian", "deepmimic"),
        takes=("03", "04", "run"),
        take_of=np.arange(90) % 3,
    )
    path = tmp_path_factory.mktemp("pool") / "poses.npz"
    found.save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_poses, "collect_poses", lambda mocap, cache, **settings: (found, path))
        yield found, path


# ---- lifter -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small lifter, what was told while it was trained, and the numbers of the batches that were drawn."""
    folder, told, drawn = tmp_path_factory.mktemp("lifter"), [], []
    draw = LifterSampler.draw

    def spied(sampler, batch, count):
        drawn.append(batch)
        return draw(sampler, batch, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LifterSampler, "draw", spied)
        summary = train_lifter.train_lifter(
            TINY, folder, mocap=folder, on_report=lambda step, means: told.append((step, dict(means)))
        )
    return summary, told, drawn


def test_a_lifter_is_written_with_where_it_comes_from(trained, pool):
    summary, told, _ = trained
    assert summary.sha256 == provenance.file_sha256(summary.path)
    found, record = read_lifter(summary.path.read_bytes(), source="lifter.npz")
    assert found.options == TINY.network
    assert record["takes"] == ["martial/03", "indian/04", "deepmimic/run"]
    assert record["held_out"] == {
        split: [f"{style}/{take}" for style in splits.STYLES for take in splits.held_out_takes(split, style)]
        for split in ("test", "validation")
    }
    assert record["poses_sha256"] == provenance.file_sha256(pool[1])
    assert record["people"] == summary.drawn == 8 * 32
    assert record["body_sha256"] == hm.open_body().checksum
    assert record["command"] == ["python", "-m", "tools.train", *sys.argv[1:]]
    assert record["config"]["loop"]["steps"] == 8
    assert record["last"] == summary.last == told[-1][1]


def test_losses_are_told_and_fall(trained):
    _, told, _ = trained
    assert [step for step, _ in told] == [4, 8]
    assert set(told[0][1]) == {
        "loss", "gradient_norm", "joints_mm", "best_joints_mm", "shape", "hands", "surprise"
    }  # fmt: skip
    assert told[1][1]["loss"] < told[0][1]["loss"]
    for _, means in told:
        assert means["best_joints_mm"] <= means["joints_mm"]


def test_the_error_is_measured_on_people_that_were_never_trained_on(trained):
    _, _, drawn = trained
    training = [number for number in drawn if number < 10_000_000]
    assert sorted(training) == list(range(9)), "the last one was only made ready"
    assert sorted(set(drawn) - set(training)) == [10_000_000, 10_000_001]


def test_precision_is_that_of_the_errors_over_their_spread(trained, pool):
    summary, _, _ = trained
    found, _ = read_lifter(summary.path.read_bytes(), source="lifter.npz")
    body = hm.open_body()
    skeleton = lifter_loss.Skeleton.of(body)
    sampler = LifterSampler(body, pool[0], SampleOptions(), seed=0)
    again = train_lifter.calibrated(found, sampler, skeleton, TINY)

    @jax.jit
    def seen(trained, batch):
        given = lifter_input.encode(batch.keypoints_2d, batch.confidence, batch.camera)
        out = trained(given.features)
        return out, lifter_loss.error_vector(
            out, lifter_loss.make_target(skeleton, batch.params, given.rotation, given.size)
        )

    rows = []
    for number in (10_000_000, 10_000_001):
        out, error = seen(found, sampler.draw(number, 32))
        rows.append(np.asarray(error, np.float64) / np.exp(np.asarray(out.log_spread, np.float64)))
    rows = np.clip(np.concatenate(rows), -3.5, 3.5)
    covariance = rows.T @ rows / len(rows)
    covariance = covariance * (1 - TINY.shrinkage) + np.diag(np.diag(covariance)) * TINY.shrinkage
    ours = np.linalg.inv(np.asarray(again.error_precision, np.float64))
    np.testing.assert_allclose(ours, covariance, atol=2e-2 * np.abs(covariance).max())
    assert np.linalg.eigvalsh(np.asarray(again.error_precision, np.float64))[0] > 0


def test_a_run_that_is_done_gives_the_same_lifter_again(trained):
    summary, _, _ = trained
    before, _ = read_lifter(summary.path.read_bytes(), source="lifter.npz")
    told = []
    again = train_lifter.train_lifter(
        TINY, summary.path.parent, mocap=summary.path.parent, on_report=lambda *report: told.append(report)
    )
    after, record = read_lifter(again.path.read_bytes(), source="lifter.npz")
    assert not told
    for ours, theirs in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert record["takes"] == ["martial/03", "indian/04", "deepmimic/run"]


def test_saved_weights_are_the_average_of_the_run(trained):
    """Another average of the same run is another lifter."""
    summary, _, _ = trained
    found, _ = read_lifter(summary.path.read_bytes(), source="lifter.npz")
    start = lifter_file.initial_weights(TINY.network, TINY.loop.seed)
    moved = [
        np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max()
        for ours, theirs in zip(jax.tree.leaves(found.weights), jax.tree.leaves(start), strict=True)
    ]
    assert max(moved) > 1e-3
    assert max(moved) < 0.1, "eight steps of 0.003 at most"


# ---- prior ------------------------------------------------------------------------------------------------------

PRIOR = TrainPriorOptions(components=2, people=150, held_out_people=80)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("prior"), []
    return (*train_prior.train_prior(PRIOR, folder, mocap=folder, progress=lambda *step: steps.append(step)), steps)


def test_a_prior_of_every_part_is_written_with_where_it_comes_from(prior, pool):
    path, digest, scores, steps = prior
    assert digest == provenance.file_sha256(path)
    found = pose_mixture.read_mixtures(path.read_bytes(), source="prior.npz")
    assert tuple(found) == tuple(pose_mixture.PARTS) == tuple(part for part, _, _ in scores)
    for mixture in found.values():
        assert len(mixture.weights) == 2
        assert np.sqrt(np.linalg.eigvalsh(mixture.covariances).min()) > np.radians(0.99 * PRIOR.least_spread_degrees)
    with np.load(path) as file:
        record = json.loads(str(file["record"]))
    assert record["takes"] == ["martial/03", "indian/04", "deepmimic/run"]
    assert record["poses_sha256"] == provenance.file_sha256(pool[1])
    assert record["held_out_log_density"] == {part: [one, many] for part, one, many in scores}
    assert record["config"]["components"] == 2
    assert steps[-1] == ("mixtures", 6, 6)


def test_the_same_seed_gives_the_same_prior(prior, tmp_path):
    again, digest, _ = train_prior.train_prior(PRIOR, tmp_path, mocap=tmp_path)
    assert digest == prior[1]
    _, other, _ = train_prior.train_prior(dataclasses.replace(PRIOR, seed=1), tmp_path, mocap=tmp_path)
    assert other != digest
    assert again.is_file()


def test_both_sides_are_learnt_from_as_one():
    """Right arms in the mirror: a pose and its mirror image give the same samples."""
    rng = np.random.default_rng(2)
    full_pose = rng.normal(size=(5, 52, 3))
    names = layouts.SMPLH_JOINTS
    for part, joints in pose_mixture.PARTS.items():
        values = train_prior._of_part(full_pose, joints)
        if part == "trunk":
            assert values.shape == (5, 21)
            continue
        assert values.shape == (10, 3 * len(joints))
        for place, joint in enumerate(joints):
            left = full_pose[:, names.index(joint)]
            right = full_pose[:, names.index(joint.replace("left", "right"))] * np.array(joint_limits.MIRROR_SIGNS)
            np.testing.assert_array_equal(values[:5, 3 * place : 3 * place + 3], left)
            np.testing.assert_array_equal(values[5:, 3 * place : 3 * place + 3], right)


# ---- ranker -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    """Fits whose errors one feature tells, and not the image error; the last start is rare."""
    rng = np.random.default_rng(3)
    people, starts = 600, len(START_NAMES)
    features = rng.normal(size=(people, starts, len(FEATURES)))
    context = rng.normal(size=(people, len(CONTEXT)))
    errors = 0.08 + 0.02 * features[..., FEATURES.index("pose_from_lifter")]
    is_there = np.ones((people, starts), bool)
    is_there[:, -1] = rng.random(people) < 0.3
    return features, context, np.where(is_there, errors, 0.0), is_there


@pytest.fixture(scope="module")
def learnt(table):
    options = TrainRankerOptions(steps=400, hidden=16, caution=0.0)
    steps = []
    found = train_ranker._learn(tuple(part[:450] for part in table), options, lambda *step: steps.append(step))
    return found, steps


def test_a_ranker_learns_which_fit_is_better_and_takes_none_that_is_not_there(table, learnt, figure):
    found, steps = learnt
    features, context, errors, is_there = (part[450:] for part in table)
    chance = found(features, context, START_NAMES, is_there)
    np.testing.assert_array_equal(chance[~is_there], 0)
    summary = train_ranker._summary(found, features, context, errors, is_there)
    figure("ranker on made-up fits (mm): " + ", ".join(f"{name} {value:.1f}" for name, value in summary.items()))
    assert summary["best"] < summary["ranker"] < summary["first_guess"]
    assert summary["ranker"] < summary["best"] + 0.2 * (summary["first_guess"] - summary["best"])
    assert abs(summary["least_image_error"] - summary["first_guess"]) < 5, "the image error says nothing here"
    assert steps[-1] == ("rank", 400, 400)


def test_summary_is_that_of_numpy(table, learnt):
    found, _ = learnt
    features, context, errors, is_there = table
    summary = train_ranker._summary(found, features, context, errors, is_there)
    chance = found(features, context, START_NAMES, is_there)
    taken = [errors[person, chance[person].argmax()] for person in range(len(errors))]
    np.testing.assert_allclose(summary["ranker"], 1000 * np.mean(taken))
    best = [errors[person, is_there[person]].min() for person in range(len(errors))]
    np.testing.assert_allclose(summary["best"], 1000 * np.mean(best))
    np.testing.assert_allclose(summary["first_guess"], 1000 * errors[:, 0].mean())


def test_features_are_standardised_by_fits_that_are_there(table, learnt):
    features, context, _, is_there = (part[:450] for part in table)
    np.testing.assert_allclose(learnt[0].mean, features[is_there].mean(0))
    np.testing.assert_allclose(learnt[0].spread, features[is_there].std(0), rtol=1e-4)
    np.testing.assert_allclose(learnt[0].context_mean, context.mean(0))


def test_the_caution_of_the_options_is_that_of_the_ranker(table):
    options = TrainRankerOptions(steps=1, hidden=2, caution=2.5)
    found = train_ranker._learn(tuple(part[:50] for part in table), options, lambda *step: None)
    assert found.caution == 2.5


def test_ranker_is_trained_on_batches_of_its_own():
    """Neither those of the lifter (from 0 on) nor those by which its errors were measured."""
    steps = TrainLifterOptions().loop.steps
    assert steps < calibration.FIRST_BATCH < train_ranker._FIRST_BATCH
    last = calibration.FIRST_BATCH + TrainLifterOptions().calibration_people
    assert last < train_ranker._FIRST_BATCH


def test_spread_of_the_lifter_has_an_entry_for_each_of_its_joints():
    assert 6 + lifter.NUM_BETAS + 3 * (len(layouts.SMPLH_JOINTS) - 1) == lifter.NUM_SPREAD
