"""The connection to an MQTT broker: a thread of its own, that brings the broker in line with what is wanted.

All that we say is retained and the newest of each topic counts, so a broker that is slow, hangs or is away costs one
message for each topic, and nobody waits for it.
"""

from __future__ import annotations

import importlib
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.outgoing import BrokerAddress, MqttConfig
from streamd.config.secret import read_secret
from streamd.errors import ConfigError, Problem
from streamd.notify.entities import OFFLINE, ONLINE, Entities

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=1.0, factor=2.0, cap_s=30.0)
CONNECT_S = 5.0
KEEPALIVE_S = 15
"""A broker notices after one and a half of it that our machine is gone, and entities become unavailable."""
CLOSE_S = 1.0
_POLL_S = 0.1
_FAREWELL_S = 0.4

Command = Callable[[str, bytes], None]
"""Topic and what was sent. In the broker's thread."""


class _Lost(Exception):
    pass


class Broker:
    """``want`` from any thread; all else happens in its own."""

    def __init__(self, config: MqttConfig, entities: Entities, on_command: Command, backoff: Backoff = BACKOFF) -> None:
        """Raises ConfigError."""
        self._config = config
        self._entities = entities
        self._on_command = on_command
        self._backoff = backoff
        self._mqtt = _library()
        self._address()  # what is wrong with it is better said now
        self._lock = threading.Lock()
        self._wanted: dict[str, bytes] = {}
        self._dirty: dict[str, bytes] = {}
        """To be said, or said again after a loss; empty: to be forgotten by the broker."""
        self._stop = threading.Event()
        self._accepted: str | None = None
        """What the broker said to us: empty, it took us."""
        self._is_known_lost = False
        self._worker: threads.Worker | None = None

    @property
    def connected(self) -> bool:
        return self._accepted == ""

    def start(self) -> None:
        self._worker = threads.start("mqtt", self._run)

    def want(self, messages: Mapping[str, bytes | None]) -> None:
        """The newest of each topic; None: nothing of it is to stay at the broker."""
        with self._lock:
            for topic, payload in messages.items():
                if payload is None:
                    self._wanted.pop(topic, None)
                    self._dirty[topic] = b""
                elif self._wanted.get(topic) != payload:
                    self._wanted[topic] = self._dirty[topic] = payload

    async def close(self) -> None:
        """Says goodbye, if the broker listens."""
        self._stop.set()
        if self._worker is not None:
            await threads.finish(self._worker, CLOSE_S)

    # -- in its thread ----------------------------------------------------------------------------

    def _address(self) -> BrokerAddress:
        """Read anew each time, so a password may change. Raises ConfigError."""
        try:
            address = BrokerAddress.parse(read_secret(self._config.url, "address"))
            password = None if address.password is None else read_secret(address.password, "password")
        except ValueError as error:
            raise ConfigError([Problem("mqtt.url", "", str(error))]) from None
        return address.model_copy(update={"password": password})

    def _run(self) -> None:
        delays = self._backoff.start()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._session()
            except Exception as error:  # of the network, of TLS, of the library
                if not self._is_known_lost:
                    log.warning("MQTT: %s; trying again", str(error) or type(error).__name__)
                healthy_s = 0.0 if self._is_known_lost else time.monotonic() - began
                self._is_known_lost = True
                self._stop.wait(delays.after(healthy_s))

    def _session(self) -> None:
        """One connection, until ``close``. Raises what ended it."""
        address = self._address()
        client = self._client(address)
        self._accepted = None
        client.connect(address.host, address.port, KEEPALIVE_S)
        try:
            self._turn(client, lambda: self._accepted is None, CONNECT_S)
            if not self.connected:
                raise _Lost("the broker does not answer")
            log.info("MQTT: connected to %s:%d", address.host, address.port)
            self._is_known_lost = False
            self._greet(client)
            self._turn(client, lambda: not self._stop.is_set())
            client.publish(self._entities.status_topic, OFFLINE, retain=True)
            self._turn(client, client.want_write, _FAREWELL_S)
            client.disconnect()
        finally:
            self._accepted = None
            if (connection := client.socket()) is not None:
                connection.close()

    def _client(self, address: BrokerAddress) -> Client:
        client: Client = self._mqtt.Client(
            self._mqtt.CallbackAPIVersion.VERSION2, client_id=self._config.name, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_S
        if address.user is not None:
            client.username_pw_set(
                unquote(address.user), None if address.password is None else unquote(address.password)
            )
        if address.tls:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(self._entities.status_topic, OFFLINE, qos=1, retain=True)
        client.on_connect = self._connected
        client.on_message = self._came
        return client

    def _connected(self, client: Client, data: object, flags: object, reason: Any, properties: object) -> None:
        self._accepted = str(reason) if reason.is_failure else ""

    def _greet(self, client: Client) -> None:
        """Says all that is wanted, and asks for what an earlier life has left."""
        with self._lock:
            forgotten = {topic: payload for topic, payload in self._dirty.items() if not payload}
            self._dirty = {**forgotten, **self._wanted}
        if self._config.discovery:
            client.subscribe(self._entities.discovery_topic)
        if self._entities.takes_commands:
            client.subscribe(self._entities.command_topic)
        client.publish(self._entities.status_topic, ONLINE, retain=True)

    def _turn(self, client: Client, goes_on: Callable[[], bool], within_s: float = float("inf")) -> None:
        """Speaks with the broker. Raises _Lost."""
        until_s = time.monotonic() + within_s
        while goes_on() and time.monotonic() < until_s:
            if self.connected:
                self._say(client)
            if code := client.loop(_POLL_S):
                if self._accepted:
                    raise _Lost(f"the broker refuses us: {self._accepted}")
                raise _Lost(f"the broker is lost: {self._mqtt.error_string(code)}")

    def _say(self, client: Client) -> None:
        """What is not said yet, as far as the broker takes it: what waits here is replaced by what is newer."""
        while not client.want_write():
            with self._lock:
                if not self._dirty:
                    return
                topic = next(iter(self._dirty))
                payload = self._dirty.pop(topic)
            client.publish(topic, payload, retain=True)

    def _came(self, client: Client, data: object, message: MQTTMessage) -> None:
        if self._mqtt.topic_matches_sub(self._entities.command_topic, message.topic):
            if not message.retain:  # an old wish is none
                self._on_command(message.topic, bytes(message.payload))
        elif message.payload:
            self._forget(message.topic)

    def _forget(self, topic: str) -> None:
        """An entity that an earlier life has left, of a stream that is gone."""
        with self._lock:
            if topic not in self._wanted and topic not in self._dirty:
                self._dirty[topic] = b""


def _library() -> Any:
    try:
        return importlib.import_module("paho.mqtt.client")
    except ImportError:
        advice = 'needs a package that is not installed: pip install "streamd[mqtt]"'
        raise ConfigError([Problem("mqtt.url", "", advice)]) from None
