"""The dataset says which image made it."""

import json

import pytest

from qsmbids.io.output_dataset import init_dataset


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"QSMBIDS_CONTAINER": "docker", "QSMBIDS_DOCKER_TAG": ""}, ("docker", "qsmbids:1.2")),
        (
            {"QSMBIDS_CONTAINER": "docker", "QSMBIDS_DOCKER_TAG": "lab/qsm:7"},
            ("docker", "lab/qsm:7"),
        ),
        (
            {"QSMBIDS_CONTAINER": "docker", "APPTAINER_CONTAINER": "/q.sif"},
            ("apptainer", "qsmbids:1.2"),
        ),
    ],
)
def test_the_container_is_recorded(tmp_path, monkeypatch, environment, expected):
    for name in ("QSMBIDS_CONTAINER", "QSMBIDS_DOCKER_TAG", "APPTAINER_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    init_dataset(tmp_path / "out", version="1.2", raw_dir=tmp_path / "raw")
    description = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    found = description["GeneratedBy"][0].get("Container")
    assert found == (expected and {"Type": expected[0], "Tag": expected[1]})
