from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from streamd.errors import UsageError
from streamd.jobs.bench import Result, Row
from streamd.jobs.bench_report import check_plot, plot, table

RESULT = Result(
    {"cpu": "A & B <1>", "cores": 2, "openvino": "2026.4", "streamd": "1", "load": 0.1},
    {"fp32": 118.0, "bf16": 234.4},
    [
        Row("midas_small", "openvino", "fp32", "256x128", 24.65, 49.3, 40.0, 300, 0.0, 4.6, 0.79),
        Row("midas_small", "openvino", "bf16", "256x128", 13.6, 27.2, 73.1, 280, 0.0051, 4.6, 0.723),
        Row("midas_small", "torch", "fp32", problem="torch is not installed"),
        Row("own", "openvino", "fp32", "64x64", 1.0, 2.0, 999.0, 90),
    ],
    {
        "model": "midas_small",
        "runtime": "openvino",
        "precision": "bf16",
        "stages": {"decode": {"ms": 1.25, "cpu_ms": 2.5}, "infer": {"ms": 13.6, "cpu_ms": 27.0}},
    },
)


def test_the_table() -> None:
    assert table(RESULT) == (
        """\
A & B <1>, 2 cores, OpenVINO 2026.4, load 0.1
peak of a core, GFLOP/s: fp32 118, bf16 234

model        runtime   precision  input      ms  CPU ms    fps   MB  error  of peak
midas_small  openvino  fp32       256x128  24.6    49.3   40.0  300  0.00%      79%
midas_small  openvino  bf16       256x128  13.6    27.2   73.1  280  0.51%      72%
own          openvino  fp32       64x64     1.0     2.0  999.0   90      -        -
midas_small torch fp32: torch is not installed

a frame of 1280x720, midas_small by openvino in bf16
stage      ms  CPU ms
decode   1.25    2.50
infer   13.60   27.00
all     14.85   29.50"""
    )


def test_what_is_not_known_is_left_out() -> None:
    result = Result(RESULT.box, {}, [], {"model": "midas_small", "problem": "no weights"})
    assert table(result).splitlines()[1:] == [
        "",
        "model  runtime  precision  input  ms  CPU ms  fps  MB  error  of peak",
        "",
        "a frame with midas_small: no weights",
    ]


def test_bars_as_svg() -> None:
    root = ElementTree.fromstring(plot(RESULT, Path("a.SVG")))
    bars = root.findall("{http://www.w3.org/2000/svg}rect")[1:]
    lengths = [int(bar.attrib["width"]) for bar in bars]
    assert lengths == [480, round(480 * 13.6 / 24.65), round(480 / 24.65)]
    texts = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["ms of one inference: A & B <1>, 2 cores", "midas_small openvino fp32 256x128"]
    assert "13.6" in texts


def test_bars_as_png() -> None:
    picture = cv2.imdecode(np.frombuffer(plot(RESULT, Path("a.png")), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    coloured = (picture == (0x6B, 0x2F, 0x8B)).all(axis=-1)
    assert sorted(set(coloured.sum(axis=1))) == [0, 20, 266, 481]


def test_another_ending() -> None:
    with pytest.raises(UsageError, match=r"^a\.pdf: --plot draws \.svg or \.png$"):
        check_plot(Path("a.pdf"))
