"""The tables and the page of a group, and the command that writes them."""

import json
import re
import time

import pytest

TABLES = ("chi", "references", "iqms", "acquisition", "runs", "exclusions")


@pytest.fixture
def group(qsmbids):
    def call(study, *options):
        return qsmbids(study.bids, study.out, "group", *options)

    return call


def test_the_command_counts_and_names_the_page(typical, group):
    code, last, said = group(typical)
    assert code == 0, said
    page = typical.out / "group_chi.html"
    assert last == (
        "qsmbids: 14 participants, 14 runs; 1 failed, 1 missing;"
        f" group report: {page} (exit code 0)"
    )
    assert set(typical.contents()) == {"group_chi.html"} | {
        f"group_{name}.{kind}" for name in TABLES for kind in ("tsv", "json")
    }


def test_repeated_it_changes_no_byte_and_no_time(typical, group):
    group(typical)
    before = typical.contents()
    times = {p: p.stat().st_mtime_ns for p in typical.out.glob("group_*")}
    assert group(typical)[0] == 0
    assert typical.contents() == before
    assert {p: p.stat().st_mtime_ns for p in typical.out.glob("group_*")} == times


def test_groups_at_the_same_time_leave_whole_files(typical, group):
    from concurrent.futures import ThreadPoolExecutor

    from qsmbids.reports.group.gather import gather
    from qsmbids.reports.group.page import write_group

    def one(_):
        return write_group(typical.out, gather(typical.out, typical.bids))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(8)))) == 1
    together = typical.contents()
    for name in together:
        (typical.out / name).unlink()
    group(typical)
    assert typical.contents() == together
    assert not [p for p in typical.out.iterdir() if p.name.endswith(".tmp")]


def test_a_dry_run_only_counts(typical, group):
    code, last, _ = group(typical, "--dry-run")
    assert code == 0
    assert "dry run: 14 participants, 14 runs; 1 failed, 1 missing" in last
    assert typical.contents() == {}


def test_the_dataset_is_only_read(typical, group):
    before = {p: p.stat().st_mtime_ns for p in typical.bids.rglob("*")}
    group(typical)
    assert {p: p.stat().st_mtime_ns for p in typical.bids.rglob("*")} == before


@pytest.mark.parametrize("make", [False, True])
def test_nothing_processed_is_an_error(study, group, make):
    study.raw("sub-1")
    if not make:
        study.out.rmdir()
    code, last, _ = group(study)
    assert code == 3
    assert "holds no processed run" in last
    assert not list(study.out.glob("*"))


def test_every_region_of_every_run_under_every_reference(typical, group):
    group(typical)
    rows = typical.table("chi")
    # 8 regions on 2 sides and 2 reference regions, under 2 references, of 12 runs
    assert len(rows) == 12 * 2 * (16 + 2)
    assert list(rows[0])[:4] == ["participant_id", "session_id", "acquisition", "run"]
    scores = {(r["run_label"], r["roi"]): abs(float(r["robust_z"])) for r in rows
              if r["robust_z"] != "n/a"}  # fmt: skip
    assert max(scores, key=scores.get) == ("sub-03", "Putamen (left)")
    assert all((abs(float(r["robust_z"])) > 3) == (r["outlier"] == "yes") for r in rows
               if r["robust_z"] != "n/a")  # fmt: skip
    one = next(r for r in rows if r["run_label"] == "sub-03" and r["roi"] == "Putamen (left)")
    source = next(typical.out.glob(f"sub-03/anat/*_desc-{one['reference']}_stats.tsv"))
    written = [line.split("\t") for line in source.read_text().splitlines()]
    same = dict(zip(written[0], written[3], strict=True))
    assert same["name"] == "Putamen"
    assert {k: one[k] for k in same if k != "name"} == {
        k: v for k, v in same.items() if k != "name"
    }


def test_the_columns_are_explained(typical, group):
    group(typical)
    for name in TABLES:
        explained = json.loads((typical.out / f"group_{name}.json").read_text())
        columns = list(typical.table(name)[0])
        assert set(columns) <= set(explained), name
        assert all(explained[c]["Description"] for c in columns)
        assert len(set(columns)) == len(columns)
    assert json.loads((typical.out / "group_chi.json").read_text())["mean"]["Units"] == "ppm"


def test_measures_are_one_line_per_run(typical, group):
    group(typical)
    rows = typical.table("iqms")
    assert [r["run_label"] for r in rows] == [f"sub-{n:02d}" for n in range(1, 13)]
    assert float(rows[4]["streaking"]) == 0.2
    explained = json.loads((typical.out / "group_iqms.json").read_text())
    assert explained["streaking"]["Units"] == "ppm"
    assert "Units" not in explained["mask_hole_fraction"]
    assert "streaking [ppm]" in (typical.out / "group_chi.html").read_text()


def test_only_what_varies_is_a_column(study, group):
    for number in range(6):
        study.run(f"sub-{number}", tr=0.04 if number else 0.05)
    group(study)
    assert list(study.table("acquisition")[0])[5:] == ["ImagingFrequency", "RepetitionTime"]
    common = json.loads((study.out / "group_acquisition.json").read_text())["CommonToAllRuns"]
    assert common["FlipAngle"] == "15"
    assert "SeriesInstanceUID" not in common


def test_mixed_versions_and_settings_are_told(study, group):
    for number in range(6):
        study.run(f"sub-{number}", version="2.0" if number else "1.0", iterations=99 + number // 3)
    group(study)
    rows = study.table("runs")
    assert [r["version"] for r in rows] == ["1.0"] + ["2.0"] * 5
    iterations = [r["dipole_inversion.fansi.maximum_iterations"] for r in rows]
    assert iterations == ["99"] * 3 + ["100"] * 3
    assert "1.0 (1)" in (study.out / "group_chi.html").read_text()


def test_participants_without_any_statistics_still_make_a_page(study, group):
    study.status("sub-1", status="failed", message="all is lost")
    code, last, _ = group(study)
    assert code == 0
    assert "1 failed" in last
    assert "all is lost" in (study.out / "group_chi.html").read_text()
    assert study.table("chi") == []


def test_an_older_version_without_segmentation_joins(study, group):
    for number in range(5):
        study.run(f"sub-{number}", atlas=None)
    study.run("sub-5")
    assert group(study)[0] == 0
    assert {r["segmentation"] for r in study.table("chi")} == {"cit168", "reference regions"}


def test_the_page_needs_nothing_else_and_escapes(typical, group):
    group(typical)
    page = (typical.out / "group_chi.html").read_text()
    assert "&lt;b&gt;here" in page
    assert "<b>here" not in page
    assert not re.search(r'(src|href)="(https?:|//)', page)
    links = set(re.findall(r'href="(?!#|data:)([^"]+)"', page))
    assert "sub-03.html" in links
    assert all((typical.out / link).is_file() for link in links)
    data = re.search(r'id="group-data">(.*?)</script>', page, re.DOTALL)[1]
    payload = json.loads(data)
    assert payload["runs"][2] == ["sub-03", "sub-03.html"]
    assert payload["runs"][13] == ["sub-14", ""]


def test_frequency_of_the_scanner_is_that_of_its_runs(typical, group):
    group(typical)
    values = [float(r["ImagingFrequency"]) for r in typical.table("acquisition")]
    page = (typical.out / "group_chi.html").read_text()
    assert "Siemens Prisma" in page
    assert f"{sum(values) / len(values):.6f}" in page


@pytest.mark.slow
def test_five_hundred_participants_take_less_than_a_minute(study, group):
    for number in range(500):
        label = f"sub-{number:03d}"
        study.raw(label)
        study.run(label)
    started = time.monotonic()
    code, last, _ = group(study)
    assert time.monotonic() - started < 60
    assert code == 0
    assert last.startswith("qsmbids: 500 participants, 500 runs; 0 failed, 0 missing;")
    assert (study.out / "group_chi.html").stat().st_size < 15e6


def test_regions_are_plotted_against_age_where_ages_are_known(study, group):
    ages = {f"sub-{n}": 20 + 7 * n for n in range(1, 7)}
    for label in ages:
        study.raw(label)
        study.run(label)
    assert group(study)[0] == 0
    path = study.out / "group_chi.html"
    assert 'id="age"' not in path.read_text("utf-8")
    rows = "".join(f"{label}\t{age}\tF\n" for label, age in ages.items())
    (study.bids / "participants.tsv").write_text("participant_id\tage\tsex\n" + rows)
    assert group(study)[0] == 0
    page = path.read_text("utf-8")
    assert 'aria-label="cit168: Putamen against age"' in page
    assert page.count("ppb a year") == 8
    table = study.table("chi")
    assert {row["age"] for row in table} == {str(age) for age in ages.values()}
    left = next(r for r in table if r["roi"] == "Putamen (left)" and r["reference"] == "csf")
    assert left["structure"] == "Putamen"
    assert left["left_less_right"] != "n/a"


LESION_HEAD = (
    "reference index name n_voxels volume_mm3 n_mask4 mean std median rim_mean core_mean"
    " rim_minus_core surroundings_mean paramagnetic_share diamagnetic_share"
).split()


def test_lesions_of_all_runs_stand_in_one_table_with_whose_they_are(study, group):
    for n, count in ((1, 2), (2, 0), (3, 1)):
        label = f"sub-{n}"
        study.raw(label)
        study.run(label)
        cells = ["40", "320.00", "39", *["0.010000"] * 9]
        rows = [
            [reference, str(k), f"lesion{k}", *cells]
            for reference in ("wholebrain", "csf")
            for k in range(1, count + 1)
        ]
        table = "\n".join("\t".join(row) for row in (LESION_HEAD, *rows))
        if n != 2:
            path = study.out / label / "anat" / f"{label}_desc-lesions_stats.tsv"
            path.write_text(table + "\n")
    (study.bids / "participants.tsv").write_text(
        "participant_id\tage\tsex\nsub-1\t41\tF\nsub-2\t30\tM\nsub-3\tn/a\tM\n"
    )
    assert group(study)[0] == 0
    found = study.table("lesions")
    assert [(r["run_label"], r["reference"], r["lesion"], r["age"], r["sex"]) for r in found] == [
        ("sub-1", "wholebrain", "lesion1", "41", "F"),
        ("sub-1", "wholebrain", "lesion2", "41", "F"),
        ("sub-1", "csf", "lesion1", "41", "F"),
        ("sub-1", "csf", "lesion2", "41", "F"),
        ("sub-3", "wholebrain", "lesion1", "n/a", "M"),
        ("sub-3", "csf", "lesion1", "n/a", "M"),
    ]
    assert {r["rim_minus_core"] for r in found} == {"0.010000"}
    about = json.loads((study.out / "group_lesions.json").read_text())
    assert about["rim_minus_core"]["Units"] == "ppm"
    assert "lesion" in about["volume_mm3"]["Description"]
    assert "group_lesions.tsv" in (study.out / "group_chi.html").read_text()
    for path in study.out.glob("sub-*/anat/*lesions_stats.tsv"):
        path.unlink()
    assert group(study)[0] == 0
    assert not list(study.out.glob("group_lesions*"))
    assert "group_lesions.tsv" not in (study.out / "group_chi.html").read_text()
