"""The protocol by gRPC, with raw bytes. Needs the extra `remote`."""

from __future__ import annotations

import ssl
from itertools import count
from typing import Any

import grpc

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote.answer import (
    DEPTH,
    MAX_OTHER_BYTES,
    PICTURES,
    Late,
    NoAnswer,
    Tensor,
    check_tensors,
    depth_of,
    hide,
    left_s,
    tls_context,
)
from streamd.depth.remote.messages import MESSAGES, SERVICE
from streamd.media.frames import ByteImage, FloatImage

_METHODS = ("ServerReady", "ModelReady", "ModelMetadata", "ModelInfer")
_IDENTITY_ONLY = 1
_MAX_DEPTH_BYTES = 16 << 20
"""Of the largest input that any network here sees."""


class GrpcClient:
    def __init__(self, address: EndpointAddress, model: str, token: str, ca: str) -> None:
        self._address = address
        self._model = model
        self._token = token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._credentials = grpc.ssl_channel_credentials(_roots(ca)) if address.tls else None
        self._numbers = count(1)
        self._channel: grpc.Channel | None = None
        self._methods: dict[str, Any] = {}

    def connect(self, until: float) -> None:
        self.close()
        options = [
            ("grpc.max_receive_message_length", _MAX_DEPTH_BYTES + MAX_OTHER_BYTES),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),  # nothing that grows when unpacked
            ("grpc.use_local_subchannel_pool", 1),  # or a new channel would wait as long as the one before
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
        ]
        target = f"dns:///{self._address.netloc}"
        if self._credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, self._credentials, options)
        self._methods = {
            name: channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=MESSAGES[f"{name}Response"].FromString,
            )
            for name in _METHODS
        }
        self._channel = channel

    def check_ready(self, until: float) -> None:
        if not self._call("ServerReady", MESSAGES["ServerReadyRequest"](), until).ready:
            raise NoAnswer("is not ready")
        if not self._call("ModelReady", MESSAGES["ModelReadyRequest"](name=self._model), until).ready:
            raise NoAnswer(f"its model {self._model} is not ready")

    def check_metadata(self, until: float) -> None:
        answer = self._call("ModelMetadata", MESSAGES["ModelMetadataRequest"](name=self._model), until)
        check_tensors([_described(each) for each in answer.inputs], [_described(each) for each in answer.outputs])

    def infer(self, pictures: ByteImage, until: float) -> FloatImage:
        _, height, width, _ = pictures.shape
        number = str(next(self._numbers))
        request = MESSAGES["ModelInferRequest"](
            model_name=self._model,
            id=number,
            inputs=[MESSAGES["Tensor"](name=PICTURES, datatype="UINT8", shape=pictures.shape)],
            outputs=[MESSAGES["RequestedOutput"](name=DEPTH)],
            raw_input_contents=[pictures.tobytes()],
        )
        answer = self._call("ModelInfer", request, until)
        if answer.id != number:
            raise NoAnswer("answered another request than ours")
        if len(answer.outputs) != 1 or len(answer.raw_output_contents) != 1:
            raise NoAnswer(f"answered {len(answer.outputs)} tensors, {len(answer.raw_output_contents)} of them raw")
        return depth_of(_described(answer.outputs[0]), answer.raw_output_contents[0], height, width)

    def _call(self, name: str, request: Any, until: float) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise NoAnswer("is not connected")
        try:
            return method(request, timeout=left_s(until), metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Late from None
            raise NoAnswer(f"{code.name}: {hide(self._token, str(error.details()))}") from None
        except ValueError:  # closed meanwhile by ``connect``
            raise NoAnswer("is not connected") from None

    def close(self) -> None:
        channel, self._channel, self._methods = self._channel, None, {}
        if channel is not None:
            channel.close()


def _described(tensor: Any) -> Tensor:
    return Tensor(tensor.name, tensor.datatype, tuple(tensor.shape))


def _roots(ca: str) -> bytes | None:
    """PEM: gRPC's own list is another than this machine's. None, for its own, where this machine has a folder of them
    alone, which OpenSSL does not list."""
    authorities = tls_context(ca).get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode() or None
