"""Rows to which the library fills up groups, so that few programs are compiled: those of tests, whose few people would
wait for the filling, at no optimisation.
"""

import sys

GROUPS = {
    "fitting.limb_ends._PARTS_AT_ONCE": 64,
    "fitting.fit_motion._FRAMES_AT_ONCE": 64,
    "body.pieces._PEOPLE_AT_ONCE": 64,
    "recovery.lift._PEOPLE_AT_ONCE": 256,
    "recovery.regressor_start._PEOPLE_AT_ONCE": 64,
    "pipelines.second_opinion.PEOPLE_AT_ONCE": 16,
    "pipelines.score_labels.PEOPLE_AT_ONCE": 16,
}


def make_small() -> None:
    """Make groups of what this process has imported those of tests: for tools that tests start, whose programs are
    then those that tests have compiled, too.
    """
    for name, size in GROUPS.items():
        module, _, attribute = f"hardmo_jax.{name}".rpartition(".")
        if module in sys.modules:
            setattr(sys.modules[module], attribute, size)
