"""Any ONNX or OpenVINO file as a network, by a manifest: about ten lines of TOML beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from streamd.config.load import problems
from streamd.config.sections import STREAM_NAME, ModelName
from streamd.depth.graph.external import external_files
from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import Enlargement, Fit, ModelSpec, Preprocessing
from streamd.errors import ConfigError, DepthError, Problem
from streamd.host.whole_file import phrase

FILES = (".onnx", ".xml")
Side = Annotated[int, Field(ge=16, le=2048)]
Colour = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]


class _Manifest(BaseModel):
    """What the file does not say itself. The keys are those of ``Preprocessing`` and ``ModelSpec``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=STREAM_NAME)
    file: str
    size: Side | tuple[Side, Side]
    """Of the input, px: a number that ``fit`` takes, or [width, height], which are exact."""
    fit: Fit = "exact"
    multiple_of: Annotated[int, Field(ge=1, le=256)] | None = None
    """None: 1 for exact, else 32."""
    interpolation: Literal["cubic", "linear", "area"] = "cubic"
    resized_as: Literal["float64", "uint8"] = "float64"
    mean: Colour
    std: tuple[Positive, Positive, Positive]
    colours: Literal["rgb", "bgr"] = "rgb"
    polarity: Literal["inverse_depth", "depth"]
    licence: str = Field(min_length=1, max_length=80)
    enlargement: Enlargement = "cubic"

    @field_validator("name")
    @classmethod
    def _is_its_own(cls, value: str) -> str:
        if value in get_args(ModelName):
            raise ValueError("streamd has a network of this name")
        return value

    @field_validator("file")
    @classmethod
    def _lies_beside(cls, value: str) -> str:
        if Path(value).name != value or Path(value).suffix not in FILES:
            raise ValueError("should be the name of an .onnx or .xml file beside the manifest")
        return value

    @model_validator(mode="after")
    def _fits(self) -> _Manifest:
        if isinstance(self.size, tuple) and self.fit != "exact":
            raise ValueError(f"fit: {self.fit}: takes one number as size")
        if isinstance(self.size, int) and self.size % self.step:
            raise ValueError(f"size: {self.size}: is no multiple of {self.step}")
        return self

    @property
    def step(self) -> int:
        return self.multiple_of or (1 if self.fit == "exact" else 32)

    @property
    def preprocessing(self) -> Preprocessing:
        width, height = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return Preprocessing(
            mean=self.mean,
            std=self.std,
            input_size=width,
            height=height if self.fit == "exact" else None,
            fixed=self.fit == "exact",
            multiple_of=self.step if self.fit != "exact" else 1,
            fit=self.fit,
            interpolation=self.interpolation,
            resized_as=self.resized_as,
            colours=self.colours,
            enlargement=self.enlargement,
        )


def read_manifest(path: Path) -> ModelSpec:
    """The network that it describes; its file is not read. Raises ConfigError with all that is wrong."""
    try:
        manifest = _Manifest.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _wrong(path, (error.strerror or str(error)).lower()) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"is not TOML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise _wrong(path, *(str(problem).lstrip(": ").partition(";")[0] for problem in problems(error))) from None
    file = path.parent / manifest.file
    try:
        missing = [each.name for each in (file, *network_files(file)) if not each.is_file()]
    except FileNotFoundError:
        missing = [file.name]
    except OSError as error:
        raise _wrong(path, f"file: {file.name}: {phrase(error)}") from None
    if missing:
        raise _wrong(path, f"file: {missing[0]}: no such file beside the manifest")
    return ModelSpec(
        name=manifest.name,
        title=manifest.name,
        licence=manifest.licence,
        network=_in_its_file,
        preprocessing=manifest.preprocessing,
        polarity=manifest.polarity,
        manifest=path,
        file=file,
    )


def network_files(file: Path) -> list[Path]:
    """It, and what it needs beside it. Raises OSError."""
    if file.suffix == ".xml":
        return [file, file.with_suffix(".bin")]
    return [file, *external_files(file)] if file.suffix == ".onnx" else [file]


def _wrong(path: Path, *reasons: str) -> ConfigError:
    return ConfigError([Problem(str(path), "", reason) for reason in reasons])


def _in_its_file(ops: Ops[T], planes: T) -> T:
    raise DepthError("the network of a manifest is in its file: openvino and onnxruntime run it")
