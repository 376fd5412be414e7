"""Fits that several tests look at: every compiled program is made once, with 16 people and the default options."""

import functools

import pytest

import hardmo_jax as hm
from tests.fitting import synthetic_people

#: One equal (hence once compiled) value for every test.
OPTIONS = hm.FitOptions()


@pytest.fixture(scope="session")
def people():
    """The SMPL-H view with every BODY_25 and hand point."""
    return synthetic_people.draw(hm.open_body(), "openpose67")


@pytest.fixture(scope="session")
def fit_people(people):
    """Noise-free fits by kind of evidence, each done once."""

    @functools.lru_cache(maxsize=3)
    def fitted(*kinds):
        return hm.fit(people.body, people.observe(*kinds), options=OPTIONS)

    return fitted
