"""When a damaged live stream is shown again."""

from __future__ import annotations

from streamd.sources.corruption import CorruptionFilter

KEY, PLAIN, BROKEN = (True, False), (False, False), (False, True)


def shown(
    filter: CorruptionFilter, *pictures: tuple[bool, bool], start_s: float = 0.0, step_s: float = 0.1
) -> list[bool]:
    times = [start_s + step_s * n for n in range(len(pictures))]
    return [filter.accepts(now, keyframe=key, corrupt=bad) for now, (key, bad) in zip(times, pictures, strict=True)]


def test_a_sound_stream_is_shown() -> None:
    assert all(shown(CorruptionFilter(5), PLAIN, KEY, PLAIN, PLAIN))


def test_all_after_damage_is_left_out_up_to_the_next_keyframe() -> None:
    assert shown(CorruptionFilter(5), KEY, BROKEN, PLAIN, PLAIN, KEY, PLAIN) == [True, False, False, False, True, True]


def test_a_broken_keyframe_is_none() -> None:
    assert shown(CorruptionFilter(5), BROKEN, (True, True), PLAIN, KEY) == [False, False, False, True]


def test_damage_may_be_seen_before_there_is_a_picture() -> None:
    filter = CorruptionFilter(5)
    filter.note_corruption(0)
    assert shown(filter, PLAIN, KEY) == [False, True]


def test_without_keyframes_it_is_not_dark_for_ever() -> None:
    filter = CorruptionFilter(1.0)
    found = shown(filter, *[BROKEN, *[PLAIN] * 19])
    assert found.index(True) == 11
    assert all(found[11:])


def test_new_damage_does_not_make_it_dark_again_before_a_keyframe_came() -> None:
    """Else a camera without keyframes on a bad line would be shown for a moment every few seconds."""
    filter = CorruptionFilter(1.0)
    shown(filter, BROKEN)
    assert shown(filter, PLAIN, BROKEN, PLAIN, start_s=2) == [True, False, True]
    assert shown(filter, KEY, BROKEN, PLAIN, start_s=3) == [True, False, False]
