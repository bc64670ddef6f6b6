"""Servers that run the network in the place of this machine: ``model.endpoints``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PORTS = {"grpc": 8001, "grpcs": 443, "http": 8000, "https": 443}
"""Those of Triton Inference Server, and of TLS."""
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?")
MAX_ENDPOINTS = 16


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """The parts of one. It holds no secret."""

    scheme: str
    host: str
    port: int
    path: str = ""
    """What is before ``/v2``, without a slash at its end; by HTTP only."""

    @classmethod
    def parse(cls, url: str) -> EndpointAddress:
        """Raises ValueError with the reason, which holds nothing of it."""
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in _PORTS:
            raise ValueError("has one that is not grpc://HOST:PORT, grpcs://, http:// or https://")
        if "@" in rest:
            raise ValueError("has one with a login: what lets streamd in belongs into model.endpoint_token")
        found = _PLACE.fullmatch(rest)
        port = int((found and found[2]) or _PORTS[scheme])
        path = ((found and found[3]) or "").rstrip("/")
        if not found or not 0 < port < 65536 or (path and scheme.startswith("grpc")):
            raise ValueError("has one without a host, or with a port that is none: grpc://host:8001")
        return cls(scheme, found[1].strip("[]"), port, path)

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def tls(self) -> bool:
        return self.scheme.endswith("s")

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"
