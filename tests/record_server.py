"""A server that offers files as a Zenodo record does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Record:
    """Publishes files; ``asked`` are the paths that were asked for."""

    def __init__(self, root: Path, url: str, asked: list[str]) -> None:
        self.folder, self.url, self.asked = root / "files", f"{url}/record.json", asked
        self._root, self._server = root, url

    def offer(self, files: dict[str, bytes]) -> str:
        """Offer these files and no others; return the address of the record."""
        items = []
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
            items.append(
                {
                    "key": name,
                    "size": len(content),
                    "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"{self._server}/files/{name}"},
                }
            )
        record = {"id": 7410455, "files": items}
        (self._root / "record.json").write_text(json.dumps(record))
        return self.url


@contextmanager
def serve_record(root: Path) -> Iterator[Record]:
    """Serve a record from an empty folder."""
    (root / "files").mkdir(parents=True)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Record(root, f"http://127.0.0.1:{http.server_port}", asked)
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
