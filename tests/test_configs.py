"""Every config in every variant becomes options, survives JSON, and refuses what it does not know."""

import dataclasses
import importlib
import json
import pathlib

import pytest
from ml_collections import config_dict

from hardmo_jax import options as options_module
from hardmo_jax.pipelines import annotate, evaluate, prepare
from tools import _cli

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {
    "normal": ("full", "smoke"),
    "mocap_hard": ("full", "synth_hard", "smoke", "synth_smoke"),
    "eval": ("full", "everything", "smoke"),
}
OPTIONS = {
    "normal": annotate.AnnotateOptions,
    "mocap_hard": prepare.PrepareOptions,
    "eval": evaluate.EvaluateOptions,
}


def config_of(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def test_every_config_file_is_tested():
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == set(VARIANTS)


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, vs in VARIANTS.items() for v in vs])
def test_config_becomes_options_and_survives_json(name, variant):
    options = _cli.build_options(OPTIONS[name], config_of(name, variant))
    again = options_module.from_mapping(OPTIONS[name], json.loads(json.dumps(options_module.to_mapping(options))))
    assert again == options
    hash(options)


def test_calling_get_config_twice_gives_independent_configs():
    first = config_of("normal", "full")
    first.fit.yaw_starts = 9
    assert config_of("normal", "full").fit.yaw_starts != 9


def test_unknown_variant_and_unknown_key_are_errors():
    with pytest.raises(ValueError, match="unknown variant 'fast'"):
        config_of("normal", "fast")
    config = config_of("normal", "full")
    config.fit.sovler = "adam"
    with pytest.raises(options_module.OptionsError, match=r"config\.fit: unknown key 'sovler'; did you mean 'solver'"):
        _cli.build_options(annotate.AnnotateOptions, config)


def test_value_of_another_kind_is_named_with_its_place():
    config = config_of("normal", "full")
    with config.ignore_type():
        config.fit.yaw_starts = "four"
    with pytest.raises(options_module.OptionsError, match=r"config\.fit\.yaw_starts: expected int, got 'four'"):
        _cli.build_options(annotate.AnnotateOptions, config)


def test_the_numbers_of_the_benchmark_are_those_that_the_options_have_by_themselves():
    assert _cli.build_options(prepare.PrepareOptions, config_of("mocap_hard", "full")) == prepare.PrepareOptions()


def test_rows_of_the_evaluation_differ_in_their_starts_only():
    zero_start, default = _cli.build_options(evaluate.EvaluateOptions, config_of("eval", "full")).methods
    normal_fit = _cli.build_options(annotate.AnnotateOptions, config_of("normal", "full")).fit
    assert default.fit == normal_fit
    assert dataclasses.replace(zero_start.fit, yaw_starts=normal_fit.yaw_starts) == normal_fit
    assert zero_start.fit.yaw_starts == 2


def test_sections_are_those_of_the_house():
    config = config_of("normal", "full")
    assert isinstance(config, config_dict.ConfigDict)
    assert set(config) == {"seed", "body", "camera", "perception", "fit", "output"}
