import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsmbids.errors import ConfigError, InputError
from qsmbids.io import dataset_index
from qsmbids.io.dataset_index import list_participants, list_sessions
from qsmbids.io.layout import collect_runs


def _labels(root, **kwargs):
    runs, problems = collect_runs(root, **kwargs)
    assert not problems
    return [run.label for run in runs]


def _only_problem(root, **kwargs):
    runs, problems = collect_runs(root, **kwargs)
    assert not runs
    assert len(problems) == 1
    return problems[0]


def test_one_run(make_run):
    root = make_run("sub-01", FlipAngle=15)
    (run,), problems = collect_runs(root)
    assert not problems
    assert (run.label, run.subject, run.session, run.suffix) == ("sub-01", "01", None, "MEGRE")
    assert run.entities == {"subject": "01"}
    assert run.echoes == (1, 2, 3)
    names = [f"sub-01_echo-{e}_part-{p}_MEGRE.nii.gz" for p in ("mag", "phase") for e in (1, 2, 3)]
    assert [path.name for path in run.images] == names
    assert all(path.is_file() for path in run.images)
    assert [s["EchoTime"] for s in run.sidecars] == [0.005, 0.01, 0.015]
    assert run.sidecars[0]["Units"] == "arbitrary"


def test_sessions_acquisitions_reconstructions_and_runs_are_separate(make_run):
    stems = [
        "sub-01_ses-1",
        "sub-01_ses-2_acq-hi_rec-norm_run-01",
        "sub-01_ses-2_acq-hi_run-01",
        "sub-01_ses-2_acq-hi_run-02",
        "sub-02",
    ]
    for stem in stems:
        root = make_run(stem, echoes=1)
    assert _labels(root) == stems
    runs, _ = collect_runs(root, participants=["sub-01"], sessions=["ses-2"])
    assert [r.label for r in runs] == stems[1:4]
    assert runs[0].entities == {
        "subject": "01",
        "session": "2",
        "acquisition": "hi",
        "reconstruction": "norm",
        "run": "01",
    }
    assert list_participants(root) == ["01", "02"]
    assert list_sessions(root, "sub-01") == ["1", "2"]
    assert list_sessions(root, "02") == []


def test_ten_echoes_are_in_order(make_run):
    (run,), _ = collect_runs(make_run(echoes=11))
    assert run.echoes == tuple(range(1, 12))
    assert [s["EchoTime"] for s in run.sidecars] == sorted(s["EchoTime"] for s in run.sidecars)
    assert "echo-10_" in run.phase[9].name


def test_single_echo_without_number(make_run):
    (run,), problems = collect_runs(make_run(echoes=1, suffix="T2starw"))
    assert not problems
    assert (run.suffix, run.echoes) == ("T2starw", (1,))


def test_magnitude_without_part(make_run):
    make_run(parts=("",))
    (run,), _ = collect_runs(make_run(parts=("phase",)))
    assert run.magnitude[0].name == "sub-01_echo-1_MEGRE.nii.gz"


def test_parent_folders_do_not_lend_entities(make_run, tmp_path):
    root = make_run(root=tmp_path / "sub-99" / "ses-7_acq-x_run-3 (copy) #1" / "bids")
    assert _labels(root) == ["sub-01"]
    assert _labels(root, database_dir=tmp_path / "db") == ["sub-01"]


def test_relative_path_gives_absolute_images(make_run, monkeypatch):
    root = make_run()
    monkeypatch.chdir(root.parent)
    (run,), _ = collect_runs("bids")
    assert run.phase[0].is_absolute()
    assert run.phase[0].is_file()


def test_inheritance_from_the_root_and_the_nearest_wins(make_run):
    root = make_run("sub-01_ses-1", echoes=2, with_sidecars=False)
    for where, content in [
        ("MEGRE.json", {"MagneticFieldStrength": 3, "FlipAngle": 1, "EchoTime": 9}),
        ("part-phase_MEGRE.json", {"Units": "rad"}),
        ("echo-2_MEGRE.json", {"EchoTime": 0.02}),
        ("acq-other_MEGRE.json", {"FlipAngle": 99}),
        ("T1w.json", {"FlipAngle": 98}),
        ("sub-01/sub-01_MEGRE.json", {"FlipAngle": 2}),
        ("sub-01/ses-1/sub-01_ses-1_echo-1_MEGRE.json", {"EchoTime": 0.01}),
    ]:
        (root / where).write_text(json.dumps(content))
    (run,), problems = collect_runs(root, participants=["01"])
    assert not problems
    wanted = {"MagneticFieldStrength": 3, "FlipAngle": 2, "Units": "rad"}
    assert run.sidecars == ({**wanted, "EchoTime": 0.01}, {**wanted, "EchoTime": 0.02})


def test_magnitude_sidecar_fills_gaps_but_not_units(make_run):
    root = make_run(echoes=1)
    anat = root / "sub-01" / "anat"
    stem = "sub-01_echo-1_part-{}_MEGRE.json"
    mag = {
        "EchoTime": 0.005,
        "FlipAngle": 3,
        "Units": "arbitrary",
        "ImageType": ["M"],
        "PhilipsRescaleSlope": 4,
        "Manufacturer": "GE",
    }
    (anat / stem.format("mag")).write_text(json.dumps(mag))
    (anat / stem.format("phase")).write_text('{"Manufacturer": "Siemens"}')
    (run,), _ = collect_runs(root)
    assert run.sidecars == ({"EchoTime": 0.005, "FlipAngle": 3, "Manufacturer": "Siemens"},)


def test_malformed_json_is_the_problem_of_its_run_alone(make_run):
    make_run("sub-01_run-1")
    root = make_run("sub-01_run-2")
    bad = root / "sub-01" / "anat" / "sub-01_run-1_echo-2_part-phase_MEGRE.json"
    for text, message in [
        (b'{\n"EchoTime": 0.01,\n}', "malformed JSON in line"),
        (b"\xff\xfe\xff", "UTF-8"),
        (b"[1]", "one JSON object"),
    ]:
        bad.write_bytes(text)
        runs, problems = collect_runs(root)
        assert [r.label for r in runs] == ["sub-01_run-2"]
        assert problems[0].where == "sub-01_run-1_MEGRE"
        assert bad.name in problems[0].message
        assert message in problems[0].message
    for sign in ("", "-"):
        bad.write_text(f'{{"EchoTime": {sign}1{"0" * 400}}}')
        assert "sub-01_run-1_MEGRE" in [p.where for p in collect_runs(root)[1]]
    bad.unlink()
    bad.symlink_to("nowhere")
    assert "cannot be read" in collect_runs(root)[1][0].message


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"parts": ("phase",)}, "no magnitude"),
        ({"parts": ("mag",)}, "no phase"),
        ({"parts": ("real", "imag")}, "real and imaginary"),
        ({"parts": ("real",)}, "only the real part"),
        ({"parts": ("mag",), "suffix": "T2starw", "echoes": 1}, "no phase"),
        ({"stem": "sub-01_inv-1"}, "entity inv"),
    ],
)
def test_incomplete_parts(make_run, kwargs, message):
    assert message in _only_problem(make_run(**kwargs)).message


def test_real_and_imaginary_on_request(make_run):
    (run,), problems = collect_runs(make_run(parts=("real", "imag")), complex_parts=True)
    assert not problems
    assert len(run.real) == len(run.imag) == 3
    assert run.magnitude == run.phase == ()
    assert len(run.sidecars) == 3


def test_ordinary_t2star_weighted_images_are_left_alone(make_run):
    make_run(echoes=1, suffix="T2starw", parts=("",))
    assert _labels(make_run("sub-01_acq-x")) == ["sub-01_acq-x"]


def test_echo_sets_that_differ(make_run):
    root = make_run(echoes=4)
    anat = root / "sub-01" / "anat"
    (anat / "sub-01_echo-2_part-mag_MEGRE.nii.gz").unlink()
    (anat / "sub-01_echo-4_part-phase_MEGRE.nii.gz").unlink()
    problem = _only_problem(root)
    assert "no magnitude of echo 2 (sub-01_echo-2_part-mag" in problem.message
    assert "no phase of echo 4 (sub-01_echo-4_part-phase" in problem.message
    assert _labels(root, filters={"megre": {"echo": [1, "3"]}}) == ["sub-01"]


def test_missing_echo_number_twins_and_echo_times(make_run):
    root = make_run(echoes=2)
    anat = root / "sub-01" / "anat"
    twin = anat / "sub-01_echo-1_part-mag_MEGRE.nii"
    twin.write_bytes(b"")
    assert "same echo" in _only_problem(root).message
    twin.unlink()
    flat = anat / "sub-01_part-phase_MEGRE.nii.gz"
    flat.write_bytes(b"")
    assert "others have none" in _only_problem(root).message
    flat.unlink()
    (anat / "sub-01_echo-2_part-mag_MEGRE.json").write_text('{"EchoTime": 0.03}')
    assert "0.03 and 0.01" in _only_problem(root).message
    (anat / "sub-01_echo-2_part-mag_MEGRE.json").write_text('{"EchoTime": "0.03"}')
    assert "0.03 and 0.01" in _only_problem(root).message
    assert "--echo-times" in _only_problem(root).message
    assert collect_runs(root, overridden=["EchoTime"])[1] == []
    other = make_run("sub-02", echoes=1)
    only = other / "sub-02" / "anat"
    for part in ("mag", "phase"):
        (only / f"sub-02_echo-1_part-{part}_MEGRE.nii.gz").rename(
            only / f"sub-02_part-{part}_MEGRE.nii.gz"
        )
    assert "split a 4-D file" in _only_problem(other, participants=["02"]).message


def test_participant_without_images_is_told(make_run):
    root = make_run("sub-01")
    (root / "sub-02" / "anat").mkdir(parents=True)
    runs, problems = collect_runs(root)
    assert [r.subject for r in runs] == ["01"]
    assert problems[0].where == "sub-02"
    assert (
        "filters"
        in _only_problem(root, participants=["01"], filters={"megre": {"run": "7"}}).message
    )


def test_unknown_dataset_participant_and_session(make_run, tmp_path):
    root = make_run("sub-01_ses-1")
    with pytest.raises(InputError, match=r"there is no participant 03, 04.*Found 01.*bind-mount"):
        collect_runs(root, participants=["sub-03", "04", "01"])
    with pytest.raises(InputError, match=r"there is no session 9.*Found 1"):
        collect_runs(root, sessions=["9"])
    with pytest.raises(InputError, match="does not exist"):
        collect_runs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no sub-<label> folder"):
        collect_runs(root / "sub-01")
    with pytest.raises(InputError, match="not a folder"):
        collect_runs(root / "README.md")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"acquisition": "a"}, ["sub-01_acq-a_run-01", "sub-01_acq-a_run-02"]),
        ({"acquisition": "acq-a", "run": 2}, ["sub-01_acq-a_run-02"]),
        ({"run": ["1", "7"]}, ["sub-01_acq-a_run-01"]),
        ({"run": "01"}, ["sub-01_acq-a_run-01"]),
        ({"acquisition": None}, ["sub-01"]),
        ({"acquisition": "*"}, ["sub-01_acq-a_run-01", "sub-01_acq-a_run-02", "sub-01_acq-b"]),
        ({"acquisition": [None, "b"]}, ["sub-01", "sub-01_acq-b"]),
        ({}, ["sub-01", "sub-01_acq-a_run-01", "sub-01_acq-a_run-02", "sub-01_acq-b"]),
    ],
)
def test_filters(make_run, query, wanted):
    for stem in ("sub-01", "sub-01_acq-a_run-01", "sub-01_acq-a_run-02", "sub-01_acq-b"):
        root = make_run(stem, echoes=1)
    assert _labels(root, filters={"megre": query}) == wanted


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"megra": {}}, "'megra'.*Did you mean 'megre'"),
        ({"megre": {"acq": "x"}}, "'acq'.*Did you mean 'acquisition'"),
        ({"megre": {"sesion": "x"}}, "Did you mean 'session'"),
        ({"megre": ["x"]}, "JSON object"),
        ([], "JSON object"),
    ],
)
def test_filters_that_are_not_understood(make_run, filters, message):
    with pytest.raises(ConfigError, match=message):
        collect_runs(make_run(), filters=filters)


def test_only_the_requested_participants_are_indexed(make_run, monkeypatch):
    for number in range(3):
        root = make_run(f"sub-{number}", echoes=1)
    (root / "derivatives" / "x" / "sub-1" / "anat").mkdir(parents=True)
    (root / "derivatives" / "x" / "sub-1" / "anat" / "sub-1_echo-1_MEGRE.nii.gz").touch()
    found = dataset_index.index_files(root, {"1"}, None)
    assert {f.entities.get("subject") for f in found} == {"1"}
    assert len(found) == 4


def test_database_is_made_once_and_belongs_to_its_dataset(make_run, tmp_path, monkeypatch):
    root = make_run("sub-01")
    make_run("sub-02")
    database = tmp_path / "index"
    assert _labels(root, participants=["01"], database_dir=database) == ["sub-01"]
    assert [p.name for p in database.iterdir()] == ["layout_index.sqlite"]
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []
    monkeypatch.setattr(dataset_index, "_save", None)  # it must not be made again
    assert _labels(root, participants=["02"], database_dir=database) == ["sub-02"]
    other = make_run(root=tmp_path / "other")
    with pytest.raises(InputError, match="is the index of"):
        collect_runs(other, database_dir=database)
    (database / "layout_index.sqlite").write_text("not a database")
    with pytest.raises(InputError, match="no usable index"):
        collect_runs(root, database_dir=database)


_label = st.text("abcXYZ019", min_size=1, max_size=6)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    subject=_label,
    rest=st.fixed_dictionaries(
        {},
        optional={
            "ses": _label,
            "acq": _label,
            "ce": _label,
            "rec": _label,
            "run": st.from_regex(r"[0-9]{1,3}", fullmatch=True),
        },
    ),
)
def test_any_legal_name_comes_back_as_its_label(tmp_path_factory, subject, rest):
    root = tmp_path_factory.mktemp("ds")
    order = ["ses", "acq", "ce", "rec", "run"]
    stem = "_".join([f"sub-{subject}", *(f"{k}-{rest[k]}" for k in order if k in rest)])
    anat = root / f"sub-{subject}" / (f"ses-{rest['ses']}" if "ses" in rest else "") / "anat"
    anat.mkdir(parents=True)
    for part in ("mag", "phase"):
        Path(anat / f"{stem}_echo-1_part-{part}_MEGRE.nii.gz").touch()
    assert _labels(root) == [stem]
