"""Annotate, repair hands and feet, train a network on that, and annotate from it again, round by round.

python -m tools.loop --config=configs/loop.py:smoke                        people are rendered: the truth is known
python -m tools.loop --config=configs/loop.py --input=photos               yours; photos or a video
python -m tools.loop --config=configs/loop.py --input=photos --store=out/photos    begins from labels that you have

A loop that was stopped goes on by the same command; with a larger --config.rounds, by more rounds.
"""

import pathlib
import sys
from collections.abc import Callable, Sequence

import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax.perception import model_files
from hardmo_jax.pipelines import loop, loop_table
from hardmo_jax.pipelines.loop_options import LoopOptions
from hardmo_jax.pipelines.loop_record import LoopStage
from tools import _cli, _tables

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration.")
_INPUT = flags.DEFINE_string("input", None, "Photos or video of people; default: people are rendered.")
_STORE = flags.DEFINE_string("store", None, "Labels to begin from, a folder or a file; they are copied.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/loop", "Folder for the store, the rounds and the table.")
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")

#: A network of fewer people is for trying the loop.
_FEW_TRAINED = 500
_UNITS = {"render": "pictures", "hand": "parts", "foot": "parts", "train": "steps"}
_WORDS = {
    "render": "people are rendered", "begin": "the store is begun", "annotate": "people are annotated",
    "merge": "better labels go into the store", "hand": "hands are refined", "foot": "feet are refined",
    "train": "the network is trained", "score_annotated": "labels against the truth",
    "score_refined": "refined labels against the truth", "score_network": "the network against the truth",
}  # fmt: skip


class _Bars:
    """Progress of one stage after the other, each in its own units."""

    def __init__(self, console: rich.console.Console, rounds: int) -> None:
        self._console, self._rounds = console, rounds
        self._bar: _cli.ProgressBar | None = None
        self._is_scored = False

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop the bar of the present stage."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

    def begin(self, stage: LoopStage) -> None:
        """Tell of the next stage."""
        self.end()
        place = stage.place(self._rounds) + (f" of {self._rounds}" if 0 < stage.number <= self._rounds else "")
        self._console.print(f"{place or 'at first'}: {_WORDS[stage.name]}", highlight=False)
        self._bar = _cli.ProgressBar(self._console, units=_UNITS.get(stage.name, "frames")).__enter__()
        self._is_scored = False

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Report `done` of `total` units of a stage of the present job."""
        if self._bar is None or (stage == "score" and self._is_scored and not self._console.is_terminal):
            return  # what was repaired is scored again, some at a time: lines of which nobody knows what they are
        self._bar("score hands and feet" if stage == "score" else stage, done, total)
        self._is_scored |= stage == "score" and done == total


def main(argv: Sequence[str]) -> int:
    """Go round and print the table after every round."""
    del argv
    rendered = [word for word in sys.argv if word.lstrip("-").startswith(("config.render.", "config.people"))]
    if _INPUT.value is not None and rendered:
        return _cli.fail(f"{rendered[0]}: people are rendered without --input only; leave one of both out")
    if _STORE.value is not None and _INPUT.value is None:
        return _cli.fail(
            f"--store={_STORE.value}: people would be rendered, and these labels are of others; give the pictures that "
            "were labelled as --input"
        )
    options = _cli.build_options(LoopOptions, _CONFIG.value)
    told, console = rich.console.Console(stderr=True), rich.console.Console(highlight=False, markup=False)

    def tell(table: loop_table.LoopTable) -> None:
        bars.end()
        print_table(table, console)

    try:
        with _Bars(told, options.rounds) as bars:
            done = loop.run_loop(
                options,
                pathlib.Path(_OUTPUT_DIR.value),
                source=_INPUT.value,
                begins_from=_STORE.value,
                model_folder=pathlib.Path(_MODELS.value or model_files.default_model_folder()),
                mocap=_cli.mocap_folder(_MOCAP.value),
                cache=pathlib.Path("out/planted"),
                command=tuple(sys.argv),
                progress=bars,
                begun=bars.begin,
                on_note=_noting(told),
                on_table=tell,
            )
    except KeyboardInterrupt:
        return _cli.fail(f"stopped; the same command goes on from what {_OUTPUT_DIR.value} holds")
    if done.is_nothing_to_do:
        print_table(done.table, console)
        console.print(f"nothing to do: all {options.rounds} rounds are done", soft_wrap=True)
    network = options.train.network.network
    console.print(f"labels are in {done.store}, the table in {_OUTPUT_DIR.value}/table.txt", soft_wrap=True)
    console.print(
        f"label with the network: python -m tools.annotate --config=configs/normal.py --input=PHOTOS "
        f"--config.initialise.network={network} --config.initialise.checkpoint={done.network}",
        soft_wrap=True,
    )
    people = max((own["train"]["people"] for own in done.table.numbers if "train" in own), default=0)
    if people < _FEW_TRAINED:
        console.print(
            f"caution: it has learnt from {people} people, and answers of a network of fewer than some {_FEW_TRAINED} "
            "are worse starts than none; annotate without these two options until there are more",
            soft_wrap=True,
        )
    return 0


def _noting(console: rich.console.Console) -> Callable[[str], None]:
    return lambda note: console.print(note, soft_wrap=True, markup=False, highlight=False)


def print_table(table: loop_table.LoopTable, console: rich.console.Console) -> None:
    """A column for each round."""
    _tables.print_numbers(console, table.columns, table.rows)
    for note in loop_table.footnotes_of_table(table):
        console.print(note, soft_wrap=True)


if __name__ == "__main__":
    _cli.run(main, default_config="configs/loop.py")
