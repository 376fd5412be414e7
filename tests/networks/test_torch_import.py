"""Checkpoints to weights: every key once, sizes from shapes, and what is told of files that are something else."""

import json

import numpy as np
import pytest

from hardmo_jax.networks import regressors, torch_import, torch_names
from hardmo_jax.networks.torch_import import CheckpointError
from hardmo_jax.torch_file import TorchFileError

torch = pytest.importorskip("torch", reason="writes the checkpoints; the `bench` extra")
from tests.reference import torch_networks  # noqa: E402

SPIN = {"blocks": (1, 1), "width": 4, "hidden": 16}
SIZES = torch_networks.Sizes(
    width=16, depth=2, heads=2, token=8, decoder_depth=1, decoder_heads=8, head_width=64, hidden=8
)


def spin_weights(**sizes):
    return torch_networks.randomise(torch_networks.Spin(**{**SPIN, **sizes}), 1).state_dict()


def hmr2_weights():
    return torch_networks.randomise(torch_networks.Hmr2(SIZES), 1).state_dict()


def imported(folder, root, network="hmr", **options):
    torch.save(root, folder / "weights.pt")
    return torch_import.import_checkpoint(folder / "weights.pt", network, **options)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"model": weights, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 3},
        lambda weights: {"state_dict": {f"module.{name}": value for name, value in weights.items()}},
        lambda weights: {"model": {f"module.model.{name}": value for name, value in weights.items()}},
    ],
    ids=["bare", "SPIN", "module.", "module.model."],
)
def test_weights_are_found_wherever_training_programs_put_them(tmp_path, wrap):
    weights = spin_weights()
    found = imported(tmp_path, wrap(weights))
    np.testing.assert_array_equal(found.weights["head.fc1.kernel"], weights["fc1.weight"].numpy().T)
    np.testing.assert_array_equal(found.weights["head.init_pose"], weights["init_pose"].numpy())
    kernel = weights["layer1.0.conv2.weight"].numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found.weights["backbone.layer1.0.conv2.kernel"], kernel)
    np.testing.assert_array_equal(found.weights["backbone.bn1.var"], weights["bn1.running_var"].numpy())
    assert all(name.endswith("num_batches_tracked") for name in found.left_out)


def test_a_word_is_taken_off_the_beginning_only_and_only_from_all_names():
    names = torch_names.without_wrapper({"model.a.model.b": 0, "model.c": 0})
    assert names == {"a.model.b": "model.a.model.b", "c": "model.c"}
    assert torch_names.without_wrapper({"model.a": 0, "b": 0}) == {"model.a": "model.a", "b": "b"}


@pytest.mark.parametrize(("kind", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_weights_keep_the_type_of_the_file(tmp_path, kind, name):
    weights = {key: value.to(kind) if value.is_floating_point() else value for key, value in spin_weights().items()}
    found = imported(tmp_path, {"model": weights})
    assert {str(array.dtype) for array in found.weights.values()} == {name}
    kernel = np.asarray(found.weights["head.fc2.kernel"], np.float32)
    np.testing.assert_array_equal(kernel, weights["fc2.weight"].float().numpy().T)


def test_weights_shared_with_averages_of_them_are_read_once_each(tmp_path):
    weights = spin_weights()
    whole = torch.cat([weights["fc2.weight"], weights["fc2.weight"]])
    found = imported(tmp_path, {**weights, "fc2.weight": whole[:16]})
    np.testing.assert_array_equal(found.weights["head.fc2.kernel"], weights["fc2.weight"].numpy().T)


@pytest.mark.parametrize("table", ["hmr_spin", "hmr2_small", "hmr2_vith"])
def test_every_key_of_the_public_layout_goes_to_one_place(network_references, table):
    path = network_references.parent / "networks_keys" / f"keys_{table}.json"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    rows = next(value for value in json.loads(path.read_text()).values() if isinstance(value, list))
    shapes = {row["key"]: tuple(row["shape"]) for row in rows}
    network = "hmr" if table == "hmr_spin" else "hmr2"
    decoder = "cfg.MODEL.SMPL_HEAD.TRANSFORMER_DECODER."
    settings = {f"{decoder}heads": 3, f"{decoder}dim_head": 16} if table == "hmr2_small" else {}
    options = torch_import._options(shapes, settings, network, table, None)
    if table != "hmr2_small":
        assert options == regressors.ARCHITECTURES[network].options()
    plan = torch_import._Plan(network, options, shapes, table)
    places = [*plan.weights.values(), *plan.judge.values(), *plan.left_out]
    assert sorted(places) == sorted(shapes)
    licensed = {row["key"] for row in rows if row["kind"] != "model"}
    assert licensed <= plan.left_out.keys()
    assert {name for name in plan.left_out if not name.endswith("num_batches_tracked")} <= licensed | {"initialized"}


def test_missing_and_unknown_weights_are_listed(tmp_path):
    weights = spin_weights()
    del weights["bn1.weight"], weights["init_cam"]
    with pytest.raises(CheckpointError, match=r"missing: backbone\.bn1\.scale, head\.init_cam"):
        imported(tmp_path, weights)
    weights = spin_weights() | {"layer1.0.se.weight": torch.ones(3), "head.extra": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"unknown: layer1\.0\.se\.weight, head\.extra"):
        imported(tmp_path, weights)
    weights = spin_weights() | {"fc2.bias": torch.ones(5)}
    with pytest.raises(CheckpointError, match=r"of another shape: fc2\.bias \(5,\), which would have to fit \(16,\)"):
        imported(tmp_path, weights)


def test_part_of_a_discriminator_is_an_error_and_none_is_not(tmp_path):
    weights = hmr2_weights()
    assert imported(tmp_path, {"state_dict": weights}, "hmr2", vit_heads=2).discriminator is None
    judge = torch_networks.randomise(torch_networks.Discriminator(), 1).state_dict()
    whole = weights | {f"discriminator.{name}": value for name, value in judge.items()}
    found = imported(tmp_path, {"state_dict": whole}, "hmr2", vit_heads=2)
    np.testing.assert_array_equal(found.discriminator["D_conv1.kernel"], judge["D_conv1.weight"][:, :, 0, 0].numpy().T)
    del whole["discriminator.betas_out.bias"]
    with pytest.raises(CheckpointError, match=r"missing: betas_out\.bias"):
        imported(tmp_path, {"state_dict": whole}, "hmr2", vit_heads=2)


def test_heads_that_no_shape_shows_are_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match="--vit_heads"):
        imported(tmp_path, {"state_dict": hmr2_weights()}, "hmr2")
    with pytest.raises(CheckpointError, match="must divide"):
        imported(tmp_path, {"state_dict": hmr2_weights()}, "hmr2", vit_heads=3)


def test_other_networks_are_told_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"it holds HMR 2\.0; convert it with --model=hmr2"):
        imported(tmp_path, {"state_dict": hmr2_weights()}, "hmr")
    with pytest.raises(CheckpointError, match=r"it holds HMR \(SPIN\); convert it with --model=hmr"):
        imported(tmp_path, spin_weights(), "hmr2")
    is_head = ("fc1", "fc2", "dec", "init_")
    cliff = {name if name.startswith(is_head) else f"encoder.{name}": value for name, value in spin_weights().items()}
    with pytest.raises(CheckpointError, match=r"it holds CLIFF; convert it with --model=cliff"):
        imported(tmp_path, cliff, "hmr2")
    with pytest.raises(CheckpointError, match="no network 'pymaf'"):
        imported(tmp_path, cliff, "pymaf")


def test_a_head_of_smplx_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"SMPL-X head \(22 joints, 11 betas\) where HMR \(SPIN\) has SMPL's 24"):
        imported(tmp_path, spin_weights(joints=22, betas=11), "hmr")


@pytest.mark.parametrize(
    ("name", "value"),
    [("IMAGE_SIZE", 224), ("IMAGE_STD.1", 1.0), ("BACKBONE.TYPE", "resnet"), ("SMPL_HEAD.IEF_ITERS", 3)],
)
def test_configurations_of_other_networks_are_refused(network_references, name, value):
    table = next((network_references.parent / "networks_keys").glob("keys_hmr2_small.json"))
    rows = next(value for value in json.loads(table.read_text()).values() if isinstance(value, list))
    shapes = {row["key"].removeprefix("model."): tuple(row["shape"]) for row in rows}
    decoder = "cfg.MODEL.SMPL_HEAD.TRANSFORMER_DECODER."
    settings = {f"{decoder}heads": 3, f"{decoder}dim_head": 16}
    torch_import._options(shapes, settings, "hmr2", "x.ckpt", 8)
    with pytest.raises(CheckpointError, match=f"its configuration says cfg.MODEL.{name} "):
        torch_import._options(shapes, settings | {f"cfg.MODEL.{name}": value}, "hmr2", "x.ckpt", 8)


def test_what_is_no_weights_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no weights found"):
        imported(tmp_path, {"epoch": 3})
    with pytest.raises(CheckpointError, match=r"no weights found.*found list"):
        imported(tmp_path, [1, 2])
    with pytest.raises(
        CheckpointError, match=r"found them under 'net': `torch.save\(\{'state_dict': checkpoint\['net'\]"
    ):
        imported(tmp_path, {"net": spin_weights(), "epoch": 3})
    with pytest.raises(
        CheckpointError, match=r"under 'model' found an object of .*Linear, whole.*model.state_dict\(\)"
    ):
        imported(tmp_path, {"model": torch.nn.Linear(2, 2)})
    weights = spin_weights()
    weights["fc2.bias"][3] = float("nan")
    with pytest.raises(CheckpointError, match=r"fc2\.bias holds values that are NaN"):
        imported(tmp_path, weights)
    with pytest.raises(CheckpointError, match="where numbers with a point belong"):
        imported(tmp_path, spin_weights() | {"fc2.bias": torch.ones(16, dtype=torch.int64)})
    with pytest.raises(FileNotFoundError, match="no such file"):
        torch_import.import_checkpoint(tmp_path / "absent.ckpt", "hmr")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    with pytest.raises(TorchFileError, match="a JPEG image"):
        torch_import.import_checkpoint(tmp_path / "photo.jpg", "hmr")
