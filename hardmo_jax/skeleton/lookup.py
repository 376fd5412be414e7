"""What to say when a name is not in a table."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that is not in a table: with the nearest one of the table, or with all of them.

    Args:
        kind: What the name should have named.
        name: What was asked for.
        known: Names of the table. Upper and lower case count as equal when looking for the nearest.
    """
    entries = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name.lower(), entries, n=1)
    hint = f"; did you mean {entries[near[0]]!r}?" if near else f"; known: {', '.join(entries.values())}"
    return f"unknown {kind} {name!r}{hint}"
