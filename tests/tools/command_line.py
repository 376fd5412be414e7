"""Several command lines of a tool at the price of one: it is loaded once, and every one runs in a fork of that process.

Each still starts as `python -m tools.NAME` does, with a command line, flags and an exit status of its own, and in the
small groups of tests. What a tool does when nothing was loaded before is for `subprocess.run` to show, once a tool.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# The module itself is left to the forks: absl refuses flags that are defined twice.
_SERVER = """
import ast, json, os, pathlib, runpy, sys, tempfile

from tests import small_groups

name, command_lines = json.load(sys.stdin)
source = pathlib.Path(os.environ["HARDMO_ROOT"], *name.split(".")).with_suffix(".py")
imports = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
exec(compile(ast.Module(imports, []), str(source), "exec"), {})
small_groups.make_small()
answers = []
for arguments in command_lines:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            sys.argv = [str(source), *arguments]
            status = 1
            try:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
                status = 0
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else int(error.code is not None)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode())
        answers.append([status, *texts])
json.dump(answers, sys.stdout)
"""


@dataclasses.dataclass(frozen=True)
class Done:
    """How one command line ended."""

    returncode: int
    stdout: str
    stderr: str


def run_each(
    tool: str,
    command_lines: Sequence[Sequence[str]],
    *,
    cwd: pathlib.Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 420,
) -> list[Done]:
    """Run `python -m tools.TOOL` with each of the command lines, one after the other."""
    return fork_each(f"tools.{tool}", command_lines, cwd=cwd, environment=environment, timeout=timeout)


def fork_each(
    module: str,
    command_lines: Sequence[Sequence[str]],
    *,
    folder: pathlib.Path = ROOT,
    cwd: pathlib.Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 420,
) -> list[Done]:
    """Run `python -m MODULE` of a folder, which is searched before the repository, with each of the command lines."""
    path = os.pathsep.join(dict.fromkeys([str(folder), str(ROOT)]))
    given = {**os.environ, **(environment or {}), "PYTHONPATH": path, "HARDMO_ROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", _SERVER], input=json.dumps([module, [list(line) for line in command_lines]]),
        capture_output=True, text=True, cwd=cwd, timeout=timeout, env=given, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Done(*answer) for answer in json.loads(done.stdout)]
