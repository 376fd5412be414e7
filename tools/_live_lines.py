"""What `tools.annotate` says while it looks at live input, and at the end."""

import time

import rich.console
import rich.live
import rich.text

from hardmo_jax.pipelines import live

#: People that are told of in a terminal, and seconds between two lines where the output is none.
_MOST_PEOPLE, _TELL_EVERY = 6, 5.0


class LiveLines:
    """A few lines that are renewed; where the output is no terminal, one line every few seconds."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._lines: rich.live.Live | None = None
        self._told = 0.0

    def __enter__(self) -> "LiveLines":
        self._console.print("loading")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def begun(self) -> None:
        """All is loaded."""
        self._console.print("recording; Ctrl-C ends it")
        if self._console.is_terminal:
            self._lines = rich.live.Live(console=self._console, refresh_per_second=4, transient=True)
            self._lines.start()

    def __call__(self, state: live.LiveState) -> None:
        """Show how it goes."""
        text = told_state(state)
        if self._lines is not None:
            people = [*state.rows[:_MOST_PEOPLE], *(["..."] if state.rows[_MOST_PEOPLE:] else [])]
            self._lines.update(rich.text.Text("\n".join([text, *people])))
        elif time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            self._console.print(text, soft_wrap=True)

    def ended(self, why: str) -> None:
        """It is over."""
        self._stop()
        self._console.print(f"the recording is closed: {why}", soft_wrap=True)

    def _stop(self) -> None:
        if self._lines is not None:
            self._lines.stop()
            self._lines = None


def told_state(state: live.LiveState) -> str:
    """A line of how it goes."""
    behind = state.fit_behind_seconds
    return (
        f"{state.seconds:7.1f} s: {state.num_people} people, 2D {state.frames_per_second:.1f} frames/s "
        f"({state.delay_seconds:.2f} s behind), SMPL {'not yet' if behind is None else f'{behind:.1f} s behind'}, "
        f"{state.num_captured} frames recorded"
    )


def print_live_summary(summary: live.LiveSummary) -> None:
    """Lines at the end of a session."""
    console = rich.console.Console(highlight=False, markup=False)
    delay, behind = summary.delay_seconds, summary.fit_behind_seconds
    console.print(
        f"live: {summary.num_labelled} of {summary.num_captured} frames at {summary.frames_per_second:.1f} frames/s"
        + ("" if delay is None else f", keypoints {delay:.2f} s behind")
        + ("" if behind is None else f", bodies {behind:.2f} s behind ({summary.num_fits} fits)"),
        soft_wrap=True,
    )
    for warning in summary.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    labels = summary.recording.with_name(live.LABELS_NAME)
    again = f"--input={summary.recording} --output_dir={labels}"
    told = f"labels of all frames are in {labels}, made of" if summary.labels is not None else "label them from"
    console.print(f"{told} the recording; the same again: {again}", soft_wrap=True)
