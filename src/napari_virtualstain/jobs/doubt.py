"""How sure is a model of its stains? What can be asked for beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from napari_virtualstain.errors import SettingsError

__all__ = ["DoubtSettings", "SeveralViews", "check_doubt"]


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


SeveralViews = Annotated[Literal[2, 4, 8], BeforeValidator(_number)]
"""How many views of an image are compared."""


class DoubtSettings(BaseModel):
    """What can be asked of a model about how sure it is."""

    views: Annotated[Literal[1, 2, 4, 8], BeforeValidator(_number)] = Field(
        default=1,
        description="views of the image (mirrored, turned) that a model is shown; with 2 or more, "
        "the output is their mean, and their spread as channels of their own",
    )
    interval: bool = Field(
        default=False,
        description="of a model whose spread was measured on pairs (`virtualstain uncertainty`): "
        "instead of the spread, the ends of the interval that holds the truth",
    )


def check_doubt(settings: DoubtSettings, name: str, *, draws: int | None, quantiles: bool) -> None:
    """Refuse views and intervals where they mean nothing.

    Parameters
    ----------
    settings
        Of the run.
    name
        Of the model.
    draws
        That are asked for of a model that draws; `None` of one that does not.
    quantiles
        Whether quantiles are asked for.

    Raises
    ------
    SettingsError
        If so.
    """
    if settings.views > 1 and draws is not None:
        raise SettingsError(
            f"The model {name!r} draws its stains, and its spread is that of draws. Leave out "
            f"--views, and ask for --draws {settings.views}."
        )
    if quantiles and (settings.views > 1 or settings.interval):
        raise SettingsError(
            f"The quantiles of the model {name!r} say how sure it is. Leave out --views and "
            "--interval, or --quantiles."
        )
    if settings.interval and settings.views == (draws or 1) == 1:
        how = "--views 8" if draws is None else "--draws 8"
        raise SettingsError(
            f"An interval is made of a spread, and none is asked for. Add {how}, or leave out "
            "--interval."
        )
