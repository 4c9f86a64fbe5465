import json
import os
import stat

import nibabel as nib
import numpy as np
import pytest
from bids.layout import parse_file_entities
from hypothesis import given, settings
from hypothesis import strategies as st

from qsmbids.errors import OutputError
from qsmbids.interfaces.derivatives import SaveDerivative
from qsmbids.io.derivatives import (
    bids_uri,
    derivative_path,
    sidecar,
)
from qsmbids.io.descriptions import DESCRIPTIONS
from qsmbids.io.output_dataset import init_dataset
from qsmbids.io.validate import validate_dataset
from qsmbids.io.write import write_json, write_text, write_volume

#: (datatype, suffix, entities, end of the name, keywords of the sidecar)
STRIPPED = {"skull_stripped": True}
WHOLE = {"skull_stripped": False}
IMAGES = [
    ("anat", "Chimap", {"desc": "wholebrain"}, "desc-wholebrain_Chimap", STRIPPED),
    ("anat", "Chimap", {"desc": "csf"}, "desc-csf_Chimap", STRIPPED),
    ("anat", "Chimap", {"desc": "unreferenced"}, "desc-unreferenced_Chimap", STRIPPED),
    ("anat", "R2starmap", {}, "R2starmap", STRIPPED),
    ("anat", "T2starmap", {}, "T2starmap", STRIPPED),
    ("anat", "S0map", {}, "S0map", STRIPPED),
    *(
        ("anat", "mask", {"label": "brain", "desc": d}, f"label-brain_desc-{d}_mask", {})
        for d in ("mask1", "mask2", "mask3", "mask4", "mask4noholes")
    ),
    (
        "anat",
        "mask",
        {"label": "CSF", "desc": "reference"},
        "label-CSF_desc-reference_mask",
        {"mask_type": "ROI"},
    ),
    ("anat", "probseg", {"desc": "phasequality"}, "desc-phasequality_probseg", {}),
    *(
        (
            "anat",
            "MEGRE",
            {"echo": "2", "part": part, "desc": desc},
            f"echo-2_part-{part}_desc-{desc}_MEGRE",
            {"units": units, "EchoTime": 0.01, **WHOLE},
        )
        for part, desc, units in [
            ("phase", "unwrapped", "rad"),
            ("phase", "preproc", "rad"),
            ("mag", "preproc", "arbitrary"),
        ]
    ),
    (
        "anat",
        "T2starw",
        {"part": "phase", "desc": "offset"},
        "part-phase_desc-offset_T2starw",
        {"units": "rad", **WHOLE},
    ),
    (
        "anat",
        "T2starw",
        {"part": "mag", "desc": "rss"},
        "part-mag_desc-rss_T2starw",
        {"units": "arbitrary", **WHOLE},
    ),
    *(
        ("anat", "T2starw", {"desc": d}, f"desc-{d}_T2starw", {"units": "arbitrary", **WHOLE})
        for d in ("swi", "swimip", "smwi", "smwimip")
    ),
    ("anat", "dseg", {"segmentation": "CIT168"}, "seg-CIT168_dseg", {}),
    (
        "anat",
        "Chimap",
        {"space": "T1w", "desc": "wholebrain"},
        "space-T1w_desc-wholebrain_Chimap",
        {"SpatialReference": "bids:raw:sub-01/anat/sub-01_T1w.nii.gz", **STRIPPED},
    ),
    ("fmap", "magnitude", {}, "magnitude", WHOLE),
    *(
        ("fmap", "fieldmap", {"desc": d}, f"desc-{d}_fieldmap", STRIPPED)
        for d in ("total", "local", "background", "noise")
    ),
]
OTHERS = [
    ("anat", "dseg", ".tsv", {"segmentation": "CIT168"}, "seg-CIT168_dseg"),
    (
        "anat",
        "stats",
        ".tsv",
        {"segmentation": "CIT168", "desc": "wholebrain"},
        "seg-CIT168_desc-wholebrain_stats",
    ),
    (
        "anat",
        "stats",
        ".json",
        {"segmentation": "CIT168", "desc": "wholebrain"},
        "seg-CIT168_desc-wholebrain_stats",
    ),
    ("anat", "xfm", ".txt", {"from": "MEGRE", "to": "T1w", "mode": "image"},
     "from-MEGRE_to-T1w_mode-image_xfm"),
    ("figures", "Chimap", ".svg", {"desc": "wholebrain"}, "desc-wholebrain_Chimap"),
    ("figures", "mask", ".html", {"desc": "masks"}, "desc-masks_mask"),
]  # fmt: skip
RUNS = {
    "sub-01": {"subject": "01"},
    "sub-02_ses-1_acq-hi_rec-norm_run-02": {
        "subject": "02",
        "session": "1",
        "acquisition": "hi",
        "reconstruction": "norm",
        "run": "02",
    },
}
FMAP_STEMS = {"sub-01": "sub-01", "sub-02_ses-1_acq-hi_rec-norm_run-02":
              "sub-02_ses-1_acq-hiRecnorm_run-02"}  # fmt: skip
FOLDERS = {"sub-01": "sub-01", "sub-02_ses-1_acq-hi_rec-norm_run-02": "sub-02/ses-1"}


def _expected(stem, datatype, end, extension):
    base = FMAP_STEMS[stem] if datatype == "fmap" else stem
    folder = FOLDERS[stem]
    return f"{folder}/{datatype}/{base}_{end}{extension}"


@pytest.mark.parametrize("stem", RUNS)
def test_every_name(tmp_path, stem):
    for datatype, suffix, entities, end, _ in IMAGES:
        for extension in (".nii.gz", ".json"):
            path = derivative_path(
                tmp_path,
                RUNS[stem],
                datatype=datatype,
                suffix=suffix,
                extension=extension,
                **entities,
            )
            assert str(path.relative_to(tmp_path)) == _expected(stem, datatype, end, extension)
    for datatype, suffix, extension, entities, end in OTHERS:
        path = derivative_path(
            tmp_path, RUNS[stem], datatype=datatype, suffix=suffix, extension=extension, **entities
        )
        assert str(path.relative_to(tmp_path)) == _expected(stem, datatype, end, extension)


@pytest.mark.slow
def test_the_real_validator_accepts_the_whole_tree(tmp_path, make_run):
    raw = make_run()
    out = raw / "derivatives" / "qsmbids"
    assert init_dataset(out, version="1.0.0", raw_dir=raw, command="qsmbids a b") == []
    for run in RUNS.values():
        for datatype, suffix, entities, _, keywords in IMAGES:
            path = derivative_path(out, run, datatype=datatype, suffix=suffix, **entities)
            write_volume(path, np.ones((4, 4, 4), np.float32), np.eye(4))
            content = sidecar(
                suffix,
                "A test",
                entities=entities,
                sources=[bids_uri(raw / "sub-01" / "anat" / "x.nii.gz", raw, "raw")],
                **keywords,
            )
            write_json(path.with_name(path.name.replace(".nii.gz", ".json")), content)
        for datatype, suffix, extension, entities, _ in OTHERS:
            path = derivative_path(
                out, run, datatype=datatype, suffix=suffix, extension=extension, **entities
            )
            text = "index\tname\n1\tcaudate\n" if extension == ".tsv" else "{}"
            write_text(path, text)
    for extra in (
        "sub-01.html",
        "group_chi.tsv",
        "logs/summary.json",
        "logs/sub-01/x/qsmbids.log",
    ):
        write_text(out / extra, "{}")
    strict = tmp_path / "strict.json"  # nothing is ignored here
    strict.write_text('{"ignore": [], "warning": [], "error": []}')
    result = validate_dataset(out, strict, all_modalities=True)
    assert [str(issue) for issue in result.errors] == []
    assert result.version
    (out / "sub-01" / "fmap" / "sub-01_magnitude.nii.gz").unlink()  # the test can fail
    write_json(out / "sub-01" / "anat" / "sub-01_S0map.json", {})
    broken = validate_dataset(out, strict, all_modalities=True).errors
    assert {(i.code, i.sub_code) for i in broken} == {
        ("FIELDMAP_WITHOUT_MAGNITUDE_FILE", ""),
        ("SIDECAR_WITHOUT_DATAFILE", ""),
        ("SIDECAR_KEY_REQUIRED", "SkullStripped"),
    }


@pytest.mark.parametrize(
    ("datatype", "suffix", "entities"),
    [
        ("anat", "Chimap", {"echo": "1"}),
        ("anat", "Chimap", {"part": "mag"}),
        ("anat", "Chimap", {"label": "brain"}),
        ("anat", "MEGRE", {"part": "phase", "desc": "unwrapped"}),
        ("anat", "fieldmap", {"desc": "total"}),
        ("fmap", "fieldmap", {"part": "mag"}),
        ("fmap", "mask", {"desc": "mask1"}),
        ("anat", "quality", {}),
        ("anat", "swi", {}),
        ("anat", "Chimap", {"desc": "whole-brain"}),
        ("anat", "Chimap", {"desc": ""}),
        ("anat", "Chimap", {"desk": "x"}),
        ("func", "Chimap", {}),
    ],
)
def test_names_that_would_lose_an_entity_are_refused(tmp_path, datatype, suffix, entities):
    with pytest.raises(ValueError, match=r"no file name|alphanumeric"):
        derivative_path(tmp_path, RUNS["sub-01"], datatype=datatype, suffix=suffix, **entities)


def test_none_means_absent(tmp_path):
    path = derivative_path(
        tmp_path, {"subject": "1", "session": None}, datatype="anat", suffix="S0map", desc=None
    )
    assert path == tmp_path / "sub-1" / "anat" / "sub-1_S0map.nii.gz"


_label = st.text("abcxyz019", min_size=1, max_size=5)
_entities = st.fixed_dictionaries(
    {"subject": _label},
    optional={
        "session": _label,
        "task": _label,
        "acquisition": _label,
        "ceagent": _label,
        "reconstruction": _label,
        "run": st.from_regex(r"[0-9]{1,3}", fullmatch=True),
        "chunk": st.from_regex(r"[0-9]{1,2}", fullmatch=True),
    },
)


@settings(max_examples=60, deadline=None)
@given(entities=_entities, desc=_label)
def test_names_round_trip(entities, desc):
    path = derivative_path("/out", entities, datatype="anat", suffix="Chimap", desc=desc)
    back = {k: str(v) for k, v in parse_file_entities(str(path)).items()}
    assert back == {
        **entities,
        "desc": desc,
        "suffix": "Chimap",
        "datatype": "anat",
        "extension": ".nii.gz",
    }


@settings(max_examples=100, deadline=None)
@given(a=_entities, b=_entities)
def test_runs_that_differ_never_share_a_name_under_fmap(a, b):
    paths = [derivative_path("/o", e, datatype="fmap", suffix="magnitude") for e in (a, b)]
    assert (paths[0] == paths[1]) == (a == b)


def test_only_the_reconstruction_and_the_like_are_folded():
    names = [
        derivative_path("", {"subject": "1", **e}, datatype="fmap", suffix="magnitude").name
        for e in ({"reconstruction": "norm"}, {"acquisition": "a", "ceagent": "gd"},
                  {"acquisition": "a", "run": "1"})
    ]  # fmt: skip
    assert names == [
        "sub-1_acq-recnorm_magnitude.nii.gz",
        "sub-1_acq-aCegd_magnitude.nii.gz",
        "sub-1_acq-a_run-1_magnitude.nii.gz",
    ]


def test_uris(tmp_path):
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1" / "x.nii").symlink_to("/annex/object")
    assert bids_uri(tmp_path / "sub-1" / "x.nii", tmp_path, "raw") == "bids:raw:sub-1/x.nii"
    assert bids_uri(tmp_path / "sub-1" / "x.nii", tmp_path) == "bids::sub-1/x.nii"
    with pytest.raises(ValueError, match=r"x\.nii"):
        bids_uri("/elsewhere/x.nii", tmp_path)


@pytest.mark.parametrize(
    ("suffix", "keywords", "message"),
    [
        ("Chimap", {}, "SkullStripped"),
        ("Chimap", {"units": "ppb", **STRIPPED}, "wants ppm"),
        ("fieldmap", {"units": "ppm", **STRIPPED}, "wants Hz"),
        ("MEGRE", {**STRIPPED}, "units must be given"),
        ("MEGRE", {"units": "Hz", "entities": {"part": "phase"}, **STRIPPED}, "rad or arbitrary"),
        ("MEGRE", {"units": "rad", "entities": {"echo": "1"}, **STRIPPED}, "EchoTime"),
        ("Chimap", {"entities": {"space": "T1w"}, **STRIPPED}, "SpatialReference"),
        ("mask", {"mask_type": "Skull"}, "no Type"),
    ],
)
def test_incomplete_sidecars_are_refused(suffix, keywords, message):
    with pytest.raises(ValueError, match=message):
        sidecar(suffix, "A test", **keywords)


def test_sidecar_content():
    content = sidecar("Chimap", "A map", sources=["bids::x"], algorithm="FANSI", reference="doi",
                      B0Direction=[0, 0, 1], **STRIPPED)  # fmt: skip
    assert content == {
        "Description": "A map",
        "Units": "ppm",
        "SkullStripped": True,
        "Sources": ["bids::x"],
        "EstimationAlgorithm": "FANSI",
        "EstimationReference": "doi",
        "B0Direction": [0, 0, 1],
    }


def test_dataset_frame(tmp_path, make_run):
    raw, out = make_run(), tmp_path / "out"
    container = {"Type": "docker", "Tag": "qsmbids:1"}
    tools = [{"Name": "FSL BET"}]
    init_dataset(
        out, version="1.0", raw_dir=raw, command="first", container=container, tools=tools
    )
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["DatasetLinks"] == {"raw": raw.as_uri()}
    ours, bet = description["GeneratedBy"]
    assert (ours["Name"], ours["Version"], ours["Container"]) == ("qsmbids", "1.0", container)
    assert ours["CommandLine"] == "first"
    assert bet == tools[0]
    table = (out / "descriptions.tsv").read_text().splitlines()
    assert table[0] == "desc_id\tdescription"
    assert len(table) == len(DESCRIPTIONS) + 1
    assert all(row.startswith("desc-") and row.count("\t") == 1 for row in table[1:])
    used = {entities["desc"] for _, _, entities, *_ in IMAGES if "desc" in entities}
    assert used <= set(DESCRIPTIONS)


def test_second_job_changes_nothing_and_an_upgrade_does(tmp_path, make_run):
    raw, out = make_run(), tmp_path / "out"
    init_dataset(out, version="1.0", raw_dir=raw, command="job 1")
    (out / ".bidsignore").write_text("mine\n" + (out / ".bidsignore").read_text())
    for path in out.iterdir():
        os.utime(path, (1, 1))
    init_dataset(out, version="1.0", raw_dir=raw, command="job 2")
    assert {path.stat().st_mtime for path in out.iterdir()} == {1}
    init_dataset(out, version="1.1", raw_dir=raw, command="job 3")
    assert '"1.1"' in (out / "dataset_description.json").read_text()
    assert (out / ".bidsignore").read_text().startswith("mine\n")


def test_raw_data_are_never_written_into(tmp_path, make_run):
    raw = make_run()
    before = sorted(raw.rglob("*"))
    with pytest.raises(OutputError, match="the dataset itself"):
        init_dataset(raw, version="1", raw_dir=raw)
    with pytest.raises(OutputError, match="holds a raw dataset"):
        init_dataset(make_run(root=tmp_path / "other"), version="1", raw_dir=raw)
    assert sorted(raw.rglob("*")) == before


def test_the_description_of_another_pipeline_is_left_alone(tmp_path, make_run):
    text = '{"DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}'
    write_text(tmp_path / "out" / "dataset_description.json", text)
    warnings = init_dataset(tmp_path / "out", version="1", raw_dir=make_run())
    assert "fMRIPrep" in warnings[0]
    assert (tmp_path / "out" / "dataset_description.json").read_text() == text


def test_broken_description_is_replaced(tmp_path, make_run):
    write_text(tmp_path / "out" / "dataset_description.json", "{ half")
    assert init_dataset(tmp_path / "out", version="1", raw_dir=make_run()) == []
    json.loads((tmp_path / "out" / "dataset_description.json").read_text())


def test_folder_that_may_not_be_written(tmp_path, make_run, monkeypatch):
    raw, out = make_run(), tmp_path / "out"
    init_dataset(out, version="1.0", raw_dir=raw)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)  # modes do not hold back root
    warnings = init_dataset(out, version="1.1", raw_dir=raw)
    assert warnings
    assert all("may not be written" in warning for warning in warnings)
    with pytest.raises(OutputError):
        init_dataset(tmp_path / "new", version="1.1", raw_dir=raw)
    assert stat.S_ISDIR(out.stat().st_mode)


def test_a_map_keeps_the_alignment_of_its_source(tmp_path):
    """SPM aligns an image to another by its sform; maps of it lie where it lies."""
    scanner, aligned = np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([1.0, 1.0, 2.0, 1.0])
    aligned[:3, 3] = 4, -7, 9
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.float32), scanner)
    image.set_sform(aligned, 2)
    image.set_qform(scanner, 1)
    image.to_filename(tmp_path / "raw.nii")
    write_volume(tmp_path / "map.nii", np.ones((4, 5, 6), np.float32), scanner)
    out = tmp_path / "sub-1_Chimap.nii.gz"
    step = SaveDerivative(
        in_file=tmp_path / "map.nii", out_file=str(out), like=tmp_path / "raw.nii"
    )
    step.run(cwd=tmp_path)
    header = nib.load(out).header
    np.testing.assert_allclose(header.get_sform(), aligned)
    np.testing.assert_allclose(header.get_qform(), scanner)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 1)
