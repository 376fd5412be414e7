"""Progress in a log, where there are no bars."""

import io

import rich.console

from tools import _cli


def test_a_log_is_told_now_and_then_and_at_the_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_cli.time, "perf_counter", lambda: now[0])
    out = io.StringIO()
    with _cli.ProgressBar(rich.console.Console(file=out, width=200)) as progress:
        for done in range(0, 31):
            now[0] = float(done)
            progress("perceive", done, 30)
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines == [
        "perceive: 11 of 30 (1.0 frames/s, 19 s left)",
        "perceive: 22 of 30 (1.0 frames/s, 8 s left)",
        "perceive: 30 frames in 30.0 s (1.0 frames/s)",
    ]


def test_a_stage_of_unknown_length_is_told_without_a_guess(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_cli.time, "perf_counter", lambda: now[0])
    out = io.StringIO()
    with _cli.ProgressBar(rich.console.Console(file=out, width=200)) as progress:
        for done in (0, 20):
            now[0] = float(done)
            progress("fit", done, None)
    assert out.getvalue().split() == ["fit:", "20", "of", "?", "(1.0", "people/s)"]
