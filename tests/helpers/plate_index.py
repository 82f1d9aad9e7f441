"""An index of a whole Phenix plate, as large as a real one, without its pixels."""

from __future__ import annotations

from pathlib import Path

# What Harmony repeats for every image up to version 5.
FACTS = """<State>Ok</State>
<URL>{url}</URL>
<Row>{row}</Row>
<Col>{column}</Col>
<FieldID>{field}</FieldID>
<PlaneID>{plane}</PlaneID>
<TimepointID>0</TimepointID>
<SequenceID>1</SequenceID>
<GroupID>1</GroupID>
<ChannelID>{channel}</ChannelID>
<FlimID>1</FlimID>
<ChannelName>{name}</ChannelName>
<ImageType>Signal</ImageType>
<AcquisitionType>NipkowConfocal</AcquisitionType>
<IlluminationType>Epifluorescence</IlluminationType>
<ChannelType>Fluorescence</ChannelType>
<ImageResolutionX Unit="m">5.979760809567617E-07</ImageResolutionX>
<ImageResolutionY Unit="m">5.979760809567617E-07</ImageResolutionY>
<ImageSizeX>1080</ImageSizeX>
<ImageSizeY>1080</ImageSizeY>
<BinningX>2</BinningX>
<BinningY>2</BinningY>
<MaxIntensity>65536</MaxIntensity>
<CameraType>AndorZyla</CameraType>
<PositionX Unit="m">{x:E}</PositionX>
<PositionY Unit="m">{y:E}</PositionY>
<PositionZ Unit="m">{z:E}</PositionZ>
<AbsPositionZ Unit="m">0.135809004</AbsPositionZ>
<MeasurementTimeOffset Unit="s">0</MeasurementTimeOffset>
<AbsTime>2021-04-26T17:37:23.6630000+02:00</AbsTime>
<MainExcitationWavelength Unit="nm">561</MainExcitationWavelength>
<MainEmissionWavelength Unit="nm">599</MainEmissionWavelength>
<ObjectiveMagnification Unit="">20</ObjectiveMagnification>
<ObjectiveNA Unit="">1</ObjectiveNA>
<ExposureTime Unit="s">0.2</ExposureTime>
<OrientationMatrix>[[0.99,0,0,-15.9],[0,-1.0,0,-44.6],[0,0,1.33,0]]</OrientationMatrix>
"""
NAMES = ("Brightfield", "HOECHST 33342", "Alexa 488", "488 long", "Alexa 568", "Alexa 647",
         "Brightfield high", "Brightfield low")  # fmt: skip


def write_index(
    folder: Path, *, wells: int = 384, fields: int = 9, channels: int = 8, files: bool = True
) -> int:
    """Write ``Index.idx.xml``, and empty files of its names; return how many it lists."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / "Index.idx.xml").open("w", encoding="utf-8") as index:
        index.write(
            '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<EvaluationInputData '
            'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">\n<Plates><Plate>'
            "<PlateID>P1</PlateID><PlateRows>16</PlateRows><PlateColumns>24</PlateColumns>"
            "</Plate></Plates>\n<Images>\n"
        )
        for well in range(wells):
            row, column = divmod(well, 24)
            for field in range(1, fields + 1):
                for channel in range(1, channels + 1):
                    where = f"r{row + 1:02d}c{column + 1:02d}f{field:02d}p01"
                    url = f"{where}-ch{channel}sk1fk1fl1.tiff"
                    said = FACTS.format(
                        url=url, row=row + 1, column=column + 1, field=field, plane=1,
                        channel=channel, name=NAMES[channel - 1], x=field * 6e-4, y=-field * 6e-4,
                        z=channel * 1e-6,
                    )  # fmt: skip
                    index.write(f'<Image Version="1"><id>{where}</id>\n{said}</Image>\n')
                    if files:
                        (folder / url).touch()
                    count += 1
        index.write("</Images>\n</EvaluationInputData>\n")
    return count
