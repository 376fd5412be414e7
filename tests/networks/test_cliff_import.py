"""Checkpoints of the CLIFF family: variants told by their keys, dead keys listed, one network given as another."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks import cliff, crop_context, regressor_file, regressors, torch_import
from hardmo_jax.networks.backbones.hrnet import HrnetOptions
from hardmo_jax.networks.torch_import import CheckpointError
from hardmo_jax.pipelines.convert_checkpoint import convert_checkpoint

torch = pytest.importorskip("torch", reason="writes the checkpoints; the `bench` extra")
from tests.reference import torch_hrnets, torch_networks  # noqa: E402

BRANCHES = {"width": 2, "stem": 4, "modules": (1, 1, 1), "blocks": 1}
HIDDEN = {"hidden": 8}


def cliff_weights(*, is_hrnet=False):
    encoder = torch_hrnets.ResnetEncoder((1, 1), 4)
    if is_hrnet:
        encoder = torch_hrnets.ClassifyingHrnet(**BRANCHES, widened=2, outputs=16)
    return torch_networks.randomise(torch_hrnets.Cliff(encoder, **HIDDEN), 1).state_dict()


def pose_weights(kind=torch_hrnets.BedlamCliff, **sizes):
    return torch_networks.randomise(kind(torch_hrnets.PoseHrnet(**BRANCHES), **HIDDEN, **sizes), 1).state_dict()


def public(weights, prefix, place):
    return {place: {f"{prefix}{name}": value for name, value in weights.items()}, "epoch": 1}


def imported(folder, root, network):
    torch.save(root, folder / "weights.pt")
    return torch_import.import_checkpoint(folder / "weights.pt", network)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_published_cliff_is_read_with_either_backbone(tmp_path, prefix):
    found = imported(tmp_path, public(cliff_weights(), prefix, "model"), "cliff")
    assert found.options.backbone.blocks == (1, 1)
    assert (found.options.head.box_numbers, found.options.head.joints) == (3, 24)
    weights = cliff_weights(is_hrnet=True)
    found = imported(tmp_path, public(weights, prefix, "model"), "cliff")
    assert found.options.backbone == HrnetOptions(ending="classification", **BRANCHES, widened=2, outputs=16)
    bias = weights["encoder.downsamp_modules.1.0.bias"].numpy()
    np.testing.assert_array_equal(found.weights["backbone.downsamp_modules.1.0.bias"], bias)
    way = weights["encoder.stage3.0.fuse_layers.2.0.1.0.weight"].numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found.weights["backbone.stage3.0.fuse_layers.2.0.1.0.kernel"], way)
    assert all(name.endswith("num_batches_tracked") for name in found.left_out)


@pytest.mark.parametrize(("joints", "betas"), [(24, 10), (22, 11)])
def test_bedlam_s_files_are_read_and_their_dead_layers_told(tmp_path, joints, betas):
    weights = pose_weights(joints=joints, betas=betas)
    found = imported(tmp_path, public(weights, "model.", "state_dict"), "bedlam_cliff")
    head = found.options.head
    assert (head.joints, head.betas, head.box_numbers, head.features) == (joints, betas, 3, 30)
    dead = {name for name, reason in found.left_out.items() if "never uses" in reason}
    expected = {
        name
        for name in weights
        if ("downsample_module" in name or "final_layer" in name) and "num_batches_tracked" not in name
    }
    assert dead == expected


def test_networks_of_one_layout_are_told_by_what_their_heads_read(tmp_path):
    plain = public(pose_weights(torch_hrnets.HardmoHmr), "model.", "state_dict")
    assert imported(tmp_path, plain, "hardmo_hmr").options.head.box_numbers == 0
    with pytest.raises(CheckpointError, match=r"it holds HMR with HRNet-W48.*--model=hardmo_hmr"):
        imported(tmp_path, plain, "bedlam_cliff")
    with pytest.raises(CheckpointError, match=r"it holds CLIFF as BEDLAM trains it.*--model=bedlam_cliff"):
        imported(tmp_path, public(pose_weights(), "model.", "state_dict"), "hardmo_hmr")


def test_either_cliff_given_as_the_other_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"it holds CLIFF as BEDLAM trains it; .*--model=bedlam_cliff"):
        imported(tmp_path, public(pose_weights(), "model.", "state_dict"), "cliff")
    for is_hrnet in (False, True):
        with pytest.raises(CheckpointError, match=r"it holds CLIFF; convert it with --model=cliff"):
            imported(tmp_path, public(cliff_weights(is_hrnet=is_hrnet), "module.", "model"), "bedlam_cliff")
    with pytest.raises(CheckpointError, match=r"it holds CLIFF; convert it with --model=cliff"):
        imported(tmp_path, public(cliff_weights(), "module.", "model"), "hmr")


def test_unknown_missing_and_misshapen_weights_are_told(tmp_path):
    weights = cliff_weights(is_hrnet=True)
    more = weights | {"encoder.stage4.0.fuse_layers.0.0.0.weight": torch.ones(2, 2, 1, 1)}
    with pytest.raises(CheckpointError, match=r"unknown: encoder\.stage4\.0\.fuse_layers\.0\.0\.0\.weight"):
        imported(tmp_path, more, "cliff")
    for name, part in (("encoder.final_layer.1.bias", "missing"), ("encoder.transition2.2.0.0.weight", "missing")):
        less = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(CheckpointError, match=part):
            imported(tmp_path, less, "cliff")
    with pytest.raises(CheckpointError, match=r"of another shape: encoder\.bn1\.bias"):
        imported(tmp_path, weights | {"encoder.bn1.bias": torch.ones(7)}, "cliff")
    with pytest.raises(CheckpointError, match="no size of CLIFF fits"):
        imported(tmp_path, weights | {"fc1.weight": torch.ones(8, 5)}, "cliff")
    odd = pose_weights(joints=20)
    with pytest.raises(CheckpointError, match="a head of 20 joints"):
        imported(tmp_path, odd, "bedlam_cliff")


@pytest.mark.parametrize(
    ("table", "network"),
    [("cliff_res50", "cliff"), ("cliff_hr48", "cliff"),
     pytest.param("bedlam_cliff_smpl", "bedlam_cliff", marks=pytest.mark.slow), ("bedlam_cliff_smplx", "bedlam_cliff")],
)  # fmt: skip
def test_every_key_of_the_public_layouts_goes_to_one_place(network_references, table, network):
    path = network_references.parent / "networks_keys" / f"keys_{table}.json"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    rows = next(value for value in json.loads(path.read_text()).values() if isinstance(value, list))
    shapes = {row["key"].partition(".")[2]: tuple(row["shape"]) for row in rows}
    torch_import._check_network(shapes, network, table)
    options = torch_import._options(shapes, {}, network, table, None)
    if table in ("cliff_res50", "bedlam_cliff_smpl"):
        assert options == regressors.ARCHITECTURES[network].options()
    plan = torch_import._Plan(network, options, shapes, table)
    places = [*plan.weights.values(), *plan.left_out]
    assert sorted(places) == sorted(shapes)
    dead = {name for name in plan.left_out if not name.endswith("num_batches_tracked")}
    assert all(name.startswith(("head.downsample_module.", "backbone.final_layer.")) for name in dead)
    assert bool(dead) == (network == "bedlam_cliff")


@pytest.mark.parametrize("is_hrnet", [False, True])
def test_a_converted_folder_gives_the_same_bodies(tmp_path, is_hrnet):
    torch.save(public(cliff_weights(is_hrnet=is_hrnet), "module.", "model"), tmp_path / "cliff.pt")
    record = convert_checkpoint("cliff", tmp_path / "cliff.pt", tmp_path / "out")
    regressor, again = regressor_file.load_converted(tmp_path / "out", "cliff")
    assert (again.source_sha256, again.left_out) == (record.source_sha256, record.left_out)
    assert isinstance(regressor.options.backbone, HrnetOptions) == is_hrnet
    crops = np.random.default_rng(0).normal(size=(1, *regressor.crop_shape, 3)).astype(np.float32)
    box = CropBox(center=jnp.array([[300.0, 200.0]]), size=jnp.array([250.0]))
    context = crop_context.diagonal_context(box, np.array([[640.0, 480.0]]))
    output = regressors.regress(regressor, crops, context)
    direct = torch_import.import_checkpoint(tmp_path / "cliff.pt", "cliff")
    other = regressors.with_arrays("cliff", direct.options, direct.weights)
    np.testing.assert_array_equal(output.body_pose, regressors.regress(other, crops, context).body_pose)
    with pytest.raises(ValueError, match="must be told where crops lie"):
        regressors.regress(regressor, crops)


def test_numbers_about_the_box_are_those_of_the_paper():
    box = CropBox(center=np.array([[320.0, 240.0], [400.0, 100.0]]), size=np.array([192.0, 384.0]))
    context = crop_context.diagonal_context(box, np.tile([640.0, 480.0], (2, 1)))
    assert np.asarray(context.focal_length).tolist() == [800.0, 800.0]
    np.testing.assert_allclose(cliff.cliff_box_numbers(context), [[0, 0, 0], [0.1 * 2.8, -0.175 * 2.8, 4.0]], atol=1e-5)
    plain = crop_context.box_over_focal_length(context)
    np.testing.assert_allclose(plain, [[0, 0, 0.24], [0.1, -0.175, 0.48]], atol=1e-6)
