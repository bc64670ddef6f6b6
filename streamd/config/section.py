"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

MAX_UNKNOWN_KEYS = 20
"""Of a section: a report has no room for thousands."""


class Section(BaseModel):
    """Unknown keys are errors; a value never changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_unknown_keys(cls, value: Any) -> Any:
        count = len(value.keys() - cls.model_fields.keys()) if isinstance(value, dict) else 0
        if count > MAX_UNKNOWN_KEYS:
            raise ValueError(f"has {count} unknown keys; `streamd schema` lists those that exist")
        return value
