"""Score fits, predictions and labels on people whose truth is known.

python -m tools.eval                                     the default fit, in the poster's tables
python -m tools.eval --predictions=mine.npz              anybody's predictions (docs/evaluation.md says what they hold)
python -m tools.eval --labels=out/annotate               stored labels
python -m tools.eval --labels=hmr2_npz:coco_val.npz --images=coco --predictions=converted/hmr2
                                                         a network on labels as others publish them
python -m tools.eval --compare=lifter_fit,mine.npz       paired differences with 95 % intervals
python -m tools.eval --compare                           every method of the config against the one before it
python -m tools.eval --planted                           wrong feet and hands that were planted: found and repaired
python -m tools.eval --planted=ablation                  the same, and what each source of knowledge is worth
"""

import dataclasses
import importlib.util
import itertools
import pathlib
import sys
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.body import load
from hardmo_jax.labels import provenance
from hardmo_jax.pipelines import (
    benchmark_motion,
    evaluate_published,
    evaluation_report,
    planted_benchmark,
    planted_motion,
    planted_report,
    prepare,
    set_scores,
    train_part_scorer,
    training_poses,
)
from hardmo_jax.pipelines import evaluate as pipeline
from hardmo_jax.viz import charts
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="What is scored; configs/eval.py.")
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/eval", "Folder for evaluation.json, .md and .png.")
_PREDICTIONS = flags.DEFINE_list(
    "predictions",
    [],
    "Files of predictions (.npz, .parquet) to score; on published --labels also folders of networks, and KIND:PATH.",
)
_LABELS = flags.DEFINE_list(
    "labels",
    [],
    "Label files, or folders of them, to score; or truth that others publish, as KIND:PATH with one of "
    f"{', '.join(evaluate_published.SOURCE_KINDS)} (docs/training.md), which --predictions are scored on.",
)
_IMAGES = flags.DEFINE_string("images", "", "Folder of the pictures of published labels, for networks.")
_BODY_MODEL = flags.DEFINE_string(
    "body_model", "open_body", "Whose points networks are compared by on published labels: open_body, or a SMPL file."
)
_COMPARE = flags.DEFINE_list(
    "compare",
    [],
    "Two or more of: methods of the config, files of predictions, folders of labels; each is compared with the one "
    "before it. `all`, or no value: the methods of the config.",
)
#: Set of clips that errors which last are planted in.
_CLIPS = "video_correlated"
_SET = flags.DEFINE_string("set", "test", "Set that --predictions, --labels and --compare are scored on.")
_PLANTED = flags.DEFINE_enum(
    "planted",
    "no",
    ["no", "scores", "ablation"],
    "Plant wrong feet and hands in labels of --set, find and repair them.",
)
_BENCHMARK = flags.DEFINE_string("benchmark", None, "Folder of a prepared benchmark; default: that of the config.")


def main(argv: Sequence[str]) -> int:
    """Score, print tables, write reports."""
    del argv
    published = [name for name in _LABELS.value if evaluate_published.published_kind(name) is not None]
    for name in [*_PREDICTIONS.value, *_LABELS.value]:
        if evaluate_published.published_kind(name) is None and not pathlib.Path(name).exists():
            return _cli.fail(f"{name}: no such file or folder")
    options = _cli.build_options(pipeline.EvaluateOptions, _CONFIG.value)
    compared = _COMPARE.value
    if compared == ["all"]:
        compared = [method.name for method in options.methods]
    if len(compared) == 1:
        return _cli.fail("--compare takes two names or more, got 1; e.g. --compare=zero_start,second_look")
    console = rich.console.Console(stderr=True)
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=tuple(sys.argv))
    if published:
        return _published(options, record, console)
    with _cli.ProgressBar(console, units="people") as progress:
        options, folder, notes = _benchmark(options, progress)
        if _PLANTED.value != "no":
            return _planted(options, folder, notes, record, progress)
        comparisons = []
        if compared:
            results = pipeline.evaluate_named(options, folder, compared, set_name=_SET.value, progress=progress)
            comparisons = [_compared(*pair, options.num_resamples) for pair in itertools.pairwise(results)]
        elif _PREDICTIONS.value or _LABELS.value:
            results = pipeline.evaluate_named(
                options, folder, _PREDICTIONS.value, labels=_LABELS.value, set_name=_SET.value, progress=progress
            )
        else:
            results = pipeline.evaluate_methods(options, folder, progress=progress)
    tables = evaluation_report.make_tables(results)
    tables = [*(evaluation_report.comparison_table(comparison) for comparison in comparisons), *tables]
    notes += [note for result in results for note in result.notes]
    if comparisons:
        count = sum(len(comparison.differences) for comparison in comparisons)
        notes.append(f"{count} errors were tested at once: one in twenty would differ by chance alone")
    protocols = dict.fromkeys(result.protocol for result in results)
    _print(tables, [*notes, *(protocol.summary() for protocol in protocols)])
    notes += [protocol.describe() for protocol in protocols]
    _write(results, tables, notes, comparisons, prepare.read_benchmark(folder), record)
    return 0


def _published(options: pipeline.EvaluateOptions, record: provenance.RunRecord, console: rich.console.Console) -> int:
    """Score on labels that others publish."""
    for flag in (_COMPARE, _BENCHMARK):
        if flag.value:
            return _cli.fail(f"--{flag.name} is for prepared sets and does not go with published --labels")
    output = pathlib.Path(_OUTPUT_DIR.value)
    body = load.open_body(view="smpl") if _BODY_MODEL.value == "open_body" else load.load_body(_BODY_MODEL.value)
    with _cli.ProgressBar(console, units="people") as progress:
        results = evaluate_published.evaluate_published(
            _LABELS.value, _PREDICTIONS.value, body, images=_IMAGES.value, protocol_name=options.protocol,
            frames=output / "frames", limit=options.limit, progress=progress,
        )  # fmt: skip
    tables = [
        table
        for name in dict.fromkeys(result.set_name for result in results)
        for table in evaluation_report.make_tables([one for one in results if one.set_name == name])
    ]
    notes = list(dict.fromkeys(f"{result.method}: {note}" for result in results for note in result.notes))
    notes.append(f"networks are compared by the points of {evaluate_published.body_name(body)}")
    protocols = dict.fromkeys(result.protocol for result in results)
    _print(tables, [*notes, *(protocol.summary() for protocol in protocols)])
    _write(results, tables, [*notes, *(protocol.describe() for protocol in protocols)], [], {}, record)
    return 0


def _planted(
    options: pipeline.EvaluateOptions,
    folder: pathlib.Path,
    notes: list[str],
    record: provenance.RunRecord,
    progress: _cli.ProgressBar,
) -> int:
    """Plant, find and repair; tables, and `evaluation.json` and `.md`."""
    mocap, cache = _cli.mocap_folder(_MOCAP.value), pathlib.Path("out/planted")
    people = pipeline.load_set(folder, _SET.value, limit=options.limit)
    pool, _ = training_poses.collect_poses(mocap, cache, progress=progress)
    scorers = {}
    if _PLANTED.value == "ablation":
        training = train_part_scorer.TrainPartScorerOptions()
        tables = train_part_scorer.planted_tables(pool, training, progress)
        for name, known in planted_report.known_features().items():
            scorers[name], _ = train_part_scorer.learn_scorer(tables, training, progress, known=known)
    scores, ungated = planted_benchmark.run_both(
        load.open_body(view="smplh"), people, pool, planted_benchmark.PlantedOptions(), others=scorers,
        progress=progress,
    )  # fmt: skip
    found = planted_report.planted_report(scores, ungated=ungated)
    voted = []
    if _PLANTED.value == "ablation":
        clips = pipeline.load_set(folder, _CLIPS, limit=options.limit)
        voted = planted_motion.run_voted(
            load.open_body(view="smplh"), clips, pool, planted_benchmark.PlantedOptions(), progress=progress
        )
        found.append(planted_report.voted_table(voted))
    values = {
        "clips": planted_report.planted_mapping(voted),
        "scores": planted_report.planted_mapping(scores),
        "without_gate": planted_report.planted_mapping(ungated),
        "benchmark": prepare.read_benchmark(folder),
    }
    output = pathlib.Path(_OUTPUT_DIR.value)
    _print(found, notes)
    for path in evaluation_report.write_reports(output, found, notes, values, title="Planted errors"):
        print(f"wrote {path}")
    record.add("benchmark", values["benchmark"])
    record.write(output / "run.json")
    return 0


def _compared(
    first: set_scores.SetScore, second: set_scores.SetScore, num_resamples: int
) -> evaluation_report.Comparison:
    """Two methods, person by person."""
    differences = set_scores.compare(first, second, num_resamples=num_resamples)
    return evaluation_report.Comparison(
        first=first.method, second=second.method, set_name=first.set_name, differences=differences
    )


def _benchmark(
    options: pipeline.EvaluateOptions, progress: _cli.ProgressBar
) -> tuple[pipeline.EvaluateOptions, pathlib.Path, list[str]]:
    """Folder of the benchmark, made if it is not stored; SynthHard where there is no motion capture."""
    if _BENCHMARK.value is not None:
        folder = pathlib.Path(_BENCHMARK.value)
        if not prepare.read_benchmark(folder):
            raise pipeline.EvaluateError(f"{folder} holds no finished benchmark; `python -m tools.prepare` makes one")
        return options, folder, [f"Benchmark: {folder.name}, given by --benchmark"]
    mocap = _cli.mocap_folder(_MOCAP.value)
    notes = []
    wanted = options.prepare
    is_stored = bool(prepare.read_benchmark(prepare.benchmark_folder(_cli.BENCHMARK_ROOT, wanted)))
    if wanted.benchmark == "mocap_hard" and not is_stored and benchmark_motion.find_mocap(mocap) is None:
        wanted = dataclasses.replace(wanted, benchmark="synth_hard")
        options = dataclasses.replace(options, prepare=wanted)
        notes.append(
            f"This is SynthHard, made of written poses: no motion capture was found. {benchmark_motion.CMU_SOURCE}"
        )
    folder = pipeline.ensure_benchmark(wanted, _cli.BENCHMARK_ROOT, mocap=mocap, progress=progress)
    if wanted.benchmark == "mocap_hard":
        notes.append(
            "Motion: mocap.cs.cmu.edu, created with funding from NSF EIA-0196217; wrists and fingers from a published "
            "prior. Same subjects in training and test, other takes: this says nothing of new people"
        )
    return options, folder, notes


def _print(tables: Sequence[evaluation_report.Table], notes: Sequence[str]) -> None:
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console = rich.console.Console(highlight=False, width=160)
    for table in tables:
        drawn = rich.table.Table(title=table.title, title_justify="left")
        for index, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if index == 0 else "right")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
    for note in notes:
        console.print(f"- {note}")


def _write(results, tables, notes, comparisons, checksums: dict[str, str], record: provenance.RunRecord) -> None:
    output = pathlib.Path(_OUTPUT_DIR.value)
    values = evaluation_report.results_mapping(results, comparisons, checksums)
    paths = evaluation_report.write_reports(output, tables, notes, values, title="Evaluation")
    record.add("benchmark", checksums)
    record.write(output / "run.json")
    for path in paths:
        print(f"wrote {path}")
    first_set = results[0].set_name
    shown = [result for result in results if result.set_name == first_set]
    if importlib.util.find_spec("matplotlib") is None:
        print("no chart was drawn: matplotlib is missing; pip install 'hardmo_jax[viz]'")
        return
    curves = dict.fromkeys(label for result in shown for label in result.curves)
    parts = [label for label in curves if label.rpartition("_")[0] in ("body", "hand", "foot", "all")]
    chart = charts.draw_evaluation(
        output / "evaluation.png",
        set_scores.CURVE,
        {part: {r.method: r.curves[part] for r in shown if part in r.curves} for part in parts},
        {result.method: result.joint_errors for result in shown},
        title=f"{first_set}, {shown[0].num_samples} people, protocol {shown[0].protocol.name}",
        marks=shown[0].protocol.pck_thresholds,
    )
    print(f"wrote {chart}")


def _with_bare_flags(arguments: Sequence[str]) -> list[str]:
    """`--compare` alone means all methods of the config, `--planted` alone no ablation."""
    following, bare = [*arguments[1:], "--"], {"--compare": "--compare=all", "--planted": "--planted=scores"}
    return [
        bare.get(argument, argument) if after.startswith("--") else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


if __name__ == "__main__":
    sys.argv = _with_bare_flags(sys.argv)
    _cli.run(main, default_config="configs/eval.py")
