"""What the pages in docs/ say is what the program does.

``python tests/test_docs.py`` writes the tables that are taken from the program.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from napari_virtualstain.cli.arguments import add_arguments, settings_from
from napari_virtualstain.cli.main import VERBS, _load, _parser, main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the pages are not part of an installed package", allow_module_level=True)

FOLDERS = ("tutorials", "how-to")
PAGES = sorted([*DOCS.glob("*.md"), *(p for one in FOLDERS for p in DOCS.glob(f"{one}/*.md"))])
SOURCE = ROOT / "src" / "napari_virtualstain"
BLOCK = re.compile(r"(<!-- (\w+): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SHARED = {"--json", "--quiet", "--debug", "--help", "--version", "--scheduler", "--workers"}


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def words(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def code(path: Path, language: str) -> list[str]:
    found = re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [str(block) for block in found]


# Tables taken from the program.


def arguments_of(verb: str) -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser, _load(VERBS[verb].settings), positional=VERBS[verb].positional)
    return parser._actions


def settings_table(verb: str) -> str:
    rows = []
    for action in arguments_of(verb):
        word = action.option_strings[0] if action.option_strings else action.dest.upper()
        if action.choices:
            word += f" {'/'.join(map(str, action.choices))}"
        elif action.option_strings and action.nargs != 0:
            word += f" {action.metavar}"
        needed = "; required" if action.required else ""
        rows.append(f"| `{word}` | {action.help}{needed} |\n")
    return "".join(["| setting | what for |\n|---|---|\n", *rows]) if rows else "No settings.\n"


def recipe_table(name: str) -> str:
    from napari_virtualstain.jobs.recipes import get_recipe

    rows = [f"| `{key}` | {value:,} |\n" if type(value) is int else f"| `{key}` | {value} |\n"
            for key, value in get_recipe(name).settings.items()]  # fmt: skip
    return "".join(["| setting | value |\n|---|---|\n", *rows])


def citations_table(kind: str) -> str:
    """Return where methods come from, with links; a source is told once for all its methods."""
    from napari_virtualstain.encoders.registry import ENCODERS
    from napari_virtualstain.generators.registry import GENERATORS

    brought = {"generators": (GENERATORS, "napari_virtualstain."), "encoders": (ENCODERS, "")}
    registry, ours = brought[kind]
    methods: dict[str, list[str]] = {}
    for spec in registry.values():
        if spec.target.startswith(ours):  # and not of a package that happens to be installed
            methods.setdefault(spec.source, []).append(f"`{spec.name}`")
    rows = [f"| {', '.join(names)} | {link_of(source)} |\n" for source, names in methods.items()]
    return "".join(["| method | source |\n|---|---|\n", *rows])


def link_of(source: str) -> str:
    kind, _, number = source.partition(":")
    address = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}.get(kind)
    return f"[{source}]({address}{number})" if address else source


def checks_table(_: str) -> str:
    from napari_virtualstain.qc.checks import CHECKS

    fault = {"input": "bright field", "output": "stain"}
    rows = []
    for check in CHECKS.values():
        side = {"both": "high or low"}.get(check.side, check.side)
        limits = "none" if check.limits is None else ", ".join(map(check.shown, check.limits))
        rows.append(f"| {check.title} | `{check.name}` | {fault[check.of]} | {side} | {limits} |\n")
    head = "| check | in tables | at fault | bad is | amber, red without a reference |\n"
    return "".join([head, "|---|---|---|---|---|\n", *rows])


TABLES = {"settings": settings_table, "recipe": recipe_table, "checks": checks_table,
          "citations": citations_table}  # fmt: skip


def with_tables(text: str) -> str:
    return BLOCK.sub(lambda m: f"{m[1]}{TABLES[m[2]](m[3])}{m[4]}", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_program(page):
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run python tests/test_docs.py"


def test_each_command_has_a_section_with_all_its_settings():
    text = read("command-line.md")
    for verb in VERBS:
        assert f"\n## {verb}\n" in text
        assert f"<!-- settings: {verb} -->" in text


# Links.


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", words(path), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", words(page)):
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        there = page if not target else (page.parent / target)
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there), link


def test_every_page_can_be_reached_from_the_index():
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", read("index.md"))}
    assert {page.relative_to(DOCS).as_posix() for page in PAGES} - {"index.md"} <= linked


# Commands.


def command_lines(path: Path) -> list[list[str]]:
    """Return the command lines of a page, in words."""
    lines = "\n".join(code(path, "sh")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`(virtualstain [a-z][^`]*)`", words(path))
    found = [shlex.split(line, comments=True) for line in [*lines, *inline]]
    return [line[1:] for line in found if line[:1] == ["virtualstain"] and len(line) > 1]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_commands_have_the_options_that_they_are_shown_with(page):
    for verb, *rest in command_lines(page):
        if verb.startswith("-") or verb.isupper():
            continue
        assert verb in VERBS
        known = {s for action in arguments_of(verb) for s in action.option_strings} | SHARED
        said = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert said <= known, rest


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name
)
def test_lines_that_are_typed_are_understood_by_the_program(page):
    for line in "\n".join(code(page, "sh")).replace("\\\n", " ").splitlines():
        for words_of in re.split(r"&&|\|", line):
            program, *typed = shlex.split(words_of, comments=True) or [""]
            if program != "virtualstain" or typed == ["--version"]:
                continue
            stated = _parser(typed[0]).parse_args(typed)  # exits where a word is not known
            verb = VERBS[typed[0]]
            settings_from(_load(verb.settings), vars(stated), positional=verb.positional)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_spoken_of_exist(page):
    known = {s for verb in VERBS for action in arguments_of(verb) for s in action.option_strings}
    spoken = re.findall(
        r"(?<![\w-])--[a-z][a-z-]+", words(page).replace("<!--", "").replace("-->", "")
    )
    assert set(spoken) <= known | SHARED


# Messages that pages quote.


@cache
def sentences() -> list[str]:
    """Return all texts of the program; what is filled in is left out."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


OF_OTHERS = {"Plugins", "Terminal"}
"""Words of napari and of the system."""
PAGES_OF_THE_DOCK = {
    name.removesuffix("Page")
    for path in (SOURCE / "widgets").glob("*.py")
    for name in re.findall(r"^class (\w+Page)\(", path.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent != DOCS], ids=lambda page: page.name)
def test_pages_and_buttons_that_a_tutorial_names_are_in_the_window(page):
    """What stands in italics with a capital letter is a word of the window or of its menus."""
    manifest = (SOURCE / "napari.yaml").read_text(encoding="utf-8")
    known = {*sentences(), *re.findall(r": (.+)$", manifest, re.MULTILINE)}
    said = re.findall(r"(?<!\*)\*([A-Z][^*\n]*)\*(?!\*)", words(page).replace("\n", " "))
    parts = {part.removesuffix(" (Virtual staining)") for one in said for part in one.split(" > ")}
    for name in parts - OF_OTHERS - PAGES_OF_THE_DOCK:
        filled_in = re.sub("[0-9]+ images", "\0", name)
        assert filled_in in known or f"{name}:" in known, name


def quoted_messages() -> list[str]:
    table = read("command-line.md").partition("| you see |")[2]
    return [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize("message", quoted_messages())
def test_messages_are_those_of_the_program(message):
    pattern = re.compile(
        ".*?".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL
    )
    assert any(pattern.search(sentence) for sentence in sentences())


# Python.


def run_block(block: str, space: dict[str, object]) -> None:
    """Run a block; a line ``expression  # -> value`` must have that value."""
    for node in ast.parse(block).body:
        piece = ast.get_source_segment(block, node)
        tail = block.splitlines()[node.end_lineno - 1].partition("  # -> ")[2]
        if tail:
            assert repr(eval(piece, space)) == tail.strip(), piece
        else:
            exec(compile(ast.Module([node], []), "python.md", "exec"), space)


def test_the_python_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    page = DOCS / "python.md"
    monkeypatch.chdir(tmp_path)
    for line in code(page, "sh"):
        assert main([*shlex.split(line)[1:], "--quiet"]) == 0
    space: dict[str, object] = {}
    for block in code(page, "python"):
        run_block(block, space)


def test_the_python_page_names_everything_that_is_public():
    import napari_virtualstain

    text = read("python.md")
    assert [name for name in napari_virtualstain.__all__ if name not in text] == []


def test_the_api_page_has_everything_that_is_public():
    import napari_virtualstain

    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)", page, re.MULTILINE)
    assert sorted(named) == sorted(napari_virtualstain.__all__)


def test_the_examples_page_has_every_example():
    page = (DOCS / "reference" / "examples.md").read_text(encoding="utf-8")
    shown = re.findall(r"examples/(\w+\.py)", page)
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


# Fields that pages list.


def test_the_files_page_lists_all_readers_and_layouts():
    from napari_virtualstain.io.layouts import LAYOUTS
    from napari_virtualstain.io.open import OPENERS

    text = read("files.md")
    for entry in [*OPENERS.values(), *LAYOUTS.values()]:
        assert f"`{entry.name}`" in text, entry.name


def test_the_files_page_lists_every_field_of_a_run_record(tiny_model, small_fields, tmp_path):
    from napari_virtualstain import stain
    from napari_virtualstain.io.record import read_record

    out = tmp_path / "o.ome.zarr"
    stain(small_fields[0].brightfield[0], axes="zyx", out=out, model=tiny_model, pixel_size=0.6)
    state = read_record(out)
    record = state["record"]
    text = read("files.md")
    wanted = {*state, *state["layout"], *record}
    for part in ("input", "model", "normalisation", "plan"):
        wanted |= {f"{part}.{key}" for key in record[part]}
    assert sorted(name for name in wanted if f"`{name}`" not in text) == []


def test_the_models_page_lists_every_field_of_a_card():
    from napari_virtualstain.generators.card import InputPlane, ModelCard, Stain
    from napari_virtualstain.io.origin import TrainingReport

    text = read("models.md")
    wanted = {f"{prefix}{name}" for prefix, kind in (
        ("", ModelCard), ("inputs.", InputPlane), ("stains.", Stain), ("training.", TrainingReport),
    ) for name in kind.model_fields}  # fmt: skip
    assert sorted(name for name in wanted if f"`{name}`" not in text) == []


def test_the_metrics_page_lists_every_number_of_an_evaluation():
    from dataclasses import fields

    from napari_virtualstain.jobs.evaluation import ChannelScore

    text = read("metrics.md")
    assert [f.name for f in fields(ChannelScore) if f"`{f.name}`" not in text] == []


def sections(page: str, chapter: str) -> dict[str, str]:
    """Return the sections of a chapter by their headings."""
    text = read(page).partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in text.split("\n### ")[1:]}


def test_the_quality_page_says_of_every_check_what_it_is_and_what_it_is_blind_to():
    from napari_virtualstain.qc.checks import CHECKS

    told = sections("qc.md", "The checks")
    named = {*told, *re.findall(r"\*\*([^*]+)\*\*", "".join(told.values()))}
    assert {check.title for check in CHECKS.values()} <= named
    assert [name for name, text in told.items() if "*blind to*" not in text.lower()] == []


def test_the_metrics_page_says_the_range_of_every_number():
    from dataclasses import fields

    from napari_virtualstain.jobs.evaluation import ChannelScore

    table = read("metrics.md").partition("| column |")[2].partition("\n\n")[0]
    rows = [row.split("|") for row in table.splitlines()]
    ranged = {name for row in rows if len(row) > 3 and row[3].strip()
              for name in re.findall("`([a-z_]+)`", row[2])}  # fmt: skip
    assert {f.name for f in fields(ChannelScore)} - ranged == set()


def test_the_metrics_page_says_of_every_metric_what_it_does_not_tell():
    page = read("metrics.md").partition("\n## PCC")[2].partition("\n## What none of them")[0]
    told = {part.partition("\n")[0]: part for part in f" PCC{page}".split("\n## ")}
    assert len(told) > 10
    said = ("*does not tell*", "*blind to*")
    assert [
        name for name, text in told.items() if not any(one in text.lower() for one in said)
    ] == []


def test_the_metrics_page_names_every_number_of_nuclei():
    from napari_virtualstain.jobs.compare_objects import SHAPES
    from napari_virtualstain.objects.match import match_objects

    nucleus = np.pad(np.ones((4, 4), np.int32), 2)
    counts = match_objects(nucleus, nucleus).to_json()
    text = read("metrics.md").partition("\n## Nuclei\n")[2].partition("\n## ")[0]
    assert counts["matched"] == 1
    of_matched = ["number", "size", "intensity", "amount", "shape", "planes", *SHAPES]
    assert [name for name in [*counts, *of_matched] if f"`{name}`" not in text] == []


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
