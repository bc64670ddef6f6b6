from __future__ import annotations

import pytest

from streamd.errors import StreamdError
from tests.support.installing import UNIT, Box
from tests.unit.installer.conftest import Code


def test_starts_anew_only_when_something_has_changed(live: Box, code: Code) -> None:
    live.install()
    assert live.reports[-2:] == ["status: 1 stream: 1 idle; 0 fps; model embedded bf16", "page: http://127.0.0.1:8080/"]
    live.install()
    assert "running already, nothing has changed" in live.reports
    assert live.count("systemctl restart") == 1
    code("second00")
    live.install()
    assert live.count("systemctl restart") == 2
    live._systemctl(["stop"])
    live.install()
    assert live.count("systemctl restart") == 3


def test_a_first_version_that_does_not_start_is_tried_again(live: Box, code: Code) -> None:
    live.next_starts = False
    live.prints["journalctl"] = "streamd: 127.0.0.1:8080: in use\n"
    with pytest.raises(
        StreamdError, match=r"^the service does not start: 127\.0\.0\.1:8080: in use; the log: journalctl"
    ):
        live.install()
    (live.root / "opt/streamd/versions/0.1.0-first000/does-not-start").unlink()
    live.install()
    assert live.running() == "0.1.0-first000"


def test_a_new_version_that_does_not_start_leaves_the_old_one_running(live: Box, code: Code) -> None:
    live.install()
    (live.root / UNIT).write_text("# by hand\n" + live.text(UNIT))
    before = live.text(UNIT)
    code("second00")
    live.next_starts = False
    live.prints["journalctl"] = "streamd: ImportError: no av\n"
    with pytest.raises(StreamdError) as caught:
        live.install()
    reason = "0.1.0-second00 does not start: ImportError: no av; 0.1.0-first000 runs again"
    assert str(caught.value) == f"{reason}; the log: journalctl -u streamd -e"
    assert (live.running(), live.current(), live.text(UNIT)) == ("0.1.0-first000", "0.1.0-first000", before)
    assert not (live.root / "run/systemd/system/streamd.service.d").exists()
    assert live.machine.manifest().pending == [], "the old one needs no restart"


def test_when_neither_starts_both_reasons_are_shown(live: Box, code: Code) -> None:
    live.install()
    code("second00")
    live.next_starts = False
    (live.root / "opt/streamd/versions/0.1.0-first000/does-not-start").touch()
    live.prints["journalctl"] = "in use\n"
    with pytest.raises(
        StreamdError, match=r"second00 does not start: in use; nor does 0\.1\.0-first000: in use; the log"
    ):
        live.install()


def test_an_interrupted_trial_goes_back(live: Box, code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    live.install()
    code("second00")
    restart = live._systemctl

    def interrupted(arguments: list[str]) -> int:
        if arguments[0] == "restart" and (live.root / "run/systemd/system/streamd.service.d").exists():
            restart(arguments)
            raise KeyboardInterrupt
        return restart(arguments)

    monkeypatch.setattr(live, "_systemctl", interrupted)
    with pytest.raises(KeyboardInterrupt):
        live.install()
    assert (live.running(), live.current()) == ("0.1.0-first000", "0.1.0-first000")


def test_a_unit_that_was_edited_by_hand_is_kept_aside(live: Box, code: Code) -> None:
    live.install()
    (live.root / UNIT).write_text("[Service]\n# mine\n")
    live.install()
    assert live.text(f"{UNIT}.edited") == "[Service]\n# mine\n"
    assert any("was edited by hand" in line for line in live.reports)
    assert "# mine" not in live.text(UNIT)
    assert live.count("systemctl restart") == 2


def test_the_command_of_a_drop_in_of_the_user_is_tried(live: Box, code: Code) -> None:
    live.install()
    drop_in = live.root / "etc/systemd/system/streamd.service.d/override.conf"
    drop_in.parent.mkdir()
    for python in ("current", ".venv"):
        command = f"/opt/streamd/{python}/bin/python -m streamd run --log-format json"
        drop_in.write_text(f"[Service]\nExecStart=\nExecStart={command}\n")
        code(f"for-{python}")
        live.install()
        assert live.running() == f"0.1.0-for-{python}"[:14]
        assert live.text("proc/4242/cmdline").split("\0")[-3:-1] == ["--log-format", "json"]
    assert "a drop-in starts /opt/streamd/.venv/bin/python: write /opt/streamd/current/bin/python" in str(live.reports)


def test_each_version_brings_its_own_unit(live: Box, code: Code) -> None:
    live.install()
    share = live.root / "opt/streamd/versions/0.1.0-first000/share/streamd/systemd"
    share.mkdir(parents=True)
    (share / "streamd.service").write_text("# of the first\n" + live.text(UNIT).replace("video", "video render"))
    code("second00")
    live.install()
    assert "# of the first" not in live.text(UNIT)
    live.roll_back()
    assert live.text(UNIT).startswith("# of the first\n")
    assert "SupplementaryGroups=video\n" in live.text(UNIT)
