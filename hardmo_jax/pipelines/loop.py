"""The loop: people annotated, wrong hands and feet repaired, a network trained on that, and annotated from it again.

All rounds work on one label store, in which a label is replaced by a better one only. `loop.json` says which stages are
finished: a loop that was stopped goes on with the one that was cut off, which is done again and gives the same.
"""

import dataclasses
import os
import pathlib
import re
import time
from collections.abc import Callable

from hardmo_jax.pipelines.annotate_options import load_body_option
from hardmo_jax.pipelines.loop_options import LoopError, LoopOptions
from hardmo_jax.pipelines.loop_record import LoopRecord, LoopStage
from hardmo_jax.pipelines.loop_stages import (
    CHANGES_STORE,
    LoopJobs,
    LoopWork,
    Progress,
    counted_before,
    run_stage,
    stages_of_loop,
    store_of_loop,
)
from hardmo_jax.pipelines.loop_store import check_bodies, look_at_store
from hardmo_jax.pipelines.loop_table import LoopTable, table_of_loop, write_table
from hardmo_jax.pipelines.output_folders import LOCK, check_output_folder, held_alone

_RECORD = "loop.json"
_OWN = (_RECORD, "store", "rendered", "table.txt", "table.json", LOCK)
_ROUND = re.compile(r"round_[0-9]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSummary:
    """What a run of the loop leaves."""

    table: LoopTable
    store: pathlib.Path
    """File of the labels."""
    network: pathlib.Path
    """Folder of the last network, for `annotate --config.initialise.checkpoint`."""
    is_nothing_to_do: bool
    """Everything had been done before."""


def run_loop(
    options: LoopOptions,
    folder: pathlib.Path,
    *,
    source: str | os.PathLike[str] | None = None,
    begins_from: str | os.PathLike[str] | None = None,
    model_folder: pathlib.Path,
    mocap: pathlib.Path,
    cache: pathlib.Path,
    command: tuple[str, ...] = (),
    jobs: LoopJobs | None = None,
    progress: Progress | None = None,
    begun: Callable[[LoopStage], None] = lambda stage: None,
    on_note: Callable[[str], None] = lambda note: None,
    on_table: Callable[[LoopTable], None] = lambda table: None,
) -> LoopSummary:
    """Go round, or go on where a run of the folder was stopped.

    Args:
        options: How often, and of each stage.
        folder: For `store/labels.parquet`, a folder for each round, `loop.json` and the table.
        source: Photos or a video; None renders people, whose truth is known.
        begins_from: Labels to begin from, a folder or a file; they are copied. Those of the source's pictures are known
            by content, whatever folder they were labelled from.
        model_folder: Where the packaged perception models are.
        mocap: Folder of motion capture, for people who are rendered; it may not exist.
        cache: Folder where its poses are kept.
        command: Command line, for the `run.json` of stages.
        jobs: What does the work; None takes that of the package.
        progress: Told the stage of a job, what is done, and of how much.
        begun: Told each stage as it begins.
        on_note: Told what is unusual.
        on_table: Told the table after every round.

    Raises:
        FileNotFoundError: If the source or the labels to begin from are missing.
        LoopError: If the folder holds another loop or other things, nobody is found, too few labels can be trained on,
            or all labels to begin from are of another body. What stages raise passes.
    """
    source, folder = None if source is None else pathlib.Path(source).resolve(), folder.resolve()
    _check_folders(folder, source, begins_from)
    with held_alone(folder, job="loop", error=LoopError):
        record = LoopRecord(folder / _RECORD)
        # What the record does not know to be this loop's own beginning may be anybody's work.
        if begins_from is not None and not record.has_begun_store() and store_of_loop(folder).is_file():
            raise LoopError(
                f"{folder} holds a store already, and --store={begins_from} would replace it; leave --store out to "
                "begin from the one that is there, or give another --output_dir"
            )
        made_of = {"input": source, "store": begins_from}
        names = {name: None if one is None else str(pathlib.Path(one).resolve()) for name, one in made_of.items()}
        record.check(names, options)
        stages = stages_of_loop(options.rounds, is_rendered=source is None, begins=begins_from is not None)
        is_nothing_to_do = all(record.done(stage) is not None for stage in stages)
        if not is_nothing_to_do:
            work = LoopWork(
                options=options, folder=folder, source=source,
                begins_from=None if begins_from is None else os.fspath(begins_from), model_folder=model_folder,
                mocap=mocap, cache=cache, command=command, body=load_body_option(options.annotate.body),
                jobs=jobs or LoopJobs(), progress=progress or (lambda stage, done, total: None), on_note=on_note,
            )  # fmt: skip
            _go_on(work, record, stages, begun, on_table)
        table = table_of_loop(record, options.rounds)
        write_table(table, folder)
        return LoopSummary(
            table=table,
            store=store_of_loop(folder),
            network=folder / f"round_{options.rounds}" / "train" / "network",
            is_nothing_to_do=is_nothing_to_do,
        )


def _check_folders(
    folder: pathlib.Path,
    source: pathlib.Path | None,
    begins_from: str | os.PathLike[str] | None,
) -> None:
    """Refuse inputs that are missing, and folders that lie in each other."""
    for path in (source, begins_from):
        if path is not None and not pathlib.Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    rounds = [path.name for path in folder.iterdir() if _ROUND.fullmatch(path.name)] if folder.is_dir() else []
    for name, path in (("input", source), ("store", begins_from)):
        # What nobody gave lies beside the folder.
        read = folder.parent / "nothing" if path is None else pathlib.Path(path)
        check_output_folder(
            folder, read, (*_OWN, *rounds), job="loop", source_lies=f"the --{name} {path} lies", error=LoopError
        )
        if path is not None and name != "store" and folder.is_relative_to(read) and folder != read:
            raise LoopError(
                f"the output folder {folder} lies in the --{name} {path}, whose pictures are looked at in every "
                "round; give another --output_dir"
            )


def _go_on(
    work: LoopWork,
    record: LoopRecord,
    stages: list[LoopStage],
    begun: Callable[[LoopStage], None],
    on_table: Callable[[LoopTable], None],
) -> None:
    """Do the stages that are not done."""
    is_told = False
    rounds = work.options.rounds
    if any(record.done(stage) is not None for stage in stages):
        work.on_note(_told_of_done(stages, record, rounds))
    for place, stage in enumerate(stages):
        if record.done(stage) is not None:
            continue
        if stage.name != "begin" and not is_told:
            state = look_at_store(work.store, work.body)
            for note in check_bodies(state, work.body, source=work.begins_from or str(work.store)):
                work.on_note(note)
            is_told = True
        begun(stage)
        counts = counted_before(work.store, work.body) if stage.name in CHANGES_STORE else {}
        before = record.begin(stage, counts)
        start = time.perf_counter()
        counted, notes = run_stage(work, stage, before)
        record.finish(stage, counted, notes, time.perf_counter() - start)
        for note in notes:
            work.on_note(f"{stage.place(rounds)}: {note}" if stage.number else note)
        is_last_of_round = place + 1 == len(stages) or stages[place + 1].number != stage.number
        if stage.number and is_last_of_round:
            table = table_of_loop(record, rounds)
            write_table(table, work.folder)
            write_table(_column(table, record, stage.number, rounds), work.of_round(stage.number))
            on_table(table)


#: Stages as they are told when they are done.
_DONE = {
    "hand": "hands", "foot": "feet", "score_annotated": "labels compared", "score_refined": "refined labels compared",
    "score_network": "network compared",
}  # fmt: skip


def _told_of_done(stages: list[LoopStage], record: LoopRecord, rounds: int) -> str:
    """How much of a loop that goes on is done, and what of the round that it was stopped in."""
    done = [stage for stage in stages if record.done(stage) is not None]
    left = next(stage for stage in stages if record.done(stage) is None)
    own = [_DONE.get(stage.name, stage.name) for stage in done if stage.number == left.number]
    place = left.place(rounds) + (f" of {rounds}" if 0 < left.number <= rounds else "")
    told = f"; {place or 'at first'}: {', '.join(own)} done before" if own else ""
    return f"goes on: {len(done)} of {len(stages)} stages were done before{told}"


def _column(table: LoopTable, record: LoopRecord, number: int, rounds: int) -> LoopTable:
    """One round of the table."""
    name = f"round {number}" if number <= rounds else "after"
    at = table.columns.index(name)
    return LoopTable(
        columns=(name,),
        rows=tuple((label, (cells[at],)) for label, cells in table.rows),
        numbers=(table.numbers[at],),
        seconds=record.seconds(number),
    )
