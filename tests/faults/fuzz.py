"""Fuzz sidecars, NIfTI headers and file names: ``python tests/faults/fuzz.py --minutes 10``.

Everything goes through the command line in this process (``--dry-run`` reads all sidecars, all
headers and all phase voxels, and builds the graph) or straight into the reader. What must never
happen: an exception that is not the package's own, a hang, or memory beyond the limit.
"""

import argparse
import contextlib
import gzip
import io
import json
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

MEMORY_LIMIT = 6 << 30  # address space, of which the libraries reserve some 2 GiB
SECONDS_FOR_ONE = 30
KEYS = (
    "EchoTime", "MagneticFieldStrength", "ImagingFrequency", "Units", "Manufacturer", "ImageType",
    "RepetitionTime", "RepetitionTimeExcitation", "FlipAngle", "MRAcquisitionType",
    "PulseSequenceDetails", "PhilipsRescaleSlope", "PhilipsScaleSlope", "ConversionSoftware",
    "PartialFourier", "ParallelReductionFactorInPlane", "SoftwareVersions", "EchoNumber",
)  # fmt: skip
SIZE = (12, 12, 12)

# --- what is fed -------------------------------------------------------------------------------
_numbers = st.one_of(
    st.integers(-10, 10),
    st.floats(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.sampled_from([0.004, 4, 3, 3e4, 123.2e6, 1e308, -0.0, 10**400, 2**63]),
)
_words = st.one_of(
    st.sampled_from(["rad", "Hz", "arbitrary", "GE", "../../x", "<b>", "\x00", "n" * 70000]),
    st.text(max_size=20),
)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)
_sidecars = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), _values, max_size=5)
_documents = st.one_of(
    st.binary(max_size=64),
    _values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([
        b"[" * 100_000, b'{"a":' * 100_000, b"{" + b" " * 1_000_000 + b"}", b"\xef\xbb\xbf{}",
        b"9" * 10_000, b'{"EchoTime": ' + b"9" * 10_000 + b"}", b'{"EchoTime": NaN}', b"\x00",
        '{"EchoTime": 1}'.encode("utf-16"), b'{"EchoTime": "\\ud800"}', b"",
    ]),
)  # fmt: skip
_int16 = st.one_of(st.integers(-(2**15), 2**15 - 1), st.sampled_from([0, 1, 12, 13, 32767, -1]))
_float32 = st.floats(width=32) | st.sampled_from([0.0, 1.0, 352.0, float("nan"), float("inf")])
#: Fields of the NIfTI-1 header: (format, offset, strategy of values).
_fields = st.one_of(
    st.tuples(st.just("<h"), st.integers(0, 7).map(lambda i: 40 + 2 * i), _int16),  # dim
    st.tuples(
        st.just("<h"), st.just(70), st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768,
        1024, 1280, 1536, 1792, 2048, 2304, -1, 999])
    ),  # datatype
    st.tuples(st.just("<h"), st.just(72), _int16),  # bitpix
    st.tuples(st.just("<f"), st.integers(0, 7).map(lambda i: 76 + 4 * i), _float32),  # pixdim
    st.tuples(st.just("<f"), st.sampled_from([108, 112, 116]), _float32),  # offset, slope, inter
    st.tuples(st.just("<h"), st.sampled_from([252, 254]), _int16),  # qform and sform codes
    st.tuples(st.just("<f"), st.integers(0, 17).map(lambda i: 256 + 4 * i), _float32),  # transform
    st.tuples(st.just("<i"), st.sampled_from([0, 344, 348, 352, 356]), st.integers(-9, 2**31 - 1)),
)  # fmt: skip
_images = st.fixed_dictionaries({
    "fields": st.lists(_fields, max_size=4),
    "flips": st.lists(st.integers(0, 8 * 352 - 1), max_size=4),
    "packed_flips": st.lists(st.integers(0, 8 * 60), max_size=2),
    "cut": st.none() | st.integers(0, 400),
    "gzip": st.booleans(),
    "all": st.booleans(),
})  # fmt: skip
_labels = st.text(
    st.characters(blacklist_characters="/\x00", blacklist_categories=["Cs"]), max_size=30
) | st.sampled_from(["..", ".", "01", "+", "*", "(", "a" * 200, "\n", "run-1_run-2", "x_echo-9"])


def write_base(folder):
    """Write one participant with two echoes of 12 x 12 x 12 voxels."""
    anat = folder / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    noise = np.random.default_rng(1).integers(0, 4096, SIZE, dtype=np.int16)
    for echo in (1, 2):
        for part in ("mag", "phase"):
            stem = anat / f"sub-01_echo-{echo}_part-{part}_MEGRE"
            nib.Nifti1Image(noise, np.diag([4.0, 4, 4, 1])).to_filename(f"{stem}.nii.gz")
            meta = {"EchoTime": 0.005 * echo, "MagneticFieldStrength": 3, "Manufacturer": "GE"}
            meta |= {"Units": "arbitrary"} if part == "phase" else {}
            Path(f"{stem}.json").write_text(json.dumps(meta))
    return folder


def spoil(content, how):
    """Return the bytes of an image, spoilt."""
    raw = bytearray(gzip.decompress(content))
    for fmt, offset, value in how["fields"]:
        struct.pack_into(fmt, raw, offset, value)
    for bit in how["flips"]:
        raw[bit // 8] ^= 1 << bit % 8
    raw = raw[: how["cut"]] if how["cut"] is not None else raw
    if not how["gzip"]:
        return bytes(raw)
    packed = bytearray(gzip.compress(bytes(raw), 1))
    for bit in how["packed_flips"]:
        if bit // 8 < len(packed):
            packed[bit // 8] ^= 1 << bit % 8
    return bytes(packed)


class Fuzzer:
    """Feeds the package and counts what it says."""

    def __init__(self, folder):
        self.folder, self.base = folder, write_base(folder / "base")
        self.count = Counter()
        self.failures = {}

    def dry_run(self, kind, change):
        """Run on a changed copy of the dataset; any exit but 0, 1, 2, 3 is a bug."""
        from qsmbids.cli.run import main

        bids = self.folder / "bids"
        shutil.rmtree(bids, ignore_errors=True)
        shutil.copytree(self.base, bids)
        try:
            change(bids)
        except (OSError, ValueError):  # a name that the file system refuses
            return
        said = io.StringIO()
        arguments = [str(bids), str(self.folder / "out"), "participant", "--dry-run"]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _no_hang():
            code = main([*arguments, "--skip-bids-validation", "-v"])
        text = said.getvalue()
        self.count[f"{kind}: exit {code}"] += 1
        assert code in (0, 1, 2, 3), text[-4000:]
        assert "Traceback" not in text, text[-4000:]
        assert "Error: " not in text.replace("ConfigError", ""), text[-4000:]
        last = text.strip().splitlines()[-1]
        assert last.startswith("qsmbids: "), last
        assert last.endswith(f"(exit code {code})"), last
        assert not (self.folder / "out").exists()

    def read(self, kind, content, packed):
        """Read spoilt bytes as an image, a mask and labels."""
        from qsmbids.errors import QSMError
        from qsmbids.io.nifti import read_volume
        from qsmbids.io.nifti_header import read_header

        path = self.folder / ("x.nii.gz" if packed else "x.nii")
        path.write_bytes(content)
        for dtype in (np.float32, bool, np.int32):
            with _no_hang():
                try:
                    shape = read_header(path).shape
                    array = read_volume(path, dtype).array
                except QSMError as error:
                    refused = str(error)
                else:
                    refused = ""
            if refused:
                self.count[f"{kind}: refused"] += 1
                assert path.name in refused
                return
            assert array.shape == shape
            assert array.dtype == dtype
        self.count[f"{kind}: read"] += 1

    def targets(self):
        """Return one test per kind of input."""
        image = (self.base / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz").read_bytes()
        which = st.sampled_from(["*", "echo-2_part-phase", "echo-1_part-mag"])

        @given(_sidecars, which)
        def sidecar_values(values, which):
            def change(bids):
                for path in bids.glob(f"sub-01/anat/*{which}*.json"):
                    meta = json.loads(path.read_text()) | values
                    path.write_text(json.dumps(meta))

            self.dry_run("sidecar values", change)

        @given(_documents, st.sampled_from([
            "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.json", "MEGRE.json",
            "part-phase_MEGRE.json", "dataset_description.json", "participants.json",
            "sub-01/sub-01_MEGRE.json",
        ]))  # fmt: skip
        def json_documents(content, name):
            self.dry_run("JSON documents", lambda bids: (bids / name).write_bytes(content))

        @given(_images)
        def headers_in_a_dataset(how):
            def change(bids):
                for path in bids.glob("sub-01/anat/*.nii.gz" if how["all"] else "*/*/*2*phase*z"):
                    path.write_bytes(spoil(path.read_bytes(), how))

            self.dry_run("headers in a dataset", change)

        @given(_images)
        def headers_alone(how):
            self.read("headers alone", spoil(image, how), how["gzip"])

        @given(_labels, st.sampled_from(["acq", "run", "echo", "sub", "part", "xyz", "chunk"]))
        def file_names(label, entity):
            def change(bids):
                for path in list(bids.glob("sub-01/anat/*")):
                    name = path.name.replace("sub-01_", f"sub-01_{entity}-{label}_")
                    path.rename(path.with_name(name))

            self.dry_run("file names", change)

        return [sidecar_values, json_documents, headers_in_a_dataset, headers_alone, file_names]

    def run(self, seconds, examples=40):
        """Feed all targets in turn until the time is over; return the number of inputs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for target in self.targets():
                if time.monotonic() > end:
                    break
                n = 5 * examples if target.__name__ == "headers_alone" else examples
                test = seed(int(time.time_ns()))(target)
                test = settings(
                    max_examples=n, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
                )(test)  # fmt: skip
                try:
                    test()
                except Exception as error:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    key = (target.__name__, type(error).__name__, str(error)[-120:])
                    if key not in self.failures:
                        self.failures[key] = "".join(traceback.format_exception(error))
                        print(f"FAILED {target.__name__} {where}\n{self.failures[key][-3000:]}")
        return sum(self.count.values())


@contextlib.contextmanager
def _no_hang():
    def stop(*_):
        raise TimeoutError(f"more than {SECONDS_FOR_ONE} s for one input")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS_FOR_ONE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main():
    """Fuzz for the time asked for and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        fuzzer.dry_run("unchanged", lambda bids: None)  # compiles and imports
        assert fuzzer.count == {"unchanged: exit 0": 1}, "the unchanged dataset is refused"
        total = fuzzer.run(60 * minutes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for kind, count in sorted(fuzzer.count.items()):
        print(f"{count:8d}  {kind}")
    print(f"{total} inputs, {len(fuzzer.failures)} failures, peak memory {peak:.2f} GiB")
    return 1 if fuzzer.failures else 0


if __name__ == "__main__":
    sys.exit(main())
