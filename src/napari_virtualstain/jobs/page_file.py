"""How does a page reach the disk? As HTML and, if that is asked, as PDF beside it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import MissingExtraError, from_extra
from napari_virtualstain.io.disk import disk_errors, write_whole

__all__ = ["PDF", "check_pdf", "write_page"]

PDF = "also write the page as PDF (extra [pdf])"
"""Description of the setting, in every verb that writes a page."""


def check_pdf(asked: bool) -> Any:
    """Return the package that makes a PDF, `None` if none is asked: found out before the work.

    Raises
    ------
    MissingExtraError
        If WeasyPrint, or a library of the system that it draws letters with, is not there.
    """
    if not asked:
        return None
    try:
        with warnings.catch_warnings():
            # Without HarfBuzz' own cutter of fonts, which few systems have, files are larger.
            warnings.filterwarnings("ignore", "HarfBuzz-Subset", DeprecationWarning)
            return from_extra(
                "weasyprint", extra="pdf", needs="--pdf takes WeasyPrint, of the extra [pdf]."
            )
    except OSError as error:
        raise MissingExtraError(
            "--pdf takes WeasyPrint, which does not find Pango, a library of the system. Install "
            "Pango (on Debian and Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0), or leave "
            "out --pdf and print the page from a browser."
        ) from error


def write_page(path: Path, html: str, *, pdf: bool) -> None:
    """Write a page in one step and, beside it, a PDF of the same name.

    Parameters
    ----------
    path
        Of the HTML.
    html
        A page that loads nothing else; what it names elsewhere is not fetched for the PDF.
    pdf
        Whether a PDF is asked for; if not, that of another run is removed, since it tells of other
        numbers.

    Raises
    ------
    DiskError
        If one of them cannot be written.
    MissingExtraError
        See `check_pdf`.
    """
    beside = path.with_suffix(".pdf")
    package = check_pdf(pdf)
    if package is None:
        with disk_errors(beside):
            beside.unlink(missing_ok=True)
    else:
        inside = package.URLFetcher(allowed_protocols=["data"])
        drawn = package.HTML(string=html, url_fetcher=inside).write_pdf()
        scratch = beside.with_name(f"{beside.name}.partial")
        with disk_errors(beside):
            scratch.write_bytes(drawn)
            scratch.replace(beside)
    write_whole(path, html)
