"""The image as users run it; ``.ci/container`` builds it and says where it is."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

#: How a careful administrator runs somebody else's image.
HARDENED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--network=none",
    "--user=4242:4243",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)

Engine = Callable[..., subprocess.CompletedProcess]


def _needed(name: str) -> str:
    if name not in os.environ:
        pytest.skip(f"{name} is not set: started by .ci/container only")
    return os.environ[name]


@pytest.fixture(scope="session")
def image() -> str:
    return _needed("QSMBIDS_TEST_IMAGE")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Call docker, or what stands for it."""
    program = _needed("QSMBIDS_TEST_ENGINE")

    def call(*args: object, code: int = 0) -> subprocess.CompletedProcess:
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return call


@pytest.fixture(scope="session")
def inspected(engine, image) -> dict:
    return json.loads(engine("image", "inspect", image).stdout)[0]


@pytest.fixture(scope="session")
def outside() -> Path:
    """Return the commands of an installation with the packages of the image."""
    return Path(_needed("QSMBIDS_TEST_OUTSIDE"))
