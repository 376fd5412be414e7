"""`docs/promises.md`: every promise names tests, and every test that it names is there."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/promises.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_PROMISE = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)


def promises():
    """(number, promise, tests) of every row."""
    return [(int(number), text, _TEST.findall(tests)) for number, text, tests in _PROMISE.findall(PAGE.read_text())]


def test_promises_are_numbered_and_each_has_a_test():
    found = promises()
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert len(found) >= 12
    assert [number for number, _, tests in found if not tests] == []


@pytest.mark.parametrize("number", [number for number, _, _ in promises()])
def test_every_test_that_is_named_is_there(number):
    for path, name in promises()[number - 1][2]:
        file = ROOT / path
        assert file.is_file(), f"promise {number} names {path}"
        names = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"promise {number} names {path}::{name}"
