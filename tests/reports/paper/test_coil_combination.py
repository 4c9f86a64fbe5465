"""3.a: software as scanners really name it, against what the paper asks of each manufacturer."""

import pytest

from qsmbids.reports.paper.acquisition_record import describing
from qsmbids.reports.paper.coil_combination import (
    check_coil_combination,
    software_version,
    vendor_of,
)

TESTED = {"PhaseChecks": {"OpenFringeLines": {"Suspicious": False}}}

#: Manufacturer, SoftwareVersions as DICOM headers have it, and whether it is new enough.
SOFTWARE = [
    ("SIEMENS", "syngo MR E11", True),
    ("Siemens", "syngo MR VE11C", True),
    ("Siemens Healthineers", "syngo MR XA30", True),
    ("SIEMENS", "syngo MR XA11", True),
    ("Siemens Healthineers", "syngo MR NXVA31A", True),
    ("SIEMENS", "syngo MR B17", False),
    ("SIEMENS", "syngo MR D13D", False),
    ("Philips Medical Systems", "5.7.1\\5.7.1.2", True),
    ("Philips", "11.1.0\\11.1.0.1", True),
    ("Philips Medical Systems", "3.2.3\\3.2.3.1", False),
    ("GE MEDICAL SYSTEMS", "30\\LX\\SIGNA_LX1.MR30.0_R01_2204.a", True),
    ("GE MEDICAL SYSTEMS", "27\\LX\\MR Software release:DV26.0_R03_1831.b", False),
    ("GE MEDICAL SYSTEMS", "29\\LX\\MR Software release:RX29.1_R02_2131.a", False),
    ("Canon Medical Systems", "V4.50", True),
    ("TOSHIBA_MEC", "V2.20", False),
    ("UIH", "uMR_V9", True),
    ("United Imaging Healthcare", "V8", False),
]


@pytest.mark.parametrize(("maker", "software", "new"), SOFTWARE)
def test_the_version_of_the_software_decides(maker, software, new):
    vendor = vendor_of([{"Manufacturer": maker}])
    assert (software_version(vendor, software) >= vendor.since) == new
    sidecar = {"Manufacturer": maker, "SoftwareVersions": software, "MagneticFieldStrength": 3}
    found = check_coil_combination([sidecar], TESTED)
    assert found.verdict == ("pass" if new else "advice")
    assert software in found.value.replace("; ", "")
    assert ("older than" in found.text) == (not new)


def test_what_is_not_known_is_not_passed():
    for sidecar in (
        {},
        {"Manufacturer": "Hitachi", "SoftwareVersions": "V6"},
        {"Manufacturer": "Siemens"},
        {"Manufacturer": "Philips", "SoftwareVersions": "unknown"},
    ):
        assert check_coil_combination([sidecar], TESTED).verdict == "unknown"
    seven = {"Manufacturer": "Siemens", "SoftwareVersions": "syngo MR E12",
             "MagneticFieldStrength": 7}  # fmt: skip
    found = check_coil_combination([seven], TESTED)
    assert found.verdict == "unknown"
    assert "ASPIRE" in found.text


def test_the_method_is_taken_from_the_sidecar_where_it_is():
    scan = {"Manufacturer": "Siemens", "SoftwareVersions": "syngo MR E11",
            "MagneticFieldStrength": 3}  # fmt: skip
    adaptive = {**scan, "CoilCombinationMethod": "Adaptive Combine"}
    found = check_coil_combination([adaptive], TESTED)
    assert found.verdict == "pass"
    assert "not stated" not in found.text
    assert "not stated" in check_coil_combination([scan], TESTED).text
    squares = {**scan, "CoilCombinationMethod": "Sum of Squares"}
    found = check_coil_combination([squares], TESTED)
    assert found.verdict == "advice"
    assert "Adaptive Combine with Prescan Normalize" in found.text
    # it must survive what is kept of the raw sidecars
    assert describing(squares)["CoilCombinationMethod"] == "Sum of Squares"


def test_untested_phase_is_not_said_to_be_tested():
    scan = {"Manufacturer": "Siemens", "SoftwareVersions": "syngo MR E11"}
    assert "The phase was not tested." in check_coil_combination([scan], {}).text
