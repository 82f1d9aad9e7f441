"""A file of the web is here whole, or not under its name; and never glued together of two."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from file_server import serving

from napari_virtualstain.errors import DiskError, DownloadError, OutputBusyError, RunCancelled
from napari_virtualstain.io import fetch as module
from napari_virtualstain.io.fetch import OtherFileError, check_address, fetch, file_name_of
from napari_virtualstain.io.sink_lock import StoreLock

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    for name in list(os.environ):
        if name.casefold().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server():
    with serving(CONTENT) as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "fetched"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def cancelled_after(share: float):
    def told(done, total):
        if done >= share * len(CONTENT):
            raise RunCancelled("enough")

    return told


def test_a_file_comes_whole_and_is_described(server, folder):
    seen = []
    found = fetch(f"{server.url}/a/b%3D1.ckpt", folder, on_bytes=lambda *a: seen.append(a))
    assert found.path == folder / "b=1.ckpt"
    assert found.path.read_bytes() == CONTENT
    assert (found.size, found.sha256) == (len(CONTENT), SHA256)
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert names(folder) == {"b=1.ckpt"}


def test_a_file_that_is_here_is_not_fetched_again(server, folder):
    fetch(f"{server.url}/a", folder)
    fetch(f"{server.url}/a", folder, size=len(CONTENT), sha256=SHA256.upper())
    assert len(server.asked) == 1


def test_what_was_cancelled_is_gone_on_with(server, folder):
    with pytest.raises(RunCancelled):
        fetch(f"{server.url}/a", folder, on_bytes=cancelled_after(0.4))
    here = (folder / "a.part").stat().st_size
    assert 0.4 * len(CONTENT) <= here < len(CONTENT)
    assert not (folder / "a").exists(), "nothing half-written looks whole"
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256
    assert [asked for _, asked in server.asked] == [None, f"bytes={here}-"]
    assert server.answered == [len(CONTENT), len(CONTENT) - here], "what is here is not sent again"
    assert names(folder) == {"a"}


def test_a_connection_that_breaks_is_gone_on_with_at_once(server, folder):
    server.cut = 300_000
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-"]


START_ANEW = {
    "the server knows no ranges": {"ranges": False},
    "it tells no versions": {"versioned": False},
    "it sends another part": {"first_of_answer": 7},
}


@pytest.mark.parametrize("behaviour", START_ANEW.values(), ids=START_ANEW)
def test_it_starts_anew_where(behaviour, server, folder):
    for name, value in behaviour.items():
        setattr(server, name, value)
    with pytest.raises(RunCancelled):
        fetch(f"{server.url}/a", folder, on_bytes=cancelled_after(0.4))
    server.slow = 0.0
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256


@pytest.mark.parametrize("heeds", [True, False], ids=["If-Range is heeded", "it is not"])
def test_a_file_that_was_changed_meanwhile_is_not_glued_together(heeds, server, folder):
    with pytest.raises(RunCancelled):
        fetch(f"{server.url}/a", folder, on_bytes=cancelled_after(0.4))
    server.content, server.heeds_if_range = CONTENT[::-1], heeds
    found = fetch(f"{server.url}/a", folder)
    assert found.path.read_bytes() == CONTENT[::-1]


def test_a_part_that_is_all_there_needs_no_more(server, folder):
    with pytest.raises(RunCancelled):
        fetch(f"{server.url}/a", folder, on_bytes=cancelled_after(1.0))
    assert (folder / "a.part").stat().st_size == len(CONTENT)
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256
    assert server.asked[-1][1] == f"bytes={len(CONTENT)}-"


def test_a_server_that_does_not_say_how_long_it_is(server, folder):
    server.sized = False
    seen = []
    assert fetch(f"{server.url}/a", folder, on_bytes=lambda *a: seen.append(a)).sha256 == SHA256
    assert {total for _, total in seen} == {None}


# --- what is refused -------------------------------------------------------------------------------


def refused(server, folder, sentence, kind=DownloadError, **known):
    with pytest.raises(kind, match=sentence) as caught:
        fetch(f"{server.url}/a", folder, **known)
    assert str(caught.value).endswith(".")
    assert not (folder / "a").exists()


OTHER = {
    "of another size": ({"size": 699_999}, "has 700,000 bytes and should have 699,999"),
    "of another sha256": ({"sha256": "0" * 64}, f"is {SHA256[:12]}… and should be 000000000000…"),
}


@pytest.mark.parametrize(("known", "sentence"), OTHER.values(), ids=OTHER)
def test_another_file_is_removed(known, sentence, server, folder):
    refused(server, folder, sentence, OtherFileError, **known)
    assert names(folder) == set()


def test_another_size_is_said_before_a_byte_is_fetched(server, folder):
    seen = []
    with pytest.raises(OtherFileError):
        fetch(f"{server.url}/a", folder, size=1, on_bytes=lambda *a: seen.append(a))
    assert seen == []


NO_FILES = {
    "a page": ("text/html; charset=utf-8", b"<b>log in</b>", "sends a web page and not the file"),
    "a page under another name": ("application/octet-stream", b"\n<!DOCTYPE html><html>", "sends a web page"),
    "a pointer": ("text/plain", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "sentence"), NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_refused(kind, content, sentence, server, folder):
    server.kind, server.content = kind, content
    refused(server, folder, sentence)
    assert names(folder) == set()


def test_a_page_in_the_middle_leaves_what_is_here(server, folder):
    with pytest.raises(RunCancelled):
        fetch(f"{server.url}/a", folder, on_bytes=cancelled_after(0.4))
    here = (folder / "a.part").stat().st_size
    server.kind, server.ranges = "text/html", False
    refused(server, folder, "web page")
    assert (folder / "a.part").stat().st_size == here


STATUS = {
    404: "There is no file at",
    403: "is not sent to everybody",
    500: "cannot be fetched: Internal Server Error",
}


@pytest.mark.parametrize(("status", "sentence"), STATUS.items(), ids=map(str, STATUS))
def test_a_server_that_refuses(status, sentence, server, folder):
    server.status = status
    refused(server, folder, sentence)
    assert len(server.asked) == (3 if status == 500 else 1)


def test_a_server_that_always_hangs_up_keeps_what_came(server, folder, monkeypatch):
    server.sized = True
    monkeypatch.setattr(type(server), "cut", property(lambda _: 0, lambda *_: None), raising=False)
    refused(server, folder, "cannot be fetched: .*Check the network")


def test_nobody_answers(folder):
    with serving(b"") as gone:
        url = gone.url
    with pytest.raises(DownloadError, match="cannot be fetched: .*and download again"):
        fetch(f"{url}/a", folder)


ADDRESSES = {"http://example.org/a": False, "ftp://example.org/a": False, "https://e.org/a": True,
             "http://127.0.0.1:9/a": True, "http://127.0.0.1.example.org/a": False, "file:///etc/passwd": False}  # fmt: skip


@pytest.mark.parametrize(("url", "safe"), ADDRESSES.items(), ids=ADDRESSES)
def test_only_safe_addresses_are_asked(url, safe):
    if safe:
        check_address(url)
        return
    with pytest.raises(DownloadError, match="only https:// addresses are"):
        check_address(url)


def test_a_redirect_to_an_unsafe_address_is_not_followed(server, folder):
    server.moved = "http://example.org/a"
    refused(server, folder, "'http://example.org/a' is not fetched")


def test_a_disk_without_room_is_one_sentence_before_a_byte_is_fetched(server, folder, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    refused(server, folder, "needs 1 MB more, and 0 MB are free there. Make room", DiskError)


def test_a_disk_that_fills_up_is_one_sentence_and_what_is_here_stays(server, folder, monkeypatch):
    def full(file, piece):
        if file.tell() > 200_000:
            raise OSError(28, "No space left on device")
        file.write(piece)

    monkeypatch.setattr(module, "_write_all", full)
    refused(server, folder, "the disk is full .*Make room", DiskError)
    monkeypatch.undo()
    assert (folder / "a.part").stat().st_size > 200_000
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256
    assert server.asked[-1][1] is not None


def test_two_do_not_fetch_one_file_at_once(server, folder):
    (folder / "0").mkdir(parents=True)
    lock = StoreLock.take(folder)
    refused(server, folder, "is being written by process", OutputBusyError)
    lock.release()
    assert fetch(f"{server.url}/a", folder).sha256 == SHA256


def test_a_proxy_of_the_environment_is_asked(server, folder, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    fetch("http://localhost:9/there/a", folder)
    assert server.asked == [("http://localhost:9/there/a", None)]


def test_names_of_files_are_safe():
    assert file_name_of("https://e.org/..%2F..%2Fetc%2Fpasswd") == "passwd"
    assert file_name_of("https://e.org/a%5C..%5Cb") == "a_.._b"
    assert file_name_of("https://e.org/") == "file"
