"""What a benchmark result must say about where it was taken."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess

_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "torch", "smplx", "body-models", "smplfitter")
_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def describe() -> dict[str, object]:
    """Processor, memory, versions, commit and date."""
    import jax

    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "commit": _commit(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _processor() -> str:
    """Model of the processor; containers often hide it, then its family and vector units."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").exists() else []
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    name = fields.get("model name", platform.processor())
    vectors = [unit for unit in ("avx2", "avx512f") if unit in fields.get("flags", "").split()]
    return " ".join([name, *vectors]).strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Commit of the working tree, with a mark if it has changes."""
    try:
        command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
