"""The effect suite: the same networks trained on labels with wrong hands and feet, on repaired ones, and on the truth.

People are rendered in poses of motion capture, with sampled hands and feet; no take is in training and test. Work lies
in `out/effect`; what is rendered and labelled is not made again. Bodies are true ones in all sets of labels, so that
hands and feet alone are compared.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

_FOLDER = pathlib.Path("out/effect")
_TRAINING, _TEST = 6_000, 1_000
_SEEDS = (0, 1, 2)
_SETS = ("normal", "refined", "true")
#: Code that people and labels are made by.
_ROOMS = ("body", "data", "fitting", "geometry", "hardcase", "recovery", "rendering", "skeleton")
#: A part is repaired from this probability of being wrong. Networks forgive a repair that was not needed, and not a
#: foot that stays wrong; people who look at labels want surer ones (0.9).
_MIN_PROBABILITY = 0.5
#: For `--help`.
ABOUT = f"""needs the motion capture (HARDMO_DATA); works in {_FOLDER}, where a run that was stopped goes on
  with what is rendered and labelled; took 2518 s (image) and 1573 s (lifter) on two cores; replaces
  docs/benchmarks/effect_cpu.json, unless there is another --output_dir or --only=lifter."""


def plan() -> list[dict[str, Any]]:
    """Cells of the suite: networks of pictures, and lifters."""
    return [{"measure": measure, "all_cores": True} for measure in ("image", "lifter")]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    del models
    began = time.perf_counter()
    rows = _Effect().rows(cell["measure"])
    return [*rows, {"measure": cell["measure"], "seconds": time.perf_counter() - began}]


class _Effect:
    """People, their labels, and networks of these."""

    def __init__(self) -> None:
        from hardmo_jax.body import load
        from hardmo_jax.labels import store
        from hardmo_jax.pipelines import label_effect_sets

        self.body = load.open_body(view="smplh")
        self.photos = {part: self._rendered(part) / "photos" for part in ("training", "test")}
        self.seen = {
            part: store.read_labels(self._rendered(part) / "labels.parquet").rows for part in ("training", "test")
        }
        self.truth = label_effect_sets.with_own_points(self.seen["test"], self.body)
        self.sets, self.outcomes = self._labelled(round_number=1)

    def rows(self, measure: str) -> list[dict[str, object]]:
        """Rows of a kind of network, the repair of labels, and of the second round for lifters."""
        named: dict[str, Any] = {"measure": measure}
        rows = self._told_of_labels(named | {"round": 1}, self.sets, self.outcomes)
        if measure == "image":
            return rows + self._effect(named | {"round": 1}, self._image_scores())
        scores, lifters = self._lifter_scores(self.sets)
        rows += self._effect(named | {"round": 1}, scores)
        # The lifter that has learnt from repaired labels is where the fits of the next round begin.
        sets, outcomes = self._labelled(round_number=2, trained=lifters["refined"])
        rows += self._told_of_labels(named | {"round": 2}, sets, outcomes)
        again, _ = self._lifter_scores({"refined": sets["refined"]})
        return rows + self._effect(named | {"round": 2}, scores | again)

    def _told_of_labels(
        self, named: dict[str, Any], sets: dict[str, Any], outcomes: dict[str, dict[str, int]]
    ) -> list[dict[str, object]]:
        """Errors of labels, and what became of hands and feet."""
        rows: list[dict[str, object]] = [
            {**named, "labels": name, **self._label_errors(sets[name])} for name in ("normal", "refined")
        ]
        return rows + [{**named, "part": part, **counts} for part, counts in outcomes.items()]

    def _rendered(self, part: str) -> pathlib.Path:
        """Folder of people that are rendered, once."""
        from hardmo_jax.pipelines import render_training
        from hardmo_jax.pipelines.render_training import RenderTrainingOptions
        from tools import _cli

        folder, is_test = _FOLDER / part, part == "test"
        options = RenderTrainingOptions(
            people=_TEST if is_test else _TRAINING, seed=int(is_test), side=112, poses="mocap",
            takes=(0.8, 1.0) if is_test else (0.0, 0.8), sampled_feet=1.0, keypoints="detected", clothes="suits",
        )  # fmt: skip
        if not _is_kept(folder, dataclasses.asdict(options), folder / "labels.parquet"):
            render_training.render_training(
                options, folder, mocap=_cli.mocap_folder(None), cache=pathlib.Path("out/planted"), progress=_told
            )
        return folder

    def _labelled(self, *, round_number: int, trained: Any = None) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
        """Sets of labels by name, made once, and what became of hands and feet."""
        from hardmo_jax.hardcase.mine import MineOptions
        from hardmo_jax.labels import store
        from hardmo_jax.pipelines import label_effect_sets
        from hardmo_jax.pipelines.refine_labels import LabelRefineOptions
        from hardmo_jax.whole_files import file_sha256, replacing

        folder = _FOLDER / f"round_{round_number}"
        told = folder / "outcomes.json"
        mine = MineOptions(min_probability=_MIN_PROBABILITY)
        made_of = {
            "people": [file_sha256(self._rendered("training") / "labels.parquet"), self.body.checksum],
            "mine": dataclasses.asdict(mine), "starts": trained is not None,
        }  # fmt: skip
        if not _is_kept(folder, made_of, told):
            made = label_effect_sets.label_sets(
                self.seen["training"], self.body, trained=trained, progress=_told,
                refine=[LabelRefineOptions(subset="hand", mine=mine), LabelRefineOptions(subset="foot", mine=mine)],
            )  # fmt: skip
            for name in _SETS:
                store.write_labels(folder / f"{name}.parquet", getattr(made, name))
            with replacing(told) as scratch:
                scratch.write_text(json.dumps(made.outcomes))
        order = [row.label_id for row in self.seen["training"]]
        sets = {}
        for name in _SETS:
            by_label = {row.label_id: row for row in store.read_labels(folder / f"{name}.parquet").rows}
            sets[name] = [by_label[label] for label in order]
        return sets, json.loads(told.read_text())

    def _label_errors(self, labels: Sequence[Any]) -> dict[str, object]:
        """Errors of labels themselves."""
        from hardmo_jax.metrics import protocols
        from hardmo_jax.pipelines import label_effect_network as images
        from hardmo_jax.pipelines.record_points import points_of_records
        from hardmo_jax.pipelines.score_records import score_records
        from hardmo_jax.pipelines.set_scores import part_scalars

        truth, found = (
            points_of_records(images.records_of(rows, self.body, self.photos["training"]))
            for rows in (self.sets["true"], labels)
        )
        scored = score_records(truth, found, protocols.PROTOCOLS["hardmo"], method="labels")
        return {name: value for name, value in part_scalars(scored).items() if "mpjpe" in name}

    def _image_scores(self) -> dict[str, list[Any]]:
        """Scores of networks of pictures, by set of labels, one a seed."""
        from hardmo_jax.pipelines import label_effect_network as images

        options = images.EffectNetworkOptions()
        read = {part: images.pictures_of(folder) for part, folder in self.photos.items()}
        truth = images.records_of(self.truth, self.body, self.photos["test"])
        seen = images.records_of(self.sets["refined"], self.body, self.photos["training"])
        scores: dict[str, list[Any]] = {name: [] for name in _SETS}
        sources = {name: images.records_of(self.sets[name], self.body, self.photos["training"]) for name in _SETS}
        start = images.pretrained_on_keypoints(seen, read["training"], options, seed=0, progress=_told)
        first = images.train_on_labels(
            sources["normal"], read["training"], start, options, options.first, seed=100, progress=_told
        )
        for seed in _SEEDS:
            for name, source in sources.items():
                network = images.train_on_labels(
                    source, read["training"], first, options, options.then, seed=seed, progress=_told
                )
                scores[name].append(images.score_network(network, truth, read["test"], method=name))
        return scores

    def _lifter_scores(self, sets: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """The same of lifters, and the last lifter of each set."""
        from hardmo_jax.pipelines import label_effect_lifter as lifters

        options = lifters.EffectLifterOptions()
        scores: dict[str, list[Any]] = {name: [] for name in sets}
        last = {}
        for seed in _SEEDS:
            for name, labels in sets.items():
                last[name] = lifters.train_lifter_on_labels(
                    labels, self.seen["training"], self.body, options, seed=seed
                )
                scores[name].append(
                    lifters.score_lifter(last[name], self.truth, self.seen["test"], self.body, method=name)
                )
                _told(f"lifter of {name} labels, seed {seed}", 1, 1)
        return scores, last

    def _effect(self, named: dict[str, Any], scores: dict[str, list[Any]]) -> list[dict[str, object]]:
        """Rows of the table, and what is recovered."""
        from hardmo_jax.pipelines import label_effect

        rows: list[dict[str, object]] = []
        for name in _SETS:
            row = label_effect.effect_row(name, scores[name])
            errors = {error: dataclasses.asdict(interval) for error, interval in row.errors_mm.items()}
            rows.append({**named, "network_of": name, "seeds": row.num_seeds, "errors_mm": errors,
                         "seed_spreads_mm": row.seed_spreads_mm, "pck": row.pck})  # fmt: skip
        found = label_effect.recovered(scores["normal"], scores["refined"], scores["true"])
        return [*rows, {**named, **dataclasses.asdict(found)}]


_last_told = [0.0]


def _is_kept(folder: pathlib.Path, made_of: dict[str, Any], last: pathlib.Path) -> bool:
    """Whether an earlier run has made what is in a folder, by the same options and code; other things are refused."""
    import hardmo_jax

    package = pathlib.Path(hardmo_jax.__file__).parent
    code = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            code.update(path.read_bytes())
    text = json.dumps({**made_of, "code": code.hexdigest()}, sort_keys=True, default=str)
    note = folder / "made_of.json"
    if last.is_file():
        if not note.is_file() or note.read_text(encoding="utf-8") != text:
            sys.exit(f"{folder} was made by other options or by other code; remove {_FOLDER} to make it again")
        return True
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")
    return False


def _told(stage: str, done: int, total: int | None) -> None:
    """Say on the terminal where the work stands, every ten seconds."""
    if time.monotonic() - _last_told[0] > 10 or done == total:
        _last_told[0] = time.monotonic()
        print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)
