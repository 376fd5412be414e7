"""Say how far a job of many inputs is, while it runs or afterwards.

python -m tools.status out/job
python -m tools.status out/job --noverify     does not read the labels themselves
"""

import pathlib
from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.pipelines.runners.job_status import JobStatus, ShardStatus, job_status
from tools import _cli
from tools._job_lines import told_seconds

_JOB = flags.DEFINE_string("job", None, "Folder of the job, as tools.annotate --runner was given it.")
_VERIFY = flags.DEFINE_bool("verify", True, "Compare the labels with their checksums.")

#: Exit status of a job of which something is left to do, and of one that ended with inputs that cannot be labelled.
_LEFT, _PARTLY = 1, 3
_MOST_NAMED = 50


def main(argv: Sequence[str]) -> int:
    """Print what is left; exit status 0 if nothing is."""
    del argv
    if not _JOB.value:
        return _cli.fail("give the folder of a job: python -m tools.status out/job")
    status = job_status(pathlib.Path(_JOB.value), verify=_VERIFY.value)
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    num_labels = status.num_labels if status.store is None else status.store.num_rows
    console.print(
        f"{len(status.done)} of {status.num_items} inputs are labelled: {num_labels:,} labels of "
        f"{status.num_pictures:,} pictures"
    )
    if status.num_removed:
        console.print(f"removed since: {status.num_removed} inputs")
    in_hand = "in hand" if status.is_running else "left in the middle"
    for title, names in ((in_hand, status.begun), ("not begun", status.left)):
        if names:
            console.print(f"{title}: {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    for name, stage, reason in status.failures[:_MOST_NAMED]:
        console.print(f"failed in {stage}: {name}: {reason}")
    for shard in status.shards:
        console.print(_told_shard(shard, status))
    if status.store is not None:
        console.print(status.store.told())
        if not status.store.is_complete:
            return _cli.fail(
                "the labels are not those that were written; copy the shards from where they still are, or label anew "
                "with another --output_dir"
            )
    if not status.has_store and not status.left and not status.begun:
        console.print("the labels are not put together yet; the command that began the job does it")
    if not status.is_complete:
        return _LEFT
    return _PARTLY if status.failures else 0


def _told_shard(shard: ShardStatus, status: JobStatus) -> str:
    name = f"shard {shard.name}" if shard.name else "the job"
    left = (shard.progress or {}).get("seconds_left")
    rate = (shard.progress or {}).get("looked_per_second")
    if shard.is_running:
        told = [f"{name} is running"]
        if isinstance(rate, int | float):
            told.append(f"{rate:.1f} frames/s")
        if isinstance(left, int | float):
            told.append(f"{told_seconds(left)} left")
        return ", ".join(told)
    if status.is_complete or (shard.progress or {}).get("state") in ("done", "partly"):
        return f"{name} has ended"
    return f"{name} is not running; the command that began it goes on"


if __name__ == "__main__":
    _cli.run(main, compiles=False, positional="job")
