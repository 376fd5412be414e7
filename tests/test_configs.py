"""Every config in every variant becomes options, survives JSON, and refuses what it does not know."""

import dataclasses
import importlib
import json
import pathlib

import pytest
from absl import flags
from ml_collections import config_dict, config_flags

from hardmo_jax import options as options_module
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.perception.quality import QualityOptions
from hardmo_jax.pipelines import (
    annotate,
    collect,
    evaluate,
    loop_options,
    prepare,
    refine,
    render_training,
    train_lifter,
    train_motion,
    train_part_scorer,
    train_prior,
    train_ranker,
    train_regressor,
)
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from hardmo_jax.recovery import lift_and_fit, recover_motion
from tools import _cli

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {
    "collect": ("full", "smoke"),
    "normal": ("full", "smoke", "headings", "multi_start"),
    "hand": ("full", "smoke"),
    "foot": ("full", "smoke"),
    "mocap_hard": ("full", "synth_hard", "smoke", "synth_smoke"),
    "eval": ("full", "everything", "ablation", "clips", "smoke"),
    "train_lifter": ("full", "smoke"),
    "train_motion": ("full", "smoke"),
    "train_prior": ("full", "smoke"),
    "train_ranker": ("full", "smoke"),
    "train_part_scorer": ("full", "smoke"),
    "train_hmr": ("full", "smoke"),
    "train_hmr2": ("full", "smoke"),
    "render": ("full", "smoke"),
    "loop": ("full", "smoke"),
}
OPTIONS = {
    "collect": collect.CollectOptions,
    "normal": annotate.AnnotateOptions,
    "hand": refine.RefineOptions,
    "foot": refine.RefineOptions,
    "mocap_hard": prepare.PrepareOptions,
    "eval": evaluate.EvaluateOptions,
    "train_lifter": train_lifter.TrainLifterOptions,
    "train_motion": train_motion.TrainMotionOptions,
    "train_prior": train_prior.TrainPriorOptions,
    "train_ranker": train_ranker.TrainRankerOptions,
    "train_part_scorer": train_part_scorer.TrainPartScorerOptions,
    "train_hmr": train_regressor.TrainRegressorOptions,
    "train_hmr2": train_regressor.TrainRegressorOptions,
    "render": render_training.RenderTrainingOptions,
    "loop": loop_options.LoopOptions,
}


def config_of(name, variant):
    config = importlib.import_module(f"configs.{name}").get_config(variant)
    if name.startswith("train_"):
        del config.kind  # which of the options the others are for
    return config


def test_every_config_file_is_tested():
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == set(VARIANTS)


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, vs in VARIANTS.items() for v in vs])
def test_config_becomes_options_and_survives_json(name, variant):
    options = _cli.build_options(OPTIONS[name], config_of(name, variant))
    again = options_module.from_mapping(OPTIONS[name], json.loads(json.dumps(options_module.to_mapping(options))))
    assert again == options
    hash(options)


def test_sections_of_the_loop_are_the_configs_of_its_stages_and_agree_on_the_body():
    parsed = flags.FlagValues()
    arguments = [
        "tool", f"--config={ROOT}/configs/loop.py", "--config.annotate.body.model=own.npz", "--config.people=7",
        "--config.train.run.steps=5", "--config.hand.mine.min_probability=0.8",
    ]  # fmt: skip
    config_flags.DEFINE_config_file("config", lock_config=True, flag_values=parsed, sys_argv=arguments)
    parsed(arguments)
    found = _cli.build_options(loop_options.LoopOptions, parsed.config)
    own = annotate.BodyOptions(model="own.npz")
    assert (found.hand.body, found.foot.body, found.train.body_model) == (own, own, "own.npz")
    assert (found.people, found.render.people, found.train.run.steps) == (7, 7, 5)
    usual = _cli.build_options(loop_options.LoopOptions, config_of("loop", "full"))
    for name in ("annotate", "hand", "foot"):
        config = "normal" if name == "annotate" else name
        assert getattr(usual, name) == _cli.build_options(OPTIONS[config], config_of(config, "full"))
    assert usual.train == _cli.build_options(OPTIONS["train_hmr2"], config_of("train_hmr2", "full"))


def test_options_of_the_loop_that_do_not_go_together_are_told():
    for changes, words in (
        ({"hand.body.view": "smpl"}, None),  # told to all
        ({"rounds": 0}, "`rounds` must be at least 1"),
        ({"hand.subset": "foot"}, r"`hand\.subset` must be hand"),
        ({"annotate.initialise.network": "prohmr", "annotate.initialise.checkpoint": "x",
          "annotate.initialise.num_samples": 4}, "needs a network with a density"),
    ):  # fmt: skip
        config = config_of("loop", "smoke")
        config.update_from_flattened_dict(changes)
        if words is None:
            assert _cli.build_options(loop_options.LoopOptions, config).annotate.body.view == "smpl"
        else:
            with pytest.raises(options_module.OptionsError, match=words):
                _cli.build_options(loop_options.LoopOptions, config)
    with pytest.raises(ValueError, match=r"must be `annotate\.body`"):
        loop_options.LoopOptions(hand=refine.RefineOptions(body=annotate.BodyOptions(view="smpl")))
    with pytest.raises(ValueError, match=r"must be `annotate\.body\.model`"):
        loop_options.LoopOptions(train=train_regressor.TrainRegressorOptions(body_model="own.npz"))


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


@pytest.mark.parametrize(("text", "value"), [("False", False), ("false", False), ("True", True), ("auto", "auto")])
def test_whether_the_camera_is_fixed_can_be_said_on_the_command_line(text, value):
    """The default is a word, the others are none."""
    parsed = flags.FlagValues()
    arguments = ["tool", f"--config={ROOT}/configs/normal.py", f"--config.fit.camera_is_fixed={text}"]
    config_flags.DEFINE_config_file("config", lock_config=True, flag_values=parsed, sys_argv=arguments)
    parsed(arguments)
    found = _cli.build_options(annotate.AnnotateOptions, parsed.config).fit.camera_is_fixed
    assert (type(found), found) == (type(value), value)


def test_reasons_for_which_people_are_left_out_can_be_said_on_the_command_line():
    parsed = flags.FlagValues()
    arguments = ["tool", f"--config={ROOT}/configs/normal.py", "--config.quality.drop=('blurred', 'few_points')"]
    config_flags.DEFINE_config_file("config", lock_config=True, flag_values=parsed, sys_argv=arguments)
    parsed(arguments)
    assert _cli.build_options(annotate.AnnotateOptions, parsed.config).quality.drop == ("blurred", "few_points")


def test_how_well_people_must_be_seen_is_in_the_config_what_it_is_in_the_library():
    config = config_of("normal", "full")
    assert set(config.quality) == {field.name for field in dataclasses.fields(QualityOptions)}
    assert _cli.build_options(annotate.AnnotateOptions, config).quality == QualityOptions()


def test_the_config_of_collections_is_what_the_library_does_by_itself():
    assert _cli.build_options(collect.CollectOptions, config_of("collect", "full")) == collect.CollectOptions()


def test_the_numbers_of_the_benchmark_are_those_that_the_options_have_by_themselves():
    assert _cli.build_options(prepare.PrepareOptions, config_of("mocap_hard", "full")) == prepare.PrepareOptions()


def test_rows_of_the_evaluation_are_what_they_are_called():
    methods = _cli.build_options(evaluate.EvaluateOptions, config_of("eval", "full")).methods
    zero_start, lifter, lifter_fit, multi_start, second_look = methods
    normal = _cli.build_options(annotate.AnnotateOptions, config_of("normal", "full"))
    headings = _cli.build_options(annotate.AnnotateOptions, config_of("normal", "headings"))
    # The last row is what users get.
    assert (second_look.start, VideoFitOptions.of(second_look.fit)) == (normal.start, normal.fit)
    several = _cli.build_options(annotate.AnnotateOptions, config_of("normal", "multi_start"))
    assert (multi_start.start, VideoFitOptions.of(multi_start.fit, temporal=False)) == (several.start, several.fit)
    assert lifter_fit.fit == second_look.fit
    assert lifter_fit.start.hypotheses == lifter.start.hypotheses == ("guess_1",)
    assert [stage.free for stage in lifter.fit.refine] == [()]
    assert zero_start.start.kind == headings.start.kind == "headings"
    plain = VideoFitOptions.of(zero_start.fit, temporal=False)
    assert dataclasses.replace(plain, yaw_starts=4, prior="mixture") == headings.fit
    assert (zero_start.fit.yaw_starts, zero_start.fit.prior) == (2, "written")


def test_everything_has_what_users_get_of_video():
    options = _cli.build_options(evaluate.EvaluateOptions, config_of("eval", "everything"))
    last = [method.name for method in options.methods[-options.last_methods :]]
    assert last == ["multi_start", "second_look", "over_time"]
    assert set(options.last_method_sets) >= set(
        _cli.build_options(evaluate.EvaluateOptions, config_of("eval", "clips")).sets
    )


def test_the_fit_of_the_config_is_that_of_the_library():
    options = _cli.build_options(annotate.AnnotateOptions, config_of("normal", "full"))
    # BlazePose's 3D landmarks are a guess; those of others may be better.
    assert dataclasses.replace(options.fit, keypoints_3d_spread=0.01) == VideoFitOptions.of(lift_and_fit.FROM_LIFTER)
    # Of a track too: what `tools.eval` scores is what `tools.annotate` does.
    video = dataclasses.replace(options.fit, keypoints_3d_spread=0.01)
    assert recover_motion.weights_of_frames(video) == recover_motion.FROM_MOTION
    assert options.motion == MotionOptions()


def test_every_option_of_motion_can_be_set_on_the_command_line():
    fields = {field.name for field in dataclasses.fields(MotionOptions)}
    assert set(config_of("normal", "full").motion) == fields


def test_each_row_of_the_ablation_changes_one_thing():
    rows = _cli.build_options(evaluate.EvaluateOptions, config_of("eval", "ablation")).methods
    whole = next(row for row in rows if row.name == "lifter_fit")
    for row in rows:
        if not row.name.startswith(("without", "half", "double", "prior")):
            continue
        changed = [
            field.name
            for field in dataclasses.fields(row.fit.refine[0])
            if getattr(row.fit.refine[0], field.name) != getattr(whole.fit.refine[0], field.name)
        ]
        assert len(changed) + (row.fit.prior != whole.fit.prior) == 1, row.name


def test_sections_are_those_of_the_house():
    config = config_of("normal", "full")
    assert isinstance(config, config_dict.ConfigDict)
    assert set(config) == {
        "seed", "body", "camera", "frames", "perception", "quality", "start", "initialise", "fit", "motion", "output",
    }  # fmt: skip
