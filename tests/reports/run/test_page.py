"""The page is whole, safe, and there whatever the run left behind."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from qsmbids.config import dump_toml, load_settings
from qsmbids.io.runs import run_entities
from qsmbids.io.write import write_volume
from qsmbids.reports.run.catalogue import MASKS
from qsmbids.reports.run.page import write_report
from qsmbids.reports.run.record import find_results, read_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\u2028"
PARTS = [
    "maps", "masks", "figures", "decisions", "data", "acquisition", "pipeline", "tables",
    "methods", "settings", "files", "software",
]  # fmt: skip


class _Page(HTMLParser):
    """Collects what a browser would make of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.scripts, self.links, self._script = [], [], [], [], None
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [v for k, v in attrs if k in ("src", "href", "data", "action")]
        if tag == "script":
            self._script = [attributes, ""]

    def handle_data(self, data):
        if self._script is not None:
            self._script[1] += data
        else:
            self.words.append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append(tuple(self._script))
            self._script = None

    @property
    def text(self):
        return "".join(self.words)


@pytest.fixture(autouse=True)
def _few_figures(request, monkeypatch):
    """Leave out the slow part where a test is not about it, and make it small where it is."""
    monkeypatch.setattr("qsmbids.reports.run.figures._DPI", 50)
    if "figures" not in request.node.name and "parts" not in request.node.name:
        monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_, **__: [])


@pytest.fixture
def page(write_outputs):
    def make(*args, **kwargs):
        out, result = write_outputs(*args, **kwargs)
        return _Page(write_report(out, result).read_text("utf-8"))

    return make


def test_the_page_has_its_parts_and_needs_nothing_else(page):
    found = page()
    assert [i for i in found.ids if i in PARTS] == PARTS
    assert len(found.ids) == len(set(found.ids))
    # what is not in the page is only ever a publication, to be followed by the reader
    elsewhere = {link for link in found.links if not link.startswith(("data:", "#"))}
    assert all(link.startswith("https://doi.org/") for link in elsewhere)
    assert elsewhere <= {a.get("href") for tag, a in found.tags if tag == "a"}
    assert all(link[1:] in found.ids for link in found.links if link.startswith("#"))
    assert not any(tag in ("link",) and a.get("rel") == "stylesheet" for tag, a in found.tags)
    for said in (
        "Look at these",
        "phase sign: +1",
        "maximum iterations",
        "Mask 4 without holes",
        "FSL",
        "24 x 30 x 20",
        "2 x 2 x 2 mm",
        "towards right, front, top",
    ):
        assert said in found.text
    assert "of another run" not in found.text


def test_only_our_script_may_run_and_nothing_may_be_fetched(page):
    found = page()
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
    (script,) = (text for attributes, text in found.scripts if not attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"fetch\(|XMLHttp|https?://", script)


def test_hostile_metadata_stay_text(write_outputs):
    out, result = write_outputs(
        sidecar={
            "Decisions": [HOSTILE],
            "Warnings": [HOSTILE],
            "Description": HOSTILE,
            "QsmbidsVersion": HOSTILE,
            "EchoTime": [HOSTILE],
            "MagneticFieldStrength": HOSTILE,
            "ImagingFrequency": [HOSTILE],
        },
        status={
            "status": "failed",
            "step": HOSTILE,
            "message": HOSTILE,
            "crash_file": "crash.txt",
        },
    )
    (out / "crash.txt").write_text(HOSTILE)
    result["crash_file"] = str(out / "crash.txt")
    (out / "dataset_description.json").write_text(
        json.dumps({"GeneratedBy": [{"Name": HOSTILE, "Version": HOSTILE}]})
    )
    text = json.dumps(HOSTILE)
    (out / "logs/job/qsmbids.toml").write_text(
        f"[masks]\nbrain_extraction = {text}\n[execution]\ncommand = {text}\npreset = {text}\n"
    )
    found = _Page(write_report(out, result).read_text("utf-8"))
    assert found.text.count(HOSTILE) >= 9
    assert not any("onerror" in a or a.get("src") == "x" for _, a in found.tags)
    kinds = [a.get("type", "") for a, _ in found.scripts]
    assert kinds.count("") == 1  # the viewer and nothing else
    assert set(kinds) == {"", "application/json", "text/plain"}


def test_the_embedded_data_cannot_end_their_element(write_outputs, monkeypatch):
    from qsmbids.reports.run import viewer

    monkeypatch.setitem(MASKS, "mask1", (HOSTILE, "#fff"))
    assert viewer.MASKS is MASKS
    found = _Page(write_report(*write_outputs()).read_text("utf-8"))
    data = next(text for a, text in found.scripts if a.get("type") == "application/json")
    assert json.loads(data)["masks"][0]["title"] == HOSTILE


def test_a_crash_is_told_first_with_what_was_made_before_it(page):
    found = page(
        leave_out=("desc-wholebrain_Chimap", "mask4", "mask4noholes"),
        status={"status": "failed", "step": "invert", "step_title": "dipole inversion",
                "message": "not enough memory. Give more with --mem"},
    )  # fmt: skip
    assert "The run failed in the step “dipole inversion”." in found.text
    assert "not enough memory. Give more with --mem" in found.text
    assert found.ids.index("error") < found.ids.index("maps")
    assert any(i == "volume-local_field" for i in found.ids)
    assert not any(i == "volume-chi" for i in found.ids)


@pytest.mark.parametrize("left", ["nothing", "one mask", "magnitude"])
def test_little_is_enough_for_a_page(tmp_path, left):
    if left != "nothing":
        name = {"one mask": "anat/sub-01_label-brain_desc-mask1_mask",
                "magnitude": "fmap/sub-01_magnitude"}[left]  # fmt: skip
        write_volume(
            tmp_path / "sub-01" / f"{name}.nii.gz", np.zeros((5, 6, 7), np.float32), np.eye(4)
        )
    path = write_report(tmp_path, {"run": "sub-01", "status": "failed", "message": "no phase"})
    found = _Page(path.read_text("utf-8"))
    assert "no phase" in found.text
    assert ("volume-magnitude" in found.ids) == (left == "magnitude")


def test_a_damaged_image_is_named_and_the_others_are_shown(write_outputs):
    out, result = write_outputs()
    damaged = out / "sub-01/fmap/sub-01_desc-total_fieldmap.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    other = out / "sub-01/anat/sub-01_R2starmap.nii.gz"
    write_volume(other, np.ones((4, 4, 4), np.float32), np.diag([2.0, 2, 2, 1]))
    found = _Page(write_report(out, result).read_text("utf-8"))
    assert "Look" in found.text
    assert "sub-01_desc-total_fieldmap.nii.gz" in found.text
    assert "sub-01_R2starmap.nii.gz has the shape (4, 4, 4)" in found.text
    assert "volume-chi" in found.ids
    assert "volume-total_field" not in found.ids


def test_warnings_make_the_verdict(page):
    found = page(
        sidecar={"Warnings": ["FANSI did not converge"], "AcquisitionWarnings": ["thick"]}
    )
    found_by_the_checks = found.text.count("Found: ")
    assert f"Look at these 5 points, the worst of {2 + found_by_the_checks}," in found.text
    assert "FANSI did not converge. Look at the map before it is used." in found.text


def test_at_most_five_points_are_on_top_the_worst_first(page):
    mild = [f"voxels of {n} mm underestimate small structures" for n in range(6)]
    sign = "the sign of the phase may be inverted; if veins are dark, run again with the other"
    found = page(sidecar={"Warnings": [*mild, sign]})
    top, _, folded = found.text.partition("further points")
    assert sign in top
    assert top.index(sign) < top.index(mild[0])
    assert mild[5] not in top
    assert mild[5] in folded


def test_a_setting_that_differs_from_the_preset_is_marked(write_outputs):
    out, result = write_outputs()
    assert "<mark>7</mark>" in write_report(out, result).read_text("utf-8")


def test_settings_of_methods_that_were_not_used_are_left_out(write_outputs):
    made = {"Name": "MEDI", "Parameters": {"DataWeight": 1900.0, "Threshold": 0.1}}
    out, result = write_outputs(sidecar={"DipoleInversion": made})
    toml = next((out / "logs").glob("*/qsmbids.toml"))
    settings = load_settings("consensus-medi").updated(
        {"dipole_inversion": {"medi": {"data_weight": 1900.0}}}, "test"
    )
    execution = {"execution": {"preset": "consensus-medi"}}
    toml.write_text(dump_toml({**settings.as_dict(), **execution}))
    page = write_report(out, result).read_text("utf-8")
    section = page.split('<section id="settings">')[1].split("</section>")[0]
    assert '<th scope="row">regularisation parameter lambda</th>' in section
    assert "<mark>1900</mark>" in section
    for other in ("sources around the mask", "kernel value inverted", "second over first"):
        assert other not in section


def test_settings_of_a_run_without_records_are_only_what_was_asked_for(write_outputs):
    out, result = write_outputs(leave_out=("desc-wholebrain_Chimap", "magnitude"), sidecar={
        "Steps": [], "DipoleInversion": {}, "EchoTime": None})  # fmt: skip
    page = write_report(out, result).read_text("utf-8")
    section = page.split('<section id="settings">')[1].split("</section>")[0]
    assert "were asked for" in section
    assert "maximum iterations" in section


def test_figures_are_written_for_papers_and_the_names_keep_the_run_apart(write_outputs):
    few = ("R2starmap", "magnitude", "desc-total_fieldmap", "desc-phasequality_probseg", *MASKS)
    out, _ = write_outputs("sub-01_ses-a_run-1", leave_out=few)
    write_outputs("sub-01_ses-a_run-2", leave_out=few)
    results = find_results(out, ["01"])
    pages = [write_report(out, result) for result in results]
    assert [p.name for p in pages] == ["sub-01_ses-a_run-1.html", "sub-01_ses-a_run-2.html"]
    files = list((out / "sub-01/ses-a/figures").iterdir())
    assert {p.suffix for p in files} == {".svg", ".png", ".tsv", ".md"}
    figures = [p for p in files if p.suffix in (".svg", ".png")]
    assert len([p for p in figures if "run-1" in p.name]) == len(figures) / 2
    assert (out / "sub-01/ses-a/figures/sub-01_ses-a_run-1_desc-maps_Chimap.png").exists()


def test_runs_are_found_with_and_without_a_status(write_outputs):
    out, _ = write_outputs("sub-01_ses-a")
    write_outputs("sub-02")
    (out / "logs/status/sub-02.json").unlink()
    assert [r["run"] for r in find_results(out)] == ["sub-01_ses-a", "sub-02"]
    assert [r["status"] for r in find_results(out, ["02"])] == ["unknown"]
    assert find_results(out, None, ["b"]) == []
    assert run_entities("sub-01_MEGRE") is None
    assert read_run(out, {"run": "sub-02"}).log_dir == out / "logs/job"
    assert read_run(out, {"run": "sub-0"}).log_dir is None  # the log names other runs only
