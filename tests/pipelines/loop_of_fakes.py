"""Jobs for loops that do nothing but what a loop sees of them: files, counts, and the same when they are done again."""

import dataclasses
import datetime
import functools
import json
import pathlib

import numpy as np

from hardmo_jax.body.load import open_body
from hardmo_jax.labels import schema, store
from hardmo_jax.metrics import protocols
from hardmo_jax.pipelines import annotate_summary, loop, refine, render_training, train_regressor
from hardmo_jax.pipelines.label_rows import name_of_body
from hardmo_jax.pipelines.loop_options import LoopOptions
from hardmo_jax.pipelines.loop_stages import LoopJobs
from hardmo_jax.pipelines.set_scores import SetScore
from hardmo_jax.pipelines.train_regressor import TrainRegressorOptions

body = functools.cache(open_body)
PEOPLE = 4


def label(place, *, track=0, left=0.0, error=0.02, hand_error=0.05, **changes):
    """A label of a person who stands `left` pixels to the right, with keypoints of nobody in particular."""
    points = np.random.default_rng(place).uniform(20, 80, (schema.NUM_KEYPOINTS, 2))
    points[:, 0] += left
    values = {
        "source_path": f"{place:03d}.jpg", "source_sha256": f"{place:064x}", "frame_index": 0, "image_width": 400,
        "image_height": 100, "bbox": np.array([20.0 + left, 20, 80 + left, 80]), "track_id": track,
        "keypoint_source": "made", "keypoints_2d": points, "keypoint_confidence": np.ones(schema.NUM_KEYPOINTS),
        "body_model": name_of_body(body()), "body_model_sha256": body().checksum, "betas": np.zeros(10),
        "global_orient": np.zeros(3), "body_pose": np.zeros((21, 3)), "left_hand_pose": np.zeros((15, 3)),
        "right_hand_pose": np.zeros((15, 3)), "transl": np.array([0.0, 0, 3]), "focal_length": np.array([400.0, 400]),
        "principal_point": np.array([200.0, 50]), "camera_source": "given", "status": "CONVERGED",
        "error_by_part": {"body": error, "left_hand": hand_error, "left_foot": 0.01},
        "created_utc": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    }  # fmt: skip
    return schema.LabelRow(**{**values, **changes})


def pictures_in(folder, count=PEOPLE):
    """Files where the labels have their pictures, which nobody opens."""
    folder.mkdir(exist_ok=True)
    for place in range(count):
        (folder / f"{place:03d}.jpg").touch()
    return folder


@dataclasses.dataclass
class Fakes:
    """Jobs, and what they were asked."""

    calls: list[tuple]
    people: int = PEOPLE
    pictures: int = PEOPLE
    wrong_feet: int = 0
    sha256: list[str] | None = None
    """Of the pictures; None takes invented ones."""

    def jobs(self):
        return LoopJobs(
            render=self.render, annotate=self.annotate, refine=self.refine, train=self.train,
            score_labels=self.score_labels, score_network=self.score_network,
        )  # fmt: skip

    def render(self, options, folder, *, mocap, cache, progress):
        self.calls.append(("render", options.people))
        store.write_labels(folder / "labels.parquet", [label(place) for place in range(options.people)])
        pictures_in(folder / "photos")
        return render_training.Rendered(
            photos=folder / "photos", labels=folder / "labels.parquet", sheet=folder / "sheet.jpg", poses="written"
        )

    def annotate(self, source, output, *, options, model_folder, command, progress):
        """From a network bodies are nearer to their keypoints, and hands are as they were without one."""
        network = options.initialise.checkpoint
        self.calls.append(("annotate", str(source), network))
        error = 0.02 if network is None else 0.015
        shas = [{} if self.sha256 is None else {"source_sha256": self.sha256[place]} for place in range(self.people)]
        rows = [label(place, error=error, **shas[place]) for place in range(self.people)]
        store.write_labels(output / "labels.parquet", rows)
        summary = annotate_summary.summarise(
            [], [annotate_summary.note_of(row) for row in rows], advice="crop closer to the people"
        )
        return dataclasses.replace(summary, num_pictures=self.pictures)

    def refine(self, source, output, *, options, pictures, leaves_other_bodies, command, progress):
        """Hands are repaired, once; feet are right."""
        self.calls.append((options.subset, str(pictures)))
        path = source / "labels.parquet"
        labels = store.read_labels(path)
        newest = [row for row in store.latest_labels(labels.rows) if row.body_model == name_of_body(body())]
        open_labels = [row for row in newest if not row.has_a_persons_word]
        wrong = len(open_labels) if options.subset == "hand" else self.wrong_feet
        if options.subset == "hand":
            repaired = [
                dataclasses.replace(
                    row,
                    outcome_by_part={"left_hand": "refined"},
                    error_by_part={**row.error_by_part, "left_hand": 0.01},
                )
                for row in open_labels
                if row.outcome_by_part["left_hand"] != "refined"
            ]
            merged = store.merge_labels(labels.rows, repaired, keep_history=True)
            if len(merged) > len(labels):
                store.write_labels(path, merged)
        none = dict.fromkeys(("no_better", "outvoted", "right", "unrepairable", "doubtful"), 0)
        everything = refine.RefineCounts(
            name="all", wrong=wrong, mined=wrong, refined=wrong if options.subset == "hand" else 0, error_before=None,
            error_after=None, **none,
        )  # fmt: skip
        return refine.RefineSummary(
            counts=(everything,), num_labels=len(newest), num_scored=0, num_refined=0, num_matched=None, num_fused=0,
            bodies_wrong=0, is_nothing_to_do=False, warnings=(), seconds_by_stage={},
        )  # fmt: skip

    def train(self, options, folder, *, progress, on_note):
        """Held-out errors are in the file of scalars alone, as after a run that was stopped behind its last step."""
        rows = store.read_labels(pathlib.Path(options.sources[-1].path) / "labels.parquet").rows
        self.calls.append(("train", options.network.checkpoint, len(rows), options.run.seed))
        (folder / "network").mkdir(parents=True, exist_ok=True)
        (folder / "scalars.jsonl").write_text(json.dumps({"step": 2, "held_out_mpjpe_body_mm": 100.0}) + "\n")
        return train_regressor.TrainedRegressor(
            path=folder / "network", num_people=len(rows) - 1, num_validation=1, num_broken=0, num_samples=4,
            scalars={"loss": 1.0}, notes=(),
        )  # fmt: skip

    def score_labels(self, rows, body, truth):
        self.calls.append(("score_labels", len(rows)))
        return _score()

    def score_network(self, labels, predictions, body, *, images, protocol_name, frames, progress):
        self.calls.append(("score_network", predictions[0]))
        return [_score()]


def _score():
    return SetScore(
        method="x", set_name="x", protocol=protocols.get_protocol("hardmo"), num_samples=PEOPLE, num_missing=1,
        num_nonfinite=0, status_counts={}, means={"mpjpe/body_14": 0.1, "pa_mpjpe/hand_12": 0.05},
        pck={"foot_6": (0.2, 0.7)}, curves={}, auc={}, joint_errors={}, errors={}, ids=(), groups=(), styles=(),
    )  # fmt: skip


def options_of(**changes):
    """Options of a loop of fakes."""
    train = TrainRegressorOptions(network=train_regressor.TrainedNetworkOptions(network="hmr", size="small"))
    return LoopOptions(**{"rounds": 1, "people": PEOPLE, "least_labels": 2, "train": train, **changes})


def go(folder, fakes, *, options=None, told=None, **changes):
    """Run a loop of fakes."""
    nowhere = pathlib.Path("nowhere")
    return loop.run_loop(
        options or options_of(), folder, model_folder=nowhere, mocap=nowhere, cache=nowhere, jobs=fakes.jobs(),
        on_note=lambda note: None if told is None else told.append(note), **changes,
    )  # fmt: skip
