"""`python -m tools.convert_checkpoint` as a user runs it: what it writes and says, and what a failure leaves."""

import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp
import pytest

from hardmo_jax.networks import regressor_file, regressors
from hardmo_jax.networks.hmr2_discriminator import Hmr2Discriminator
from tests.perception import handmade_torch
from tests.perception.handmade_torch import Made
from tests.tools import command_line

torch = pytest.importorskip("torch", reason="writes the checkpoints; the `bench` extra")
from tests.reference import torch_networks  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
USAGE_STATUS = 2
SPIN = {"blocks": (1, 1), "width": 4, "hidden": 16}


def spin_weights(**sizes):
    return torch_networks.randomise(torch_networks.Spin(**{**SPIN, **sizes}), 1).state_dict()


def converted(*command_lines):
    return command_line.run_each("convert_checkpoint", command_lines)


def test_public_checkpoint_becomes_a_folder_that_gives_the_same_bodies(network_references, tmp_path):
    source, target = network_references / "hmr2_small_seed1.ckpt", tmp_path / "models" / "hmr2"
    done = subprocess.run(
        [sys.executable, "-m", "tools.convert_checkpoint", "--model=hmr2", f"--in={source}", f"--out={target}"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert digest in done.stdout
    assert "left out 10 entries: arrays of the SMPL model, which has a licence of its own" in done.stdout
    assert [path.name for path in target.parent.iterdir()] == ["hmr2"]
    assert {path.name for path in target.iterdir()} == {"weights", "discriminator", "regressor.json"}
    regressor, record = regressor_file.load_converted(target, "hmr2")
    assert (record.source_sha256, record.source_name) == (digest, source.name)
    assert (record.image_size, record.options["rot6d_layout"]) == (256, "hmr2")
    assert record.settings["cfg.MODEL.BBOX_SHAPE.0"] == 192
    assert json.loads((target / "regressor.json").read_text())["format_version"] == 1
    with np.load(network_references / "hmr2_small_seed1.npz") as reference:
        output = regressors.regress(regressor, reference["inp/img"].transpose(0, 2, 3, 1))
        np.testing.assert_allclose(output.body_pose, reference["out/pred_smpl_params/body_pose"], atol=3e-6)
        judge = regressor_file.load_discriminator(target)
        assert isinstance(judge, Hmr2Discriminator)
        np.testing.assert_allclose(judge(output.body_pose, output.betas), reference["out/disc_out"], atol=3e-6)
    assert not any(path.name == "smpl" for path in target.rglob("*"))


def test_checkpoint_of_spin_and_halves_are_converted(tmp_path):
    whole, half = tmp_path / "model_checkpoint.pt", tmp_path / "half.pt"
    weights = spin_weights()
    torch.save({"model": weights, "epoch": 50}, whole, _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {f"module.{name}": value.half() for name, value in weights.items()}}, half)
    done = converted(
        ["--model=hmr", f"--in={whole}", f"--out={tmp_path / 'whole'}"],
        ["--model=hmr", f"--in={half}", f"--out={tmp_path / 'halves'}"],
    )
    assert [one.returncode for one in done] == [0, 0], done
    (exact, _), (coarse, _) = (regressor_file.load_converted(tmp_path / name) for name in ("whole", "halves"))
    kernel = weights["fc2.weight"].numpy().T
    np.testing.assert_array_equal(regressors.named_weights(exact.weights)["head.fc2.kernel"], kernel)
    other = regressors.named_weights(coarse.weights)["head.fc2.kernel"]
    assert other.dtype == np.float32
    np.testing.assert_array_equal(other, kernel.astype(np.float16))
    # By what is noted of each array: sizes of small files have more to do with how the disk lays them out.
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        kept = {
            name: checkpointer.metadata(tmp_path / name / "weights").item_metadata.tree["head.fc2.kernel"].dtype
            for name in ("whole", "halves")
        }
    assert kept == {"whole": np.float32, "halves": np.float16}


def test_bad_checkpoints_are_told_in_one_line_and_leave_nothing(tmp_path):
    good, folder = tmp_path / "good.pt", tmp_path / "out"
    folder.mkdir()
    torch.save({"model": spin_weights()}, good)
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:3000])
    mark = tmp_path / "it ran"
    handmade_torch.save(tmp_path / "harm.pt", {"model": Made("posix.system", (f"touch '{mark}'",), is_called=True)})
    torch.save({"state_dict": spin_weights(joints=22, betas=11)}, tmp_path / "smplx.pt")
    some = spin_weights()
    del some["fc1.bias"]
    torch.save({"model": some}, tmp_path / "some.pt")
    cases = [
        ("hmr", "cut.pt", "cut off or damaged"),
        ("hmr", "harm.pt", "could run code"),
        ("hmr2", "good.pt", "it holds HMR (SPIN); convert it with --model=hmr"),
        ("hmr", "smplx.pt", "SMPL-X head (22 joints, 11 betas)"),
        ("hmr", "some.pt", "missing: head.fc1.bias"),
        ("hmr", "absent.pt", "no such file"),
        ("cliff", "good.pt", "hmr"),
    ]
    done = converted(
        *([f"--model={model}", f"--in={tmp_path / name}", f"--out={folder / 'made'}"] for model, name, _ in cases),
        ["--model=hmr", f"--in={good}"],
    )
    for one, (_, _, message) in zip(done, [*cases, ("", "", "--out is missing")], strict=True):
        assert one.returncode == USAGE_STATUS, one
        assert one.stdout == ""
        assert message in one.stderr
        assert one.stderr.startswith("error: ")
        assert one.stderr.count("\n") == 1
    assert not list(folder.iterdir())
    assert not mark.exists()


def test_nothing_but_a_converted_network_is_ever_replaced(tmp_path):
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    weights = spin_weights()
    torch.save({"model": weights}, first)
    torch.save({"model": weights | {"fc2.bias": torch.full((16,), 7.0)}}, second)
    foreign, target = tmp_path / "foreign", tmp_path / "models"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    done = converted(
        ["--model=hmr", f"--in={first}", f"--out={foreign}", "--overwrite"],
        ["--model=hmr", f"--in={first}", f"--out={first}"],
        ["--model=hmr", f"--in={first}", f"--out={tmp_path}"],
        ["--model=hmr", f"--in={first}", f"--out={target}"],
        ["--model=hmr", f"--in={second}", f"--out={target}"],
        ["--model=hmr", f"--in={second}", f"--out={target}", "--overwrite"],
    )
    assert [one.returncode for one in done] == [2, 2, 2, 0, 2, 0], done
    assert "no converted regressor" in done[0].stderr
    assert "is a file" in done[1].stderr
    assert "lies in the output folder" in done[2].stderr
    assert "give --overwrite" in done[4].stderr
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    assert {path.name for path in tmp_path.iterdir()} == {"first.pt", "second.pt", "foreign", "models"}
    found, _ = regressor_file.load_converted(target)
    assert float(regressors.named_weights(found.weights)["head.fc2.bias"][0]) == 7


def test_a_failure_while_writing_leaves_the_old_network_and_nothing_else(tmp_path, monkeypatch):
    from hardmo_jax.pipelines import convert_checkpoint

    source, target = tmp_path / "w.pt", tmp_path / "models"
    torch.save({"model": spin_weights()}, source)
    record = convert_checkpoint.convert_checkpoint("hmr", source, target)

    def fail(folder, *_):
        (folder / "weights").mkdir(parents=True)
        raise OSError("no space left on device")

    monkeypatch.setattr(regressor_file, "save_converted", fail)
    with pytest.raises(convert_checkpoint.ConversionError, match="no space"):
        convert_checkpoint.convert_checkpoint("hmr", source, target, may_replace=True)
    with pytest.raises(convert_checkpoint.ConversionError, match="no space"):
        convert_checkpoint.convert_checkpoint("hmr", source, tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"w.pt", "models"}
    assert regressor_file.load_converted(target)[1].source_sha256 == record.source_sha256


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    from hardmo_jax.pipelines import convert_checkpoint

    source = tmp_path / "w.pt"
    torch.save({"model": spin_weights()}, source)
    full = type(convert_checkpoint.shutil.disk_usage(tmp_path))(1 << 30, (1 << 30) - 1000, 1000)
    monkeypatch.setattr(convert_checkpoint.shutil, "disk_usage", lambda path: full)
    with pytest.raises(convert_checkpoint.ConversionError, match=r"0\.00 GB free, and 0\.03 GB are needed"):
        convert_checkpoint.convert_checkpoint("hmr", source, tmp_path / "models")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_a_network_that_a_killed_run_left_aside_is_put_back(tmp_path):
    from hardmo_jax.pipelines import convert_checkpoint

    source, target = tmp_path / "w.pt", tmp_path / "models"
    torch.save({"model": spin_weights()}, source)
    convert_checkpoint.convert_checkpoint("hmr", source, target)
    target.rename(tmp_path / ".replaced-models")
    with pytest.raises(convert_checkpoint.ConversionError, match="give --overwrite"):
        convert_checkpoint.convert_checkpoint("hmr", source, target)
    regressor_file.load_converted(target)
    assert {path.name for path in tmp_path.iterdir()} == {"w.pt", "models"}


def test_an_old_network_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    import os

    from hardmo_jax.pipelines import convert_checkpoint

    source, target, link = tmp_path / "w.pt", tmp_path / "models", tmp_path / "link"
    torch.save({"model": spin_weights()}, source)
    convert_checkpoint.convert_checkpoint("hmr", source, target)
    link.symlink_to(target)
    convert_checkpoint.convert_checkpoint("hmr", source, link, may_replace=True)
    assert link.is_symlink()
    replace = os.replace

    def fail(start, end):
        if pathlib.Path(start).name.startswith(".converting-") and pathlib.Path(end) == target:
            raise OSError("no luck")
        replace(start, end)

    monkeypatch.setattr(convert_checkpoint.os, "replace", fail)
    with pytest.raises(convert_checkpoint.ConversionError, match="no luck"):
        convert_checkpoint.convert_checkpoint("hmr", source, target, may_replace=True)
    assert {path.name for path in tmp_path.iterdir()} == {"w.pt", "models", "link"}
    regressor_file.load_converted(target)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(convert_checkpoint.ConversionError, match="working folder"):
        convert_checkpoint.convert_checkpoint("hmr", source, pathlib.Path())
