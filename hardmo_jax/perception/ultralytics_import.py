"""The one place where ultralytics is imported: without network, installations, files at home or talk.

ultralytics is AGPL-3.0. Nothing of it is copied here, and nothing but the extra `yolo` brings it.
"""

import atexit
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import threading
from typing import Any

from hardmo_jax.missing_packages import MissingPackageError

OFFLINE = "YOLO_OFFLINE"
_ENVIRONMENT = {OFFLINE: "1", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
_LICENCE = "ultralytics is AGPL-3.0, so that what is built on it must be open too, unless you buy another licence"
_lock = threading.Lock()


def has_ultralytics() -> bool:
    """Whether ultralytics is installed; it is not imported for the answer."""
    return importlib.util.find_spec("ultralytics") is not None


def import_ultralytics() -> Any:
    """Import ultralytics quietly; its modules may be imported in the usual way afterwards.

    Environment variables of its own stay set, because it reads some of them late. What else its import changes in
    the process (`OMP_NUM_THREADS`, threads of OpenCV, how numbers are printed) is put back. A program that imported
    ultralytics before keeps its own settings.

    Returns:
        The package.

    Raises:
        MissingPackageError: If it, or something that it needs, is not installed.
    """
    with _lock:
        if "ultralytics" in sys.modules:
            return sys.modules["ultralytics"]
        try:
            # Before ultralytics sets the threads that torch starts with.
            import torch
        except ImportError as error:
            raise _missing(error) from error
        if not has_ultralytics():
            raise _missing(None)
        import cv2
        import numpy as np

        folder = tempfile.mkdtemp(prefix="hardmo_ultralytics_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        before, threads, printed = dict(os.environ), cv2.getNumThreads(), np.get_printoptions()
        os.environ.update(_ENVIRONMENT, YOLO_CONFIG_DIR=folder)
        try:
            import ultralytics
        except ImportError as error:
            raise _missing(error) from error
        finally:
            for name in [name for name in os.environ if not name.startswith("YOLO_")]:
                if name not in before:
                    del os.environ[name]
                elif os.environ[name] != before[name]:
                    os.environ[name] = before[name]
            cv2.setNumThreads(threads)
            np.set_printoptions(**printed)
            torch.set_printoptions(profile="default")
        # Usage statistics; the file of settings lies in the temporary folder.
        ultralytics.settings.update(sync=False)
        logging.getLogger("ultralytics").setLevel(logging.CRITICAL + 1)
        return ultralytics


def _missing(error: ImportError | None) -> MissingPackageError:
    reason = f" ({error})" if error else ""
    return MissingPackageError(f"YOLO weights need ultralytics{reason}; `pip install hardmo_jax[yolo]`. {_LICENCE}")
