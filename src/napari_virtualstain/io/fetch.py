"""How does a file of the web get here? Whole, the one that is meant, or not at all.

What comes lies in a file ``.part`` beside a note of which version of the file it is, so that a
fetch that was cut off goes on where it was, and never with another version. A file under its own
name is complete. Proxies are those of the environment (``https_proxy`` and the like).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from napari_virtualstain.errors import DiskError, DownloadError, VirtualStainError, parse_json
from napari_virtualstain.io.disk import disk_errors, free_bytes
from napari_virtualstain.io.fingerprint import sha256_of
from napari_virtualstain.io.sink_lock import LOCK, StoreLock

__all__ = ["LFS_POINTER", "Fetched", "OtherFileError", "check_address", "fetch", "file_name_of"]

LFS_POINTER = b"version https://git-lfs"
"""How a small file begins that stands for a large one in a repository."""
_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_HEAD = 512
"""Bytes by which it is told what a file is not."""
_PIECE = 1 << 18
_PATIENCE_S = 30.0
"""Without a word of the server, after which a connection counts as broken."""
_TRIES = 3
"""Connections in a row that bring nothing."""
_PAUSE_S = 1.0
_HERE = {"localhost", "127.0.0.1", "::1"}
_BY_HAND = "Fetch it with a browser, and give the file to `virtualstain models import`."
_BROKEN = (
    urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException,
)  # fmt: skip


class OtherFileError(DownloadError):
    """What came is not the file whose size or sha256 is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that is here.

    Parameters
    ----------
    path
        Where.
    size
        In bytes.
    sha256
        Of its content.
    """

    path: Path
    size: int
    sha256: str


def check_address(url: str) -> None:
    """Refuse an address at which somebody on the way could change what is sent.

    Raises
    ------
    DownloadError
        Unless it begins with ``https://``, or is of this computer.

    Examples
    --------
    >>> check_address("https://example.org/a.ckpt")
    >>> check_address("http://localhost:8000/a.ckpt")
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE):
        return
    raise DownloadError(
        f"'{url}' is not fetched: only https:// addresses are, since on the way of others anybody "
        f"could change what is sent. {_BY_HAND}"
    )


def file_name_of(url: str) -> str:
    """Return the name of the file behind an address.

    Examples
    --------
    >>> file_name_of("https://example.org/models/epoch%3D3.ckpt?download=true")
    'epoch=3.ckpt'
    """
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    return re.sub(r'[\\:*?"<>|]', "_", name) or "file"


def fetch(
    url: str,
    folder: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    on_bytes: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Fetch a file, or go on with it, and check that it is the one that is meant.

    Parameters
    ----------
    url
        Of the file; https, or of this computer.
    folder
        Of this fetch alone; made if it is not there.
    size
        That the file has in bytes, if that is known.
    sha256
        That it has, if that is known.
    on_bytes
        Called with the bytes that are here, and those of the file, `None` while nobody knows. What
        it raises ends the fetch; what is here stays, to be gone on with.

    Raises
    ------
    DownloadError
        If the server does not send the file; `OtherFileError` if it sends another one, which is
        removed.
    DiskError
        If there is no room for it.
    OutputBusyError
        If another process fetches it now.
    """
    check_address(url)
    whole = folder / file_name_of(url)
    with disk_errors(folder, size):
        (folder / LOCK).parent.mkdir(parents=True, exist_ok=True)
        lock = StoreLock.take(folder)
    try:
        if not whole.exists():
            part = _Part(url, whole)
            part.get(size, on_bytes or (lambda _done, _total: None))
        return _checked(url, whole, size, sha256)
    finally:
        lock.release()


def _checked(url: str, whole: Path, size: int | None, sha256: str | None) -> Fetched:
    found = Fetched(path=whole, size=whole.stat().st_size, sha256=sha256_of(whole))
    if size is not None and found.size != size:
        whole.unlink()
        raise _of_another_size(url, found.size, size)
    if sha256 is not None and found.sha256 != sha256.lower():
        whole.unlink()
        raise OtherFileError(
            f"What '{url}' sends is not the file that is meant: its sha256 is "
            f"{found.sha256[:12]}… and should be {sha256[:12].lower()}…. It was removed. Ask its "
            "authors whether they changed it."
        )
    return found


def _of_another_size(url: str, found: int, wanted: int) -> OtherFileError:
    return OtherFileError(
        f"What '{url}' sends is not the file that is meant: it has {found:,} bytes and should have "
        f"{wanted:,}. It was removed. Ask its authors whether they changed it."
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to safe addresses only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_address(newurl)
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Part:
    """What is here of a file."""

    def __init__(self, url: str, whole: Path) -> None:
        self._url, self._whole = url, whole
        self._part = whole.with_name(f"{whole.name}.part")
        self._note = whole.with_name(f"{whole.name}.part.json")

    def get(self, size: int | None, told: Callable[[int, int | None], None]) -> None:
        """Fetch what lacks, over several connections if one breaks."""
        idle = 0
        while True:
            before = self._here()
            try:
                self._get_once(size, told)
                break
            except VirtualStainError:
                raise
            except _BROKEN as error:
                idle = 0 if self._here() > before else idle + 1
                if idle == _TRIES or not _may_pass(error):
                    raise _refused(self._url, error, self._here()) from error
                time.sleep(_PAUSE_S)
        with disk_errors(self._whole):
            self._part.replace(self._whole)
            self._note.unlink(missing_ok=True)

    def _here(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _version(self) -> str:
        """Return by which the server tells the version that is here, ``""`` if it cannot."""
        try:
            note = parse_json(self._note.read_text(encoding="utf-8"))
            return str(note["version"]) if note["url"] == self._url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _forget(self) -> None:
        self._note.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _get_once(self, size: int | None, told: Callable[[int, int | None], None]) -> None:
        version = self._version()
        here = self._here() if version else 0
        headers = {"User-Agent": "napari-virtualstain", "Accept-Encoding": "identity"}
        if here:
            headers |= {"Range": f"bytes={here}-", "If-Range": version}
        opener = urllib.request.build_opener(_Redirects)
        try:
            answer = opener.open(
                urllib.request.Request(self._url, headers=headers), timeout=_PATIENCE_S
            )
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and here:
                if error.headers.get("Content-Range") == f"bytes */{here}":
                    return  # it is all here
                self._forget()
                raise http.client.HTTPException("it sends no such part") from error
            raise
        with answer:
            first, total = _span(answer)
            if first and (first != here or _version_of(answer) not in ("", version)):
                self._forget()
                raise http.client.HTTPException("it sent another part than was asked for")
            if "html" in answer.headers.get("Content-Type", ""):
                raise _page(self._url)
            if size is not None and total is not None and total != size:
                self._forget()
                raise _of_another_size(self._url, total, size)
            self._check_room(total, first)
            try:
                self._write(answer, first, total, told)
            except DownloadError:
                self._forget()  # it is something else
                raise

    def _check_room(self, total: int | None, first: int) -> None:
        lacks = 0 if total is None else total - first
        free = free_bytes(self._part)
        if lacks > free:
            raise DiskError(
                f"'{self._part}' needs {lacks / 1e6:,.0f} MB more, and {free / 1e6:,.0f} MB are "
                "free there. Make room, or choose another --out on a larger disk."
            )

    def _write(
        self, answer: Any, first: int, total: int | None,
        told: Callable[[int, int | None], None],
    ) -> None:  # fmt: skip
        with disk_errors(self._part, total):
            # Unbuffered: what a full disk did not take is not tried again at the end.
            file = self._part.open("r+b" if first else "wb", buffering=0)
        with file:
            with disk_errors(self._part, total):
                file.seek(first)
                if not first:
                    note = {"url": self._url, "version": _version_of(answer)}
                    self._note.write_text(json.dumps(note), encoding="utf-8")
            done, head = first, b""
            told(done, total)
            while piece := answer.read1(_PIECE):
                if done - first < _HEAD and not first:
                    head = (head + piece)[:_HEAD]
                    self._check_head(head)
                with disk_errors(self._part, total):
                    _write_all(file, piece)
                done += len(piece)
                told(done, total)
            if total is not None and done < total:
                raise http.client.IncompleteRead(b"", total - done)
            with disk_errors(self._part, total):
                file.truncate(done)
                os.fsync(file.fileno())

    def _check_head(self, head: bytes) -> None:
        if head.startswith(LFS_POINTER):
            raise DownloadError(
                f"'{self._url}' sends a Git LFS pointer, which stands for the file and is not it. "
                "Fetch the real file, for example with `git lfs pull` in its repository, and give "
                "it to `virtualstain models import`."
            )
        if _PAGE.match(head):
            raise _page(self._url)


def _write_all(file: Any, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _span(answer: Any) -> tuple[int, int | None]:
    """Return the first byte that an answer holds, and the size of the whole file if it says so."""
    if answer.status == 206:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        if found is None:
            raise http.client.HTTPException("it does not say which part it sent")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _version_of(answer: Any) -> str:
    """Return by which a server tells one version of a file from another, byte for byte."""
    tag = str(answer.headers.get("ETag", ""))
    if tag and not tag.startswith("W/"):
        return tag
    return "" if tag else str(answer.headers.get("Last-Modified", ""))


def _page(url: str) -> DownloadError:
    return DownloadError(
        f"'{url}' sends a web page and not the file: perhaps it wants a login, or your network "
        f"does. {_BY_HAND}"
    )


def _may_pass(error: BaseException) -> bool:
    """Say whether another try may help."""
    return not isinstance(error, urllib.error.HTTPError) or error.code >= 500 or error.code == 429


def _refused(url: str, error: BaseException, here: int) -> DownloadError:
    if isinstance(error, urllib.error.HTTPError):
        if error.code in (404, 410):
            return DownloadError(
                f"There is no file at '{url}' any more. Look for it where its authors publish it, "
                "and give it to `virtualstain models import`."
            )
        if error.code in (401, 403, 407):
            return DownloadError(f"'{url}' is not sent to everybody ({error}). {_BY_HAND}")
    reason = getattr(error, "reason", None) or error
    said = str(reason).rstrip(".") or type(reason).__name__
    if isinstance(error, http.client.IncompleteRead):
        said = "the server hangs up before the end"
    kept = f" The {here / 1e6:,.1f} MB that are here are kept." if here else ""
    return DownloadError(
        f"'{url}' cannot be fetched: {said}.{kept} Check the network (a proxy is named by "
        "https_proxy), and download again."
    )
