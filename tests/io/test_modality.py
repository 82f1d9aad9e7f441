"""Names of channels as microscopes and people write them."""

import pytest

from napari_virtualstain.io.colours import colour_of
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of

TRANSMITTED = """Brightfield; brightfield_01; BF; BF1; bf-z3; Bright Field; Phase; PHASE_CONTRAST;
Phase-contrast 20x; Digital Phase Contrast; Brightfield high; Brightfield low; DIC; TL; Trans;
TL Brightfield; transmitted light; T-PMT; TPMT; ESID; PC; DPC; Ph2; Label-free; Nomarski;
Dia; Mono""".replace("\n", " ").split("; ")

FLUORESCENCE = """DAPI; DAPI_CONFOCAL; Hoechst; Hoechst33342; Hoechst 33342; GFP; EGFP; FITC BP;
TRITC BP;
Alexa 488; AlexaFluor647; AF568; Cy5; Cy3.5; MitoTracker Deep Red; DNA; ER; RNA; AGP; Mito;
MAP2_CONFOCAL; NFH_CONFOCAL; 488 650; 561; mCherry; Texas Red; Con A; WGA; SYTO14; Phalloidin-568;
Propidium iodide; fluorescence; DNA (unet)""".replace("\n", " ").split("; ")

UNKNOWN = [
    "channel 0",
    "c1",
    "Ch3",
    "",
    "Camera",
    "DIC Alexa 488",
    "dark field",
    "Filter",
    "red",
    "40x",
]


@pytest.mark.parametrize("name", TRANSMITTED)
def test_light_that_went_through_is_told_by_its_name(name):
    assert modality_of(name) == "transmitted"


@pytest.mark.parametrize("name", FLUORESCENCE)
def test_light_that_came_back_is_told_by_its_name(name):
    assert modality_of(name) == "fluorescence"


@pytest.mark.parametrize("name", UNKNOWN)
def test_names_that_say_nothing_or_both_are_unknown(name):
    assert modality_of(name) == "unknown"


@pytest.mark.parametrize(
    ("name", "contrasts", "wavelengths", "expected"),
    [
        ("Mono", ("Fluorescence", "Epifluorescence"), False, "transmitted"),
        ("Mono", ("Fluorescence",), True, "fluorescence"),
        ("Brightfield", ("Fluorescence",), True, "transmitted"),
        ("DAPI", ("Brightfield",), False, "fluorescence"),
        ("Camera 1", ("Transmitted",), True, "transmitted"),
        ("Camera 1", ("Fluorescence",), False, "fluorescence"),
        ("Camera 1", ("Phase Contrast",), False, "transmitted"),
        ("Camera 1", (), True, "fluorescence"),
        ("Camera 1", ("Other",), False, "unknown"),
    ],
)
def test_metadata_are_believed_where_the_name_does_not_contradict(
    name, contrasts, wavelengths, expected
):
    assert modality_of(name, contrasts=contrasts, wavelengths=wavelengths) == expected


@pytest.mark.parametrize(
    ("channel", "colour"),
    [
        (Channel("DNA"), "0000FF"),
        (Channel("ER"), "00FF00"),
        (Channel("RNA"), "FFFF00"),
        (Channel("AGP"), "FFA500"),
        (Channel("Mito"), "FF00FF"),
        (Channel("DAPI_CONFOCAL"), "0000FF"),
        (Channel("Hoechst 33342"), "0000FF"),
        (Channel("Brightfield"), "FFFFFF"),
        (Channel("x", "transmitted"), "FFFFFF"),
        (Channel("who knows"), "FFFFFF"),
        (Channel("DNA", colour="#12ab9f"), "12AB9F"),
    ],
)
def test_a_stain_has_its_colour_unless_the_file_gives_another(channel, colour):
    assert colour_of(channel) == colour
