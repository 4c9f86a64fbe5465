"""The group level after real participants: jobs of their own, one failed, one never started."""

import shutil

import pytest

from qsmbids.io.validate import validate_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, small_dataset_source):
    """Three participants of which one has damaged data and one is left for later."""
    bids = tmp_path_factory.mktemp("group") / "bids"
    shutil.copytree(small_dataset_source, bids)
    for name in ("broken", "later"):
        shutil.copytree(bids / "sub-demo", bids / f"sub-{name}")
        for path in sorted((bids / f"sub-{name}").rglob("sub-demo*")):
            path.rename(path.with_name(path.name.replace("sub-demo", f"sub-{name}")))
    next(bids.glob("sub-broken/anat/*echo-2_part-phase*.json")).write_text("{,}")
    return bids, bids.parent / "out"


def test_jobs_then_the_group(jobs, qsmbids, tmp_path):
    bids, out = jobs
    options = ("--nprocs", "1", "--sloppy", "--skip-bids-validation", "-w", tmp_path / "work")
    code, _, said = qsmbids(bids, out, "participant", "--participant-label", "demo", *options)
    assert code == 0, said
    code, _, _ = qsmbids(bids, out, "participant", "--participant-label", "broken", *options)
    assert code == 3
    code, last, said = qsmbids(bids, out, "group")
    assert code == 0, said
    assert "3 participants, 3 runs; 1 failed, 1 missing" in last
    files = {p.name: p.read_bytes() for p in out.glob("group_*")}
    assert len(files) == 13
    rows = [line.split("\t") for line in files["group_runs.tsv"].decode().splitlines()]
    table = {row[4]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert table["sub-demo"]["preset"] == "consensus-fansi"
    assert table["sub-demo"]["main_reference"] == "wholebrain"
    assert table["sub-demo"]["report"] == "sub-demo.html"
    assert table["sub-broken"]["step"] == "check of the input"
    assert "malformed JSON" in table["sub-broken"]["message"]
    assert b"\twholebrain\t" in files["group_references.tsv"]
    result = validate_dataset(out, all_modalities=True)
    assert not result.errors, result.errors
    assert qsmbids(bids, out, "group")[0] == 0
    assert {p.name: p.read_bytes() for p in out.glob("group_*")} == files
