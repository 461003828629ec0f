"""A small server on the loopback address that answers like the Hugging Face hub: files of repositories in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What a running server has been asked.

    Attributes:
        url: address of the server.
        asked: method and path of each request.
        gated: repositories that need a token.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self.gated: set[str] = set()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Serve ORG/NAME/FILE below a folder as /ORG/NAME/resolve/REVISION/FILE."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts == [""]:
                self._send(b"a hub", {}, with_body)
            elif parts[:2] == ["api", "models"] and len(parts) >= 4:
                self._list("/".join(parts[2:4]), "tree" in parts, with_body)
            elif len(parts) > 4 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), "/".join(parts[4:]), with_body)
            else:
                self._refuse(404, "RepoNotFound")

        def _list(self, repository: str, as_tree: bool, with_body: bool) -> None:
            root = folder / repository
            if not root.is_dir():
                return self._refuse(401, "RepoNotFound")
            files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
            tree = [{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in files]
            about = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            return self._send(
                json.dumps(tree if as_tree else about).encode(), {"Content-Type": "application/json"}, with_body
            )

        def _file(self, repository: str, name: str, with_body: bool) -> None:
            if not (folder / repository).is_dir():
                return self._refuse(401, "RepoNotFound")
            if repository in hub.gated:
                return self._refuse(403, "GatedRepo")
            path = folder / repository / name
            if not path.is_file():
                return self._refuse(404, "EntryNotFound")
            content = path.read_bytes()
            tag = hashlib.sha256(content).hexdigest()
            return self._send(content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, with_body)

        def _send(self, content: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
