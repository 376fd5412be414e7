"""What every tool shares: errors as one line, progress, the compilation cache, sections of a config as options."""

import difflib
import errno
import importlib.metadata
import logging
import os
import pathlib
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rich.console
import rich.progress
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict

from hardmo_jax import options as options_module
from hardmo_jax.perception import model_files

#: Errors of the operating system that the user's input causes.
_DISK_ERRORS = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.ENAMETOOLONG)
_FILE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
USAGE_STATUS = 2

#: Versions whose flags are known.
_JAXLIB_OF_FLAGS = "0.10."
_QUICK_FLAGS = ("--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true")
#: Where prepared benchmarks are kept.
BENCHMARK_ROOT = pathlib.Path("out/benchmarks")

_Options = TypeVar("_Options")


def run(
    main: Callable[[Sequence[str]], int | None],
    *,
    compiles: bool = True,
    is_short: bool = False,
    default_config: str | None = None,
    positional: str | None = None,
) -> None:
    """Run a tool's main function; the user's mistakes become one line on stderr.

    A default config is put on the command line here: a default of the flag itself is read, and its overrides with it,
    when the module is imported, where a misspelt key ends in a traceback.

    A stray positional argument is a mistake too: flags that lost their dashes must not be ignored. A tool that
    compiles nothing says so and does not pay for loading jax; one that computes less than it compiles says that it
    is short. Of a tool with a `positional` flag the first word may stand without it: `tools.view out/annotate`.
    """

    def guarded(argv: Sequence[str]) -> int:
        if len(argv) > 1:
            return fail(f"unexpected argument {argv[1]!r}; flags are written --name=value (--help lists them)")
        _stop_at_second_interrupt()
        if compiles:
            _quiet()
            if is_short:
                _compile_quickly()
            use_compilation_cache()
        try:
            return main(argv) or 0
        except Exception as error:
            # Exceptions that the library itself defines say what the user should do; all others are our bugs.
            is_of_disk = isinstance(error, OSError) and error.errno in _DISK_ERRORS
            is_told = isinstance(error, _FILE_ERRORS) or is_of_disk
            if not is_told and not type(error).__module__.startswith("hardmo_jax."):
                raise
            return fail(" ".join((_of_output_folder(error) or str(error)).split()))
        except KeyboardInterrupt:
            return fail("stopped")

    if positional is not None and len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--{positional}={sys.argv[1]}"
    given = [argument.lstrip("-").partition("=")[0] for argument in sys.argv[1:]]
    if default_config is not None and "config" not in given:
        path = pathlib.Path(default_config)
        if not path.exists():
            path = pathlib.Path(__file__).resolve().parent.parent / path
        sys.argv.insert(1, f"--config={path}")
    app.run(guarded, flags_parser=_parse_flags)


def _of_output_folder(error: Exception) -> str | None:
    """What is wrong with the folder of `--output_dir`, where it is that which cannot be made or written to."""
    given = flags.FLAGS["output_dir"].value if "output_dir" in flags.FLAGS else None
    if not given or not isinstance(error, OSError) or not isinstance(error.filename, str):
        return None
    output, named = pathlib.Path(given).absolute(), pathlib.Path(error.filename).absolute()
    is_absent_within = isinstance(error, FileNotFoundError) and output != named
    if output.is_relative_to(named) or (named.is_relative_to(output) and not is_absent_within):
        return f"--output_dir={given}: {error.strerror}" + ("" if named == output else f": {error.filename}")
    return None


def _stop_at_second_interrupt() -> None:
    """The first Ctrl-C ends the job in order, which may wait for a program that is being compiled; the second at once.

    What is unfinished lies in a folder of its own, which a later run sweeps.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: Any) -> None:
        del number, frame
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, lambda *_: os._exit(130))
        print("stopping when the present step is done; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    # So that what schedulers send ends in order too.
    signal.signal(signal.SIGTERM, stop)
    # A terminal that is gone, as when ssh breaks off; not under `nohup`, which says to go on.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, stop)


def stop_in_order(stop: threading.Event) -> None:
    """Have the first Ctrl-C, SIGTERM or SIGHUP set an event instead of ending the job; the second ends at once."""

    def told(number: int, frame: Any) -> None:
        del frame
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, lambda *_: os._exit(130))
        name = signal.Signals(number).name
        print(f"{name}: finishing what is in hand; a second one stops at once", file=sys.stderr, flush=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, told)


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parse the command line; a mistake in it, or in the config file it names, ends the program in one line."""
    try:
        return flags.FLAGS(arguments)
    except flags.UnrecognizedFlagError as error:
        sys.exit(fail(_first_cause(str(error)) + _config_hint(error.flagname, _given_config(arguments))))
    except flags.Error as error:
        sys.exit(fail(_of_another_kind(_first_cause(str(error)))))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # ml_collections raises these for config keys and values that do not fit.
        sys.exit(fail(_unknown_option(arguments) or f"config: {_first_cause(str(error))}"))


def _first_cause(text: str) -> str:
    """The line of a long message that names the cause."""
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"[A-Za-z]*Error: ", line)]
    if causes:
        return causes[-1].partition(": ")[2]
    if any("No such file" in line for line in lines):
        return next(line for line in lines if "No such file" in line).partition("] ")[2]
    return " ".join(lines[:2]).replace("\\'", "'")


#: How absl and Python say that a value is of another kind, and what is expected then.
_KINDS = (
    (r"\('Non-boolean argument to boolean flag', .*\)", "True or False"),
    (r"invalid literal for int\(\) .*", "a whole number"),
    (r"could not convert string to float: .*", "a number"),
)


def _of_another_kind(message: str) -> str:
    """A message about a value of another kind without absl's and Python's words."""
    for words, expected in _KINDS:
        found = re.fullmatch(rf"flag (--[^=]+)=(.*): {words}", message)
        if found:
            return f"{found[1]}: expected {expected}, got {found[2]!r}"
    return message


def _given_config(arguments: Sequence[str]) -> config_dict.ConfigDict | None:
    """The config of a command line without its changes; None if there is none that can be read."""
    for place, argument in enumerate(arguments):
        name, has_value, value = argument.partition("=")
        if name.lstrip("-") == "config" and name.startswith("-"):
            path = value if has_value else "".join(arguments[place + 1 : place + 2])
            try:
                config = flags.FLAGS["config"].parser.parse(path)
                # One that cannot be read is an object that raises at the first look at it.
                return config if isinstance(config, config_dict.ConfigDict) else None
            except Exception:  # whatever a config file may raise: it is asked for a hint only
                return None
    return None


def _option_paths(config: config_dict.ConfigDict, above: tuple[str, ...] = ("config",)) -> list[tuple[str, ...]]:
    """All options and sections of a config."""
    paths = []
    for key in config:
        paths.append((*above, key))
        value = config[key]
        if isinstance(value, config_dict.ConfigDict):
            paths += _option_paths(value, (*above, key))
    return paths


def _config_hint(name: str, config: config_dict.ConfigDict | None) -> str:
    """Which option of the config is called like a flag that there is not."""
    for path in [] if config is None else _option_paths(config):
        if path[-1] in (name, name.removeprefix("no")):
            return f"; did you mean --{'.'.join(path)}?"
    return ""


def _unknown_option(arguments: Sequence[str]) -> str | None:
    """What is wrong with the first change of a config's option that it does not have."""
    config = _given_config(arguments)
    if config is None:
        return None
    for argument in arguments:
        found = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if not found:
            continue
        section, above = config, ("config",)
        for key in found[1].split("."):
            wrong = f"--config.{found[1]}: "
            if not isinstance(section, config_dict.ConfigDict):
                return wrong + f"{'.'.join(above)} has no options of its own"
            if key not in section:
                near = difflib.get_close_matches(key, list(section), n=1)
                hint = _config_hint(key, config)
                if near:
                    hint = f"; did you mean --{'.'.join((*above, near[0]))}?"
                return wrong + "no such option" + (hint or f"; {'.'.join(above)} has {', '.join(section)}")
            section, above = section[key], (*above, key)
    return None


def fail(message: str) -> int:
    """Print an error line; the exit status to return."""
    print(f"error: {message}", file=sys.stderr)
    return USAGE_STATUS


def cache_folder() -> pathlib.Path:
    """Per-user folder for models and compiled programs; `HARDMO_CACHE` overrides it."""
    return model_files.default_model_folder().parent


def mocap_folder(given: str | None) -> pathlib.Path:
    """Folder of motion capture: the given one, or `mocap` below `HARDMO_DATA`; it may not exist."""
    if given is not None:
        return pathlib.Path(given)
    return pathlib.Path(os.environ.get("HARDMO_DATA", "../shared/data")) / "mocap"


def _quiet() -> None:
    """Keep other libraries' start-up notes out of the user's terminal."""
    logging.getLogger("jax").setLevel(logging.WARNING)
    absl_logging.set_verbosity(absl_logging.WARNING)


def _compile_quickly() -> None:
    """Tell XLA, before its first program, to optimise nothing: a short run computes less than it compiles.

    `xla_cpu_use_fusion_emitters=false` would save as much again, and made the training of a lifter end in NaN: no tool
    gives it.

    Flags that a version does not know end the process, so that they are given to the versions they were tried with;
    what the user gave stands.
    """
    if not importlib.metadata.version("jaxlib").startswith(_JAXLIB_OF_FLAGS):
        return
    given = os.environ.get("XLA_FLAGS", "")
    added = [flag for flag in _QUICK_FLAGS if flag.partition("=")[0] not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()


def use_compilation_cache() -> None:
    """Keep compiled programs between runs: the second run of a tool starts in seconds."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def build_options(options_class: type[_Options], config: config_dict.ConfigDict) -> _Options:
    """A config as a frozen options dataclass; unknown keys are errors with the nearest known one."""
    if not isinstance(config, config_dict.ConfigDict):
        # ml_collections defers the failure to read a config file to the first look at it.
        try:
            config.keys()
        except (AttributeError, ImportError, OSError) as error:
            raise options_module.OptionsError(
                f"the config file could not be read: {_first_cause(str(error))}"
            ) from error
    return options_module.from_mapping(options_class, _plain(config), where="config")


def _plain(value: Any) -> Any:
    """A config as dictionaries, lists and scalars; `ConfigDict.to_dict` stops at tuples."""
    if isinstance(value, config_dict.ConfigDict):
        return {key: _plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


#: Seconds between two lines of progress where the output is no terminal.
_TELL_EVERY = 10.0


class ProgressBar:
    """Stages of a job as bars with rate and time left; one line a stage where the output is not a terminal."""

    def __init__(self, console: rich.console.Console, units: str = "frames") -> None:
        self._console = console
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:>9}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._starts: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._firsts: dict[str, int] = {}
        self._units = units
        self._last_told = time.perf_counter()

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Report `done` of `total` units of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total, rate="")
        if done == 0 or stage not in self._starts:
            # A stage may come again, as when parts are scored once more.
            self._starts[stage], self._firsts[stage] = time.perf_counter(), done
            self._done.pop(stage, None)
        seconds, own = time.perf_counter() - self._starts[stage], done - self._firsts[stage]
        units = "people" if stage == "fit" or stage.startswith("score") else self._units
        rate = f"{own / seconds:.1f} {units}/s" if own > 0 and seconds > 0 else ""
        self._bar.update(self._tasks[stage], completed=done, total=total, rate=rate)
        if own > 0 and not self._console.is_terminal and time.perf_counter() - self._last_told > _TELL_EVERY:
            self._last_told = time.perf_counter()
            left = f", {max(total - done, 0) * seconds / own:.0f} s left" if total else ""
            self._console.print(f"{stage:>9}: {done} of {total or '?'} ({rate}{left})", highlight=False)
        is_last = total is not None and done >= total and self._done.get(stage, -1) < done
        self._done[stage] = done
        if is_last and not self._console.is_terminal:
            told = f" ({rate})" if rate else ""
            self._console.print(f"{stage:>9}: {done} {units} in {seconds:.1f} s{told}", highlight=False)
