"""A real MQTT broker, mosquitto, on a free port of 127.0.0.1, and one who listens to it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.waiting import until

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        self.port = free_port()
        self.login = login
        self._process: subprocess.Popen[bytes] | None = None
        self._file = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if login else 'true'}",
            "persistence false",
        ]
        if login:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            program = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
            subprocess.run([program, "-b", str(passwords), *login], check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        lines.append("user root")  # the password file is ours alone
        self._file.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        login = ":".join(self.login) + "@" if self.login else ""
        return f"mqtt://{login}127.0.0.1:{self.port}"

    def start(self) -> None:
        assert PROGRAM
        self._process = subprocess.Popen([PROGRAM, "-c", str(self._file)], stderr=subprocess.DEVNULL)

    def send(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextmanager
def broker(folder: Path, login: tuple[str, str] | None = None) -> Iterator[Mosquitto]:
    if PROGRAM is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    pytest.importorskip("paho.mqtt.client", reason="pip install paho-mqtt")
    running = Mosquitto(folder, login)
    running.start()
    try:
        yield running
    finally:
        running.stop()


class Listener:
    """Knows what is retained, as Home Assistant would: the newest of each topic."""

    def __init__(self, broker: Mosquitto) -> None:
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.topics: dict[str, bytes] = {}
        self.count = 0
        self._came = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if broker.login:
            self._client.username_pw_set(*broker.login)
        self._client.on_connect = lambda client, *_: client.subscribe("#")
        self._client.on_message = self._note
        self._client.reconnect_delay_set(1, 1)
        until("the broker answers", lambda: self._connects(broker.port))
        self._client.loop_start()

    def _connects(self, port: int) -> bool:
        try:
            self._client.connect("127.0.0.1", port)
        except OSError:
            return False
        return True

    def _note(self, client: object, data: object, message: Any) -> None:
        with self._came:
            self.count += 1
            if message.payload:
                self.topics[message.topic] = message.payload
            else:
                self.topics.pop(message.topic, None)
            self._came.notify_all()

    def wait_for(self, what: str, check: Callable[[dict[str, bytes]], object], within_s: float = 10) -> None:
        with self._came:
            assert self._came.wait_for(lambda: check(self.topics), within_s), f"{what}; there is: {self._short()}"

    def _short(self) -> dict[str, bytes]:
        return {topic: payload[:40] for topic, payload in self.topics.items()}

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, retain=retain).wait_for_publish(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def listening(broker: Mosquitto) -> Iterator[Listener]:
    listener = Listener(broker)
    try:
        yield listener
    finally:
        listener.close()
