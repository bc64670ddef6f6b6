"""Parameters of a query: each is described and read by one object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import web

from streamd.config.sections import FORMATS, NOT_SHOWN, VIEWS, PictureFormat, View
from streamd.web.errors import Refusal

T = TypeVar("T", bound=str)
N = TypeVar("N", int, None)
MAX_ECHO = 80
"""Of a value that is not understood, in the message."""


class Parameter(Protocol):
    @property
    def name(self) -> str: ...

    def describe(self) -> Mapping[str, Any]:
        """As OpenAPI has it."""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """One of a few words."""

    name: str
    choices: tuple[T, ...]
    default: T
    description: str

    def describe(self) -> Mapping[str, Any]:
        schema = {"type": "string", "enum": [*self.choices], "default": self.default}
        return _in_query(self.name, schema, self.description)

    def read(self, request: web.Request) -> T:
        """Raises Refusal: 422."""
        return self.parse(request.query.get(self.name, self.default))

    def parse(self, value: object) -> T:
        """A value from elsewhere, such as a body. Raises Refusal: 422."""
        found = next((choice for choice in self.choices if choice == value), None)
        if found is None and self.choices == VIEWS and value == "depth16":
            raise Refusal(422, "bad_value", f"{self.name} {NOT_SHOWN}")
        if found is None:
            message = f"{self.name} {shortened(value)}: unknown; there are: {', '.join(self.choices)}"
            raise Refusal(422, "bad_value", message)
        return found


@dataclass(frozen=True)
class Whole(Generic[N]):
    """A whole number between two others, these included. Without a default it may be left out."""

    name: str
    default: N
    minimum: int
    maximum: int
    description: str

    def describe(self) -> Mapping[str, Any]:
        schema = {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}
        if self.default is not None:
            schema["default"] = self.default
        return _in_query(self.name, schema, self.description)

    def read(self, request: web.Request) -> int | N:
        """Raises Refusal: 422."""
        text = request.query.get(self.name)
        if text is None:
            return self.default
        is_number = text.isascii() and text.isdecimal() and len(text) < 10
        if not is_number or not self.minimum <= int(text) <= self.maximum:
            limits = f"from {self.minimum} to {self.maximum}"
            raise Refusal(422, "bad_value", f"{self.name} {shortened(text)}: should be a whole number {limits}")
        return int(text)


@dataclass(frozen=True)
class Share:
    """A number from 0 to 1, which has to be there."""

    name: str
    description: str

    def describe(self) -> Mapping[str, Any]:
        schema = {"type": "number", "minimum": 0, "maximum": 1}
        return {**_in_query(self.name, schema, self.description), "required": True}

    def read(self, request: web.Request) -> float:
        """Raises Refusal: 422."""
        text = request.query.get(self.name, "")
        try:
            share = float(text) if text.isascii() else math.nan
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise Refusal(422, "bad_value", f"{self.name} {shortened(text)}: should be a number from 0 to 1")
        return share


@dataclass(frozen=True)
class Text:
    """Any text."""

    name: str
    description: str

    def describe(self) -> Mapping[str, Any]:
        return _in_query(self.name, {"type": "string"}, self.description)

    def read(self, request: web.Request) -> str | None:
        return request.query.get(self.name)


@dataclass(frozen=True)
class Header:
    """Read by the handler itself."""

    name: str
    description: str

    def describe(self) -> Mapping[str, Any]:
        return _described(self.name, "header", {"type": "string"}, self.description)


def shortened(value: object) -> str:
    """For a message: it may be as long as a request."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_ECHO else f"{text[: MAX_ECHO - 3]}..."


def _in_query(name: str, schema: Mapping[str, Any], description: str) -> Mapping[str, Any]:
    return _described(name, "query", schema, description)


def _described(name: str, place: str, schema: Mapping[str, Any], description: str) -> Mapping[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": schema, "description": description}


VIEW: Choice[View] = Choice("view", VIEWS, "depth", "What is drawn")


def picture_format(default: PictureFormat) -> Choice[PictureFormat]:
    return Choice("format", FORMATS, default, "Of the file")
