"""Steps of training regressors: parts and devices do not matter, and what is no number changes nothing."""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.networks import regressors
from hardmo_jax.networks.backbones.vit import VitOptions
from hardmo_jax.networks.heads.transformer_decoder import TransformerDecoderOptions
from hardmo_jax.networks.hmr2 import Hmr2Options
from hardmo_jax.pipelines.network_sizes import SMALL
from hardmo_jax.training import regressor_objective, regressor_step
from hardmo_jax.training.part_terms import PartTermOptions
from hardmo_jax.training.regressor_objective import ObjectiveOptions
from hardmo_jax.training.regressor_step import RealBodies, Step, StepOptions
from tests.networks.test_regressors import TINY
from tests.tools.command_line import ROOT
from tests.training.training_samples import made_samples

HMR2 = Hmr2Options(
    backbone=VitOptions(width=16, depth=1, heads=2, hidden=32),
    head=TransformerDecoderOptions(features=16, width=16, depth=1, heads=2, head_width=8, hidden=16),
)


def network(name="hmr2", options=HMR2):
    return regressor_objective.with_usual_start(regressors.untrained(name, options, seed=2))


@pytest.fixture(scope="module")
def body():
    return regressor_objective.compared_body(hm.open_body(view="smpl"))


@functools.cache
def compiled(step):
    """One program for equal steps, whoever makes them."""
    return jax.jit(step)


def stepped(regressor, body, sample, *, real=None, objective=None, steps=1, **options):
    """The last state, and what each step reported."""
    chosen = StepOptions(**{"learning_rate": 1e-3, **options})
    state = regressor_step.start_state(regressor, chosen, steps=10, seed=0, has_judge=real is not None)
    blank = dataclasses.replace(regressor, weights=None)
    step = compiled(Step(blank=blank, options=chosen, objective=objective or ObjectiveOptions(), steps=10))
    batch, reports = regressor_objective.batch_of(sample), []
    for _ in range(steps):
        state, reported = step(state, body, batch, real)
        reports.append({name: float(value) for name, value in reported.items()})
    return state, reports


def test_parts_of_a_batch_add_up_to_it(body):
    sample = made_samples(4, (256, 256))
    (whole, (told,)), (parts, (told_in_parts,)) = (
        stepped(network(), body, sample, accumulate=count) for count in (1, 2)
    )
    for name, value in told.items():
        assert told_in_parts[name] == pytest.approx(value, rel=2e-4), name
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        # Adam's first step is the sign of the gradient: where that is rounding, parameters may differ.
        assert np.mean(np.abs(np.asarray(one) - np.asarray(other)) > 1e-4) < 0.02


@pytest.mark.parametrize("name", ["hmr", "prohmr"])
def test_parts_add_up_where_losses_are_means_over_those_with_labels(name, body):
    """By the batch's own counts: of one part everybody has a pose, of the other one person."""
    regressor = network(name, TINY[name])
    sample = made_samples(4, regressor.crop_shape)
    for key in ("has_pose", "has_betas"):
        sample[key][[0, 2, 3]] = 0
    sample["confidence_3d"][:2] = 0
    batch = regressor_objective.batch_of(sample)
    objective = ObjectiveOptions(parts=PartTermOptions(hand_keypoints_2d=1.0))
    kind = regressor_objective.LOSSES[name]

    def terms(batch, counts):
        key = jax.random.key(0)
        found = regressor_objective.loss_of_batch(
            regressor, body, batch, key, objective, is_training=False, counts=counts
        )[1]
        return {term: float(value) for term, value in found.items()}

    whole = terms(batch, None)
    counts = regressor_objective.counts_of_batch(batch, body, objective, kind, parts=2)
    halves = [terms(jax.tree.map(lambda leaf, at=at: leaf[at::2], batch), counts) for at in range(2)]
    # What is drawn of a part is not what is drawn of the whole.
    fixed = [
        term for term in whole if not term.endswith("samples") and term not in ("negative_log_prob", "orthogonality")
    ]
    assert {"body_pose", "betas", "hand_keypoints_2d"} <= set(fixed)
    for term in fixed:
        assert np.mean([half[term] for half in halves]) == pytest.approx(whole[term], rel=1e-4), term


def test_every_body_that_prohmr_draws_is_judged(body):
    regressor = network("prohmr", TINY["prohmr"])
    sample = made_samples(2, regressor.crop_shape)
    objective = ObjectiveOptions(num_samples=3)
    found = regressor_objective.loss_of_batch(
        regressor, body, regressor_objective.batch_of(sample), jax.random.key(0), objective, is_training=False
    )[2]
    fakes = regressor_step._fakes(found)
    assert fakes.body_pose.shape == (6, 23, 3, 3)
    assert fakes.betas.shape == (6, 10)


def test_points_in_space_count_only_where_the_root_is_known(body):
    """Labels of another body may lack it: from a root at zero, right points would be far off."""
    sample = made_samples(2, (256, 256))
    batch = regressor_objective.batch_of(sample)
    for kind, root in (("hmr2", [body.root]), ("spin", list(body.hips))):
        for point in root:
            confidence = np.array(batch.target.confidence_3d)
            confidence[0, point] = 0
            target = dataclasses.replace(batch.target, confidence_3d=confidence)
            believed = regressor_objective._believed(target, body, PartTermOptions(), kind)
            assert not np.asarray(believed.confidence_3d)[0].any()
            assert np.asarray(believed.confidence_3d)[1].any()
            assert np.asarray(believed.confidence_2d)[0].any()


def test_a_network_of_fewer_joints_learns_those(body):
    regressor = network("bedlam_cliff", TINY.get("bedlam_cliff", SMALL["bedlam_cliff"]))
    options = dataclasses.replace(regressor.options, head=dataclasses.replace(regressor.options.head, joints=22))
    wide = network("bedlam_cliff", options)
    _, (told,) = stepped(wide, body, made_samples(2, wide.crop_shape))
    assert told["is_finite"]


def test_the_network_that_was_given_stays(body):
    regressor = network()
    state = regressor_step.start_state(regressor, StepOptions(), steps=10, seed=0)
    jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 0, tree), donate_argnums=0)(state)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(regressor.weights))


def test_a_judge_that_is_no_number_changes_nothing(body):
    real = RealBodies(body_pose=np.full((4, 23, 3, 3), np.nan), betas=np.zeros((4, 10)))
    state, (told,) = stepped(network(), body, made_samples(2, (256, 256)), real=real)
    assert not told["is_finite"]
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(state.judge))


def test_a_batch_that_is_no_number_changes_nothing(body):
    sample = made_samples(4, (256, 256))
    sample["keypoints_2d"][0, 0] = np.nan
    regressor = network()
    state, (told,) = stepped(regressor, body, sample)
    assert not told["is_finite"]
    assert state.step == 0
    for one, other in zip(
        jax.tree.leaves(regressor_step.trained_regressor(regressor, state).weights),
        jax.tree.leaves(regressor.weights),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_the_discriminator_learns_to_tell_bodies_apart(body, rng):
    real = RealBodies(body_pose=np.tile(np.eye(3), (4, 23, 1, 1)), betas=np.zeros((4, 10)))
    sample = made_samples(2, (256, 256))
    _, (first, *_, later) = stepped(network(), body, sample, real=real, steps=12, discriminator_learning_rate=1e-2)
    assert later["discriminator"] < first["discriminator"]
    assert first["adversarial"] > 0


@pytest.mark.parametrize("name", ["hmr", "prohmr", pytest.param("cliff", marks=pytest.mark.slow)])
def test_every_kind_of_loss_falls_on_a_batch(name, body):
    regressor = network(name, TINY.get(name, SMALL[name]))
    objective = ObjectiveOptions()
    objective = dataclasses.replace(objective, spin=dataclasses.replace(objective.spin, openpose=1.0))
    sample = made_samples(2, regressor.crop_shape)
    _, (first, *_, later) = stepped(regressor, body, sample, objective=objective, steps=8)
    assert later["is_finite"]
    # Bodies that ProHMR draws are others in every step; the density of labels is not.
    falls = "negative_log_prob" if name == "prohmr" else "loss"
    assert later[falls] < first[falls]


def trained_on_all_devices():
    """What training says on the devices of this process, all of them together."""
    regressor = network("hmr", TINY["hmr"])
    body = regressor_objective.compared_body(hm.open_body(view="smpl"))
    objective = ObjectiveOptions()
    objective = dataclasses.replace(objective, spin=dataclasses.replace(objective.spin, openpose=1.0))
    mesh, options = regressor_step.data_mesh(), StepOptions(learning_rate=1e-4)
    state = regressor_step.start_state(regressor, options, steps=10, seed=0)
    state = regressor_step.on_mesh(state, mesh, over_data=False)
    blank = dataclasses.replace(regressor, weights=None)
    step, losses = jax.jit(Step(blank=blank, options=options, objective=objective, steps=10)), []
    for number in range(3):
        batch = regressor_objective.batch_of(made_samples(8, seed=number))
        state, told = step(state, body, regressor_step.on_mesh(batch, mesh, over_data=True), None)
        losses.append(float(told["loss"]))
    leaves = [float(np.abs(np.asarray(leaf)).sum()) for leaf in jax.tree.leaves(state.remembered)]
    return {"devices": mesh.size, "losses": losses, "remembered": leaves}


_ON_DEVICES = """
import json
from tests.training.test_regressor_step import trained_on_all_devices
print(json.dumps(trained_on_all_devices()))
"""


def test_eight_devices_do_as_one_does():
    """Normalisation by batches too: what is remembered is of the whole batch."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", _ON_DEVICES], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    eight, one = json.loads(done.stdout.splitlines()[-1]), trained_on_all_devices()
    assert (one["devices"], eight["devices"]) == (1, 8)
    np.testing.assert_allclose(eight["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(eight["remembered"], one["remembered"], rtol=1e-5, atol=1e-5)
