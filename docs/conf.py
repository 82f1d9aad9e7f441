"""How do the pages in docs/ become a site?

The pages are plain Markdown that a Git host shows as it is. What only the site can do (navigation,
links out of docs/, pictures that follow the theme) is added here, so that no page needs a
directive. Only reference/ holds pages that mean nothing elsewhere.
"""

from __future__ import annotations

import re
from datetime import date
from importlib.metadata import version as installed_version
from pathlib import Path, PurePosixPath
from posixpath import relpath

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

# The tree beside every page. A page that is missing here, or here and not there, stops the build.
NAVIGATION = {
    "Start": ["installation", "first-steps", "demo"],
    "Learn": [
        "tutorials/plate",
        "tutorials/timelapse-and-stack",
        "tutorials/tune",
        "tutorials/real-file",
    ],
    "How to": [
        "how-to/terminal",
        "how-to/qc-every-morning",
        "how-to/bring-your-own-model",
        "how-to/no-display",
        "how-to/offline",
        "how-to/gpu",
    ],
    "Use": [
        "viewer",
        "choose-a-model",
        "fine-tuning",
        "queue",
        "projects",
        "command-line",
        "cluster",
        "python",
        "reference/examples",
    ],
    "Understand": [
        "what-it-can-tell",
        "trust",
        "passport",
        "explain",
        "qc",
        "uncertainty",
        "engine",
        "metrics",
        "normalisation",
        "preprocessing",
        "denoising",
        "pairs",
        "models",
        "generators/index",
        "encoders",
        "measuring",
        "verdict",
        "phenotype",
        "generalisation",
        "blind",
        "profiles",
    ],
    "Reference": [
        "files",
        "glossary",
        "citing",
        "security",
        "reference/api",
        "reference/changelog",
    ],
    "Project": [
        "comparison",
        "architecture",
        "simulator",
        "benchmarks/index",
        "reference/contributing",
    ],
}
# What pages link to and what lies outside docs/: here it has a page of its own.
OUTSIDE = {
    "../CHANGELOG.md": "reference/changelog.md",
    "../CONTRIBUTING.md": "reference/contributing.md",
    "../examples": "reference/examples.md",
}

project = "napari-virtualstain"
author = "napari-virtualstain developers"
copyright = f"{date.today().year}, {author}"  # noqa: A001, DTZ011  # Sphinx wants this name
release = version = installed_version("napari-virtualstain")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
root_doc = "index"
# Not nitpicky: dead links of pages are warnings anyway, and types of other packages have no page.

myst_heading_anchors = 4  # the anchors are those that Git hosts make
myst_enable_extensions = ["colon_fence", "dollarmath"]

default_role = "py:obj"  # in docstrings, a name in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
add_module_names = False
napoleon_google_docstring = False
napoleon_use_rtype = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "tango"
pygments_dark_style = "github-dark"


# The weekly look at links to other places. Publishers refuse programs, so that a DOI is not asked.
linkcheck_ignore = [r"https://doi\.org/", r"https?://(localhost|host)\b"]
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the tree to the pages that lead on: a directive in a page would show on Git hosts."""
    trees: dict[str, list[str]] = {}
    if docname == root_doc:
        trees = {f":caption: {caption}": pages for caption, pages in NAVIGATION.items()}
    elif docname in {"benchmarks/index", "generators/index"}:
        trees = {":glob:": ["*"]}
    for option, pages in trees.items():
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", option, "", *pages, "```", ""])


def lead_inside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Lead links to files outside docs/ to the pages that stand for them."""
    here = PurePosixPath(docname).parent
    for outside, page in OUTSIDE.items():
        wanted = relpath(outside, here)
        source[0] = re.sub(
            rf"\]\({re.escape(wanted)}/?(#[^)]*)?\)",
            lambda match, page=page: f"]({relpath(page, here)}{match[1] or ''})",
            source[0],
        )


def follow_the_theme(app: Sphinx, document: nodes.document) -> None:
    """Show NAME-dark.png beside each NAME-light.png; the theme hides one of them.

    A page names the light picture only, and that is what a Git host shows.
    """
    here = Path(app.env.doc2path(app.env.docname)).parent
    for image in list(document.findall(nodes.image)):
        uri = image["uri"]
        dark = uri.removesuffix("-light.png") + "-dark.png"
        if not uri.endswith("-light.png") or not (here / dark).is_file():
            continue
        twin = image.deepcopy()
        twin["uri"] = dark
        image["classes"] = [*image["classes"], "only-light"]
        twin["classes"] = [*twin["classes"], "only-dark"]
        image.parent.insert(image.parent.index(image) + 1, twin)


def escape_shapes(
    app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Keep the star of shapes such as (B, C, *S), which reStructuredText takes for emphasis."""
    lines[:] = [re.sub(r"(?<![*\\`])\*(?=[A-Z]\b)", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("source-read", add_navigation)
    app.connect("source-read", lead_inside)
    app.connect("autodoc-process-docstring", escape_shapes, priority=100)  # before napoleon
    app.connect("doctree-read", follow_the_theme, priority=100)  # before images are collected
    return {"parallel_read_safe": True, "parallel_write_safe": True}
