"""Which small changes to a source file are tried: the operators of cosmic-ray, and statements left out.

Of the eleven other operators by which cosmic-ray replaces an arithmetic one, and the seven of a comparison, only those
are taken that a slip of the pen makes (`+` for `-`, `<` for `<=`, `<` for `>=`): the others are killed by the same
tests and would make the score look better than it is. A statement that raises, or whose call is made for what it does,
is left out as a whole, which cosmic-ray lacks and which asks whether a refusal is tested. Annotations stay as they
are: pyright reads them.
"""

import ast
import dataclasses
import difflib
from collections.abc import Iterator
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators import operator as cosmic_operator
from parso.python import tree

_BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul", "RShift_LShift",
           "LShift_RShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitAnd")  # fmt: skip
_COMPARISONS = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
                "Is_IsNot", "IsNot_Is")  # fmt: skip
_UNARY = ("Delete_Not", "Delete_USub", "Delete_Invert")
_OTHERS = ("AddNot", "ExceptionReplacer", "NumberReplacer", "RemoveDecorator", "ReplaceAndWithOr", "ReplaceOrWithAnd",
           "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ReplaceFalseWithTrue", "ReplaceTrueWithFalse",
           "ZeroIterationForLoop")  # fmt: skip


#: Its methods are annotated to return nothing, and do.
_Operator: Any = cosmic_operator.Operator


class StatementRemover(_Operator):
    """Puts `pass` in the place of a `raise`, of a call whose value nobody takes, and of an update in place."""

    def mutation_positions(self, node):
        """Places of such statements."""
        if node.type == "simple_stmt" and _is_made_for_what_it_does(node.children[0]):
            yield node.start_pos, node.children[0].end_pos

    def mutate(self, node, index):
        """The statement without what it does."""
        first = node.children[0]
        node.children[0] = tree.Keyword("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls):
        """None: tests/mutation/test_mutants.py has them."""
        return ()


def _is_made_for_what_it_does(node) -> bool:
    if node.type == "expr_stmt":
        return node.children[1].type == "operator" and node.children[1].value != "="
    return node.type in ("raise_stmt", "atom_expr", "del_stmt") or (node.type == "keyword" and node.value == "raise")


def operators() -> dict[str, Any]:
    """Every operator that is used, by its short name."""
    wanted = [f"ReplaceBinaryOperator_{name}" for name in _BINARY]
    wanted += [f"ReplaceComparisonOperator_{name}" for name in _COMPARISONS]
    wanted += [f"ReplaceUnaryOperator_{name}" for name in _UNARY]
    found = {name: plugins.get_operator(f"core/{name}")() for name in (*wanted, *_OTHERS)}
    return {**found, "StatementRemover": StatementRemover()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """One changed source file."""

    path: str
    """Of the file, from the root of the repository."""
    line: int
    """Of the change, from 1."""
    operator: str
    """Its name in cosmic-ray."""
    source: str
    """The whole changed file."""
    removed: str
    """The line that was there."""
    added: str
    """The line that is there now."""

    @property
    def label(self) -> str:
        """Where and what, in one line; the same in every run on the same sources."""
        return f"{self.path}:{self.line} {self.operator}: {self.removed} -> {self.added}"


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a source file once.

    Each statement of the module is changed by itself: cosmic-ray parses anew for each mutant, and a whole file took
    seconds of that for every line.

    Args:
        path: Of the file, from the root of the repository; it is told, not read.
        source: What the file holds.

    Yields:
        Mutants that compile and differ from the source and from each other.
    """
    seen = {source}
    quiet = _places_left_alone(source)
    before, named = "", operators()
    for statement in get_ast(source).children:
        code, (first_line, _) = statement.get_code(), statement.start_pos
        # What comes before a statement (comments, blank lines) is its own code too.
        skipped = first_line - 1 - before.count("\n")
        nodes = list(ast_nodes(get_ast(code)))
        for name, operator in named.items():
            places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
            for occurrence, (line, column) in enumerate(places):
                place = (line + first_line - 1 - skipped, column)
                if any(first <= place < last for first, last in quiet):
                    continue
                changed = mutate_code(code, operator, occurrence)
                changed = changed and before + changed + source[len(before) + len(code) :]
                if changed is None or changed in seen or not _compiles(changed):
                    continue
                seen.add(changed)
                removed, added, line = _difference(source, changed)
                yield Mutant(path=path, line=line, operator=name, source=changed, removed=removed, added=added)
        before += code


def _places_left_alone(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Begin and end of annotations, and of imports for the type checker."""
    places = []
    for node in ast.walk(ast.parse(source)):
        found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found.append(node)
        places += [
            ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0))
            for part in found
            if isinstance(part, ast.expr | ast.stmt)
        ]
    return places


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _difference(before: str, after: str) -> tuple[str, str, int]:
    """First changed line as it was and as it is, and its number."""
    old, new = before.splitlines(), after.splitlines()
    for kind, first, last, begin, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            return " ".join(old[first:last]).strip(), " ".join(new[begin:end]).strip(), first + 1
    return "", "", 0
