"""The numbers of a network: each is asked for by its key and shape while the network is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamd.depth.checkpoint import Array, State, some
from streamd.errors import WeightsRejected
from streamd.media.frames import FloatImage


class Parameters:
    """Of one checkpoint. A network takes what it needs; ``check`` then tells what does not fit."""

    def __init__(self, state: State, path: Path) -> None:
        self._state = state
        self._path = path
        self._wanted: dict[str, tuple[int, ...]] = {}
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        self._mistyped: list[str] = []
        self._infinite: list[str] = []
        self._negative: list[str] = []
        self._passed_over: set[str] = set()
        self._another: str | None = None

    def take(self, key: str, *shape: int) -> FloatImage:
        """float32 of this shape; zeros in place of what does not fit."""
        value = self._value(key, shape, "f")
        if value is None:
            return np.broadcast_to(np.float32(0), shape)
        if not np.isfinite(value).all():
            self._infinite.append(key)
        return np.asarray(value, np.float32)

    def take_positive(self, key: str, *shape: int) -> FloatImage:
        """Variances."""
        value = self.take(key, *shape)
        if (value < 0).any():
            self._negative.append(key)
        return np.abs(value)

    def table(self, key: str, otherwise: FloatImage) -> FloatImage:
        """One that a file may carry beside the weights, of this shape; ``otherwise`` where it does not."""
        if key not in self._state:
            return otherwise
        return self.take(key, *otherwise.shape)

    def expect(self, key: str, *shape: int, kind: str = "f") -> None:
        """It belongs to the official file, and to no output. ``kind`` is NumPy's: "f" or "i"."""
        self._value(key, shape, kind)

    def pass_over(self, key: str) -> None:
        """A table that a file may carry: it can be computed."""
        self._passed_over.add(key)

    def pass_over_all(self, prefix: str) -> None:
        """The same, for all keys that begin so."""
        self._passed_over.update(key for key in self._state if key.startswith(prefix))

    def tell_apart(self, prefix: str, reason: str) -> None:
        """Keys that begin so belong to another file, which is refused with this reason."""
        if any(key.startswith(prefix) for key in self._state):
            self._another = reason

    def check(self) -> None:
        """After the network has taken all. Raises WeightsRejected."""
        if self._another:
            raise WeightsRejected(str(self._path), self._another)
        extra = self._state.keys() - self._wanted.keys() - self._passed_over
        total = len(self._wanted)
        problems = [
            some(keys, "key", what) for keys, what in ((self._missing, "missing"), (extra, "unexpected")) if keys
        ]
        if problems:
            raise WeightsRejected(str(self._path), f"{', '.join(problems)} of {total}")
        for wrong, what in (
            (self._misshapen, "of the wrong shape"),
            (self._mistyped, "of the wrong type"),
            (self._infinite, "with NaN or infinite numbers"),
            (self._negative, "with negative variances"),
        ):
            if wrong:
                raise WeightsRejected(str(self._path), some(wrong, "tensor", what))

    def _value(self, key: str, shape: tuple[int, ...], kind: str) -> Array | None:
        self._wanted[key] = shape
        value = self._state.get(key)
        if value is None:
            self._missing.append(key)
        elif value.shape != shape:
            self._misshapen.append(f"{key}: {_size(value.shape)} for {_size(shape)}")
        elif value.dtype.kind != kind:
            self._mistyped.append(f"{key}: {value.dtype} for {'float32' if kind == 'f' else 'int64'}")
        else:
            return value
        return None


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
