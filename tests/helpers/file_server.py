"""A web server of one file, which can be told to misbehave."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `content` at any address.

    Attributes
    ----------
    ranges
        Whether it knows Range and If-Range.
    versioned
        Whether it sends an ETag.
    cut
        Bytes after which it hangs up, once; `None` to send all.
    sized
        Whether it says how long the content is.
    slow
        Seconds between pieces of 64 kB.
    asked
        Path and Range header of each request.
    answered
        Bytes of each answer.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges = self.versioned = self.sized = True
        self.cut: int | None = None
        self.slow = 0.0
        self.status, self.kind, self.moved = 200, "application/octet-stream", ""
        self.first_of_answer: int | None = None
        self.heeds_if_range = True
        self.asked: list[tuple[str, str | None]] = []
        self.answered: list[int] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((self.path, asked))
        if server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved)
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        size, first = len(server.content), 0
        same = not server.heeds_if_range or self.headers.get("If-Range") == server.tag
        if asked and server.ranges and same:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            if first >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if server.first_of_answer is not None:
                first = server.first_of_answer
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", server.kind)
        if server.sized:
            self.send_header("Content-Length", str(size - first))
        if server.versioned:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self._send(server.content[first:])

    def _send(self, content: bytes) -> None:
        self.server.answered.append(len(content))
        cut, self.server.cut = self.server.cut, None
        content = content if cut is None else content[:cut]
        try:
            for at in range(0, len(content), 1 << 16):
                self.wfile.write(content[at : at + (1 << 16)])
                time.sleep(self.server.slow)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked has gone


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Serve while the block runs."""
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
