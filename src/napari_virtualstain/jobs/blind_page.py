"""What does a reviewer see? Pairs of pictures, and nothing that says which of them is real.

One file that loads nothing else. Answers stay in the browser until they are saved as a file, so
that a review can be closed and gone on with.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.jobs.page import document

__all__ = ["COLUMNS", "ShownPair", "answers_text", "page", "read_page"]

COLUMNS = ("review", "pair", "answer", "seconds")
"""Of the file of answers; ``answer`` is ``left`` or ``right``."""
_STYLE = """
body { max-width: none; text-align: center; }
.pair { display: flex; gap: 1rem; justify-content: center; }
.pair button { padding: 0; border: 3px solid var(--line); background: none; cursor: pointer; }
.pair button.said { border-color: #1450a0; }
.pair img { width: min(42vw, 70vh); height: auto; image-rendering: pixelated; display: block; }
"""
_SCRIPT = """
const place = "virtualstain-blind-" + REVIEW;
let state = { answers: {}, at: 0 };
try { state = JSON.parse(localStorage.getItem(place)) || state; } catch (error) {}
let began = performance.now();
const $ = (id) => document.getElementById(id);
function keep() { try { localStorage.setItem(place, JSON.stringify(state)); } catch (error) {} }
function show() {
  const done = Object.keys(state.answers).length;
  const pair = PAIRS[state.at], said = (state.answers[pair.id] || {}).answer;
  $("stain").textContent = pair.stain;
  $("done").textContent = `pair ${state.at + 1} of ${PAIRS.length}, ${done} answered`;
  for (const side of ["left", "right"]) {
    $(side).firstChild.src = pair[side];
    $(side).className = said === side ? "said" : "";
  }
  $("over").hidden = done < PAIRS.length;
  began = performance.now();
}
function answer(side) {
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  state.answers[PAIRS[state.at].id] = { answer: side, seconds: seconds };
  move(1);
}
function move(by) {
  state.at = Math.min(Math.max(state.at + by, 0), PAIRS.length - 1); keep(); show();
}
function save() {
  const lines = Object.entries(state.answers).map(
    ([id, one]) => [REVIEW, id, one.answer, one.seconds].join(","));
  const file = new Blob([[HEADER, ...lines, ""].join("\\n")], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file); link.download = "answers.csv"; link.click();
}
document.addEventListener("keydown", (event) => {
  const what = { ArrowLeft: () => answer("left"), "1": () => answer("left"),
    ArrowRight: () => answer("right"), "2": () => answer("right"), Backspace: () => move(-1),
    s: save }[event.key];
  if (what && !event.ctrlKey && !event.metaKey) { event.preventDefault(); what(); }
});
$("left").onclick = () => answer("left"); $("right").onclick = () => answer("right");
$("back").onclick = () => move(-1); $("save").onclick = save;
show();
"""


def page(review: str, pairs: Sequence[tuple[int, str, str, str]], how: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    review
        By which answers and key are known to belong together.
    pairs
        Number, stain, and addresses of the left and the right picture.
    how
        Sentence on contrast.
    """
    told = [
        {"id": number, "stain": stain, "left": left, "right": right}
        for number, stain, left, right in pairs
    ]
    constants = {"REVIEW": review, "PAIRS": told, "HEADER": ",".join(COLUMNS)}
    # "</" would end the script.
    script = "".join(
        f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()
    ).replace("</", "<\\/")
    parts = [
        '<h1>Which one is real? <span id="stain"></span></h1>',
        ('<div class="pair"><button id="left" aria-label="left is real"><img alt="left"></button>'
        '<button id="right" aria-label="right is real"><img alt="right"></button></div>'),
        '<p id="done"></p>',
        ("<p>Left arrow or 1: the left one. Right arrow or 2: the right one. Backspace: one back. "
        "S: save the answers. You may close the page and go on later.</p>"),
        ('<p><button id="back">One back</button> <button id="save">Save answers</button></p>'),
        '<p id="over" hidden>All pairs are answered. Save the answers.</p>',
        f"<p>{escape(how)}</p>",
        f"<script>{script}{_SCRIPT}</script>",
    ]  # fmt: skip
    return document("Blind review", parts, _STYLE)


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair as a reviewer sees it.

    Parameters
    ----------
    number
        Of the pair.
    stain
        What is shown.
    left, right
        PNG files.
    """

    number: int
    stain: str
    left: bytes
    right: bytes


def read_page(path: Path) -> tuple[str, list[ShownPair]]:
    """Return what a page shows: the name of the review, and its pairs.

    Parameters
    ----------
    path
        That `page` wrote.

    Raises
    ------
    MissingInputError
        If there is no such page.
    ImageFileError
        If it is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        said = {
            name: json.loads(value.replace("<\\/", "</"))
            for name, value in re.findall(
                r"^(?:<script>)?const (REVIEW|PAIRS) = (.*);$", text, re.MULTILINE
            )
        }
        pairs = [
            ShownPair(int(one["id"]), str(one["stain"]), _png(one["left"]), _png(one["right"]))
            for one in said["PAIRS"]
        ]
        return str(said["REVIEW"]), pairs
    except FileNotFoundError as error:
        raise MissingInputError(
            f"'{path}' does not exist. Choose the folder of a review."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageFileError(
            f"'{path}' is no page of a blind review: {error}. Choose the folder of a review."
        ) from error


def _png(address: str) -> bytes:
    return base64.b64decode(address.partition("base64,")[2], validate=True)


def answers_text(review: str, answers: Mapping[int, tuple[str, float]]) -> str:
    """Return a file of answers, as the page saves it.

    Parameters
    ----------
    review
        Name of the review.
    answers
        By number of the pair: ``"left"`` or ``"right"``, and after how many seconds.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([review, n, side, f"{s:.1f}"] for n, (side, s) in answers.items())
    return text.getvalue()
