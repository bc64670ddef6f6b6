"""Hundreds of losses and failed opens leave nothing behind: no memory, no descriptor, no thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.camera import StartCamera, needs_rtsp_server
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.reconnects import Reconnecting, reconnecting
from tests.support.waiting import until

pytestmark = needs_rtsp_server

GROWTH_MB = 5.0
RECONNECTS, WARM_UP = 100, 40
FAILED_OPENS = 500


def test_a_hundred_reconnects(camera: StartCamera, proxy: Callable[[int], Proxy], tmp_path: Path) -> None:
    """Four cameras side by side, each cut off as soon as it has delivered."""
    porch = camera()
    lines = [proxy(porch.port) for _ in range(4)]
    urls = [f"rtsp://127.0.0.1:{line.port}/{path}" for line, path in zip(lines, PATHS, strict=True)]
    with reconnecting(tmp_path / "child.log", *urls) as child:
        cut(child, lines, WARM_UP)
        before = settled(child)
        cut(child, lines, RECONNECTS)
        after = settled(child)
        assert sum(child.ask().restarts) >= WARM_UP + RECONNECTS
    assert_nothing_leaked(before, after)


PATHS = ("small", "h265", "mjpeg", "bframes")


def cut(child: Reconnecting, lines: list[Proxy], times: int) -> None:
    """Each time a camera has delivered something new."""
    seen = [0] * len(lines)
    done = 0

    def enough() -> bool:
        nonlocal done
        frames = child.ask().frames
        for number, line in enumerate(lines):
            if frames[number] > seen[number] and line.cut():
                seen[number], done = frames[number], done + 1
        return done >= times

    until(f"{times} connections are cut", enough, within_s=90)


def test_five_hundred_failed_opens(camera: StartCamera, tmp_path: Path) -> None:
    """Nobody listens; a wrong path; a wrong password."""
    open_to_all, protected = camera(), camera("--digest", "user:secret")
    urls = [f"rtsp://127.0.0.1:{free_port()}/small", open_to_all.url("nowhere")]
    urls.append(protected.url("small", login="user:wrong"))
    with reconnecting(tmp_path / "child.log", *urls) as child:
        fail(child, FAILED_OPENS // 2)
        before = threads_files_memory(child)
        fail(child, FAILED_OPENS)
        after = threads_files_memory(child)
        assert sum(child.ask().frames) == 0
    assert_nothing_leaked(before, after, slack=2 * len(urls))


def fail(child: Reconnecting, times: int) -> None:
    """Each of the cameras its share at least."""
    wanted = [count + times // 3 for count in child.ask().restarts]

    def enough() -> bool:
        return all(count >= least for count, least in zip(child.ask().restarts, wanted, strict=True))

    until(f"{times} opens have failed", enough, within_s=60)


Held = tuple[int, int, float]


def settled(child: Reconnecting) -> Held:
    """When all of them deliver again."""
    frames = child.ask().frames
    until("all deliver", lambda: all(now > 5 + then for now, then in zip(child.ask().frames, frames, strict=True)))
    return threads_files_memory(child)


def threads_files_memory(child: Reconnecting) -> Held:
    return child.threads, child.files, child.rss_mb


def assert_nothing_leaked(before: Held, after: Held, slack: int = 0) -> None:
    """``slack``: what is open for the moment of a try."""
    print(f"threads, files, MB: {before} before, {after} after")
    assert after[0] <= before[0] + slack, "threads"
    assert after[1] <= before[1] + slack, "files"
    assert after[2] < before[2] + GROWTH_MB, "memory"
