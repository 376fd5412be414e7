"""Collect videos and photos from a manifest of sources, with what they may be used for.

python -m tools.collect --manifest=sources.csv --config.fetch.contact=me@example.org
python -m tools.collect --manifest=sources.jsonl --output_dir=out/dance --config.local_files=reference

The manifest names source, category, licence and query (how it was found) of each; docs/collect.md has an example.
A second run fetches what is missing only. Exit status 3: done, and some sources could not be had.
"""

import sys
import time
from collections.abc import Sequence

import rich.box
import rich.console
import rich.filesize
import rich.markup
import rich.progress
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.labels.private_text import without_credentials
from hardmo_jax.pipelines import collect as pipeline
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="How sources are collected.")
_MANIFEST = flags.DEFINE_string("manifest", "sources.csv", "CSV, JSON lines or JSON of sources.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/collect", "Folder for files, collected.jsonl and run.json.")

INCOMPLETE_STATUS = 3
_LINE_SECONDS = 5.0
_MOST_LISTED = 20


def main(argv: Sequence[str]) -> int:
    """Collect and print what came of it."""
    del argv
    options = _cli.build_options(pipeline.CollectOptions, _CONFIG.value)
    with _Bar(rich.console.Console(stderr=True)) as progress:
        summary = pipeline.collect(
            _MANIFEST.value, _OUTPUT_DIR.value, options=options, command=tuple(sys.argv), progress=progress
        )
    print_summary(summary, _OUTPUT_DIR.value)
    if not options.fetch.contact and summary.num_fetched and not options.fetch.allow_local:
        print("hosts did not learn who asks: give --config.fetch.contact=name@example.org")
    return 0 if summary.is_complete else INCOMPLETE_STATUS


def print_summary(summary: pipeline.CollectSummary, output_dir: str) -> None:
    """The table at the end of a run."""
    console = rich.console.Console(highlight=False, markup=False)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("", "sources", "meaning"):
        table.add_column(name, justify="right" if name == "sources" else "left")
    meanings = {
        "kept": "there",
        "duplicate": "copies of others; moved aside or deleted",
        "refused": "not fetched, for the reasons below",
        "failed": "could not be had this time; run again",
        "not_media": "fetched, but no photo or video that can be read",
    }
    table.add_row("fetched", str(summary.num_fetched), f"in this run, {rich.filesize.decimal(summary.num_bytes)}")
    for status, meaning in meanings.items():
        table.add_row(status.replace("_", " "), str(sum(row.status == status for row in summary.rows)), meaning)
    console.print(table)
    told = [row for row in summary.rows if row.status in ("refused", "failed", "not_media") or row.reason]
    for row in told[:_MOST_LISTED]:
        console.print(f"{row.status.replace('_', ' ')}: {shown(row.source)}: {shown(row.reason)}", soft_wrap=True)
    if len(told) > _MOST_LISTED:
        console.print(f"and {len(told) - _MOST_LISTED} more, see {output_dir}/collected.jsonl", soft_wrap=True)
    console.print(f"files and collected.jsonl are in {output_dir}", soft_wrap=True)


def shown(text: str) -> str:
    """Text of strangers for a terminal: one line without control characters and credentials, and not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in without_credentials(text))
    return plain if len(plain) <= 160 else f"{plain[:120]}...{plain[-37:]}"


class _Bar:
    """Sources, bytes a second and time left; a line every few seconds where the output is not a terminal."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:>8}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[last]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._begin: dict[str, tuple[float, int]] = {}
        self._told = time.monotonic()

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, now: pipeline.CollectProgress) -> None:
        """Show how far the run is."""
        if now.stage not in self._tasks:
            self._tasks[now.stage] = self._bar.add_task(now.stage, total=now.total, rate="", last="")
            self._begin[now.stage] = (time.monotonic(), now.num_bytes)
        begin, bytes_before = self._begin[now.stage]
        seconds = time.monotonic() - begin
        rate = ""
        if now.stage == "fetch" and seconds > 0:
            rate = f"{rich.filesize.decimal(int((now.num_bytes - bytes_before) / seconds))}/s"
        last = shown(now.last)[-60:]
        self._bar.update(self._tasks[now.stage], completed=now.done, total=now.total, rate=rate, last=last)
        if not self._console.is_terminal and time.monotonic() - self._told >= _LINE_SECONDS:
            self._told = time.monotonic()
            left = f", about {seconds / now.done * (now.total - now.done):.0f} s left" if now.done else ""
            line = f"{now.stage}: {now.done} of {now.total} {rate}{left}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    _cli.run(main, compiles=False, default_config="configs/collect.py")
