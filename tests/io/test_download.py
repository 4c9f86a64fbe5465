"""Downloads over a connection that breaks, lies and redirects, from a server of our own."""

import errno
import hashlib
import json
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qsmbids.errors import ConfigError, InputError, OutputError
from qsmbids.io import download
from qsmbids.io.download import DownloadError, RemoteFile, fetch, read_record

CONTENT = os.urandom(3_000_000)


class Server:
    """Serves bytes by path; misbehaves once for each entry of ``faults``."""

    def __init__(self):
        self.content: dict[str, bytes] = {}
        self.faults: list[object] = []  # a status, bytes to send before the end, or "corrupt"
        self.ranges = True
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, request):
        asked = request.headers.get("Range", "")
        self.requests.append((request.path, asked))
        if request.path.startswith("/moved/"):
            request.send_response(302)
            request.send_header("Location", request.path.removeprefix("/moved"))
            request.end_headers()
            return
        fault = self.faults.pop(0) if self.faults else None
        body = self.content.get(request.path)
        if body is None or (isinstance(fault, int) and 400 <= fault < 600):
            request.send_error(fault if body is not None else 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start >= len(body) > 0:
            request.send_error(416)
            return
        if fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        sent = fault[1] if isinstance(fault, tuple) else None
        request.wfile.write(body[start:] if sent is None else body[start : start + sent])

    def put(self, path: str, content: bytes) -> RemoteFile:
        self.content[path] = content
        name = path.rsplit("/", 1)[-1]
        return RemoteFile(name, len(content), hashlib.md5(content).hexdigest(), self.url + path)

    def asked(self, path: str) -> list[str]:
        return [r for p, r in self.requests if p == path]


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Record the pauses instead of making them."""
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    return pauses


def dropped(n: int) -> tuple[str, int]:
    return ("dropped after", n)


def test_a_file_arrives_once(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    seen = []
    path = fetch(file, tmp_path / "new", progress=lambda done, size: seen.append((done, size)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["data.zip"]
    fetch(file, tmp_path / "new")
    assert len(server.requests) == 1


def test_a_dropped_connection_goes_on_where_it_was(server, tmp_path, no_waiting):
    file = server.put("/data.zip", CONTENT)
    server.faults = [dropped(1000), dropped(500_000)]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked("/data.zip") == ["", "bytes=1000-", "bytes=501000-"]
    assert no_waiting == [2.0, 4.0]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    server.faults = [dropped(2_000_000), 503, 503]
    with pytest.raises(DownloadError, match=r"503.*3 attempts.*goes on where it was"):
        fetch(file, tmp_path, attempts=3)
    assert (tmp_path / "data.zip.part").stat().st_size == 2_000_000
    assert not (tmp_path / "data.zip").exists()
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked("/data.zip")[-1] == "bytes=2000000-"


def test_a_server_without_ranges(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    server.ranges, server.faults = False, [dropped(1_000_000)]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked("/data.zip") == ["", "bytes=1000000-"]  # all came again with the second


def test_attempts_count_only_while_nothing_arrives(server, tmp_path):
    content = os.urandom(8 << 20)
    file = server.put("/data.zip", content)
    server.faults = [dropped(3 << 19)] * 5
    assert fetch(file, tmp_path, attempts=2).read_bytes() == content


def test_a_corrupted_transfer_is_repeated_once(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    server.faults = ["corrupt"]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked("/data.zip") == ["", ""]  # afresh, not from the end


def test_what_stays_corrupted_is_refused(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    server.faults = ["corrupt"] * 9
    with pytest.raises(DownloadError, match=r"twice not what the record says.*MD5"):
        fetch(file, tmp_path)
    assert len(server.requests) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [CONTENT[:5000], b"x" * 5000, CONTENT + b"more", CONTENT])
def test_whatever_an_earlier_call_left(server, tmp_path, left):
    file = server.put("/data.zip", CONTENT)
    (tmp_path / "data.zip.part").write_bytes(left)
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_file_that_shrank_on_the_server(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    server.content["/data.zip"] = CONTENT[:1000]
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:2000])
    with pytest.raises(DownloadError, match="5 attempts"):
        fetch(file, tmp_path)
    assert server.asked("/data.zip")[:2] == ["bytes=2000-", ""]  # 416: from the start


def test_redirections_keep_the_range(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    file = RemoteFile(file.name, file.size, file.md5, server.url + "/moved/data.zip")
    server.faults = [dropped(1000)]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked("/data.zip") == ["", "bytes=1000-"]


def test_missing_files_are_not_tried_again(server, tmp_path):
    file = RemoteFile("data.zip", 10, "0" * 32, server.url + "/absent")
    with pytest.raises(InputError, match="404"):
        fetch(file, tmp_path)
    assert len(server.requests) == 1


def test_no_server(server, tmp_path, no_waiting):
    file = server.put("/data.zip", CONTENT)
    server.http.server_close()
    with pytest.raises(DownloadError, match=r"refused.*5 attempts"):
        fetch(file, tmp_path)
    assert no_waiting == [2, 4, 8, 16]


def test_only_addresses_of_the_web(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    with pytest.raises(ConfigError, match="address of the web"):
        read_record(secret.as_uri())


def test_a_full_disk_is_seen_before_the_download(server, tmp_path, monkeypatch):
    file = server.put("/data.zip", CONTENT)
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"0\.00 GB are to come, 0\.00 GB are free"):
        fetch(file, tmp_path)
    assert server.requests == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_disk_that_fills_meanwhile(server, tmp_path):
    file = server.put("/data.zip", CONTENT)
    (tmp_path / "data.zip.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
        fetch(file, tmp_path)
    assert len(server.requests) == 1


def test_two_downloads_of_one_file(server, tmp_path):
    import fcntl

    file = server.put("/data.zip", CONTENT)
    with (tmp_path / "data.zip.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            fetch(file, tmp_path)


def _record(files, style="list"):
    items = [
        {"key": f.name, "size": f.size, "checksum": f"md5:{f.md5}", "links": {"self": f.url}}
        for f in files
    ]
    if style == "list":
        return {"id": 1, "files": items}
    for item in items:
        item["links"] = {"self": "http://x/description", "content": item["links"]["self"]}
    return {"entries": items} if style == "entries" else {"files": {"entries": items}}


@pytest.mark.parametrize("style", ["list", "entries", "nested"])
def test_records(server, style):
    file = server.put("/data.zip", CONTENT)
    server.put("/api/records/1", json.dumps(_record([file], style)).encode())
    server.faults = [429]
    assert read_record(server.url + "/api/records/1") == [file]


@pytest.mark.parametrize(
    "text",
    [
        b"<html>",
        b"[]",
        b'{"files": []}',
        b'{"files": [{"key": "a"}]}',
        json.dumps(_record([RemoteFile("../../.bashrc", 1, "0" * 32, "http://x")])).encode(),
        json.dumps(_record([RemoteFile("a.zip", 1, "sha", "http://x")])).encode(),
    ],
)
def test_what_is_not_a_record(server, text):
    server.put("/record", text)
    with pytest.raises(InputError, match="does not answer with a Zenodo record"):
        read_record(server.url + "/record")


def test_the_page_of_a_record_leads_to_its_files(monkeypatch):
    asked = []
    monkeypatch.setattr(download, "_read", lambda url: asked.append(url) or b"{}")
    for page in ("records/7410455", "record/7410455", "records/7410455?token=x#files"):
        with pytest.raises(InputError):
            read_record(f"https://zenodo.org/{page}")
    assert set(asked) == {download.RECORD_URL}
