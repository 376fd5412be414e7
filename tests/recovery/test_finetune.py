"""Fine-tuning on single people: keypoints come nearer and never go farther, and nothing else changes."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks import crop_context, regressors
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.cliff import CliffOptions
from hardmo_jax.networks.flows.conditional_glow import GlowOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.prohmr import ProhmrOptions
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery.finetune import FinetuneOptions, FinetuneStatus, finetune
from hardmo_jax.recovery.regressor_start import start_from_regressor
from tests.fitting import synthetic_people

COUNT, LAYOUT = 32, "openpose25"
BACKBONE = ResnetOptions(blocks=(1,), width=16)
HMR = HmrOptions(backbone=BACKBONE, head=IterativeOptions(features=64, hidden=64))
CLIFF = CliffOptions(backbone=BACKBONE, head=IterativeOptions(features=64, hidden=64, box_numbers=3))
SHORT = FinetuneOptions(max_steps=8)
SIZE = np.array([synthetic_people.WIDTH, synthetic_people.HEIGHT], np.float32)


def random_network(name="hmr", options=HMR, **changed):
    """Random weights, which answer with about a person who stands upright and faces the camera."""
    blank = regressors.untrained(name, options, seed=1)
    pose = np.tile(np.array([1, 0, 0, 1, 0, 0], np.float32), (24, 1))
    pose[0] = [1, 0, 0, -1, 0, 0]
    given = {"head.init_pose": pose.reshape(1, -1), "head.init_cam": np.array([[0.9, 0, 0]], np.float32), **changed}
    arrays = {path: given.get(path, np.asarray(leaf)) for path, leaf in regressors.named_weights(blank.weights).items()}
    return regressors.with_arrays(name, options, arrays)


@dataclasses.dataclass(frozen=True)
class Case:
    body: hm.BodyModel
    seen: hm.Observations
    box: CropBox
    images: np.ndarray

    def tuned(self, network, rows=slice(None), *, options=SHORT, context=None, **changed):
        seen = dataclasses.replace(
            self.seen, keypoints_2d=self.seen.keypoints_2d[rows], confidence=self.seen.confidence[rows]
        )
        box = CropBox(center=self.box.center[rows], size=self.box.size[rows])
        return finetune(
            network, self.images[rows], self.body, dataclasses.replace(seen, **changed), box, context=context,
            options=options,
        )  # fmt: skip


@pytest.fixture(scope="module")
def case():
    # The open body under the name of a model whose betas the networks know.
    body = dataclasses.replace(hm.open_body(view="smpl"), name="neutral body")
    people = synthetic_people.draw(body, LAYOUT, count=COUNT, seed=3)
    low, high = people.pixels.min(-2), people.pixels.max(-2)
    box = CropBox(center=((low + high) / 2).astype(np.float32), size=1.2 * (high - low).max(-1).astype(np.float32))
    images = np.random.default_rng(0).normal(size=(COUNT, 224, 224, 3)).astype(np.float32)
    return Case(body, people.observe("2d"), box, images)


def errors_of(case, output, rows):
    """Root mean square distance in pixels by the way of `regressor_start`, in float64."""
    box = CropBox(center=case.box.center[rows], size=case.box.size[rows])
    start = start_from_regressor(case.body, output, box, case.seen.camera)
    points, _ = hm.body.landmarks.point_model(case.body, hm.skeleton.layouts.get_layout(LAYOUT))
    found = np.asarray(cameras.project_points(case.seen.camera, points(start.guess.params)), np.float64)
    squared = np.square(found - case.seen.keypoints_2d[rows]).sum(-1)
    weight = case.seen.confidence[rows]
    return np.sqrt((weight * squared).sum(-1) / weight.sum(-1))


def test_errors_fall_for_nearly_all_and_grow_for_nobody(case, figure):
    network = random_network()
    before = jax.tree.map(np.array, network.weights)
    found = case.tuned(network, options=FinetuneOptions())
    fell = float(np.mean(found.error < 0.99 * found.start_error))
    figure(f"fine-tuning: the 2D error falls for {fell:.0%} of {COUNT}, median {np.median(found.error):.1f} pixels")
    assert fell >= 0.95
    assert (found.error <= found.start_error).all()
    assert np.abs(found.output.betas).max() <= 2.0
    own = regressors.regress(network, case.images[:4])
    rows = np.arange(4)
    np.testing.assert_allclose(found.start_error[rows], errors_of(case, own, rows), rtol=1e-3)
    told = jax.tree.map(lambda leaf: leaf[:4], found.output)
    np.testing.assert_allclose(found.error[rows], errors_of(case, told, rows), rtol=1e-3)
    jax.tree.map(np.testing.assert_array_equal, before, network.weights)


def test_nobody_depends_on_who_else_is_there(case):
    network = random_network()
    together, alone = case.tuned(network, slice(0, 4)), case.tuned(network, slice(3, 4))
    np.testing.assert_allclose(together.error[3], alone.error[0], rtol=1e-4)
    np.testing.assert_allclose(together.output.body_pose[3], alone.output.body_pose[0], atol=1e-4)
    assert together.output.body_pose.shape == (4, 23, 3, 3)


def test_whoever_cannot_or_need_not_be_tuned_keeps_the_own_answer(case):
    network, rows = random_network(), slice(0, 4)
    confidence = np.array(case.seen.confidence[rows])
    confidence[0, 5:], confidence[1] = 0, 0
    keypoints = np.array(case.seen.keypoints_2d[rows])
    keypoints[2, 3] = np.nan
    found = case.tuned(network, rows, keypoints_2d=keypoints, confidence=confidence)
    assert found.status.tolist() == [FinetuneStatus.TOO_FEW_POINTS] * 2 + [FinetuneStatus.BETTER] * 2
    assert found.steps.tolist()[:2] == [0, 0]
    assert np.isnan(found.error).tolist() == [False, True, False, False]
    own = regressors.regress(network, case.images[rows])
    np.testing.assert_allclose(found.output.body_pose[:2], own.body_pose[:2], atol=1e-5)
    enough = case.tuned(network, rows, options=dataclasses.replace(SHORT, enough=100.0))
    assert (enough.status == FinetuneStatus.ENOUGH).all()
    assert not enough.steps.any()


def test_broken_networks_and_steps_that_are_too_large_change_nothing(case):
    rows = slice(0, 4)
    broken = random_network(**{"head.decpose.bias": np.full(144, np.nan, np.float32)})
    assert (case.tuned(broken, rows).status == FinetuneStatus.NONFINITE).all()
    wild = case.tuned(random_network(), rows, options=dataclasses.replace(SHORT, step_size=1e4))
    assert (wild.status == FinetuneStatus.NO_BETTER).all()
    np.testing.assert_array_equal(wild.error, wild.start_error)
    assert np.isfinite(wild.output.body_pose).all()


def test_extreme_shapes_are_not_kept(case):
    options = dataclasses.replace(SHORT, shape_weight=0.0, largest_beta=1e-6, max_steps=3)
    found = case.tuned(random_network(), slice(0, 4), options=options)
    own = regressors.regress(random_network(), case.images[:4])
    allowed = np.abs(own.betas).max(-1) + 1e-6
    assert (np.abs(found.output.betas).max(-1) <= allowed).all()


def test_all_layers_and_networks_that_see_the_picture(case):
    rows = slice(0, 2)
    whole = case.tuned(random_network(), rows, options=dataclasses.replace(SHORT, layers="all"))
    assert (whole.error < whole.start_error).all()
    network = random_network("cliff", CLIFF)
    box = CropBox(center=case.box.center[rows], size=case.box.size[rows])
    context = crop_context.diagonal_context(box, np.tile(SIZE, (2, 1)))
    images = np.zeros((2, 256, 192, 3), np.float32)
    wide = dataclasses.replace(case, images=images)
    found = wide.tuned(network, rows, context=context)
    assert (found.error < found.start_error).all()
    with pytest.raises(ValueError, match="CropContext"):
        wide.tuned(network, rows)


def test_requests_that_cannot_be_met_are_refused(case):
    density = regressors.untrained(
        "prohmr",
        ProhmrOptions(backbone=BACKBONE, flow=GlowOptions(context=64, layers=2, blocks=1, hidden=16), head_hidden=16),
    )
    with pytest.raises(ValueError, match="fit its noise instead"):
        case.tuned(density)
    with pytest.raises(ObservationError, match="camera"):
        case.tuned(random_network(), camera=None)
    with pytest.raises(ObservationError, match="nobody"):
        case.tuned(random_network(), slice(0, 0))
    with pytest.raises(ValueError, match="do not go with"):
        finetune(random_network(), case.images[:2], case.body, case.seen, case.box)
    for wrong in ({"step_size": 0.0}, {"max_steps": 0}, {"shape_weight": -1.0}):
        with pytest.raises(ValueError, match="must"):
            FinetuneOptions(**wrong)
