"""``streamd convert`` on the files that people have: their times, their sound, and the endings they ask for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import pytest

from streamd.depth.service import DepthService
from streamd.errors import SinkError, SourceUnsupported
from streamd.jobs.convert import Conversion, Converted, convert
from tests.support.clips import frames_of, number_in, times_of, write_clip
from tests.support.edit_lists import edited
from tests.support.ffmpeg import H264, PATTERN, TONE, Track, make, tracks, video_of

pytestmark = pytest.mark.timeout(60, func_only=True)

Convert = Callable[..., Converted]
FRAME_S = 0.1
NO_VIDEO = "gif webp png jpg mjpeg wav mka dv ogg mxf m3u8 mpd webm y4m yuv swf apng avif mp3 srt"


@pytest.fixture
def run(shared_service: DepthService) -> Convert:
    def run(source: Path, output: Path, view: str = "source") -> Converted:
        return convert(str(source), output, shared_service, view=view, quiet=True)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By name: made once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, str] = {
        "plain.mp4": f"{PATTERN} {TONE} {H264} -c:a aac",
        "part.ts": f"{PATTERN} {TONE} {H264} -bf 2 -c:a aac",
        "mute.ts": f"{PATTERN} {H264} -bf 2",
        "clock.ts": "-i part.ts -c copy -output_ts_offset 24549.8 -muxdelay 0",
        "wrap.ts": "-i part.ts -c copy -output_ts_offset 95440 -muxdelay 0",
        "later.ts": "-i part.ts -c copy -output_ts_offset 40",
        "other-pid.ts": "-i part.ts -c copy -mpegts_start_pid 0x300",
        "other-program.ts": "-i mute.ts -c copy -mpegts_start_pid 0x300 -mpegts_pmt_start_pid 0x1100",
        "part.mkv": "-i part.ts -c copy",
        "part.mpg": f"{PATTERN} {TONE} -c:v mpeg2video -bf 2 -c:a mp2",
        "alaw.mkv": "-i plain.mp4 -c:v copy -ar 8000 -ac 1 -c:a pcm_alaw",
        "alaw.mov": "-i plain.mp4 -c:v copy -ar 8000 -ac 1 -c:a pcm_alaw",
        "mulaw.avi": "-i plain.mp4 -c:v mjpeg -pix_fmt yuvj420p -ar 8000 -ac 1 -c:a pcm_mulaw",
        "pcm.mov": "-i plain.mp4 -c:v copy -c:a pcm_s16le",
        "wma.wmv": f"{PATTERN} {TONE} -c:v wmv2 -c:a wmav2",
        "opus.webm": f"{PATTERN} {TONE} -c:v libvpx -c:a libopus",
        "ac3.ts": f"{PATTERN} {TONE} -c:v mpeg2video -c:a ac3",
        "flac.mkv": f"{PATTERN} {TONE} {H264} -c:a flac",
        "alac.mov": f"{PATTERN} {TONE} {H264} -c:a alac",
        "mp3.flv": f"{PATTERN} {TONE} -c:v flv1 -ar 44100 -c:a mp3",
        "encrypted.mp4": "-i plain.mp4 -c copy -encryption_scheme cenc-aes-ctr"
        f" -encryption_key {'76' * 16} -encryption_kid {'a7' * 16}",
        "edits.mp4": f"{PATTERN} {TONE} {H264} -bf 2 -g 5 -c:a aac -movie_timescale 1000",
        "late.mp4": "-i plain.mp4 -itsoffset 1 -i plain.mp4 -map 0:v -map 1:a -c copy",
        "languages.mkv": "-i plain.mp4 -map 0:v -map 0:a -map 0:a -c copy -metadata:s:a:0 language=ger"
        " -metadata:s:a:1 language=fra -disposition:a:0 0 -disposition:a:1 default",
        "two.mov": "-i plain.mp4 -map 0:v -map 0:a -map 0:a -c copy",
        "cut.mp4": "-ss 0.75 -i part.mkv -c copy",
        "raw.h264": f"{PATTERN} {H264} -bf 2",
        "raw.hevc": f"{PATTERN} -c:v libx265 -x265-params log-level=error",
        "raw.m4v": f"{PATTERN} -c:v mpeg4 -bf 2",
        "dts.avi": "-i raw.h264 -c copy",
        "slow.mp4": f"-f lavfi -i testsrc2=size=192x112:rate=1/2:duration=8 {H264}",
        "slow.ts": f"-f lavfi -i testsrc2=size=192x112:rate=1/20:duration=80 {H264}",
        "pause.mkv": f"{PATTERN} -vf setpts=PTS+gt(N\\,9)*30/TB -vsync vfr {H264}",
        "turned.h264": f"-f lavfi -i color=white:size=112x192:rate=10:duration=1 {H264}",
    }
    joined = {
        "joined.ts": ("part.ts", "part.ts", "part.ts"),
        "joined-mute.ts": ("mute.ts", "mute.ts"),
        "joined-late-sound.ts": ("mute.ts", "part.ts"),
        "joined-leap.ts": ("part.ts", "clock.ts"),
        "joined-pause.ts": ("part.ts", "later.ts"),
        "joined-pid.ts": ("part.ts", "other-pid.ts"),
        "joined-program.ts": ("mute.ts", "other-program.ts"),
        "joined.mkv": ("part.mkv", "part.mkv"),
        "joined.mpg": ("part.mpg", "part.mpg"),
        "sizes.h264": ("raw.h264", "turned.h264"),
    }

    @cache
    def clip(name: str) -> Path:
        path = folder / name
        if name in joined:
            path.write_bytes(b"".join(clip(part).read_bytes() for part in joined[name]))
            return path
        for word in made[name].split():
            if word in made:
                clip(word)
        return make(folder, f"{made[name]} {name}")

    return clip


def sound_of(path: Path) -> list[Track]:
    return [track for track in tracks(path) if track.kind == "audio"]


@pytest.mark.parametrize(
    ("name", "count", "seconds"),
    [
        ("part.ts", 20, 2),
        ("clock.ts", 20, 2),
        ("wrap.ts", 20, 2),
        ("joined.ts", 60, 6),
        ("joined-mute.ts", 40, 4),
        ("joined-late-sound.ts", 40, 4),
        ("joined-leap.ts", 40, 4),
        ("joined-pause.ts", 40, 4),
        ("joined.mkv", 40, 4),
        ("joined.mpg", 40, 4),
        ("raw.h264", 20, 2),
        ("raw.hevc", 20, 2),
        ("raw.m4v", 20, 2),
        ("slow.mp4", 4, 8),
        ("slow.ts", 4, 80),
        ("pause.mkv", 20, 32),
    ],
)
def test_the_output_begins_near_0_and_lasts_as_long(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, name: str, count: int, seconds: float
) -> None:
    done = run(clips(name), tmp_path / "out.mp4")
    video = video_of(tmp_path / "out.mp4")
    assert done.frames == video.count == count
    assert 0 <= video.start < FRAME_S
    assert video.end - video.start == pytest.approx(seconds, abs=FRAME_S)
    for sound in sound_of(tmp_path / "out.mp4"):
        assert sound.end == pytest.approx(video.end, abs=FRAME_S)
        if "late" not in name:
            assert abs(sound.start - video.start) < FRAME_S


def test_pictures_without_times_but_their_order_come_evenly(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    """H.264 with B-frames in AVI."""
    run(clips("dts.avi"), tmp_path / "out.mp4")
    times = [frame.time or 0.0 for frame in frames_of(tmp_path / "out.mp4")]
    assert len(times) == 20
    assert times[-1] - times[0] == pytest.approx(1.9, abs=FRAME_S)


def test_sound_that_begins_later_does_so_in_the_output(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    run(clips("late.mp4"), tmp_path / "out.mkv")
    video, sound = tracks(tmp_path / "out.mkv")
    assert sound.start - video.start == pytest.approx(1, abs=0.05)


def test_what_an_edit_list_cuts_off_is_neither_seen_nor_heard(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    """As players show it; and none of the output is hidden."""
    shown = video_of(clips("cut.mp4")).count
    assert shown < 20
    run(clips("cut.mp4"), tmp_path / "out.mkv")
    video, sound = tracks(tmp_path / "out.mkv")
    assert video.count == shown
    assert video.start < FRAME_S
    assert abs(sound.start - video.start) < FRAME_S


@pytest.mark.parametrize("second_s", [1.0, 0.5, 0.0])
def test_parts_of_an_edit_list_follow_each_other(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, second_s: float
) -> None:
    """Half a second from the beginning, then half a second from elsewhere, of picture and sound."""
    source = tmp_path / "in.mp4"
    source.write_bytes(edited(clips("edits.mp4").read_bytes(), (0.0, 0.5), (second_s, 0.5)))
    run(source, tmp_path / "out.mp4")
    video, sound = tracks(tmp_path / "out.mp4")
    assert video.end == pytest.approx(1, abs=FRAME_S)
    assert sound.end == pytest.approx(1, abs=FRAME_S)
    assert max(b - a for a, b in pairwise(times_of(tmp_path / "out.mp4"))) < 1.5 * FRAME_S


def test_streams_that_move_to_other_pids_are_followed(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    """But for what was on its way."""
    run(clips("joined-pid.ts"), tmp_path / "out.mp4")
    video, sound = tracks(tmp_path / "out.mp4")
    assert video.count > 34
    assert video.end == pytest.approx(4, abs=0.25)
    assert sound.end == pytest.approx(4, abs=0.25)


def test_of_a_program_that_changes_the_first_part_is_kept(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = clips("joined-program.ts")
    assert run(clip, tmp_path / "out.mp4").frames == 20
    assert caplog.messages == [f"{clip}: what is in other streams behind the end of its video is left out"]


def test_another_size_is_fitted_between_bars(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clips("sizes.h264")
    assert run(clip, tmp_path / "out.mp4").frames == 30
    last = frames_of(tmp_path / "out.mp4")[-1].to_ndarray(format="gray")
    assert last.shape == (112, 192)
    white = last > 128
    assert white[:, 70:122].all(), "65 of 192 columns are the picture"
    assert not white[:, :60].any()
    assert not white[:, 132:].any()
    remark = "the size of the picture changes: all are fitted into 192x112, that of the first"
    assert capsys.readouterr().err == f"{clip}: {remark}\n"


@pytest.mark.parametrize(
    ("name", "ending", "codec"),
    [
        ("plain.mp4", ".mp4", "aac"),
        ("plain.mp4", ".mov", "aac"),
        ("plain.mp4", ".mkv", "aac"),
        ("plain.mp4", ".avi", "aac"),
        ("plain.mp4", ".flv", "aac"),
        ("plain.mp4", ".nut", "aac"),
        ("plain.mp4", ".m4v", "aac"),
        ("plain.mp4", ".3gp", "aac"),
        ("plain.mp4", ".ts", "aac"),
        ("part.ts", ".mp4", "aac"),
        ("part.ts", ".mkv", "aac"),
        ("part.ts", ".flv", "aac"),
        ("opus.webm", ".mp4", "opus"),
        ("ac3.ts", ".mp4", "ac3"),
        ("flac.mkv", ".mp4", "flac"),
        ("alac.mov", ".mp4", "alac"),
        ("mp3.flv", ".mp4", "mp3"),
        ("alaw.mkv", ".mkv", "pcm_alaw"),
        ("alaw.mov", ".mkv", "pcm_alaw"),
        ("mulaw.avi", ".mkv", "pcm_mulaw"),
        ("mulaw.avi", ".avi", "pcm_mulaw"),
        ("pcm.mov", ".mov", "pcm_s16le"),
    ],
)
def test_sound_is_copied_into_what_holds_it(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, name: str, ending: str, codec: str
) -> None:
    output = tmp_path / f"out{ending}"
    run(clips(name), output)
    video, sound = tracks(output)
    assert (video.codec, sound.codec, video.count) == ("h264", codec, 20)
    assert video.end == pytest.approx(2, abs=FRAME_S + 0.03)  # not all say how long the last picture is
    assert sound.end == pytest.approx(2, abs=FRAME_S)


@pytest.mark.parametrize(
    ("name", "ending", "advised"),
    [
        ("alaw.mkv", ".mp4", ".mkv"),
        ("alaw.mkv", ".ts", ".mkv"),
        ("alaw.mkv", ".flv", ".mkv"),
        ("mulaw.avi", ".mp4", ".mkv"),
        ("pcm.mov", ".mp4", ".mkv"),
        ("wma.wmv", ".mp4", ".mkv"),
        ("part.ts", ".avi", ".mp4"),
        ("mp3.flv", ".m4v", ".mp4"),
        ("plain.mp4", ".h264", ".mp4"),
    ],
)
def test_advice_about_sound_works(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, name: str, ending: str, advised: str
) -> None:
    with pytest.raises(SinkError, match=rf"out\{ending}: cannot hold \w+ audio: name the output \{advised}$"):
        run(clips(name), tmp_path / f"out{ending}")
    run(clips(name), tmp_path / f"out{advised}")
    assert [track.kind for track in tracks(tmp_path / f"out{advised}")] == ["video", "audio"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("known", [0, 1])
def test_unknown_sound_costs_neither_the_video_nor_the_other_sound(
    run: Convert,
    clips: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    known: int,
) -> None:
    """Of iPhones, which record spatial sound beside the usual one."""
    phone = Path(shutil.copy(clips("two.mov"), tmp_path / "phone.mov"))
    data = bytearray(phone.read_bytes())
    at = len(data)
    for _ in range(2 - known):
        at = data.rindex(b"stsd", 0, at)
        for old, new in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
            found = data.index(old, at)
            data[found : found + 4] = new
    phone.write_bytes(data)
    assert run(phone, tmp_path / f"out{ending}").frames == 20
    assert [track.codec for track in tracks(tmp_path / f"out{ending}")] == ["h264", "aac"][: 1 + known]
    left_out = ", ".join(["in a codec that FFmpeg does not know"] * (2 - known))
    assert capsys.readouterr().err == f"{phone}: sound left out: {left_out}\n"


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_tracks_of_sound_keep_their_language_and_the_default(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, ending: str
) -> None:
    run(clips("languages.mkv"), tmp_path / f"out{ending}")
    assert [track.language for track in sound_of(tmp_path / f"out{ending}")] == ["ger", "fra"]
    with av.open(str(tmp_path / f"out{ending}")) as container:
        assert [bool(sound.disposition & av.stream.Disposition.default) for sound in container.streams.audio] == [
            False,
            True,
        ]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("fault", ["double", "back", "missing", "garbage"])
def test_faulty_sound_costs_nothing_else(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, ending: str, fault: str
) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(clips("plain.mp4"))) as whole, av.open(str(source), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in whole.streams}
        before, count = 0, 0
        for packet in whole.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                count += 1
                if fault == "double" and count % 10 == 0:
                    packet.pts = packet.dts = before
                before = packet.dts
                if fault == "missing" and 30 < count < 60:
                    continue
            packet.stream = copies[packet.stream_index]
            container.mux(packet)
    if fault == "back":
        _turn_back_sound(source)
    if fault == "garbage":
        data = bytearray(source.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
        source.write_bytes(data)
    done = run(source, tmp_path / f"out{ending}")
    video, sound = tracks(tmp_path / f"out{ending}")
    assert done.frames == video.count
    assert video.count > (15 if fault == "garbage" else 19)
    assert video.end == pytest.approx(2, abs=FRAME_S)
    assert sound.end == pytest.approx(2, abs=FRAME_S)


@pytest.mark.parametrize("ending", [".mkv", ".mov"])
def test_sound_in_packets_shorter_than_the_unit_of_their_stamps_stays_in_time(
    run: Convert, clips: Callable[[str], Path], tmp_path: Path, ending: str
) -> None:
    """As TrueHD in Matroska: 40 samples of 48 kHz, stamped in milliseconds, so each fifth like the one before."""
    source = tmp_path / "in.mkv"
    with av.open(str(clips("plain.mp4"))) as pictures, av.open(str(source), "w") as container:
        video = container.add_stream_from_template(pictures.streams.video[0])
        sound = container.add_stream("pcm_s16le", rate=48_000)
        sound.layout = "mono"
        for packet in pictures.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        for start in range(0, 96_000, 40):
            short = av.Packet(bytes(80))
            short.pts = short.dts = start
            short.duration, short.time_base, short.stream = 40, Fraction(1, 48_000), sound
            container.mux(short)
    run(source, tmp_path / f"out{ending}")
    video_of_output, sound_of_output = tracks(tmp_path / f"out{ending}")
    assert sound_of_output.end - video_of_output.end == pytest.approx(0, abs=FRAME_S)


def test_an_encrypted_video_is_named_as_such(run: Convert, clips: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(SourceUnsupported, match=r"encrypted\.mp4: is encrypted: only who has its key can play it$"):
        run(clips("encrypted.mp4"), tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_pictures_beyond_the_encoder_are_said_to_be(run: Convert, tmp_path: Path) -> None:
    make(tmp_path, "-f lavfi -i color=s=17000x16:r=10:d=0.1 -c:v ffv1 in.mkv")
    with pytest.raises(SinkError, match=r"out\.mp4: the encoder of H\.264 takes no pictures of 17000x16$"):
        run(tmp_path / "in.mkv", tmp_path / "out.mp4")


def test_a_name_that_is_only_an_ending_has_none(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", 2)
    with pytest.raises(SinkError, match=r"\.mp4: the ending \(none\) names no video format: use \.mp4 or \.mkv$"):
        Conversion(str(source), tmp_path / ".mp4").__enter__()


def _turn_back_sound(path: Path) -> None:
    """One block of sound in the middle is stamped 100 ms earlier: 16 bits after the track's number, 2."""
    data = bytearray(path.read_bytes())
    found = [
        at for at in range(len(data) // 3, 2 * len(data) // 3) if data[at] == 0xA3 and data[at + 2 :][:1] == b"\x82"
    ]
    for at in found[:1]:
        stamp = int.from_bytes(data[at + 3 : at + 5])
        data[at + 3 : at + 5] = (stamp - 100).to_bytes(2)
    path.write_bytes(data)


@pytest.mark.parametrize("ending", NO_VIDEO.split())
def test_endings_without_h264_are_refused_before_anything(tmp_path: Path, ending: str) -> None:
    source, output = write_clip(tmp_path / "in.mp4", 2), tmp_path / f"out.{ending}"
    with pytest.raises(SinkError) as caught, Conversion(str(source), output):
        pass
    assert (
        str(caught.value) == f"{output}: the ending .{ending} names a format that cannot hold H.264: use .mp4 or .mkv"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_two_jobs_with_one_output_are_told_apart(tmp_path: Path) -> None:
    source, output = write_clip(tmp_path / "in.mp4", 2), tmp_path / "out.mp4"
    with (
        Conversion(str(source), output),
        pytest.raises(SinkError, match=r"out\.mp4: is being written by another streamd"),
        Conversion(str(source), output),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("name", ["in.mkv", "in.ts", "in.mp4"])
def test_what_lost_its_end_gives_all_that_is_there(run: Convert, tmp_path: Path, name: str) -> None:
    fragmented = {"movflags": "frag_keyframe+empty_moov"} if name == "in.mp4" else {}
    source = write_clip(tmp_path / name, 60, audio=True, options=fragmented)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    done = run(source, tmp_path / "out.mp4")
    found = [number_in(frame) for frame in frames_of(tmp_path / "out.mp4")]
    assert found == list(range(done.frames))
    assert 20 < done.frames < 50
