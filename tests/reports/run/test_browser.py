"""The page in a real browser: drawn the right way round, moved by keys, silent."""

import json
import os
import shutil
import subprocess
import time

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.write import write_volume
from qsmbids.reports.run.page import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


class Browser:
    """Chromium without a window, spoken to over its debugging pipe; needs no library."""

    def __init__(self, program, profile, width=1280, height=900):
        command_read, self._command = os.pipe()
        self._answer, answer_write = os.pipe()
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--no-first-run", f"--user-data-dir={profile}", f"--window-size={width},{height}",
        ]  # fmt: skip
        # the browser reads from descriptor 3 and writes to 4
        shell = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "sh", program, *options],
            pass_fds=(command_read, answer_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self.events, self._number, self._rest, self._session = [], 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._command)
        os.close(self._answer)

    def call(self, method, **params):
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._command, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        while b"\0" not in self._rest:
            read = os.read(self._answer, 1 << 16)
            assert read, "the browser ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, expression):
        """Return the value of some JavaScript."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path):
        """Open a report and wait until its maps are drawn."""
        self.call("Page.navigate", url=path.as_uri())
        for _ in range(150):
            if self.run("document.getElementById('viewer')?.dataset.ready === 'true'"):
                return
            time.sleep(0.1)
        raise AssertionError("the maps were not drawn")

    def press(self, key):
        """Press a key where the focus is, and wait for the next picture."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def complaints(self):
        """Return errors and warnings of the console."""
        names = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [e for e in self.events if e.get("method") in names]

    def requests(self):
        """Return the addresses that the page asked for, without those inside it."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [e["params"]["request"]["url"] for e in sent]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]


#: Middle of the bright part of a canvas, 0 to 1 from left and from top.
_BRIGHT = """(() => {
  const canvas = document.querySelectorAll("#viewer canvas")[%d];
  const {width, height} = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let n = 0, x = 0, y = 0;
  for (let i = 0; i < width * height; i++) if (pixels[4 * i] > 250) {
    n++; x += i %% width; y += Math.floor(i / width);
  }
  return n ? [x / n / width, y / n / height, n] : null;
})()"""


@pytest.fixture
def browser(tmp_path):
    with Browser(CHROMIUM, tmp_path / "profile") as opened:
        yield opened


@pytest.mark.parametrize("codes", ["RAS", "PIR", "LSA"])
def test_a_mark_is_drawn_on_its_side(write_outputs, browser, codes, monkeypatch):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
    # voxel axes that run towards ``codes``
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), (24, 30, 20))
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) @ np.linalg.inv(turn)
    assert "".join(nib.aff2axcodes(affine)) == codes
    out, result = write_outputs(affine=affine)
    chi_file = out / "sub-01/anat/sub-01_desc-wholebrain_Chimap.nii.gz"
    shape = np.array(nib.load(chi_file).shape)
    centre = affine[:3, :3] @ ((shape - 1) / 2) + affine[:3, 3]
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - centre
    # patient's right, front and top, and through the slices that are shown first
    mark = ((world > -3) & (world < 12)).all(axis=-1)
    write_volume(chi_file, np.where(mark, 0.5, -0.1).astype(np.float32), affine)
    browser.open(write_report(out, result))
    browser.run("[...document.querySelectorAll('label')].find("
                "(l) => l.textContent === 'Crosshair').click()")  # fmt: skip
    browser.press("Shift")
    for number, plane in enumerate(("axial", "coronal", "sagittal")):
        x, y, n = browser.run(_BRIGHT % number)
        assert n > 100
        assert x < 0.47, plane  # right, and in the sagittal plane front, are on the left
        assert y < 0.47, plane  # front, and top, are above
    label = browser.run("document.querySelector('#viewer canvas').getAttribute('aria-label')")
    assert label == "Susceptibility, axial slices, grey scale \N{MINUS SIGN}0.2 to +0.2 ppm"


def test_keys_windows_and_outlines_work_and_nothing_is_asked_for(write_outputs, browser):
    page = write_report(*write_outputs())
    browser.open(page)
    count = "document.querySelector('.slices output').textContent"
    before = int(browser.run(count).split("/")[0])
    browser.run("document.querySelector('#viewer canvas').focus()")
    for key in ("ArrowUp", "ArrowUp", "ArrowDown"):
        browser.press(key)
    assert int(browser.run(count).split("/")[0]) == before + 1
    browser.press("Home")
    assert browser.run(count).startswith("1")
    text = "document.querySelector('.window').textContent"
    assert browser.run(text) == "\N{MINUS SIGN}0.2 to +0.2 ppm"
    browser.run("""(() => { const w = document.querySelector(".head input");
        w.value = 0.1; w.dispatchEvent(new Event("input")); })()""")
    assert browser.run(text) == "\N{MINUS SIGN}0.05 to +0.05 ppm"
    browser.run("document.querySelector('.head button').click()")
    assert browser.run(text) == "\N{MINUS SIGN}0.2 to +0.2 ppm"
    browser.run("document.querySelector('[data-mask=mask1]').click()")
    browser.run("""(() => { const s = document.querySelectorAll("select")[1];
        s.value = "r2star"; s.dispatchEvent(new Event("change")); })()""")
    browser.press("End")
    unnamed = browser.run("""[...document.querySelectorAll("input, select, button, canvas")]
        .filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent).length""")
    assert unnamed == 0
    wide = browser.run("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
