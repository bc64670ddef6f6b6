"""``streamd convert``: every frame, its time, its sound; and what is left when it is cut short."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest

import streamd
from streamd.depth.service import DepthService
from streamd.errors import InferenceFailed, SinkError, SourceUnreachable, SourceUnsupported, StreamdError
from streamd.jobs import convert as module
from streamd.jobs.convert import Converted, convert
from streamd.media.frames import DepthFrame
from streamd.render.colormap import INFERNO_RGB
from streamd.sinks.file import DepthFileWriter, FileWriter
from streamd.states import WorkerEnd
from streamd.streams.inference import Inference
from tests.support.clips import HEIGHT, WIDTH, audio_of, frames_of, number_in, times_of, write_clip

pytestmark = pytest.mark.timeout(60, func_only=True)  # a network may have to be converted first

Convert = Callable[..., Converted]


@pytest.fixture
def run(shared_service: DepthService) -> Convert:
    def run(source: Path | str, output: Path, **options: Any) -> Converted:
        return convert(str(source), output, shared_service, quiet=True, **options)

    return run


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_250_frames_with_sound(run: Convert, tmp_path: Path, suffix: str) -> None:
    source, output = write_clip(tmp_path / f"in{suffix}", 250, audio=True, b_frames=2), tmp_path / f"out{suffix}"
    done = run(source, output)
    assert (done.frames, done.model) == (250, "embedded")
    assert times_of(output) == times_of(source) == [Fraction(n, 25) for n in range(250)]
    assert audio_of(output) == audio_of(source)
    assert len(audio_of(source)) > 400
    assert files_in(tmp_path) == {source.name, output.name}, "nothing is left beside it"


def test_colours_are_inferno_and_depth_moves(run: Convert, tmp_path: Path) -> None:
    run(write_clip(tmp_path / "in.mp4", 20), tmp_path / "out.mp4")
    frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames_of(tmp_path / "out.mp4")]
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    for frame in (frames[0], frames[10], frames[-1]):
        stray = np.abs(frame.reshape(-1, 1, 3)[::7] - INFERNO_RGB[None].astype(int)).max(axis=2).min(axis=1)
        assert np.percentile(stray, 99) <= 16, "what 4:2:0 and compression leave of it"
        assert np.median(stray) <= 4
        assert frame.std() > 20
    assert np.abs(frames[0] - frames[-1]).mean() > 1


def test_headers_name_the_colours(run: Convert, tmp_path: Path) -> None:
    run(write_clip(tmp_path / "in.mp4", 3), tmp_path / "out.mp4")
    frame = frames_of(tmp_path / "out.mp4")[0]
    assert (frame.colorspace, frame.color_range) == (6, 1)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts", "in.avi", "in.h264"])
def test_pictures_keep_their_order_and_beat(run: Convert, tmp_path: Path, name: str) -> None:
    """Of the source view, which shows the numbers; whatever the container and with B-frames."""
    codec = {"codec": "mpeg4"} if name.endswith("avi") else {"b_frames": 2}
    source = write_clip(tmp_path / name, 40, **codec)
    run(source, tmp_path / "out.mp4", view="source")
    frames = frames_of(tmp_path / "out.mp4")
    assert [number_in(frame) for frame in frames] == list(range(40))
    times = [frame.time or 0.0 for frame in frames]
    assert np.diff(times) == pytest.approx([1 / 25] * 39, abs=0.001)


def test_uneven_times_are_kept(run: Convert, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.05, 0.5, 0.52, 1.2, 2.0, 2.04]
    source = write_clip(tmp_path / "in.mp4", len(times), times_s=times, b_frames=1)
    run(source, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    assert [float(moment) for moment in times_of(source)] == pytest.approx(times, abs=0.001)


def test_a_late_beginning_stays_with_the_sound(run: Convert, tmp_path: Path) -> None:
    """The picture begins 0.4 s after the sound."""
    times = [0.4 + n / 25 for n in range(40)]
    source = write_clip(tmp_path / "in.mkv", 40, times_s=times, audio=True)
    for output in (tmp_path / "out.mkv", tmp_path / "out.mp4"):
        run(source, output)
        assert [float(t) for t in times_of(output)] == pytest.approx(times, abs=0.0011)
        assert audio_of(output) == audio_of(source)


def test_no_sound_no_track(run: Convert, tmp_path: Path) -> None:
    run(write_clip(tmp_path / "in.mp4", 3), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(
    ("view", "size"), [("depth", (190, 110)), ("side-by-side", (380, 110)), ("rgbd", (380, 110)), ("gray", (190, 110))]
)
def test_views_of_an_odd_size(run: Convert, tmp_path: Path, view: str, size: tuple[int, int]) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 191, 111, "yuv444p"
        for number in range(3):
            picture = av.VideoFrame(191, 111, "yuv444p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    assert run(source, tmp_path / "out.mp4", view=view).frames == 3
    assert {(frame.width, frame.height) for frame in frames_of(tmp_path / "out.mp4")} == {size}


def test_ctrl_c_keeps_what_is_done(
    run: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = write_clip(tmp_path / "in.mp4", 100, audio=True, b_frames=2), tmp_path / "out.mp4"
    write, count = FileWriter.write, 0

    def interrupted(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 31:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(FileWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, output)
    assert times_of(output) == times_of(source)[:30]
    whole = audio_of(source)
    kept = audio_of(output)
    assert kept == whole[: len(kept)]
    assert len(kept) == pytest.approx(len(whole) * 0.3, abs=5)
    assert capsys.readouterr().err == f"stopped: {output} has the first 30 frames\n"
    assert files_in(tmp_path) == {"in.mp4", "out.mp4"}


def test_ctrl_c_before_the_first_frame_leaves_nothing(
    run: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_clip(tmp_path / "in.mp4", 5)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_drain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out.mp4")
    assert files_in(tmp_path) == {"in.mp4"}


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("out.txt", "the ending .txt names no video format: use .mp4 or .mkv"),
        ("out", "the ending (none) names no video format: use .mp4 or .mkv"),
        ("none/out.mp4", "there is no folder {}/none"),
        ("in.mp4", "is the input itself"),
        ("link.mp4", "is the input itself"),
    ],
)
def test_outputs_that_cannot_be(run: Convert, tmp_path: Path, output: str, reason: str) -> None:
    source = write_clip(tmp_path / "in.mp4", 5)
    (tmp_path / "link.mp4").symlink_to(source)
    before, content = files_in(tmp_path), source.read_bytes()
    with pytest.raises(SinkError) as caught:
        run(source, tmp_path / output)
    assert str(caught.value) == f"{tmp_path / output}: {reason.format(tmp_path)}"
    assert files_in(tmp_path) == before
    assert source.read_bytes() == content


@pytest.mark.parametrize("output", ["out.webm", "out.mp3", "out.gif", "folder.mp4", "out.flv"])
def test_outputs_of_other_kinds_fail_in_one_line_or_work(run: Convert, tmp_path: Path, output: str) -> None:
    source = write_clip(tmp_path / "in.mp4", 5, audio=True)
    (tmp_path / "folder.mp4").mkdir()
    try:
        run(source, tmp_path / output)
    except StreamdError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(error).startswith(f"{tmp_path / output}: ")  # noqa: PT017
        assert files_in(tmp_path) == {"in.mp4", "folder.mp4"}
    else:
        assert len(frames_of(tmp_path / output)) == 5


def test_sound_that_the_container_cannot_hold_is_reported(run: Convert, tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("tta", rate=44_100)
        for number in range(5):
            picture = av.VideoFrame(64, 64, "yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 4096), np.int16), format="s16", layout="stereo")
        frame.rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        container.mux([*sound.encode(frame), *sound.encode(None)])
    with pytest.raises(SinkError, match=r"out\.mp4: cannot hold tta audio: name the output \.mkv$"):
        run(source, tmp_path / "out.mp4")
    assert files_in(tmp_path) == {"in.mkv"}
    assert run(source, tmp_path / "out.mkv").frames == 5


def test_inputs_that_cannot_be(run: Convert, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="not found"):
        run(tmp_path / "none.mp4", tmp_path / "out.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceUnsupported, match="is not a video"):
        run(tmp_path / "text.mp4", tmp_path / "out.mp4")
    assert files_in(tmp_path) == {"text.mp4"}


def test_an_input_cut_short_gives_what_it_has(run: Convert, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", 60, options={"movflags": "faststart"})
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    done = run(source, tmp_path / "out.mp4", view="source")
    found = [number_in(frame) for frame in frames_of(tmp_path / "out.mp4")]
    assert found == list(range(done.frames))
    assert 20 < done.frames < 50


def test_a_file_of_the_same_name_is_replaced_only_by_a_whole_one(
    run: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = write_clip(tmp_path / "in.mp4", 5), tmp_path / "out.mp4"
    output.write_text("precious")
    with monkeypatch.context() as broken:
        broken.setattr(Inference, "_submit", Mock(side_effect=InferenceFailed(WorkerEnd.CRASHED, "test")))
        with pytest.raises(InferenceFailed):
            run(source, output)
    assert output.read_text() == "precious"
    run(source, output)
    assert len(frames_of(output)) == 5


def test_a_worker_killed_again_and_again_costs_no_frame(
    run: Convert, shared_service: DepthService, tmp_path: Path
) -> None:
    source, output = write_clip(tmp_path / "in.mp4", 150), tmp_path / "out.mp4"
    done, killed = threading.Event(), list[int]()

    def kill() -> None:
        while not done.wait(0.05):
            pid = shared_service.worker_pid
            if pid is not None and pid not in killed and len(killed) < 3 and progress[0] > 30 * (1 + len(killed)):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    progress = [0]

    def observe(stage: str, seconds: float) -> None:
        progress[0] += stage == "encode"

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert run(source, output, view="source", observe=observe).frames == 150
    finally:
        done.set()
        killer.join()
    assert len(killed) == 3
    assert [number_in(frame) for frame in frames_of(output)] == list(range(150))


def test_every_stage_is_measured(run: Convert, tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {}
    run(
        write_clip(tmp_path / "in.mp4", 10),
        tmp_path / "out.mp4",
        observe=lambda stage, seconds: seen.setdefault(stage, []).append(seconds),
    )
    assert set(seen) == {"decode", "preprocess", "infer", "render", "encode"}, "nothing waits for a camera here"
    assert {len(seen[stage]) for stage in ("preprocess", "infer", "render", "encode")} == {10}


@pytest.mark.parametrize("known", [True, False])
def test_progress_on_no_terminal_is_plain_lines(
    shared_service: DepthService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: bool,
) -> None:
    monkeypatch.setattr("streamd.jobs.progress.PLAIN_EVERY_S", 0.0)
    source = write_clip(tmp_path / ("in.mp4" if known else "in.h264"), 4)
    convert(str(source), tmp_path / "out.mp4", shared_service)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{n} of 4 frames" if known else f"{n} frames" for n in range(1, 5)]


def test_pictures_are_shown_for_as_long_as_in_the_source(run: Convert, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", 50, audio=True, b_frames=2)
    run(source, tmp_path / "out.mp4")
    lengths = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            assert video.duration is not None
            lengths.append(float(video.duration * (video.time_base or 0)))
            assert video.average_rate == 25
    assert lengths[0] == pytest.approx(lengths[1], abs=0.001)
    assert all(a < b for a, b in pairwise(times_of(tmp_path / "out.mp4")))


class TestDepth16:
    @pytest.fixture
    def taken(self, monkeypatch: pytest.MonkeyPatch) -> list[DepthFrame]:
        """What the network gave."""
        taken, take = [], module._Job.take

        def spy(job: Any, frame: DepthFrame) -> None:
            taken.append(frame)
            take(job, frame)

        monkeypatch.setattr(module._Job, "take", spy)
        return taken

    def test_what_the_network_gave_and_when(self, run: Convert, tmp_path: Path, taken: list[DepthFrame]) -> None:
        times = [number * 1001 / 30000 + 0.4 * (number > 9) for number in range(20)]
        source = write_clip(tmp_path / "in.mp4", 20, times_s=times, audio=True)
        assert run(source, tmp_path / "out.mkv", view="depth16").frames == 20
        found = list(streamd.read_depth(tmp_path / "out.mkv"))
        assert [time_s for time_s, _ in found] == [float(time) for time in times_of(source)]
        for frame, (_, depth) in zip(taken, found, strict=True):
            assert depth.shape == frame.network_output.shape
            assert np.abs(depth - frame.network_output).max() <= np.ptp(frame.network_output) / 65535
        assert audio_of(tmp_path / "out.mkv") == audio_of(source)

    def test_it_needs_matroska(self, run: Convert, tmp_path: Path) -> None:
        source = write_clip(tmp_path / "in.mp4", 2)
        with pytest.raises(SinkError, match=r"out.mp4: depth16 goes into Matroska: name the output .mkv"):
            run(source, tmp_path / "out.mp4", view="depth16")
        assert files_in(tmp_path) == {"in.mp4"}

    def test_depth_of_another_size_is_brought_to_the_first(self, tmp_path: Path) -> None:
        remarks: list[str] = []
        flat = np.full((32, 64), 3, np.float32)
        with DepthFileWriter(tmp_path / "out.mkv", Fraction(25), on_remark=remarks.append) as writer:
            writer.write_depth(flat, 0, Fraction(1, 25), 1)
            writer.write_depth(np.full((64, 64), 5, np.float32), 1, Fraction(1, 25), 1)
        found = [depth for _, depth in streamd.read_depth(tmp_path / "out.mkv")]
        assert [depth.shape for depth in found] == [(32, 64)] * 2
        assert [float(depth.max()) for depth in found] == [3, 5]
        assert len(remarks) == 1
