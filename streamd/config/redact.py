"""Removes passwords and tokens from everything that people or programs may read. One pass: the time is linear in the
length of any text."""

from __future__ import annotations

import re

HIDDEN = "***"
_MAX_SCANNED = 4096
"""Of a text that is shown in short; far more than is shown, so that a login in what is shown is complete."""
# A TURN server has its password elsewhere, but people write it so: turn:user:password@host.
# A URL that lacks a slash is read as one, too.
_LOGIN_AHEAD = re.compile(
    r"://|(?<![A-Za-z])(?:(?:stuns?|turns?):|(?:rtsps?|https?|rtmp|srt|udp):(?!//)[/\\]{0,2})", re.IGNORECASE
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_NO_LOGIN = re.compile(r"file:|v4l2:|lavfi:|/(?!/)|\.\.?/", re.IGNORECASE)
"""Before a path or a graph, which may have ``:`` and ``@`` in it."""
_HALF_URL = re.compile(r"(?:rtsps?|https?|rtmp|srt|udp):[/\\]*|", re.IGNORECASE)
_RTMP_URL = re.compile(r"(rtmp[a-z]{0,2}://)([^\s'\"]+)", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TOKEN_END = re.compile(r"[\s'\"]|\Z")
_LINE_END = re.compile(r"[\r\n]|\Z")
_PATH = re.compile("[/?#]")
_VALUE_END = re.compile(r"[&;#\s'\"]")
_SECRET_WORD = re.compile(r"pas|pw|token|key|secret|auth|sig|credential|streamid", re.IGNORECASE)
_KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_KEY_END = re.compile(r"[^A-Za-z0-9_-]|\Z")


def printable(text: str) -> str:
    """On one line: what would move the cursor, turn the writing around, or is no text, is escaped as in Python."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def redact_source(source: str) -> str:
    """A whole ``source =`` without its login. A password may have any character, also one that ends a URL in a text."""
    scheme, separator, rest = source.partition("://")
    if separator and _SCHEME.fullmatch(scheme):
        if length := _login_length(rest):
            rest = f"{HIDDEN}@{rest[length:]}"
            return printable(_without_values(_without_stream_keys(scheme + separator + rest)))
    elif not _NO_LOGIN.match(source):
        source = _without_bare_login(source)
    return printable(redact(source))


def _without_bare_login(source: str) -> str:
    """``user:password@host``, which lacks its scheme or the slashes after it."""
    begin = _HALF_URL.match(source).end()  # type: ignore[union-attr]  # it also matches nothing
    login, at, rest = source[begin:].rpartition("@")
    return f"{source[:begin]}{HIDDEN}@{rest}" if at and (begin or ":" in login) else source


def redact(text: str) -> str:
    """``rtsp://user:pw@host/x?token=t`` to ``rtsp://***@host/x?token=***``, anywhere in a text.

    FFmpeg's own messages carry the URL with its password, so messages go through here too. Where a text can be read
    in two ways, the one with more of a password is hidden.
    """
    if "@" in text:
        text = _without_logins(text)
    return _without_values(_without_stream_keys(text))


def shorten(text: str, max_characters: int) -> str:
    """Redacted, on one line, and no longer than that; a login that is cut in two is hidden too."""
    text = " ".join(redact(cut(text, _MAX_SCANNED)).split())
    return text if len(text) <= max_characters else f"{text[: max_characters - 3]}..."


def cut(text: str, max_characters: int) -> str:
    """The beginning of a longer text, without what may be half of a login or of a secret value at its end."""
    if len(text) <= max_characters:
        return text
    head = text[:max_characters]
    start = head.rfind("://")
    if start >= 0 and "@" not in head[start:]:
        return f"{head[: start + 3]}{HIDDEN}"
    begin = max(head.rfind(character) for character in " \t\n'\"") + 1
    token = re.split("[:=]", head[begin:], maxsplit=1)
    return head if len(token) == 1 else f"{head[:begin]}{token[0]}{HIDDEN}"


def _without_logins(text: str) -> str:
    parts: list[str] = []
    done = line_end = 0
    last_at = -1
    while (found := _LOGIN_AHEAD.search(text, done)) is not None:
        begin = found.end()
        if begin > line_end or not line_end:
            line_end = _LINE_END.search(text, begin).start()  # type: ignore[union-attr]  # the end of the text is one
            last_at = text.rfind("@", begin, line_end)
        end = _TOKEN_END.search(text, begin).start()  # type: ignore[union-attr]
        rest = text[begin:end]
        is_url = found[0] == "://"
        if is_url and last_at >= end and "@" not in rest and _has_password(_authority(rest)):
            end = last_at + 1  # a password with a space or a quote in it
            rest = text[begin:end]
        length = _login_length(rest) if is_url else rest.rfind("@") + 1
        if length:
            parts += (text[done:begin], HIDDEN, text[begin + length - 1 : end])
        else:
            parts.append(text[done:end])
        done = end  # nothing of this token can hold another login
    parts.append(text[done:])
    return "".join(parts)


def _login_length(rest: str) -> int:
    """How much of what follows ``://`` is "user:password@"; 0: nothing is.

    A password may hold any character that should have been escaped, so it goes to the last ``@``, unless what is
    before the path is a host, or host and port, by itself.
    """
    last_at = rest.rfind("@")
    if last_at <= 0:  # udp://@239.1.1.1:5000 has no login
        return 0
    authority = _authority(rest)
    if "@" in authority or _has_password(authority):
        return last_at + 1
    if _port(authority) and "/" in rest[last_at:]:  # host:8080/a@b/c, or user:8080/a@host/c
        return last_at + 1
    return 0


def _authority(rest: str) -> str:
    path = _PATH.search(rest)
    return rest[: path.start()] if path else rest


def _port(authority: str) -> str | None:
    """What follows the colon of ``host:port`` or ``[host]:port``; None: there is no colon."""
    after = authority.partition("]")[2] if authority.startswith("[") else authority
    _, colon, port = after.partition(":")
    return port if colon else None


def _has_password(authority: str) -> bool:
    """Whether what follows the colon of ``host:port`` is no port."""
    port = _port(authority)
    return port is not None and not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535)


def _without_stream_keys(text: str) -> str:
    """``rtmp://host/app/key?a=b`` to ``rtmp://host/app/***``: who knows the key may publish."""
    return _RTMP_URL.sub(lambda found: found[1] + _without_stream_key(found[2]), text)


def _without_stream_key(rest: str) -> str:
    path, question, _ = rest.partition("?")
    host_and_app, slash, _ = path.rpartition("/")
    if slash and "/" in host_and_app:
        return f"{host_and_app}/{HIDDEN}"
    return f"{path}?{HIDDEN}" if question else path


def _without_values(text: str) -> str:
    """``?token=t`` to ``?token=***``. Cameras take secrets in the path too: /user=admin_password=secret_channel=1."""
    parts, done, at = [], 0, 0
    while (word := _SECRET_WORD.search(text, at)) is not None:
        key_end = _KEY_END.search(text, word.end())
        assert key_end is not None  # the end of the text is one
        equals = key_end.start()
        if not text.startswith("=", equals) or not _is_key(text, at, word.start()):
            at = equals
            continue
        begin = equals + 1 + text.startswith("#", equals + 1)  # an SRT streamid begins so: #!::r=name
        value_end = _VALUE_END.search(text, begin)
        at = value_end.start() if value_end else len(text)
        parts += [text[done : equals + 1], HIDDEN]
        done = at
    return "".join([*parts, text[done:]]) if parts else text


def _is_key(text: str, begin: int, word: int) -> bool:
    """Whether the secret word at ``word`` is in a key of a query or of a path."""
    before = text[begin:word]
    stem = before.rstrip(_KEY_CHARACTERS)
    start = begin + len(stem)
    return "_" in before[len(stem) :] or (start > 0 and text[start - 1] in "?&;/_")
