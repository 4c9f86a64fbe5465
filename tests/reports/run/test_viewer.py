"""The numbers inside the page are those of the maps."""

import base64
import doctest
import zlib

import numpy as np
import pytest

from qsmbids.reports.run import viewer, windows
from qsmbids.reports.run.catalogue import MAPS
from qsmbids.reports.run.images import read_images
from qsmbids.reports.run.record import read_run
from qsmbids.reports.run.windows import Coding, Window, display_window


def _decoded(entry, text):
    code = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return code.reshape(entry["shape"], order="F")


@pytest.mark.parametrize(
    ("key", "step"), [("chi", 0.0055), ("magnitude", 10.0), ("quality", 0.005)]
)
def test_codes_stand_for_the_values(write_outputs, key, step):
    images = read_images(read_run(*write_outputs()))
    description, volumes = viewer.viewer_payload(images)
    entry = next(e for e in description["maps"] if e["key"] == key)
    code = _decoded(entry, volumes[key])
    found = np.array(entry["values"])[code]
    inside = code > 0
    assert inside.any()
    window, values = images.windows[key], images.maps[key]
    usual = inside & (values >= window.low) & (values <= window.high)
    np.testing.assert_allclose(found[usual], values[usual], atol=step)
    assert abs((found - values)[usual].mean()) < 0.1 * step
    support = images.support(key)
    if support is not None:
        np.testing.assert_array_equal(inside, support)


def test_masks_are_bits(write_outputs):
    images = read_images(read_run(*write_outputs()))
    description, volumes = viewer.viewer_payload(images)
    bits = _decoded({"shape": description["shape"]}, volumes["masks"])
    for mask in description["masks"]:
        np.testing.assert_array_equal((bits & mask["bit"]) > 0, images.masks[mask["key"]])


def test_a_large_page_loses_slices_of_the_less_important_maps(write_outputs, monkeypatch):
    images = read_images(read_run(*write_outputs()))
    _, all_of_it = viewer.viewer_payload(images)
    monkeypatch.setattr(viewer, "_BUDGET", sum(map(len, all_of_it.values())) - 1)
    description, volumes = viewer.viewer_payload(images)
    steps = {e["key"]: e["step"] for e in description["maps"]}
    assert steps.pop("quality") == 2
    assert set(steps.values()) == {1}
    assert len(volumes["quality"]) < len(all_of_it["quality"])


def test_what_has_no_value_is_zero_and_the_rest_is_not():
    coding = Coding(-1.0, 1.0, 0.1)
    code = coding.encode(np.array([np.nan, -9.0, 0.0, 9.0, np.inf]))
    np.testing.assert_array_equal(code, [0, 1, 128, 255, 0])
    table = np.array(coding.table())
    assert table[128] == 0
    assert Coding(0.0, 2.0, steps=127).encode(np.array([0.0, 2.0])).tolist() == [1, 128]
    assert (np.diff(table[1:]) > 0).all()


def test_windows_follow_the_paper_and_the_field_strength():
    inside = np.linspace(-3, 3, 101)
    assert display_window(MAPS["chi"], inside, 7.0, 298.0) == Window(-0.2, 0.2)
    assert display_window(MAPS["local_field"], inside, 3.0, 127.7).high == pytest.approx(6.4)
    assert display_window(MAPS["r2star"], inside, 7.0, 298.0).high == 140
    assert Window(-0.2, 0.2).text("ppm") == "\N{MINUS SIGN}0.2 to +0.2 ppm"
    grey = Window(-0.2, 0.2).grey(np.array([-1, -0.2, 0.0, 0.2, np.nan]))
    np.testing.assert_array_equal(grey[[0, 1, 3]], [0, 0, 255])
    assert grey[2] in (127, 128)


def test_windows_of_nothing_are_windows():
    empty = display_window(MAPS["total_field"], np.array([]), 3.0, 127.7)
    constant = display_window(MAPS["magnitude"], np.zeros(9), 3.0, 127.7)
    assert empty.low < empty.high
    assert constant.low < constant.high


def test_examples():
    found = doctest.testmod(windows)
    assert found.attempted
    assert not found.failed
