"""Which ``lavfi:`` graphs a client of the API may set."""

from __future__ import annotations

import threading

import pytest

from streamd.config.sections import MAX_SOURCE, StreamConfig
from streamd.sources import open_source
from streamd.sources.permitted_graph import _CHANGES, _PATTERNS, _SIZES, graph_reason


@pytest.mark.parametrize(
    "graph",
    [
        "movie=/etc/passwd",
        "amovie=/x",
        "testsrc2,metadata=mode=print:file=/x",
        "testsrc2,drawtext=textfile=/etc/passwd",
        "testsrc2,sendcmd=f=/x",
        "testsrc2,zmq",
        "testsrc2,azmq=bind_address=tcp\\\\://*\\\\:1",
        "testsrc2,lut3d=/x",
        "testsrc2,lut3d=file=/x",
        "testsrc2,ocr",
        "testsrc2,subtitles=/x",
        "testsrc2,ass=f=/x",
        "testsrc2,vidstabdetect=result=/x",
        "testsrc2,signature=filename=/x",
        "testsrc2,psnr=f=/x",
        "testsrc2,removelogo=/x",
        "testsrc2,find_rect=/x",
        "testsrc2,dnn_processing=model=/x",
        "testsrc2,frei0r=x",
        "testsrc2,curves=psfile=/x",
        "testsrc2,scale=50000:50000",
        "testsrc2@a,hflip",
        "testsrc2,metadata@x=mode=print:file=/x",
        "sws_flags=bicubic;testsrc2",
        "life=/etc/passwd",
        "life=filename=/etc/passwd",
        "life=f=/etc/passwd",
        "life=s=64x64:/etc/passwd",
        "cellauto=/etc/passwd",
        "testsrc2[out0]metadata=x",
        "[a]testsrc2[b]x",
        "testsrc2[out0+subcc]",
        "testsrc2=size='64x64',hflip",
        "testsrc2\\,movie=/x",
        ",",
        "testsrc2;",
        "TESTSRC2",
        "mo\nvie=/x",
        "testsrc2\nmovie=/x",
        "\uff41llrgb",
    ],
)
def test_filters_that_may_touch_files_or_the_network_are_not(graph: str) -> None:
    line = str(graph_reason(graph))
    assert "the API may not set a lavfi: graph" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        "size=9999x64",
        "s=64x4097",
        "30000x30000",
        "s=30000*30000",
        "30000/30000",
        "size=99999y9",
        "s=+9999x9",
        "s= 1 x 1",
        "s=whuhd",
        "whuxga",
        "size=uhd4320",
        "s=hsxga",
        "s=7680x4800",
    ],
)
def test_pictures_that_would_fill_the_memory_are_not(arguments: str) -> None:
    assert "pixels a side" in str(graph_reason(f"testsrc2={arguments}"))


@pytest.mark.parametrize(
    "graph",
    [
        "testsrc2,trim=start=1000000000",
        "testsrc2,select=0",
        "testsrc2,framestep=1000000000",
        "testsrc2,thumbnail=1000000",
        "testsrc2,loop=-1:1",
        "testsrc2,tpad=1000000000",
        "testsrc2,setpts=0",
        "testsrc2,realtime=speed=0.000001:limit=1000000",
        "testsrc2,fps=25:start_time=1000000",
        "testsrc2,fps=fps=25:round=up",
        "mandelbrot=maxiter=2000000000",
        "testsrc2,eq=gamma=while(1;1):eval=frame",
        "testsrc2,drawbox=x=random(1)",
        "testsrc2,hue=h=st(0)",
        "testsrc2" + ",noise=alls=100" * 16,
    ],
)
def test_filters_that_may_give_no_picture_for_long_are_not(graph: str) -> None:
    assert "the API may not set a lavfi: graph" in str(graph_reason(graph))


@pytest.mark.parametrize(
    "graph",
    [
        "testsrc2=rate=1000000000",
        "testsrc2=r=241",
        "testsrc2=r=1/1000000",
        "testsrc2=r=1000/1",
        "testsrc2=r=1/0",
        "testsrc2=64x64:1000",
        "color=red:64x64:1000",
        "testsrc2,fps=fps=100000000",
        "testsrc2,fps=1000",
        "testsrc2,fps=0.000001",
        "testsrc2,fps=source_fps",
        "life=r=1e9",
        "testsrc2=r=-1",
        "testsrc2=r=٣",
    ],
)
def test_rates_that_would_burn_a_core_are_not(graph: str) -> None:
    assert "pictures a second" in str(graph_reason(graph))


@pytest.mark.parametrize("rate", ["1", "25", "240", "30000/1001", "29.97", "ntsc"])
def test_usual_rates_are(rate: str) -> None:
    assert graph_reason(f"testsrc2=64x64:{rate},fps={rate}") is None


@pytest.mark.parametrize(
    "graph",
    [
        *(f"{name}[a];[a]null" for name in sorted(_PATTERNS) if name != "nullsrc"),
        *(f"testsrc2=s={size}" for size in sorted(_SIZES)),
    ]
    + [f"testsrc2=s=64x64,{name}" for name in sorted(_CHANGES) if name not in ("eq", "fps")],
)
def test_what_is_permitted_gives_a_picture_of_bounded_size(graph: str) -> None:
    """Not ``eq``, which PyAV's FFmpeg lacks."""
    assert graph_reason(graph) is None
    source = open_source(StreamConfig(source=f"lavfi:{graph}", realtime=False), threading.Event())
    frames = source.frames()
    picture = next(frames)
    frames.close()
    assert max(picture.width, picture.height) <= 4096


@pytest.mark.parametrize("text", ["[", "a,", "a=b:", "[a]", "testsrc2;", "=", " "])
def test_a_graph_of_any_length_is_read_at_once(text: str) -> None:
    graph_reason((text * 4_000)[:MAX_SOURCE])
