"""The image pins what the package needs."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_every_dependency_is_pinned_with_its_hashes():
    lock = ROOT / ".docker" / "requirements.lock"
    if not lock.is_file():
        pytest.skip("not in a checkout")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    in_the_image = [*project["dependencies"], *project["optional-dependencies"]["dicom"]]
    needed = {re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0].lower() for text in in_the_image}
    entries = re.findall(r"^([a-z0-9._-]+)==\S+", lock.read_text("utf-8"), re.M)
    assert needed <= set(entries), "run .docker/lock"
    assert lock.read_text("utf-8").count("--hash=sha256:") >= len(entries)
