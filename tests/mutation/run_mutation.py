"""Mutation score: does a small fault in the code that all else rests on turn a test red? `make mutation`.

python -m tests.mutation.run_mutation                                every group, 300 mutants of each, about an hour
python -m tests.mutation.run_mutation --groups=safe_pickle --sample=0    every mutant of one group
python -m tests.mutation.run_mutation --output=docs/benchmarks/mutation_cpu.json

A mutant is a copy of a source file with one small change (`mutants.py`). The tests of its module (`groups.py`) run
against it in a copy of the repository, quickest first, until one fails: then it is killed, and so is one whose tests
take four times what they took without it. What no test notices has survived: a hole in the net, or a change that
changes nothing, and docs/mutation.md says which for every one of them. Two are tried at a time. Needs the extra
`mutation`; not for Windows, which cannot fork.
"""

import argparse
import ast
import dataclasses
import fnmatch
import functools
import json
import math
import os
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.mutation import forked_tests
from tests.mutation.groups import GROUPS, Group
from tests.mutation.mutants import Mutant, mutants_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
_SEED = 20261128
_AT_A_TIME = 2
#: Of a run, times what the tests take without a mutant, and seconds more for a busy machine.
_PATIENCE, _GRACE = 4.0, 20.0


def interval(hits: int, tried: int) -> tuple[float, float]:
    """Interval of Wilson in which the share lies with 95 % probability, when those tried were drawn by chance."""
    z, share = 1.959964, hits / tried
    middle = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    width = z / (1 + z * z / tried) * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return max(middle - width, 0.0), min(middle + width, 1.0)


def mutants_of_group(group: Group) -> list[Mutant]:
    """Every mutant of its sources, in an order that is the same everywhere."""
    paths = sorted(path for pattern in group.sources for path in ROOT.glob(pattern))
    return [
        mutant for path in paths for mutant in mutants_of(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]


def tests_of_group(group: Group) -> list[str]:
    """Its test files."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in group.tests for path in ROOT.glob(pattern))


@dataclasses.dataclass(frozen=True)
class Alone:
    """What the tests do without a mutant."""

    taken: dict[str, float]
    """Seconds of each test, by its id."""
    lines: dict[str, dict[str, list[str]]]
    """Of each source file and line, the tests that run it; of lines outside functions none."""

    def tests_of(self, mutant: Mutant) -> set[str]:
        """Tests that run the changed statement; all of them when it runs as its module is imported."""
        inside, first, last = statement_at((ROOT / mutant.path).read_text("utf-8"), mutant.line)
        if not inside:
            return set(self.taken)
        lines = self.lines.get(mutant.path, {})
        return {test for line in range(first, last + 1) for test in lines.get(str(line), ())}


def statement_at(source: str, line: int) -> tuple[bool, int, int]:
    """The innermost statement that has a line, without the body it may have.

    Returns:
        Whether it is inside a function, and its first and last line.
    """
    inside, first, last = False, line, line
    for node in ast.walk(ast.parse(source)):  # outer ones come before inner ones
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            body = getattr(node, "body", None)
            first, last = node.lineno, node.end_lineno or node.lineno
            if body and line < body[0].lineno:
                last = body[0].lineno - 1
            elif body and isinstance(node, ast.FunctionDef):
                inside = True
    return inside, first, last


def run_alone(trees: list[forked_tests.Tree], group: Group) -> Alone:
    """Run the tests of a group without a mutant: once to compile, then in every tree at a time, as mutants are later.

    Raises:
        SystemExit: If any fails, as then nothing can be said of mutants.
    """
    for together in (trees[:1], trees):
        watched = [str(together[-1].folder / "tree" / pattern) for pattern in group.sources]
        processes = []
        for tree in together:
            lines = watched if tree is together[-1] and together is trees else []
            make = functools.partial(
                forked_tests.Watch, seconds={}, left_out=group.left_out, chosen=None, watched=lines
            )  # fmt: skip
            processes.append(tree.start(tests_of_group(group), make, first=True))
        for tree, process in zip(together, processes, strict=True):
            _, status = os.waitpid(process, 0)
            if os.waitstatus_to_exitcode(status):
                sys.exit(f"the tests fail without a mutant:\n{(tree.folder / 'output.txt').read_text()[-4000:]}")
    first, last = (json.loads(tree.note.read_text()) for tree in (trees[0], trees[-1]))
    return Alone(first["taken"], last["lines"])


def try_mutants(
    trees: list[forked_tests.Tree], group: Group, mutants: list[Mutant], alone: Alone, minutes: float
) -> list[dict[str, object]]:
    """Run the tests against each mutant, as many at a time as there are trees; after so many minutes no further ones.

    Returns:
        For each mutant its label, how it ended and after how many seconds, and the test that killed it.
    """
    waiting, running, done = list(reversed(mutants)), {}, []
    free = list(trees)
    end = time.monotonic() + 60 * minutes
    while waiting or running:
        if time.monotonic() > end:
            waiting.clear()
        while waiting and free:
            mutant = waiting.pop()
            chosen = alone.tests_of(mutant)
            if not chosen:
                done.append({"mutant": mutant.label, "ended": "survived", "seconds": 0.0, "by": []})
                print(f"no test runs {mutant.label}", flush=True)
                continue
            tree = free.pop()
            tree.write(mutant.path, mutant.source)
            make = functools.partial(
                forked_tests.Watch, seconds=alone.taken, left_out=group.left_out, chosen=chosen, watched=[]
            )  # fmt: skip
            process = tree.start(sorted({name.split("::")[0] for name in chosen}), make, first=False)
            started = time.monotonic()
            limit = _PATIENCE * sum(alone.taken[name] for name in chosen) + _GRACE
            running[process] = (tree, mutant, started, started + limit)
        for process, (tree, mutant, started, deadline) in list(running.items()):
            outcome = forked_tests.finished(process, deadline)
            if outcome is None:
                continue
            del running[process]
            tree.write(mutant.path, (ROOT / mutant.path).read_text("utf-8"))
            free.append(tree)
            failed = json.loads(tree.note.read_text())["failed"] if tree.note.is_file() else []
            ended = "survived" if outcome == 0 else "timeout" if outcome == "timeout" else "killed"
            took = round(time.monotonic() - started, 1)
            done.append({"mutant": mutant.label, "ended": ended, "seconds": took, "by": failed[:1]})
            if ended != "killed":
                print(f"{ended} {mutant.label}", flush=True)
        time.sleep(0.02)
    return sorted(done, key=lambda row: str(row["mutant"]))


def summary(
    rows: Sequence[Mapping[str, object]], total: int, before: dict[str, Any] | None = None, *, seed: int = _SEED
) -> dict[str, Any]:
    """Counts, score and its interval; a mutant whose tests ran out of time is noticed.

    Args:
        rows: What came of mutants.
        total: Number of all mutants of the group.
        before: Result of which the rows are the survivors, tried again; its other mutants count as before.
        seed: Of the draw.
    """
    count = {ended: sum(row["ended"] == ended for row in rows) for ended in ("killed", "timeout", "survived")}
    if before:
        count["killed"] += before["killed"]
        count["timeout"] += before["timeout"]
    tried, noticed = sum(count.values()), count["killed"] + count["timeout"]
    whole = tried == total
    result = {
        "mutants": total,
        "tried": tried,
        "sample": "whole" if whole else f"drawn by chance, seed {seed}",
        **count,
        "score": round(noticed / tried, 4),
    }
    if before:
        # Tests were made for these very mutants since: only the first score says something of those not drawn.
        result["first"] = before.get("first") or {key: before[key] for key in ("score", "interval_95") if key in before}
    elif not whole:
        result["interval_95"] = [round(end, 4) for end in interval(noticed, tried)]
    return {**result, "survivors": [row["mutant"] for row in rows if row["ended"] == "survived"]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", default=",".join(GROUPS), help="which, by commas")
    parser.add_argument("--sample", type=int, default=300, help="mutants of each group; 0 tries all")
    parser.add_argument("--seed", type=int, default=_SEED, help="of the draw")
    parser.add_argument("--minutes", type=float, default=math.inf, help="for the mutants of a group; others are left")
    parser.add_argument("--only", default="*", help="pattern of labels, such as '*pose.py:12*'; others are not tried")
    parser.add_argument("--again", type=pathlib.Path, help="a result: its survivors are tried again, the rest stays")
    parser.add_argument("--output", type=pathlib.Path, help="where the result is written as JSON")
    parser.add_argument("--rows", type=pathlib.Path, help="where every mutant is written as JSON")
    options = parser.parse_args()
    again = json.loads(options.again.read_text())["groups"] if options.again else {}

    os.environ.setdefault("HARDMO_DATA", str(ROOT.parent / "shared" / "data"))
    forked_tests.preload()
    result, every = dict(again), {}
    for name in options.groups.split(","):
        group, started = GROUPS[name], time.monotonic()
        mutants = [mutant for mutant in mutants_of_group(group) if fnmatch.fnmatch(mutant.label, options.only)]
        before = again.get(name)
        chosen = random.Random(options.seed).sample(mutants, len(mutants))
        if before:
            chosen = [mutant for mutant in mutants if mutant.label in before["survivors"]]
            if len(chosen) != len(before["survivors"]):
                sys.exit(f"{options.again} is of other sources: {name} lacks some of its survivors")
        elif 0 < options.sample < len(mutants):
            chosen = chosen[: options.sample]
        with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
            trees = [forked_tests.Tree(pathlib.Path(folder) / str(place), ROOT) for place in range(_AT_A_TIME)]
            alone = run_alone(trees, group)
            print(
                f"{name}: {len(chosen)} of {len(mutants)} mutants; tests alone {sum(alone.taken.values()):.0f} s",
                flush=True,
            )
            rows = try_mutants(trees, group, chosen, alone, options.minutes)
        result[name] = {
            **summary(rows, len(mutants), before, seed=options.seed),
            "minutes": round((time.monotonic() - started) / 60, 1),
        }
        every[name] = rows
        print(f"{name}: score {result[name]['score']:.1%}, {len(result[name]['survivors'])} survivors", flush=True)
        if options.rows:
            options.rows.write_text(json.dumps(every, indent=1) + "\n")
        if options.output:
            from tools.benchmarks import machine

            text = json.dumps({"machine": machine.describe(), "groups": result}, indent=1, ensure_ascii=False)
            options.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
