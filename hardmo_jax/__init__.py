"""SMPL labels of hard human motion: body models, fitting, hardcase repair and regressors in JAX.

Importing this package touches no device, file, network or environment variable. The names below are resolved
at first use, so that a project which only wants the body model loads nothing else.
"""

import importlib
import typing

__version__ = "0.1.0"

_HOME = {
    "BodyModel": "hardmo_jax.body.model",
    "BodyOutput": "hardmo_jax.body.model",
    "BodyParams": "hardmo_jax.body.params",
    "Camera": "hardmo_jax.geometry.cameras",
    "FitOptions": "hardmo_jax.fitting.stages",
    "FitResult": "hardmo_jax.fitting.result",
    "FitStatus": "hardmo_jax.fitting.result",
    "Guess": "hardmo_jax.fitting.guess",
    "MotionOptions": "hardmo_jax.fitting.fit_motion",
    "Observations": "hardmo_jax.observations",
    "PoseDensity": "hardmo_jax.fitting.pose_density",
    "StartOptions": "hardmo_jax.recovery.starts",
    "UserResidual": "hardmo_jax.fitting.evidence",
    "add_layout": "hardmo_jax.skeleton.layouts",
    "fit": "hardmo_jax.fitting.fit",
    "fit_motion": "hardmo_jax.fitting.fit_motion",
    "lift_and_fit": "hardmo_jax.recovery.lift_and_fit",
    "load_body": "hardmo_jax.body.load",
    "open_body": "hardmo_jax.body.load",
    "recover_motion": "hardmo_jax.recovery.recover_motion",
}

__all__ = [
    "BodyModel",
    "BodyOutput",
    "BodyParams",
    "Camera",
    "FitOptions",
    "FitResult",
    "FitStatus",
    "Guess",
    "MotionOptions",
    "Observations",
    "PoseDensity",
    "StartOptions",
    "UserResidual",
    "__version__",
    "add_layout",
    "fit",
    "fit_motion",
    "lift_and_fit",
    "load_body",
    "open_body",
    "recover_motion",
]

if typing.TYPE_CHECKING:
    from hardmo_jax.body.load import load_body, open_body
    from hardmo_jax.body.model import BodyModel, BodyOutput
    from hardmo_jax.body.params import BodyParams
    from hardmo_jax.fitting.evidence import UserResidual
    from hardmo_jax.fitting.fit import fit
    from hardmo_jax.fitting.fit_motion import MotionOptions, fit_motion
    from hardmo_jax.fitting.guess import Guess
    from hardmo_jax.fitting.pose_density import PoseDensity
    from hardmo_jax.fitting.result import FitResult, FitStatus
    from hardmo_jax.fitting.stages import FitOptions
    from hardmo_jax.geometry.cameras import Camera
    from hardmo_jax.observations import Observations
    from hardmo_jax.recovery.lift_and_fit import lift_and_fit
    from hardmo_jax.recovery.recover_motion import recover_motion
    from hardmo_jax.recovery.starts import StartOptions
    from hardmo_jax.skeleton.layouts import add_layout


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'hardmo_jax' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
