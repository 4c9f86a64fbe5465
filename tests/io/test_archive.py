"""Archives of strangers: what is good is unpacked, everything else is refused and removed."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from qsmbids.errors import InputError, OutputError
from qsmbids.io.archive import extract, is_archive, safe_members, unpack
from qsmbids.io.gzipped import unpack_gzipped

CONTENT = {"a/1.dcm": b"one", "a/b/2.dcm": b"two" * 1000}


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def make_tar(path, members, mode="w:gz", **attributes):
    with tarfile.open(path, mode) as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            packed.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".TGZ"])
def test_unpacks_every_format(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    if suffix == ".zip":
        make_zip(path, CONTENT)
    else:
        make_tar(path, CONTENT, "w" if suffix == ".tar" else "w:gz")
    assert is_archive(path)
    folder = unpack(path, tmp_path / "out")
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == CONTENT


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../out.dcm", "/etc/x", "a/../../x", "..\\x", "C:\\x", "a\nb", "x" * 300]
)
def test_no_member_leaves_the_folder(tmp_path, make, name):
    suffix = ".zip" if make is make_zip else ".tar.gz"
    path = make(tmp_path / f"bad{suffix}", {"good": b"1", name: b"evil"})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="unsafe name"):
        unpack(path, tmp_path / "inner" / "out")
    assert {p for p in tmp_path.rglob("*") if p.is_file()} <= before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tar_are_refused(tmp_path, kind):
    path = make_tar(tmp_path / "bad.tar.gz", {"x": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_zip_are_refused(tmp_path):
    path = tmp_path / "bad.zip"
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_limits_are_on_what_is_written(tmp_path, make):
    suffix = ".zip" if make is make_zip else ".tar.gz"
    path = make(tmp_path / f"bomb{suffix}", {"zeros": bytes(3 << 20)})
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match="more than"):
        unpack(path, tmp_path / "out", max_bytes=2 << 20)
    assert not (tmp_path / "out").exists()
    many = make(tmp_path / f"many{suffix}", {str(i): b"" for i in range(5)})
    with pytest.raises(InputError, match="more than 4 files"):
        unpack(many, tmp_path / "out", max_files=4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a", "1")
        packed.writestr("./a", "2")
    with pytest.raises(InputError, match="twice"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.97])
def test_damage_is_an_input_error(tmp_path, suffix, part):
    make = make_zip if suffix == ".zip" else make_tar
    whole = make(tmp_path / f"a{suffix}", {"a": bytes(range(256)) * 100, "b": b"x"}).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=r"damaged|cannot be unpacked"):
        unpack(path, tmp_path / "out")


def test_a_folder_and_other_files_are_no_archives(tmp_path):
    (tmp_path / "x.zip").mkdir()
    (tmp_path / "x.dcm").write_bytes(b"")
    assert not is_archive(tmp_path / "x.zip")
    assert not is_archive(tmp_path / "x.dcm")


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"max_files": 1}, "more than 1 files"), ({"max_bytes": 2**20}, "unpack to more than")],
)
def test_gzipped_files_are_counted_together(tmp_path, limits, words):
    paths = []
    for name in ("a.dcm.gz", "b.dcm.gz"):  # each small, and under the limit by itself
        paths.append(tmp_path / name)
        paths[-1].write_bytes(gzip.compress(bytes(700_000)))
    with pytest.raises(InputError, match=words):
        unpack_gzipped(paths, tmp_path / "out", **limits)


def test_a_gzipped_file_that_is_cut_leaves_the_others(tmp_path):
    whole = gzip.compress(bytes(128) + b"DICM")
    (tmp_path / "a.dcm.gz").write_bytes(whole)
    (tmp_path / "b.dcm.gz").write_bytes(whole[:-9])
    (tmp_path / "c.dcm.gz").write_bytes(b"no gzip")
    paths = [tmp_path / f"{name}.dcm.gz" for name in "abc"]
    folder, n_damaged = unpack_gzipped(paths, tmp_path / "out")
    assert n_damaged == 2
    assert [p.read_bytes() for p in folder.iterdir()] == [bytes(128) + b"DICM"]


def _zip(members: dict[str, bytes], change=lambda info: None) -> zipfile.ZipFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            change(info)
            archive.writestr(info, content)
    return zipfile.ZipFile(stream)


def _as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("../a", lambda info: None),
        ("x/../../a", lambda info: None),
        ("/etc/a", lambda info: None),
        ("x\\..\\a", lambda info: None),
        ("x/link", _as_link),
    ],
)
def test_unsafe_members(name, change):
    with pytest.raises(InputError, match=r"unsafe name|a link"):
        safe_members(_zip({name: b"/etc/passwd"}, change))


def test_extract_overwrites_nothing(tmp_path):
    archive = _zip({"a/b.json": b"{}", "a/": b"", "c": b"new"})
    assert [m.filename for m in safe_members(archive)] == ["a/b.json", "c"]
    plan = {"x/b.json": archive.getinfo("a/b.json"), "c": archive.getinfo("c")}
    assert extract(archive, plan, tmp_path) == [tmp_path / "x/b.json", tmp_path / "c"]
    assert extract(archive, plan, tmp_path) == []
    (tmp_path / "c").write_bytes(b"own")
    (tmp_path / "x/b.json").unlink()
    with pytest.raises(OutputError, match="exists with other content"):
        extract(archive, plan, tmp_path)
    assert (tmp_path / "c").read_bytes() == b"own"
    assert not (tmp_path / "x/b.json").exists()  # refused before anything was written


def test_a_damaged_archive_leaves_no_half_file(tmp_path):
    archive = _zip({"a": b"0123456789" * 100})
    content = bytearray(archive.fp.getvalue())
    content[200] ^= 1
    archive = zipfile.ZipFile(io.BytesIO(content))
    with pytest.raises(InputError, match="damaged"):
        extract(archive, {"a": archive.getinfo("a")}, tmp_path)
    assert list(tmp_path.iterdir()) == []
