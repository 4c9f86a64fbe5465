import importlib.util
import json
import stat
from pathlib import Path

import pytest

from qsmbids.errors import InputError
from qsmbids.io import validate
from qsmbids.io.validate import default_config, validate_dataset


@pytest.mark.slow
def test_good_dataset_passes_and_errors_are_grouped_by_participant(make_run):
    make_run("sub-01")
    root = make_run("sub-02")
    result = validate_dataset(root)
    assert result.errors == []
    assert result.version
    anat = root / "sub-02" / "anat"
    for echo in (1, 2):  # phase must have units
        name = anat / f"sub-02_echo-{echo}_part-phase_MEGRE.json"
        name.write_text(json.dumps({"EchoTime": 0.005 * echo}))
    (root / "sub-01" / "func").mkdir()
    (root / "sub-01" / "func" / "sub-01_nonsense.nii.gz").touch()
    (issue,) = validate_dataset(root, participants=["sub-02"]).errors
    assert (issue.code, issue.sub_code) == ("SIDECAR_KEY_REQUIRED", "Units")
    assert len(issue.locations) == 2
    assert "SIDECAR_KEY_REQUIRED (Units)" in str(issue)
    other = validate_dataset(root, participants=["01"])
    assert other.errors == []
    assert other.n_warnings > 0  # of another modality
    (root / "dataset_description.json").unlink()
    assert validate_dataset(root, participants=["01"]).errors


def test_only_the_requested_participants_are_shown_to_the_validator(
    make_run, tmp_path, monkeypatch
):
    make_run("sub-01")
    root = make_run("sub-02")
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\n")
    seen = tmp_path / "seen.txt"
    report = '{"issues": {"issues": []}}'
    body = f"""for root; do :; done
        (cd "$root"; find . -name '*.*'; cat participants.tsv) > '{seen}'
        while [ "$1" != -o ]; do shift; done; echo '{report}' > "$2\""""
    _fake(tmp_path, monkeypatch, body)
    assert validate_dataset(root, participants=["sub-02"]).errors == []
    shown = seen.read_text()
    assert "sub-01" not in shown
    assert "sub-02_echo-1_part-phase_MEGRE.nii.gz" in shown
    assert "dataset_description.json" in shown
    assert "participant_id\tage\nsub-02\t40\n" in shown
    validate_dataset(root)
    assert "sub-01_echo-1_part-phase_MEGRE.nii.gz" in seen.read_text()


def test_codes_of_the_configuration_exist():
    config = json.loads(default_config().read_text())
    assert set(config) == {"ignore", "warning", "error"}
    assert config["error"] == []
    spec = importlib.util.find_spec("bids_validator_deno")
    program = (Path(spec.origin).parent / "bids-validator.js").read_text(encoding="utf-8")
    for entry in config["ignore"]:
        assert set(entry) == {"code"}
        assert entry["code"] in program


def test_absent_validator(make_run, monkeypatch):
    monkeypatch.setattr(validate, "VALIDATOR", "bids-validator-nowhere")
    with pytest.raises(InputError, match=r"not installed.*pip install.*--skip-bids-validation"):
        validate_dataset(make_run())


def test_missing_dataset(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        validate_dataset(tmp_path / "nowhere")


def _fake(tmp_path, monkeypatch, body):
    program = tmp_path / "fake-validator"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(validate, "_executable", lambda: str(program))


def test_slow_validator(make_run, tmp_path, monkeypatch):
    _fake(tmp_path, monkeypatch, "exec sleep 20")
    with pytest.raises(InputError, match=r"did not finish within 0\.2 s"):
        validate_dataset(make_run(), timeout_s=0.2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("printf '\\033[31mkilled\\033[0m by x\\n' >&2; exit 137", r"status 137\): killed by x"),
        ('while [ "$1" != -o ]; do shift; done; echo "{" > "$2"', "no report"),
        ('while [ "$1" != -o ]; do shift; done; echo "{}" > "$2"', "no report"),
    ],
)
def test_broken_validator(make_run, tmp_path, monkeypatch, body, message):
    _fake(tmp_path, monkeypatch, body)
    with pytest.raises(InputError, match=message):
        validate_dataset(make_run())


def test_validator_that_cannot_be_started(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(validate, "_executable", lambda: str(tmp_path / "gone"))
    with pytest.raises(InputError, match="cannot be started"):
        validate_dataset(make_run())
