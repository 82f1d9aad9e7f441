"""OME-Zarr as different programs write it, and zarr that is none."""

import json
import re
import shutil

import numpy as np
import pytest
import zarr

from napari_virtualstain.errors import AxesError, ImageFileError, UnknownNameError
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import list_scenes, open_image

RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 60000, (1, 3, 4, 32, 48)).astype(np.uint16)
SCALE = {"type": "scale", "scale": [30.0, 1.0, 2.0, 0.5, 0.25]}


def axes_of(letters="tczyx", *, units=True):
    kinds = {"t": "time", "c": "channel"}
    unit = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "nanometer"}
    return [
        {"name": a, "type": kinds.get(a.lower(), "space")}
        | ({"unit": unit[a]} if units and a in unit else {})
        for a in letters
    ]


def write_image(group, *, data=DATA, path="0", attributes=None, **entry):
    """Write an image into a zarr group, with metadata that the case overrides."""
    if "/" in path:
        group.require_group(path.rpartition("/")[0])
    array = group.create_array(
        path, shape=data.shape, dtype=data.dtype, chunks=(*(1,) * (data.ndim - 2), 16, 16)
    )
    array[...] = data
    described = {
        "axes": axes_of(),
        "datasets": [{"path": path, "coordinateTransformations": [SCALE]}],
        **entry,
    }
    block = {"multiscales": [described], **(attributes or {})}
    version = group.metadata.zarr_format
    group.update_attributes({"ome": {"version": "0.5", **block}} if version == 3 else block)
    return group


@pytest.fixture(params=[2, 3], ids=["v0.4", "v0.5"])
def root(request, tmp_path):
    return zarr.create_group(store=tmp_path / "a.ome.zarr", zarr_format=request.param)


def path_of(group):
    return group.store.root


def test_an_image_has_the_axes_names_sizes_and_origin_of_its_metadata(root):
    shift = {"type": "translation", "translation": [0.0, 0.0, 1.0, 10.0, 2000.0]}
    omero = {"channels": [{"label": n, "color": "00FF00"} for n in ("BF", "DAPI", "ER")]}
    write_image(
        root,
        path="scale0/phase",
        datasets=[{"path": "scale0/phase", "coordinateTransformations": [SCALE, shift]}],
        attributes={"omero": omero},
    )
    image = open_image(path_of(root))
    assert (image.shape, image.axes) == (DATA.shape, "tczyx")
    assert image.channel_names == ("BF", "DAPI", "ER")
    assert [c.modality for c in image.channels] == ["transmitted", "fluorescence", "fluorescence"]
    assert image.channels[1].colour == "00FF00"
    size = image.pixel_size_um
    assert (size.z, size.y, size.x) == pytest.approx((2.0, 0.5, 0.00025))
    assert image.origin_um == pytest.approx((1.0, 10.0, 2.0))
    assert image.time_interval_s == 30.0
    assert image.guesses == ()
    assert image.data.chunksize == (1, 1, 1, 16, 16)
    np.testing.assert_array_equal(image.data.compute(), DATA)


def test_the_scale_of_the_whole_multiplies_that_of_the_level(root):
    write_image(
        root, coordinateTransformations=[{"type": "scale", "scale": [1.0, 1.0, 1.0, 2.0, 2.0]}]
    )
    assert open_image(path_of(root)).pixel_size_um.y == 1.0


@pytest.mark.parametrize("letters", ["TCZYX", "tczyx"])
def test_axes_may_be_written_in_capitals(root, letters):
    write_image(root, axes=[{**a, "name": n} for a, n in zip(axes_of(), letters, strict=True)])
    assert open_image(path_of(root)).shape == DATA.shape


@pytest.mark.parametrize(
    ("letters", "shape"),
    [("yx", (1, 1, 1, 32, 48)), ("zyx", (1, 1, 4, 32, 48)), ("cyx", (1, 4, 1, 32, 48))],
)
def test_axes_that_are_absent_have_length_one(root, letters, shape):
    data = DATA[0, 0, 0] if letters == "yx" else DATA[0, 0]
    scale = {"type": "scale", "scale": [0.5] * len(letters)}
    write_image(
        root,
        data=data,
        axes=axes_of(letters),
        datasets=[{"path": "0", "coordinateTransformations": [scale]}],
    )
    image = open_image(path_of(root))
    assert (image.shape, image.axes) == (shape, letters)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"datasets": [{"path": "0", "coordinateTransformations": [{"type": "identity"}]}]},
            "it gives no scale",
        ),
        ({"axes": axes_of(units=False)}, "it gives a scale without a unit of length"),
    ],
    ids=["identity", "no unit"],
)
def test_a_pixel_size_that_nobody_stated_is_unknown_and_said(root, entry, said):
    write_image(root, **entry)
    image = open_image(path_of(root))
    assert image.pixel_size_um.yx is None
    assert image.origin_um == (0.0, 0.0, 0.0)
    assert said in image.guesses[0]


def test_a_pixel_size_of_exactly_one_is_doubted(root):
    ones = [{"type": "scale", "scale": [1.0] * 5}]
    axes = [
        {**axis, "unit": "micrometer"} if axis["type"] == "space" else axis for axis in axes_of()
    ]
    write_image(root, axes=axes, datasets=[{"path": "0", "coordinateTransformations": ones}])
    image = open_image(path_of(root))
    assert image.pixel_size_um.x == 1.0
    assert image.guesses[0].startswith("The pixel size is exactly 1")


def test_a_name_lights_a_single_channel(root):
    write_image(root, data=DATA[:, :1], name="phase")
    image = open_image(path_of(root))
    assert image.channels[0].modality == "transmitted"
    assert "from the name 'phase'" in image.guesses[0]


def plate(root, wells=("A/1", "B/12"), fields=2):
    version = root.metadata.zarr_format

    def describe(group, block):
        group.update_attributes({"ome": {"version": "0.5", **block}} if version == 3 else block)

    describe(root, {"plate": {"wells": [{"path": well} for well in wells]}})
    for number, well in enumerate(wells):
        group = root.require_group(well)
        describe(group, {"well": {"images": [{"path": str(f)} for f in range(fields)]}})
        for field in range(fields):
            data = np.full((1, 1, 1, 16, 16), 10 * number + field, np.uint16)
            block = {"omero": {"channels": [{"label": "BF"}]}}
            write_image(group.require_group(str(field)), data=data, attributes=block)
    return path_of(root)


def test_the_fields_of_a_plate_are_scenes(root):
    path = plate(root)
    assert [s.name for s in list_scenes(path)] == ["A/1/0", "A/1/1", "B/12/0", "B/12/1"]
    image = open_image(path, scene="B/12/1")
    assert (image.source.scene, int(image.data.max().compute())) == ("B/12/1", 11)
    with pytest.raises(UnknownNameError, match="No scene 'B/2/1' in .*Did you mean 'B/12/1'?"):
        open_image(path, scene="B/2/1")


def test_a_well_and_a_field_are_opened_by_their_own_path(root):
    path = plate(root)
    assert [s.name for s in list_scenes(path / "B" / "12")] == ["0", "1"]
    assert int(open_image(path / "B" / "12" / "1").data.max().compute()) == 11


def test_choosing_a_field_does_not_open_the_others(root):
    path = plate(root)
    shutil.rmtree(path / "A" / "1" / "0" / "0")
    assert open_image(path, scene="B/12/1").shape == (1, 1, 1, 16, 16)
    with pytest.raises(ImageFileError, match="is missing"):
        open_image(path, scene="A/1/0")


def test_images_that_nothing_announces_are_found(root):
    for name in ("0", "1", "10", "2"):
        write_image(root.create_group(name))
    assert [s.name for s in list_scenes(path_of(root))] == ["0", "1", "2", "10"]


def test_missing_chunks_are_the_fill_value(tmp_path):
    root = zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3)
    write_image(root, data=DATA.astype(np.float32))
    chunk = tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0" / "0" / "0"
    assert chunk.is_file()
    chunk.unlink()
    corner = open_image(tmp_path / "a.zarr").data[0, 0, 0, :16, :16].compute()
    np.testing.assert_array_equal(corner, 0)


def test_shards_are_read_as_chunks(tmp_path):
    root = zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3)
    array = root.create_array("0", shape=(64, 64), dtype="uint8", chunks=(16, 16), shards=(32, 32))
    array[...] = 7
    scale = {"type": "scale", "scale": [0.5, 0.5]}
    root.update_attributes(
        {
            "ome": {
                "version": "0.5",
                "multiscales": [
                    {
                        "axes": axes_of("yx"),
                        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
                    }
                ],
            }
        }
    )
    image = open_image(tmp_path / "a.zarr")
    assert image.data.chunksize[-2:] == (32, 32)
    assert int(image.data.min().compute()) == 7


def test_a_bare_array_opens_with_stated_axes(tmp_path):
    array = zarr.create_array(store=tmp_path / "bare.zarr", shape=(3, 8, 8), dtype="uint8")
    array[...] = 5
    with pytest.raises(AxesError, match=re.escape("'bare.zarr' has 3 axes (3, 8, 8) and does not")):
        open_image(tmp_path / "bare.zarr")
    image = open_image(tmp_path / "bare.zarr", axes="zyx")
    assert (image.shape, image.axes, image.source.kind) == ((1, 1, 3, 8, 8), "zyx", "zarr")


def test_a_bare_group_is_refused_with_what_it_holds(root):
    root.create_array("raw", shape=(3, 8, 8), dtype="uint8")
    with pytest.raises(ImageFileError, match="bare zarr group .* holds the arrays raw. Open one"):
        open_image(path_of(root))
    assert open_image(path_of(root) / "raw", axes="zyx").shape == (1, 1, 3, 8, 8)


def test_an_empty_group_and_an_empty_folder_are_refused(root, tmp_path):
    with pytest.raises(ImageFileError, match="without OME-Zarr metadata, and holds no image"):
        open_image(path_of(root))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageFileError, match="is not a zarr store: it has neither zarr.json nor"):
        open_image(tmp_path / "empty.zarr")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 3, "attr'])
def test_a_damaged_root_is_one_sentence(tmp_path, content):
    write_image(zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3))
    (tmp_path / "a.zarr" / "zarr.json").write_text(content)
    with pytest.raises(ImageFileError, match=r"zarr.json' is damaged: "):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"zarr_format": 3}'])
def test_a_damaged_array_is_one_sentence(tmp_path, content):
    write_image(zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3))
    (tmp_path / "a.zarr" / "0" / "zarr.json").write_text(content)
    with pytest.raises(ImageFileError, match="cannot be opened|is missing"):
        open_image(tmp_path / "a.zarr")


def test_a_missing_array_is_one_sentence(root):
    write_image(root)
    shutil.rmtree(path_of(root) / "0")
    with pytest.raises(ImageFileError, match=r"/0' that the metadata name is missing. Copy the"):
        open_image(path_of(root))


@pytest.mark.parametrize("edge", [0, 99999999])
def test_chunks_that_no_array_has_are_one_sentence(root, edge):
    path = path_of(write_image(root))
    file = next(f for f in (path / "0" / "zarr.json", path / "0" / ".zarray") if f.is_file())
    text = file.read_text(encoding="utf-8")
    assert re.search(r"\b16\b", text)
    file.write_text(re.sub(r"\b16\b", str(edge), text), encoding="utf-8")
    with pytest.raises(ImageFileError, match=r"0' that the metadata name cannot be opened: "):
        open_image(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"datasets": []},
        {"datasets": [{}]},
        {"axes": [{}]},
        {"axes": 5},
        {
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1]}]}
            ]
        },
    ],
    ids=["no level", "no path", "no name", "axes 5", "short scale"],
)
def test_metadata_that_contradict_themselves_are_one_sentence(root, entry):
    write_image(root, **entry)
    with pytest.raises(ImageFileError, match=r"The multiscales metadata of .* are damaged"):
        open_image(path_of(root))


def test_axes_that_do_not_fit_the_array_are_one_sentence(root):
    write_image(root, data=DATA[0])
    with pytest.raises(
        ImageFileError, match=r"names 5 axes \(t, c, z, y, x\), but its array has 4"
    ):
        open_image(path_of(root))


def test_a_damaged_chunk_is_one_sentence_when_it_is_read(tmp_path):
    write_image(zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3))
    chunk = tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    image = open_image(tmp_path / "a.zarr")
    with pytest.raises(ImageFileError, match="cannot be read to the end: "):
        image.data.compute()


def test_levels_come_finest_first(root):
    write_image(root)
    coarse = root.create_array(
        "1", shape=(1, 3, 4, 16, 24), dtype="uint16", chunks=(1, 1, 1, 16, 16)
    )
    coarse[...] = 1
    attributes = dict(root.attrs)
    block = attributes.get("ome", attributes)
    block["multiscales"][0]["datasets"].append({"path": "1"})
    root.update_attributes(attributes)
    levels = open_levels(path_of(root))
    assert [level.shape[-2:] for level in levels] == [(32, 48), (16, 24)]


def test_the_fingerprint_changes_when_a_chunk_does(root):
    write_image(root)
    first = open_image(path_of(root)).source.identity()
    assert open_image(path_of(root)).source.identity() == first
    root["0"][0, 0, 0, :16, :16] = 1
    assert open_image(path_of(root)).source.identity() != first


def test_reading_a_region_reads_its_chunks_only(tmp_path, monkeypatch):
    write_image(zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3))
    keys = []
    original = zarr.storage.LocalStore.get

    async def counted(self, key, *args, **kwargs):
        keys.append(key)
        return await original(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    image = open_image(tmp_path / "a.zarr")
    assert not [key for key in keys if "/c/" in key]
    image.read((slice(0, 1), slice(1, 2), slice(0, 1), slice(0, 16), slice(0, 20)))
    assert sorted(key for key in keys if "c/" in key and "zarr.json" not in key) == [
        "c/0/1/0/0/0",
        "c/0/1/0/0/1",
    ]


def test_a_consolidated_or_annotated_zarr_json_is_read_as_text(tmp_path):
    write_image(zarr.create_group(store=tmp_path / "a.zarr", zarr_format=3))
    file = tmp_path / "a.zarr" / "zarr.json"
    content = json.loads(file.read_text())
    content["consolidated_metadata"] = {"kind": "inline", "metadata": {"0": {}}}
    file.write_text(json.dumps(content))
    assert open_image(tmp_path / "a.zarr").shape == DATA.shape


def test_an_array_that_names_its_dimensions_needs_no_axes(tmp_path):
    zarr.create_array(
        store=tmp_path / "bare.zarr",
        shape=(3, 8, 8),
        dtype="uint8",
        dimension_names=["c", "y", "x"],
    )
    assert open_image(tmp_path / "bare.zarr").axes == "cyx"
