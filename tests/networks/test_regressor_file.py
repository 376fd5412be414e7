"""Folders of converted regressors: what is read back, and what is told of folders that are something else."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from hardmo_jax.networks import regressor_file, regressors
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.regressor_file import RegressorFileError, RegressorRecord

TINY = HmrOptions(backbone=ResnetOptions(blocks=(1, 1), width=4), head=IterativeOptions(features=32, hidden=16))


def record_of(regressor, **changed):
    fields = {
        "model": regressor.name,
        "options": dataclasses.asdict(regressor.options),
        "image_size": regressor.image_size,
        "num_parameters": 1,
        "source_name": "epoch.ckpt",
        "source_sha256": "0" * 64,
        "source_bytes": 5,
        "left_out": {},
        "settings": {},
    }
    return RegressorRecord(**{**fields, **changed})


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "hmr"
    regressor = regressors.untrained("hmr", TINY, seed=3)
    regressor_file.save_converted(folder, record_of(regressor), regressors.named_weights(regressor.weights), None)
    return folder, regressor


@pytest.fixture
def copied(converted, tmp_path):
    return shutil.copytree(converted[0], tmp_path / "copy")


def test_what_was_saved_is_loaded(converted):
    folder, regressor = converted
    found, record = regressor_file.load_converted(folder, "hmr")
    assert record == RegressorRecord(**json.loads(json.dumps(dataclasses.asdict(record_of(regressor)))))
    assert found.options == regressor.options
    for one, other in zip(jax.tree.leaves(found.weights), jax.tree.leaves(regressor.weights), strict=True):
        np.testing.assert_array_equal(one, other)
    images = np.zeros((1, 224, 224, 3), np.float32)
    before = regressors.regress(regressor, images)
    np.testing.assert_array_equal(regressors.regress(found, images).body_pose, before.body_pose)


def test_another_network_than_is_asked_for_is_refused(converted):
    with pytest.raises(RegressorFileError, match=r"holds HMR \(SPIN\) \(`hmr`\), and `hmr2` is asked for"):
        regressor_file.load_converted(converted[0], "hmr2")


def test_a_discriminator_that_is_not_there_is_told(converted):
    with pytest.raises(RegressorFileError, match=r"epoch\.ckpt had no discriminator"):
        regressor_file.load_discriminator(converted[0])


def test_what_is_no_converted_regressor_is_told(tmp_path, copied):
    with pytest.raises(FileNotFoundError, match="convert_checkpoint"):
        regressor_file.load_converted(tmp_path / "absent")
    with pytest.raises(RegressorFileError, match="is a file"):
        regressor_file.load_converted(copied / "regressor.json")
    (copied / "regressor.json").unlink()
    with pytest.raises(RegressorFileError, match=r"holds no regressor\.json"):
        regressor_file.load_converted(copied)


def changed_record(folder, **changed):
    path = folder / "regressor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format_version": 99}, "version 99, and 1 is read"),
        ({"model": "hmr9"}, "damaged"),
        ({"source_sha256": "x"}, "damaged"),
        ({"unknown": 1}, "damaged"),
        ({"options": {"backbone": {"depth": 3}}}, "unknown key 'depth'"),
        ({"options": {"backbone": {"blocks": [1, 1], "width": 8}, "head": {"features": 64}}}, "is not as"),
    ],
)
def test_records_that_do_not_fit_are_told(copied, changed, message):
    changed_record(copied, **changed)
    with pytest.raises(RegressorFileError, match=message):
        regressor_file.load_converted(copied)


def test_damaged_text_and_weights_are_told(copied):
    text = (copied / "regressor.json").read_text()
    (copied / "regressor.json").write_text(text[:50])
    with pytest.raises(RegressorFileError, match="damaged"):
        regressor_file.load_converted(copied)
    (copied / "regressor.json").write_text(text)
    shutil.rmtree(copied / "weights" / "d")
    with pytest.raises(RegressorFileError, match=r"damaged or incomplete \(\w+\); convert"):
        regressor_file.load_converted(copied)
    shutil.rmtree(copied / "weights")
    with pytest.raises(RegressorFileError, match="the weights are missing"):
        regressor_file.load_converted(copied)
