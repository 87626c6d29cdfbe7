"""What all tests share: one seed, and property tests that repeat."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from hypothesis import settings

from cases import SEED

# examples follow from the test alone, so a failure repeats; compiling a kernel may take seconds
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("repeatable")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers from SPARSEINV_TEST_SEED, the same for every test."""
    return np.random.default_rng(SEED)


def pytest_report_header() -> str:
    return f"seed: {SEED} (set SPARSEINV_TEST_SEED to change it)"


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Undo that a shell which runs the tests in the background makes them ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
