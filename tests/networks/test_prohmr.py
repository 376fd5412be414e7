"""ProHMR's samples, densities and sizes, and what its converter says of files that are something else."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry import rotation_formats
from hardmo_jax.networks import pose_samples, regressor_file, regressors, torch_import
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.flows.conditional_glow import ConditionalGlow, GlowOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.prohmr import ProhmrOptions
from hardmo_jax.networks.torch_import import CheckpointError
from hardmo_jax.pipelines.convert_checkpoint import convert_checkpoint

torch = pytest.importorskip("torch", reason="writes the checkpoints; the `bench` extra")
from tests.reference import torch_networks, torch_prohmr  # noqa: E402

SMALL = {"blocks": (1, 1), "width": 4, "hidden": 16, "layers": 2, "flow_blocks": 1}
OPTIONS = ProhmrOptions(
    backbone=ResnetOptions(blocks=(1, 1), width=4),
    flow=GlowOptions(context=32, layers=2, blocks=1, hidden=16),
    head_hidden=16,
)


def weights(**sizes):
    return torch_prohmr.randomised(1, **{**SMALL, **sizes}).state_dict()


def saved(folder, state):
    torch.save({"state_dict": state, "hyper_parameters": {"cfg": {"MODEL": {"FLOW": {"NUM_LAYERS": 2}}}}}, folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("prohmr") / "checkpoint.pt", weights())


@pytest.fixture(scope="module")
def network(checkpoint):
    found = torch_import.import_checkpoint(checkpoint, "prohmr")
    assert found.options == OPTIONS
    return regressors.with_arrays("prohmr", found.options, found.weights)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)


def test_samples_begin_with_the_mode_and_share_shape_and_camera(network, crops):
    mode = regressors.regress(network, crops)
    several = pose_samples.sample_bodies(network, crops, jax.random.key(3), num_samples=5)
    assert several.body_pose.shape == (2, 5, 23, 3, 3)
    assert several.log_prob.shape == (2, 5)
    assert mode.log_prob.shape == (2,)
    for own, first in zip(
        jax.tree.leaves(mode), jax.tree.leaves(jax.tree.map(lambda a: a[:, 0], several)), strict=True
    ):
        np.testing.assert_allclose(own, first, atol=2e-5)
    assert (np.asarray(several.log_prob)[:, 1:] < np.asarray(several.log_prob)[:, :1]).all()
    np.testing.assert_array_equal(several.betas[:, 0], several.betas[:, 4])
    apart = np.abs(np.asarray(several.body_pose)[:, 1:] - np.asarray(several.body_pose)[:, :1]).max((2, 3, 4))
    assert apart.min() > 1e-3
    again = pose_samples.sample_bodies(network, crops, jax.random.key(3), num_samples=5)
    np.testing.assert_array_equal(several.body_pose, again.body_pose)


def test_density_of_samples_is_that_of_their_poses(network, crops):
    several = pose_samples.sample_bodies(network, crops, jax.random.key(1), num_samples=3)
    told = pose_samples.pose_log_prob(network, crops, several.rot6d)
    np.testing.assert_allclose(told, several.log_prob, rtol=1e-4)
    one = pose_samples.pose_log_prob(network, crops, several.rot6d[:, 2])
    np.testing.assert_allclose(one, several.log_prob[:, 2], rtol=1e-4)
    np.testing.assert_allclose(
        rotation_formats.rot6d_hmr2_to_matrix(several.rot6d[:, :, 0]), several.global_orient, atol=1e-5
    )


def test_density_is_one_over_all_vectors():
    """The sum over a fine grid."""
    from flax import nnx

    from hardmo_jax.networks.compute_policy import ComputePolicy

    flow = ConditionalGlow(
        GlowOptions(features=2, context=1, layers=2, blocks=1, hidden=8), policy=ComputePolicy(), rngs=nnx.Rngs(0)
    )
    for place, part in enumerate(flow.transforms):
        if place % 3 == 0:
            part.log_scale[...] = jnp.array([0.3, -0.5])
            part.shift[...] = jnp.array([0.2, -0.1])
        if place % 3 == 1:
            part.lower_entries[...], part.upper_entries[...] = jnp.array([0.7]), jnp.array([-0.4])
            part.unconstrained_upper_diag[...] = jnp.array([0.1, 1.2])
    side = np.linspace(-40, 40, 1601)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(flow.log_prob(grid, np.ones((1, 1), np.float32))).astype(np.float64))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_networks_without_a_density_are_told(crops):
    options = HmrOptions(backbone=ResnetOptions(blocks=(1, 1), width=4), head=IterativeOptions(features=32, hidden=16))
    other = regressors.untrained("hmr", options)
    with pytest.raises(ValueError, match="no density"):
        pose_samples.sample_bodies(other, crops, jax.random.key(0), num_samples=2)
    with pytest.raises(ValueError, match="at least 1"):
        pose_samples.sample_bodies(regressors.untrained("prohmr", OPTIONS), crops, jax.random.key(0), num_samples=0)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="even"):
        GlowOptions(features=7)
    with pytest.raises(ValueError, match="positive"):
        GlowOptions(layers=0)
    with pytest.raises(ValueError, match="the backbone has"):
        ProhmrOptions(flow=GlowOptions(context=7))
    with pytest.raises(ValueError, match="not so many"):
        ProhmrOptions(flow=GlowOptions(features=10))
    with pytest.raises(ValueError, match="head_hidden"):
        ProhmrOptions(head_hidden=0)


def test_converted_folder_gives_the_same_bodies(checkpoint, network, crops, tmp_path):
    record = convert_checkpoint("prohmr", checkpoint, tmp_path / "prohmr")
    assert record.image_size == 224
    assert record.settings["cfg.MODEL.FLOW.NUM_LAYERS"] == 2
    loaded, _ = regressor_file.load_converted(tmp_path / "prohmr", "prohmr")
    places = regressors.named_weights(loaded.weights)["flow.transforms.2.identity_features"]
    assert jnp.issubdtype(places.dtype, jnp.integer)
    one, other = regressors.regress(network, crops), regressors.regress(loaded, crops)
    np.testing.assert_array_equal(one.body_pose, other.body_pose)


def test_every_key_of_the_published_layout_goes_to_one_place(network_references):
    path = network_references.parent / "networks_keys" / "keys_prohmr.json"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    rows = next(value for value in json.loads(path.read_text()).values() if isinstance(value, list))
    shapes = {row["key"]: tuple(row["shape"]) for row in rows}
    options = torch_import._options(shapes, {}, "prohmr", "table", None)
    assert options == ProhmrOptions()
    plan = torch_import._Plan("prohmr", options, shapes, "table")
    assert sorted([*plan.weights.values(), *plan.left_out]) == sorted(shapes)
    assert {row["key"] for row in rows if row["kind"] != "model"} <= plan.left_out.keys()
    assert sum(name.endswith("_features") for name in plan.weights.values()) == 8


def test_what_is_left_out_is_told(checkpoint):
    left_out = torch_import.import_checkpoint(checkpoint, "prohmr").left_out
    reasons = {name.rpartition(".")[2]: reason for name, reason in left_out.items() if "D_conv" not in name}
    assert "empty place" in reasons["dummy_buffer"]
    assert "first batch" in reasons["initialized"]
    assert "training alone" in left_out["discriminator.D_conv1.weight"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("flow.flow._transform._transforms.3.shift"), r"missing: flow\.transforms\.3\.shift"),
        (
            lambda state: state.update({"flow.flow._transform._transforms.1.weight": torch.ones(3)}),
            r"unknown: flow\.flow\._transform\._transforms\.1\.weight",
        ),
        (
            lambda state: state["flow.flow._transform._transforms.2.identity_features"].fill_(3),
            r"identity_features and transform_features of flow\.transforms\.2 are not all numbers below 144",
        ),
        (
            lambda state: state["flow.flow._transform._transforms.2.identity_features"].fill_(-3),
            "no places of a vector",
        ),
        (
            lambda state: state.update(
                {"flow.flow._transform._transforms.2.identity_features": torch.arange(72).float()}
            ),
            "where whole numbers belong",
        ),
        (
            lambda state: state.update({"flow.flow._transform._transforms.0.log_scale": torch.ones(132)}),
            "SMPL's 24 rotations have 144",
        ),
        (lambda state: state.pop("flow.flow._transform._transforms.5.transform_net.final_layer.bias"), "final_layer"),
    ],
)
def test_files_that_are_damaged_are_refused(tmp_path, change, words):
    state = weights()
    change(state)
    with pytest.raises(CheckpointError, match=words):
        torch_import.import_checkpoint(saved(tmp_path / "checkpoint.pt", state), "prohmr")


def test_other_networks_are_told_by_name_both_ways(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="it holds ProHMR; convert it with --model=prohmr"):
        torch_import.import_checkpoint(checkpoint, "hmr2")
    spin = torch_networks.randomise(torch_networks.Spin((1, 1), 4, 16), 1).state_dict()
    with pytest.raises(CheckpointError, match=r"it holds HMR \(SPIN\)"):
        torch_import.import_checkpoint(saved(tmp_path / "spin.pt", spin), "prohmr")
