from __future__ import annotations

import pytest

from streamd.config.outgoing import BrokerAddress, HooksConfig, MqttConfig


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mqtt://broker", ("broker", 1883, False, None, None)),
        ("mqtts://broker/", ("broker", 8883, True, None, None)),
        ("MQTT://u@h:1", ("h", 1, False, "u", None)),
        ("mqtt://u:p@[::1]:1884", ("::1", 1884, False, "u", "p")),
        ("mqtt://u:p@:/?#w@h", ("h", 1883, False, "u", "p@:/?#w")),
        ("mqtt://u:file:/run/secrets/mqtt@h", ("h", 1883, False, "u", "file:/run/secrets/mqtt")),
    ],
)
def test_an_address_of_a_broker(url: str, parts: tuple[object, ...]) -> None:
    address = BrokerAddress.parse(url)
    assert (address.host, address.port, address.tls, address.user, address.password) == parts
    assert MqttConfig(url=url).url == url


@pytest.mark.parametrize(
    "url", ["broker:1883", "mqtt://", "mqtt://h:0", "mqtt://h:x", "mqtt://h/topic", "ws://h", "mqtt:h"]
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"mqtt://"):
        BrokerAddress.parse(url)


def test_json_in_an_argument_is_no_placeholder() -> None:
    command = ("/usr/bin/notify", '{"stream": "{stream}"}', "{zone}")
    assert HooksConfig(command=command).command == command


@pytest.mark.parametrize("text", ["env:HOOK", "file:/run/secrets/hook"])
def test_references_are_read_later(text: str) -> None:
    hooks = HooksConfig(webhook=text, webhook_secret=text)
    assert (hooks.webhook, hooks.webhook_secret) == (text, text)
