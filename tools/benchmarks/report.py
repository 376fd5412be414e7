"""Benchmark results as tables that people read."""

from typing import Any


def table(result: dict[str, Any]) -> str:
    """Text of a result: where it was taken, and a line a measured figure."""
    machine = result["machine"]
    where = [machine["processor"], *machine["devices"], machine["date"], machine["commit"]]
    lines = [f"{result['suite']}: {', '.join(where)}"]
    line = {"body": _body_line, "compile": _compile_line}.get(result["suite"], _line)
    lines += [line(row) for row in result["rows"]]
    return "\n".join(lines)


def _body_line(row: dict[str, Any]) -> str:
    against = f"against {', '.join(row['against'])}" if row["against"] else ""
    rate = f"{row['gflops']:7.1f} GF/s" if "gflops" in row else ""
    return (
        f"{row['measure']:18} batch {row['batch']:5} {row['name']:18} median {row['median_seconds'] * 1e3:10.3f} ms "
        f"least {row['least_seconds'] * 1e3:10.3f} ms  first {row['first_call_seconds']:6.2f} s  "
        f"x{row['ours_faster']:8.2f} {rate} {against}"
    )


def _compile_line(row: dict[str, Any]) -> str:
    return f"{row['program']:18} cold {row['cold_seconds']:6.2f} s  warm {row['warm_seconds']:6.2f} s"


def _line(row: dict[str, Any]) -> str:
    """Every figure by its name."""
    return "  ".join(
        f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
    )
