"""What is kept beside data and models is read as it was written, or refused in one sentence."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from napari_virtualstain.errors import ImageFileError, ModelPackageError
from napari_virtualstain.io.kept import read_kept, write_kept


class Few(BaseModel, extra="forbid"):
    schema_version: Literal[2] = 2
    numbers: dict[str, float] = {}
    count: int = Field(default=1, ge=1)


def read(path, **how):
    return read_kept(path, Few, it="holds no numbers", again="Count again.", **how)


def test_it_comes_back_as_it_was_from_a_folder_that_was_not_there(tmp_path):
    few = Few(numbers={"a": 0.1})
    write_kept(tmp_path / "new" / "few.json", few)
    assert read(tmp_path / "new" / "few.json") == few
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["few.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no numbers, at 'file': Invalid JSON"),
        ("[1]", "holds no numbers, at 'file': Input should be an object"),
        ('{"numbers": {"a": "much"}}', "holds no numbers, at 'numbers.a': Input should be a valid"),
        ('{"count": 0}', "holds no numbers, at 'count': Input should be greater than"),
        ('{"other": 0}', "holds no numbers, at 'other': Extra inputs"),
        ('{"schema_version": 1}', "holds no numbers, at 'schema_version'"),
    ],
)
def test_what_is_something_else_is_refused_with_the_place(tmp_path, text, said):
    (tmp_path / "few.json").write_text(text)
    with pytest.raises(ImageFileError, match=said) as refused:
        read(tmp_path / "few.json")
    assert str(refused.value).endswith(" Count again.")


def test_what_a_newer_program_wrote_asks_for_an_update(tmp_path):
    (tmp_path / "few.json").write_text('{"schema_version": 3}')
    with pytest.raises(ModelPackageError, match=r"is of schema 3, .* Update"):
        read(tmp_path / "few.json", error=ModelPackageError)
