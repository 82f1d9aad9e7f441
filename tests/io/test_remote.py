"""A store behind a URL is the same picture, fetched as it is looked at."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from napari_virtualstain.errors import ImageFileError, MissingExtraError, SettingsError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate_write import PlateStore
from napari_virtualstain.io.remote import absolute, is_remote, located
from napari_virtualstain.io.save import ImagePicture, write_ome_zarr
from napari_virtualstain.jobs.base import JobSettings, PathText

EMPTY_LIST = b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>'


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder as a web server does, and as much of S3 as reading a store takes."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)

    def do_GET(self):
        if "list-type=2" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", str(len(EMPTY_LIST)))
            self.end_headers()
            self.wfile.write(EMPTY_LIST)
            return
        super().do_GET()


@pytest.fixture
def store(tmp_path) -> Path:
    """A plate of two wells, one field each, of which the second is brighter."""
    pixels = np.random.default_rng(0).integers(1, 4000, (1, 2, 1, 96, 80)).astype("uint16")
    channels = (Channel("BF", "transmitted"), Channel("DNA", "fluorescence"))
    place = tmp_path / "bucket" / "plate.ome.zarr"
    plate = PlateStore(place, name="plate", rows=8, columns=12)
    for number, column in enumerate((0, 5)):
        image = LazyImage(data=_dask(pixels + 100 * number), channels=channels)
        write_ome_zarr(str(place / f"A/{column + 1}/0"), ImagePicture(image))
        plate.add(0, column, "0")
    return place


def _dask(pixels):
    import dask.array as da

    return da.from_array(pixels, chunks=(1, 1, 1, 32, 80))


@pytest.fixture
def server(store) -> Iterator[Server]:
    serving = Server(store.parent.parent)
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def urls(server, store, monkeypatch) -> dict[str, str]:
    """The same store at three kinds of place."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    memory = fsspec.filesystem("memory")
    memory.put(str(store), "/plate.ome.zarr", recursive=True)
    return {
        "http": f"{server.url}/bucket/plate.ome.zarr",
        "s3": "s3://bucket/plate.ome.zarr",
        "memory": "memory://plate.ome.zarr",
    }


@pytest.mark.parametrize("place", ["http", "s3", "memory"])
def test_a_plate_behind_a_url_is_the_plate_on_disk(urls, store, place):
    near, far = list_scenes(store), list_scenes(urls[place])
    assert [scene.name for scene in far] == [scene.name for scene in near]
    assert [scene.well for scene in far] == ["A01", "A06"]
    for one, other in zip(near, far, strict=True):
        here, there = one.open(), other.open()
        assert there.channel_names == here.channel_names
        assert there.pixel_size_um == here.pixel_size_um
        assert there.guesses == here.guesses
        np.testing.assert_array_equal(there.data.compute(), here.data.compute())
    assert there.source.path == urls[place]


def test_only_the_chunks_that_are_looked_at_are_fetched(urls, server):
    image = open_image(urls["http"], scene="A/1/0")
    server.asked.clear()
    image.data[0, 0, 0, :32, :10].compute()
    assert len(server.asked) == 1


def test_the_levels_of_a_pyramid_are_found_behind_a_url(urls, store):
    far, near = open_levels(urls["http"], "A/1/0"), open_levels(store, "A/1/0")
    assert [level.shape for level in far] == [level.shape for level in near]


def test_a_chunk_that_is_not_there_is_missing_data(urls, store):
    lost = next(p for p in sorted((store / "A/1/0").rglob("*")) if p.name == "0" and p.is_file())
    lost.unlink()
    here = open_image(store, scene="A/1/0").data.compute()
    np.testing.assert_array_equal(open_image(urls["http"], scene="A/1/0").data.compute(), here)


def test_a_place_that_goes_away_is_one_sentence(urls, server):
    image = open_image(urls["http"], scene="A/1/0")
    server.shutdown()
    server.server_close()
    with pytest.raises(ImageFileError, match=r"Check that its place answers, and try again\.$"):
        image.data.compute()


WRONG = {
    "no store there": ("{http}/nothing.zarr", ImageFileError, "behind a URL only OME-Zarr is read"),
    "nobody answers": ("http://127.0.0.1:1/x.zarr", ImageFileError, "Check that its place answers"),
    "no such protocol": ("foo://x/y.zarr", SettingsError, "begins with https:// or s3://"),
    "a package is not there": ("gs://x/y.zarr", MissingExtraError, "Install it with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_url_that_leads_nowhere_is_one_sentence(urls, case):
    url, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as caught:
        open_image(url.format_map(urls))
    assert str(caught.value).count(". ") <= 2


def test_metadata_that_change_are_another_image(urls, store):
    before = open_image(urls["http"], scene="A/1/0").source.identity()
    assert open_image(urls["http"], scene="A/1/0").source.identity() == before
    assert open_image(urls["http"], scene="A/6/0").source.identity() != before


def test_images_that_bioformats2raw_numbers_are_found_without_listing(server, store):
    folder = store.parent / "series.zarr"
    folder.mkdir()
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    for number in (0, 1):
        write_ome_zarr(str(folder / f"{number}"), ImagePicture(list_scenes(store)[number].open()))
    far = list_scenes(f"{server.url}/bucket/series.zarr")
    assert [scene.name for scene in far] == ["0", "1"] == [s.name for s in list_scenes(folder)]


class Somewhere(JobSettings):
    place: PathText


def test_a_url_in_the_settings_stays_as_it_is(tmp_path):
    url = "https://example.org/a//b.zarr"
    assert absolute(url) == Somewhere(place=url).absolute().place == url
    assert is_remote(located("memory://a.zarr"))
    assert located(f"file://{tmp_path}") == tmp_path
