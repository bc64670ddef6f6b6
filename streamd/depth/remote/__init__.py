"""Networks that other machines run, by the Open Inference Protocol v2 (KServe's), in the worker process."""

from __future__ import annotations

import os

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote.answer import Client, NoAnswer

PROBE_S = 2.0


def open_client(address: EndpointAddress, model: str, token: str = "", ca: str = "") -> Client:
    """Opens nothing yet. ``ca``: PEM file; empty: this machine's. Raises DepthError when there is no such file, or no
    TLS in it; ModuleNotFoundError when the extra is missing."""
    if address.is_grpc:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes to stderr what we say ourselves
        from streamd.depth.remote.grpc import GrpcClient

        return GrpcClient(address, model, token, ca)
    from streamd.depth.remote.rest import RestClient

    return RestClient(address, model, token, ca)


__all__ = ["PROBE_S", "Client", "NoAnswer", "open_client"]
