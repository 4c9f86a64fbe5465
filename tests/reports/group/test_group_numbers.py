"""Outliers, cross-check of the references and the table of exclusions, on known numbers."""

import numpy as np
import pytest

from qsmbids.reports.group.crosscheck import cross_check, grouping_column, reference_pairs
from qsmbids.reports.group.exclusions import edited, exclusions, keep_edits
from qsmbids.reports.group.gather import gather
from qsmbids.reports.group.people import slope, with_people
from qsmbids.reports.group.runs import Group, GroupRun, identity
from qsmbids.reports.group.strata import set_strata
from qsmbids.reports.group.tables import to_tsv, write_tables
from qsmbids.reports.group.values import collect_regions, collect_values, robust_z


def test_robust_z_is_that_of_the_median_and_the_mad():
    values = np.array([1.0, 2.0, 3.0, 4.0, 50.0])
    assert robust_z(values) == pytest.approx((values - 3.0) / 1.4826)


def test_four_values_or_equal_ones_have_no_score():
    assert np.isnan(robust_z(np.array([1.0, 2.0, 3.0, 90.0]))).all()
    assert np.isnan(robust_z(np.full(9, 0.3))).all()


def test_a_study_without_a_single_value_has_nothing_to_compare():
    failed = [GroupRun("sub-1", status="failed")]
    values = collect_values(failed, collect_regions(failed))
    check = cross_check(values, failed, ("wholebrain", "csf"), {"sub-1": "patient"})
    assert (check.agreements, check.order_changes, check.differences) == ((), (), ())
    assert reference_pairs(values) == []


def test_one_far_from_many_equal_ones_is_found():
    assert abs(robust_z(np.array([1.0] * 9 + [2.0]))[-1]) > 3


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ({"name": "Putamen", "hemisphere": "left"}, "Putamen (left)"),
        ({"name": "Pallidum", "hemisphere": "L"}, "Pallidum (left)"),
        ({"name": "Left-Putamen", "hemisphere": "L"}, "Left-Putamen"),
        ({"name": "ctx_rh_insula", "hemisphere": "R"}, "ctx_rh_insula"),
        ({"name": "Pons", "hemisphere": "n/a"}, "Pons"),
        ({"index": "7"}, "7"),
    ],
)
def test_names_tell_the_side_once(cells, name):
    regions = collect_regions([GroupRun("sub-1", status="ok", rois=[cells])])
    assert regions["name"].tolist() == [name]


def _runs(values, labels=None, csf=None):
    """Return runs with regions A, B, ... under two references."""
    values = np.asarray(values, dtype=float)
    csf = np.zeros(len(values)) if csf is None else csf
    runs = []
    for i, row in enumerate(values):
        label = labels[i] if labels else f"sub-{i:02d}"
        rois = [
            {"segmentation": "atlas", "reference": reference, "name": "ABCDEF"[k],
             "mean": f"{value - zero:.6f}"}
            for reference, zero in (("wholebrain", 0.0), ("csf", csf[i]))
            for k, value in enumerate(row)
        ]  # fmt: skip
        runs.append(GroupRun(label, status="ok", rois=rois))
    return runs


def _values(runs):
    return collect_values(runs, collect_regions(runs))


def _exclusions(runs):
    regions = collect_regions(runs)
    return exclusions(runs, regions, collect_values(runs, regions))


def _flags(runs):
    """Return by stratum which values under the whole brain are flagged."""
    values = _values(runs)
    values = values[values["reference"] == "wholebrain"]
    return values.groupby("stratum")["outlier"].agg(list).to_dict()


def test_runs_are_judged_among_those_of_their_own_acquisition():
    # 7 T values would make every 3 T value an outlier, or hide one
    labels = [f"sub-{i}_acq-{'a' if i < 6 else 'b'}" for i in range(12)]
    values = [[0.1 + 0.001 * i] for i in range(6)] + [[0.5 + 0.001 * i] for i in range(6)]
    values[2] = [0.3]
    assert _flags(_runs(values, labels)) == {
        "acq-a": [False, False, True, False, False, False],
        "acq-b": [False] * 6,
    }


def test_runs_are_judged_among_those_of_their_own_scanner_and_protocol():
    values = [[0.1 + 0.001 * i] for i in range(12)]
    values[2], values[9] = [0.3], [0.9]
    runs = _runs(values)
    for place, run in enumerate(runs):
        run.acquisition = {
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "Prisma",
            "ScannerKey": "aaaa1111" if place < 6 else "bbbb2222",
            "EchoTime": [0.005, 0.01],
            # rounding of the same protocol
            "RepetitionTimeExcitation": 0.04 + 1e-5 * (place % 2),
        }
    set_strata(runs)
    assert _flags(runs) == {
        "scanner-A": [False, False, True, False, False, False],
        "scanner-B": [False, False, False, True, False, False],
    }
    one = _runs([[0.1]] * 6)
    for run in one:
        run.acquisition = {"Manufacturer": "GE", "FlipAngle": 15}
    set_strata(one)
    assert {run.stratum for run in one} == {""}
    one[3].acquisition = {"Manufacturer": "GE", "FlipAngle": 25}
    for run in one:
        run.compared_with = ""
    set_strata(one)
    assert [run.stratum for run in one] == ["protocol-A"] * 3 + ["protocol-B"] + ["protocol-A"] * 2


def test_a_shifted_reference_is_what_changes_the_flags():
    rng = np.random.default_rng(2)
    values = rng.normal([0.05, 0.1], 0.004, (20, 2))
    csf = rng.normal(0.01, 0.001, 20)
    csf[4] = 0.09  # fluid of this one holds blood: only its CSF reference is wrong
    runs = _runs(values, csf=csf)
    found = _values(runs)
    assert reference_pairs(found) == [("wholebrain", "csf")]
    check = cross_check(found, runs, ("wholebrain", "csf"))
    assert [a.only_second for a in check.agreements] == [("sub-04",)] * 2
    assert all(not a.both and not a.only_first for a in check.agreements)
    assert check.shift == pytest.approx((-csf.mean(), csf.std(ddof=1)), abs=1e-6)
    x, y = (np.round(v, 6) for v in (values[:, 0], values[:, 0] - csf))  # as in the tables
    assert check.agreements[0].correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    pairs = [(i, j) for i in range(20) for j in range(i)]
    moved = np.mean([(x[i] - x[j]) * (y[i] - y[j]) < 0 for i, j in pairs])
    assert check.agreements[0].reordered == pytest.approx(moved)


def test_pairs_of_equal_values_are_not_reordered():
    values = np.array([0.1, 0.1, 0.2, 0.3, 0.3, 0.2])
    runs = _runs(values[:, None], csf=[0.0, 0.1, 0.05, 0.2, 0.2, 0.0])
    (one,) = cross_check(_values(runs), runs, ("wholebrain", "csf")).agreements
    # against 0.1, 0, 0.15, 0.1, 0.1, 0.2: the third and the last, each with the two largest
    assert one.reordered == pytest.approx(4 / 15)


def test_references_that_agree_change_nothing():
    values = np.random.default_rng(3).normal(0.05, 0.01, (12, 3))
    runs = _runs(values, csf=np.full(12, 0.02))
    check = cross_check(_values(runs), runs, ("wholebrain", "csf"))
    assert [a.correlation for a in check.agreements] == pytest.approx([1.0] * 3, abs=1e-6)
    assert all(a.reordered == 0 for a in check.agreements)
    assert check.order_changes == ()


def test_regions_that_swap_places_are_named():
    # the medians of A and B are of different runs, which the reference shifts differently
    values = [[0.0, 0.03], [0.10, 0.09], [0.20, 0.30]]
    runs = _runs(values, csf=[0.0, 0.0, 0.18])
    check = cross_check(_values(runs), runs, ("wholebrain", "csf"))
    assert [c.regions for c in check.order_changes] == [("A", "B")]
    assert check.order_changes[0].first == pytest.approx(0.01)
    assert check.order_changes[0].second < 0


def test_a_difference_that_only_one_reference_finds_is_marked():
    rng = np.random.default_rng(4)
    groups = {f"sub-{i:02d}": "patient" if i < 10 else "control" for i in range(20)}
    csf = np.where(np.arange(20) < 10, 0.0, 0.05)
    values = np.column_stack([rng.normal(0.1, 0.005, 20), rng.normal(0.1, 0.005, 20)])
    values[:10, 1] += 0.2  # found under both
    runs = _runs(values, csf=csf)
    check = cross_check(_values(runs), runs, ("wholebrain", "csf"), groups)
    a, b = check.differences
    assert a.groups == ("control", "patient")
    assert a.changes
    assert b.exists
    assert not b.changes
    difference = values[10:, 1].mean() - values[:10, 1].mean()
    assert b.first[0] == pytest.approx(difference, abs=1e-6)


def test_the_interval_is_that_of_welch():
    groups = {f"sub-{i:02d}": "ab"[i // 3] for i in range(6)}
    runs = _runs([[v] for v in (1, 2, 3, 4, 5, 6)])
    found = cross_check(_values(runs), runs, ("wholebrain", "csf"), groups).differences[0]
    # 4 degrees of freedom: t = 2.776445, standard error sqrt(2 / 3)
    half = 2.776445 * (2 / 3) ** 0.5
    assert found.first == pytest.approx((-3.0, -3.0 - half, -3.0 + half), rel=1e-6)


def test_sessions_of_a_participant_are_one_in_the_groups():
    labels = [f"sub-{i}_ses-{s}" for i in range(6) for s in (1, 2)]
    groups = {f"sub-{i}": "ab"[i % 2] for i in range(6)}
    runs = _runs(np.linspace(0, 1, 12)[:, None], labels)
    check = cross_check(_values(runs), runs, ("wholebrain", "csf"), groups)
    assert check.differences[0].n == (3, 3)


def test_only_a_column_with_few_levels_makes_groups():
    rows = {f"sub-{i}": {"age": str(i), "Diagnosis": "MS" if i % 2 else "n/a"} for i in range(9)}
    assert grouping_column(rows) == ("", {})
    for i in range(0, 9, 2):
        rows[f"sub-{i}"]["Diagnosis"] = "HC"
    column, groups = grouping_column(rows)
    assert column == "Diagnosis"
    assert set(groups.values()) == {"MS", "HC"}


def test_reasons_begin_as_the_flags(typical):
    rows = _exclusions(gather(typical.out, typical.bids).runs)
    assert rows.loc["sub-01", "suggested"] == "yes"
    assert "Putamen (left)" in rows.loc["sub-03", "reason"]
    assert "outlier: streaking 0.2" in rows.loc["sub-05", "reason"]
    assert "unusual: streaking 0.2 ppm" in rows.loc["sub-05", "reason"]
    assert rows.loc["sub-07", "reason"].endswith("warning: odd phase")
    assert rows.loc["sub-13", "include"] == "no"
    assert "brain extraction" in rows.loc["sub-13", "reason"]
    assert rows.loc["sub-14", "include"] == "no"
    assert not edited(rows).any()


def test_what_the_author_wrote_stays(typical, tmp_path):
    path = tmp_path / "group_exclusions.tsv"
    rows = _exclusions(gather(typical.out, typical.bids).runs)
    path.write_text(to_tsv(rows), "utf-8")
    assert keep_edits(path, rows).equals(rows)  # nothing was edited
    text = path.read_text("utf-8").splitlines()
    at = next(i for i, line in enumerate(text) if line.startswith("sub-03"))
    cells = text[at].split("\t")
    cells[-2:] = ["no", "haemorrhage in the putamen"]
    text[at] = "\t".join(cells)
    path.write_text("\n".join(text) + "\n", "utf-8")
    typical.run("sub-07")  # processed again, now without a warning
    rows = _exclusions(gather(typical.out, typical.bids).runs)
    kept = keep_edits(path, rows)
    assert kept.loc["sub-03"].tolist()[2:] == ["no", "haemorrhage in the putamen"]
    assert kept.loc["sub-03", "suggested"] == "check"
    assert kept.loc["sub-07"].tolist()[2:] == ["yes", ""]
    assert keep_edits(path, rows.loc[["sub-01"]]).index.tolist() == ["sub-01", "sub-03"]


@pytest.mark.parametrize(
    "change",
    [
        lambda cells: [*cells[:-2], "no", '"left, ""by"" the patient"'],  # quoted by an editor
        lambda cells: [*cells[:-2], "no", "left\tthe study"],  # one cell too many
        lambda cells: [*cells[:-2], "no"],  # the empty one at the end dropped
    ],
)
def test_an_edited_line_of_any_length_counts(typical, tmp_path, change):
    path = tmp_path / "group_exclusions.tsv"
    rows = _exclusions(gather(typical.out, typical.bids).runs)
    lines = to_tsv(rows).splitlines()
    lines[1] = "\t".join(change(lines[1].split("\t")))
    path.write_text("\n".join(lines), "utf-8")
    kept = keep_edits(path, rows)
    assert kept.loc["sub-01", "include"] == "no"
    assert edited(kept).sum() == 1


def test_two_regions_of_one_name_have_scores_of_their_own(study):
    regions = [
        {"segmentation": "atlas", "reference": "csf", "name": "A", "mean": mean}
        for mean in ("0.1", "0.11", "0.12", "0.13", "0.14", "0.9")
    ]
    runs = [GroupRun("sub-1", status="ok", rois=regions)]
    group = Group(tuple(runs), {})
    rows = with_people(collect_regions(runs), group)
    write_tables(study.out, group, rows, _values(runs), _exclusions(runs))
    assert [row["outlier"] for row in study.table("chi")] == ["no"] * 5 + ["yes"]


def test_age_sex_and_the_other_side_stand_beside_every_region():
    def roi(name, side, mean, reference="wholebrain"):
        return {"segmentation": "atlas", "reference": reference, "name": name,
                "hemisphere": side, "mean": mean}  # fmt: skip

    first = [
        roi("caudate-left", "L", "0.05"), roi("caudate-right", "R", "0.04"),
        roi("Nigra", "left", "0.11"), roi("Nigra", "right", "0.14"), roi("pons", "n/a", "0.01"),
        roi("caudate-left", "L", "0.15", "csf"), roi("caudate-right", "R", "n/a", "csf"),
    ]  # fmt: skip
    runs = [GroupRun("sub-1_ses-a", rois=first), GroupRun("sub-2", rois=first[:1])]
    people = {"sub-1": {"participant_id": "sub-1", "Age": "34", "sex": "F"}}
    rows = with_people(collect_regions(runs), Group(tuple(runs), people))
    assert rows["age"].tolist() == ["34"] * 7 + [""]
    assert rows["sex"].tolist() == ["F"] * 7 + [""]
    assert rows["structure"].tolist()[:5] == ["caudate", "caudate", "Nigra", "Nigra", "pons"]
    differences = rows["left_less_right"].to_numpy()
    np.testing.assert_allclose(differences[:4], [0.01, 0.01, -0.03, -0.03])
    assert np.isnan(differences[4:]).all()  # no side, no number on the other, no other


def test_the_line_of_a_region_against_age():
    age = np.array([20.0, 30, 40, 50, 60, 70])
    start, steep, error = slope(age, 0.02 + 0.001 * age)
    assert (start, steep) == (pytest.approx(0.02), pytest.approx(0.001))
    assert error == pytest.approx(0, abs=1e-9)
    assert np.isnan(slope(age[:4], age[:4])).all()
    assert np.isnan(slope(np.full(6, 40.0), age)).all()


def test_the_identity_of_a_run_is_in_columns():
    assert identity("sub-1_ses-b_acq-hi_run-02") == {
        "participant_id": "sub-1", "session_id": "ses-b", "acquisition": "hi", "run": "02",
        "run_label": "sub-1_ses-b_acq-hi_run-02",
    }  # fmt: skip
    assert identity("sub-1")["session_id"] == "n/a"
