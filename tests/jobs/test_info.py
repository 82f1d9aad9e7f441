"""What `info` tells of files and plates."""

import numpy as np
import pytest
import tifffile
from plate_index import write_index

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.jobs import info
from napari_virtualstain.jobs.info import InfoSettings


@pytest.mark.parametrize("lacking", [("A02/s1",), ("A02/s1", "B01/s2"), ()])
def test_info_counts_the_sites_that_lack_a_channel(tmp_path, lacking):
    for well in ("A01", "A02", "B01"):
        for site in ("s1", "s2"):
            for channel in ("BF", "DNA", "ER"):
                if channel != "ER" or f"{well}/{site}" not in lacking:
                    name = f"{well}~{site}~{channel}.tif"
                    tifffile.imwrite(tmp_path / name, np.ones((8, 9), np.uint16))
    settings = InfoSettings(input=str(tmp_path), pattern="{well}~{site}~{channel}.tif")
    found = info.run(settings)
    (plate,) = found["plates"]
    assert plate["channels_lacking"] == ({"ER": list(lacking)} if lacking else {})
    lines = [line for line in info.to_text(found).splitlines() if "lack" in line]
    verb = "site lacks" if len(lacking) == 1 else "sites lack"
    assert lines == [
        f"  {len(lacking)} of 6 {verb} the channel 'ER': {', '.join(lacking)}"
    ] * bool(lacking)  # fmt: skip


def test_info_tells_heights_apertures_and_what_does_not_open(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    write_index(tmp_path / "plate", wells=2, fields=1, channels=2, files=False)
    for channel in (1, 2):
        name = f"r01c01f01p01-ch{channel}sk1fk1fl1.tiff"
        tifffile.imwrite(tmp_path / "plate" / name, np.ones((8, 9), np.uint16))
    (tmp_path / "plate" / name.replace("c01f", "c02f")).write_bytes(b"no picture")
    found = info.run(InfoSettings(input=str(tmp_path / "plate")))
    (image,) = found["images"]
    assert (image["z_positions_um"], image["na"]) == ([1.0], 1.0)
    assert [channel["z_offset_um"] for channel in image["channels"]] == [0.0, 1.0]
    ((name, sentence),) = [(one["name"], one["sentence"]) for one in found["unopened"]]
    assert name == "A02/f01"
    assert sentence.startswith("None of the 2 planes of 'A02/f01' can be read")
    text = info.to_text(found)
    for line in (
        "heights of the z planes in µm: 1\n",
        "numerical aperture: 1\n",
        "channel 'HOECHST 33342': fluorescence (excitation 561 nm, emission 599 nm, +1 µm along z)",
        "image 'A02/f01': None of the 2 planes",
    ):
        assert line in text
    with pytest.raises(ImageFileError, match="None of the 2 planes"):
        info.run(InfoSettings(input=str(tmp_path / "plate"), scene="A02/f01"))
