"""A page is a PDF, too, where that is asked; what is missing for it is said before the work."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest
from PIL import Image

from napari_virtualstain.errors import MissingExtraError
from napari_virtualstain.jobs import page_file
from napari_virtualstain.jobs.page import document, table
from napari_virtualstain.jobs.page_file import check_pdf, write_page
from napari_virtualstain.jobs.phenotype import PhenotypeSettings
from napari_virtualstain.jobs.phenotype import run as phenotype
from napari_virtualstain.jobs.svg import Bar, Point, bars_figure, cloud, heat_map, scatter

COLOURS = {"": "#1450a0"}
PARTS = [
    "<h1>A verdict</h1>",
    table([{"name": "DNA", "value": 0.5}] * 60, {"name": "stain", "value": "PCC"}),
    cloud([Point(0, 0, "A01"), Point(1, 1, "A02")], colours=COLOURS, label="wells"),
    scatter([Point(1, 2, "A01")], x="true", y="predicted", colours=COLOURS, label="counts"),
    heat_map({("a", "b"): (0.5, "")}, rows=["a"], columns=["b"], label="r"),
    bars_figure([Bar("all", 0.5, 0.4, 0.6, {"halves": 0.3})], x="SD", label="distance"),
]


@pytest.fixture
def printer():
    """What makes PDFs; skips where it, or a library of the system that it needs, is not there."""
    try:
        return check_pdf(True)
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_without_being_asked_there_is_html_alone_and_an_older_pdf_goes(tmp_path):
    (tmp_path / "verdict.pdf").write_bytes(b"of another run")
    write_page(tmp_path / "verdict.html", "<p>new", pdf=False)
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.html"]
    assert check_pdf(False) is None


def test_a_missing_extra_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    asked = PhenotypeSettings(
        prediction="no.csv", target="no.csv", out=str(tmp_path / "o"), pdf=True
    )
    with pytest.raises(MissingExtraError, match=r"napari-virtualstain\[pdf\]"):
        phenotype(asked)
    assert not (tmp_path / "o").exists()


def test_a_missing_library_of_the_system_is_named_and_another_way_to_print(monkeypatch):
    def without_pango(*_args, **_kwargs):
        raise OSError("cannot load library 'libpango-1.0-0'")

    monkeypatch.setattr(page_file, "from_extra", without_pango)
    with pytest.raises(MissingExtraError, match="Install Pango .* from a browser"):
        check_pdf(True)


def test_the_pdf_lies_beside_the_page_and_is_whole(tmp_path, printer):
    html = document("Verdict", PARTS)
    write_page(tmp_path / "verdict.html", html, pdf=True)
    drawn = (tmp_path / "verdict.pdf").read_bytes()
    assert drawn.startswith(b"%PDF-")
    assert drawn.rstrip().endswith(b"%%EOF")
    assert len(drawn) > 5000
    assert not (tmp_path / "verdict.pdf.partial").exists()
    assert (tmp_path / "verdict.html").read_text(encoding="utf-8") == html


def test_a_pdf_has_the_pictures_in_the_page_and_none_from_elsewhere(tmp_path, printer):
    noise = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "elsewhere.png")
    inside = base64.b64encode((tmp_path / "elsewhere.png").read_bytes()).decode()
    held = {}
    for name, address in (
        ("inside", f"data:image/png;base64,{inside}"),
        ("elsewhere", (tmp_path / "elsewhere.png").as_uri()),
    ):
        write_page(tmp_path / f"{name}.html", f'<p>x <img src="{address}">', pdf=True)
        held[name] = b"/Image" in (tmp_path / f"{name}.pdf").read_bytes()
    assert held == {"inside": True, "elsewhere": False}


def test_figures_say_themselves_how_they_are_drawn():
    """A printer of SVG does not ask the page: a frame without a fill of its own would be black."""
    for figure in PARTS[2:]:
        for line in figure.splitlines():
            if 'class="' in line:
                assert "stroke=" in line
            if 'class="frame"' in line:
                assert 'fill="none"' in line
        assert 'font-size="12"' in figure.splitlines()[0]
