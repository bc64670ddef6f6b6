"""The messages of open_inference_grpc.proto that are used here, with the fields that are used: protobuf skips others.

Described here, since what protoc writes runs with one version of protobuf only.
(https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto)
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
}
_TENSOR = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")}
_NAMED = {"name": (1, "string"), "version": (2, "string")}
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Tensor": _TENSOR,
    "RequestedOutput": {"name": (1, "string")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": {"inputs": (4, "*Tensor"), "outputs": (5, "*Tensor")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "id": (3, "string"),
        "inputs": (5, "*Tensor"),
        "outputs": (6, "*RequestedOutput"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse": {"id": (3, "string"), "outputs": (5, "*Tensor"), "raw_output_contents": (6, "*bytes")},
}
"""Name and type of each field, with its number; * is repeated. All descriptions of tensors begin alike."""
SERVICE = "inference.GRPCInferenceService"


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="streamd/open_inference.proto", package="inference", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.startswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            type_name = None if kind in _TYPES else f".inference.{kind}"
            message.field.add(
                name=field, number=number, label=label, type=_TYPES.get(kind, _Field.TYPE_MESSAGE), type_name=type_name
            )
    pool = descriptor_pool.DescriptorPool()  # of our own: other clients in this process describe the same names
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES
    }


MESSAGES = _messages()
