"""Where events go beside the page and the API: commands, a webhook, an MQTT broker. Set in the file only."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from streamd.config.section import Section

PLACEHOLDERS = ("type", "stream", "zone", "kind", "state", "time")
"""Of a command: ``{stream}``, say."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
MAX_ARGUMENTS = 64
MIN_SECRET = 16
"""Characters."""
_WORD = re.compile(r"\{([a-z_]+)\}")


class HooksConfig(Section):
    """What is told of zones, and of streams that come and go: docs/events.md. Not by the API."""

    command: tuple[str, ...] = Field(default=(), max_length=MAX_ARGUMENTS)
    """Program and arguments to run at each event, without a shell: ["/usr/bin/notify", "{stream}", "{zone}", "{kind}"].
    It gets the event as JSON on stdin."""
    webhook: str = Field(default="", max_length=4096)
    """http:// or https:// address that gets each event as JSON by POST, tried again until it is taken; or env:NAME or
    file:PATH of it."""
    webhook_secret: str = ""
    """Signs the webhook (Standard Webhooks, HMAC-SHA256): itself, env:NAME or file:PATH. whsec_... is base64."""

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and (not value[0] or _WORD.search(value[0])):
            raise ValueError("begins with the program, which no event may choose")
        for text in value:
            if "\0" in text:
                raise ValueError("has a character that no argument can hold")
            if unknown := next((word for word in _WORD.findall(text) if word not in PLACEHOLDERS), None):
                known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ValueError(f"has {{{unknown}}}, which no event has; there are: {known}")
        return value

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not value.startswith(("env:", "file:")):
            check_webhook(value)
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _is_hard_to_guess(cls, value: str) -> str:
        if value and not value.startswith(("env:", "file:")) and len(value) < MIN_SECRET:
            raise ValueError(f"is too easy to guess: {MIN_SECRET} characters at least")
        return value


class MqttConfig(Section):
    """An MQTT broker, and Home Assistant by it: docs/events.md. Needs streamd[mqtt]. Not by the API."""

    url: str = Field(default="", max_length=4096)
    """mqtt://user:password@host:1883 or mqtts://...:8883; empty: none. The password, or all of it, may be env:NAME or
    file:PATH."""
    name: str = Field(default="streamd", pattern=f"^{NAME}$")
    """What topics begin with. Each streamd at one broker needs another."""
    discovery: bool = True
    """Tell Home Assistant what there is, so that its entities appear by themselves."""
    prefix: str = Field(default="homeassistant", pattern=f"^{NAME}(/{NAME}){{0,3}}$")
    """Home Assistant's discovery prefix."""
    commands: bool = True
    """Let whoever may publish at the broker start and stop recordings."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not value.startswith(("env:", "file:")):
            BrokerAddress.parse(value)
        return value


def check_webhook(url: str) -> None:
    """Raises ValueError with the reason, which holds nothing of it."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not an address such as https://host/path, in plain ASCII")


class BrokerAddress(Section):
    """The parts of ``mqtt.url``. Holds a secret: never log it."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    """May be a reference still."""

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Raises ValueError with the reason, which holds nothing of it."""
        scheme, separator, rest = url.partition("://")
        login, at, place = rest.rpartition("@")
        if scheme.lower() not in ("mqtt", "mqtts") or not separator:
            raise ValueError("not mqtt://HOST:PORT or mqtts://HOST:PORT")
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#\[\]@]+)(?::([0-9]{1,5}))?/?", place)
        port = int((found and found[2]) or (8883 if scheme.lower() == "mqtts" else 1883))
        if not found or not 0 < port < 65536:
            raise ValueError("has no host, or a port that is none: mqtt://user:password@host:1883")
        user, colon, password = login.partition(":")
        return cls(
            host=found[1].strip("[]"),
            port=port,
            tls=scheme.lower() == "mqtts",
            user=user if at else None,
            password=password if colon else None,
        )
