"""No password gets through, whatever it is made of; what is no password stays readable."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamd.config.redact import cut, printable, redact, redact_source, shorten

HOST = "camera.lan"
SECRET = "Zq"  # every password below holds it, and nothing else does
USER = st.text("abcdefghij0123456789._-", min_size=1, max_size=8)
LEGAL = st.text("abcXYZ019-._~!$&'()*+,;=:@%".replace("'", ""), max_size=12).map(lambda text: SECRET + text)
SCHEME = st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP"])  # RTMP: see below
AROUND = st.sampled_from(["{}", "cannot open {}: refused", "'{}'", '"{}"', "a {} b {}", "x\n{}\ny", "[{}]", "url={}"])


@given(SCHEME, USER, LEGAL, AROUND)
def test_a_password_before_the_host_never_survives(scheme: str, user: str, password: str, around: str) -> None:
    url = f"{scheme}://{user}:{password}@{HOST}:554/live?channel=1"
    shown = redact(around.replace("{}", url))
    assert SECRET not in shown
    assert f"{scheme}://***@{HOST}:554/live?channel=1" in shown


@given(USER, st.text(max_size=12).map(lambda text: SECRET + text))
def test_any_password_that_is_escaped_never_survives(user: str, password: str) -> None:
    assert SECRET not in redact(f"rtsp://{user}:{quote(password, safe='')}@{HOST}/live")


@given(
    st.sampled_from(["token", "password", "passwd", "pwd", "pass", "access_token", "api-key", "secret", "auth", "Sig"]),
    LEGAL.map(lambda text: text.replace("&", "").replace(";", "")),
    st.sampled_from("?&;"),
)
def test_a_secret_in_the_query_never_survives(key: str, password: str, before: str) -> None:
    shown = redact(f"http://{HOST}/video{before}{key}={password}&channel=1")
    assert shown == f"http://{HOST}/video{before}{key}=***&channel=1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:pa/ss@h/live", "rtsp://***@h/live"),
        ("rtsp://u:p#a?ss@h/live?a=b", "rtsp://***@h/live?a=b"),
        ("rtsp://h:554/user=admin_password=Zq_channel=1.sdp", "rtsp://h:554/user=admin_password=***"),
        ("http://h/video.cgi?loginuse=a&loginpas=Zq", "http://h/video.cgi?loginuse=a&loginpas=***"),
        ("turn:me:Zq@h:3478?transport=udp", "turn:***@h:3478?transport=udp"),
        ("turn:me:Z@Zq@h:3478", "turn:***@h:3478"),
        ("['turns:me:Zq@h']: not a URL", "['turns:***@h']: not a URL"),
        ("rtsp://u:p@ss/Zq@h/live", "rtsp://***@h/live"),
        ("rtsp://u:p@s?s/Zq@h/live", "rtsp://***@h/live"),
        ("rtsp://u:Z]q/Zq@h/live", "rtsp://***@h/live"),
        ("rtsp://u:123/Zq@h/live", "rtsp://***@h/live"),
        ("rtsp://u:/Zq@h", "rtsp://***@h"),
        ("rtsp://u:99999/Zq@h", "rtsp://***@h"),
        ("open rtsp://u:pa Zq@h/live now", "open rtsp://***@h/live now"),
        ("open 'rtsp://u:pa'Zq@h/live' now", "open 'rtsp://***@h/live' now"),
        ("http://h/?usr=a&pw=Zq&pass2=Zq&a=b", "http://h/?usr=a&pw=***&pass2=***&a=b"),
    ],
)
def test_secrets_in_odd_places(url: str, shown: str) -> None:
    """Passwords that should have been escaped, and the forms of well-known cameras."""
    assert redact(url) == shown


@given(SCHEME, USER, st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12))
def test_of_a_whole_url_any_password_at_all_is_hidden(scheme: str, user: str, password: str) -> None:
    """Also one with / ? # @ and digits, which should have been escaped."""
    shown = redact_source(f"{scheme}://{user}:{SECRET}{password}@{HOST}/live")
    assert shown == f"{scheme}://***@{HOST}/live"


@pytest.mark.parametrize("source", ["demo:", "/a@b.mp4", "rtsp://cam/live", "lavfi:testsrc2=size=64x64", "file:a"])
def test_a_source_without_secrets_is_shown_as_it_is(source: str) -> None:
    assert redact_source(source) == source


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp:/user:Zq@cam/live", "rtsp:/***@cam/live"),
        ("rtsp:user:Zq@cam", "rtsp:***@cam"),
        ("rtsp:Zq@cam", "rtsp:***@cam"),
        ("RTSP:\\\\user:Zq@cam", "RTSP:\\\\***@cam"),
        ("http:/u:Z q'Zq@cam/", "http:/***@cam/"),
        ("user:Zq@cam:554/", "***@cam:554/"),
        ("//user:Zq@cam/live", "***@cam/live"),
        ("rtsp//user:Zq@cam/live", "***@cam/live"),
        ("user:Zq@b:Zq@cam", "***@cam"),
        ("admin:Zq://Zq@cam", "***@cam"),
        (" rtsp://u:Zq@cam", "***@cam"),
        ("rstp://u:Zq@cam", "rstp://***@cam"),
        ("user:Zq@cam?token=Zq", "***@cam?token=***"),
        ("file:/a:b@c.mp4", "file:/a:b@c.mp4"),
        ("/a:b@c.mp4", "/a:b@c.mp4"),
        ("./a:b@c.mp4", "./a:b@c.mp4"),
        ("lavfi:color=c=red@0.5:s=64x64", "lavfi:color=c=red@0.5:s=64x64"),
        ("yard: noon.mp4", "yard: noon.mp4"),
        ("me@home.mp4", "me@home.mp4"),
    ],
)
def test_a_login_in_a_mistyped_source_is_hidden(source: str, shown: str) -> None:
    assert redact_source(source) == shown


@pytest.mark.parametrize(
    "half", ["rtsp:/", "rtsp:", "RTSP:\\\\", "http:/", "srt:", "udp:/", "rtmp:", "rtsps:", "https:"]
)
def test_a_login_behind_half_a_url_in_a_text_is_hidden(half: str) -> None:
    assert redact(f"cannot open {half}user:Zq@cam/live: no") == f"cannot open {half}***@cam/live: no"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://h/app/Zq", "rtmp://h/app/***"),
        ("rtmp://h:1935/app/inner/Zq?a=Zq/b", "rtmp://h:1935/app/inner/***"),
        ("RTMPS://u:Zq@h/app/Zq", "RTMPS://***@h/app/***"),
        ("rtmp://h/app?Zq", "rtmp://h/app?***"),
        ("rtmp://h/app", "rtmp://h/app"),
        ("rtmp://h", "rtmp://h"),
        ("srt://h:9000?mode=caller&streamid=Zq&passphrase=Zq", "srt://h:9000?mode=caller&streamid=***&passphrase=***"),
        ("srt://h:9000?streamid=#!::r=Zq,u=Zq&mode=caller", "srt://h:9000?streamid=***&mode=caller"),
        ("http://h/x?credentials=Zq&a=b", "http://h/x?credentials=***&a=b"),
    ],
)
def test_a_key_that_lets_one_in_is_hidden(url: str, shown: str) -> None:
    assert redact_source(url) == redact(url) == shown
    assert redact(f"'{url}' fails") == f"'{shown}' fails"


@given(st.text())
def test_it_takes_any_text_and_is_done_after_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text("abc :/.,-?=&", max_size=60))
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assume("@" not in text)
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://camera.lan/stream@2x",
        "http://h:8080/a@b",
        "http://[::1]:80/a@b",
        "mail me@home",
        "return:me@home",
        "turn:h:3478?transport=udp",
        "http://h/a?page=3",
        "/videos/a@b.mp4",
        "demo:",
        "http://host/live?to=me@example.org",
        "http://host:8080/live?to=me@example.org",
        "rtsp://h/a@b/c@d?e=f@g",
        "udp://@239.1.1.1:5000",
        "see http://a/b@c and mail me@home",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


@given(SCHEME, st.text("abcdefghij.-", min_size=1, max_size=12), st.text("abcXYZ019/?=&@.~:-", max_size=40))
def test_a_url_without_login_and_secrets_is_shown_as_it_is(scheme: str, host: str, path: str) -> None:
    url = f"{scheme}://{host}/{path}"
    assert redact(url) == redact_source(url) == url


@given(
    SCHEME,
    USER,
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12),
    st.sampled_from(["h", "10.0.0.1", "[::1]"]),
)
def test_a_password_of_any_characters_never_survives(scheme: str, user: str, password: str, host: str) -> None:
    """Also with / ? # @ : and quotes, which should have been escaped, in a line of a log."""
    for text in (
        f"{scheme}://{user}:{SECRET}{password}@{host}:80/x",
        f"{scheme}://{user}:x{password}{SECRET}@{host}/x",
    ):
        assert SECRET not in redact(f"cannot open {text}: refused")
        assert SECRET not in redact_source(text)
        assert SECRET not in shorten(text, 80)


PATTERNS = [
    "_pw", "://", "a:", "@", "a://b:c ", "a://b:c@", "pw=", "&pw=&", "turn:", "turn:@ ", "a://b:'", "=", "\n", "\n@",
    "a://u:p@h\n", "_key_=", "[", "a://[", "/a=", "?token", "\r@://",
    "rtsp:", "rtsp:/", "rtmp://", "rtmp://a/b/", "rtmp", "streamid=#", "a:@",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("end", ["", "@", "=", "@ ="])
def test_the_time_grows_with_the_length_and_no_faster(pattern: str, end: str) -> None:
    """What is cubic takes hours for this."""
    text = pattern * (300_000 // len(pattern)) + end
    started = time.process_time()
    redact(text)
    redact_source(text)
    shorten(text, 80)
    assert time.process_time() - started < 5


@given(st.text("ab:/@?=&p .", max_size=60), st.integers(1, 80))
def test_a_short_one_is_that_short(text: str, length: int) -> None:
    assert len(shorten(text * 100, max(length, 3))) <= max(length, 3)


@pytest.mark.parametrize("at", range(20, 60, 3))
@pytest.mark.parametrize(
    "secret", [f"rtsp://user:{SECRET * 12}@h/", f"http://h/?token={SECRET * 12}", f"turn:u:{SECRET * 12}@h"]
)
def test_half_a_secret_at_the_cut_is_hidden_too(secret: str, at: int) -> None:
    assert SECRET not in redact(cut(f"a line with {secret}", at))


def test_it_is_the_last_gate_of_every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    from streamd.telemetry.logs import RedactingFormatter

    try:
        raise ValueError("rtsp://u:hunter2@h/x")
    except ValueError as error:
        record = logging.LogRecord(
            "streamd", logging.ERROR, "", 0, "%s fails", ("http://h/?token=hunter2",), (ValueError, error, None)
        )
    shown = RedactingFormatter("%(message)s").format(record)
    assert "hunter2" not in shown
    assert "http://h/?token=***" in shown
    assert "rtsp://***@h/x" in shown


def test_a_name_is_shown_on_one_line() -> None:
    assert printable("a\nb\x1b[31m\u202e\udcff.mp4") == r"a\nb\x1b[31m\u202e\udcff.mp4"
    assert printable("Hof é 庭 👩‍🌾.mp4") == "Hof é 庭 👩‍🌾.mp4"
    assert redact_source("a\nb.mp4") == r"a\nb.mp4"
    assert redact_source("rtsp://u:p@h/a\nb") == r"rtsp://***@h/a\nb"
