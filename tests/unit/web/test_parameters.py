from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from streamd.web.errors import Refusal
from streamd.web.parameters import MAX_ECHO, VIEW, Text, Whole, picture_format, shortened

LIMIT = Whole("limit", default=5, minimum=1, maximum=10, description="So many")
LONG = "x" * 8000


def test_a_choice() -> None:
    assert VIEW.read(make_mocked_request("GET", "/")) == "depth"
    assert VIEW.read(make_mocked_request("GET", "/?view=gray")) == "gray"
    assert VIEW.describe()["schema"]["default"] == "depth"
    assert picture_format("png").read(make_mocked_request("GET", "/")) == "png"


@pytest.mark.parametrize("value", ["", "Depth", "nothing", LONG, 7, None, [LONG], {"a": LONG}])
def test_what_is_no_choice(value: object) -> None:
    with pytest.raises(Refusal, match="there are: depth, ") as refused:
        VIEW.parse(value)
    assert len(refused.value.message) < MAX_ECHO + 120


@pytest.mark.parametrize(("query", "number"), [("", 5), ("?limit=1", 1), ("?limit=10", 10), ("?limit=007", 7)])
def test_a_whole_number(query: str, number: int) -> None:
    assert LIMIT.read(make_mocked_request("GET", f"/{query}")) == number


def test_a_whole_number_may_have_no_default() -> None:
    height = Whole("height", default=None, minimum=1, maximum=9, description="So high")
    assert height.read(make_mocked_request("GET", "/")) is None
    assert height.read(make_mocked_request("GET", "/?height=2")) == 2
    assert height.describe()["schema"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert LIMIT.describe()["schema"]["default"] == 5
    with pytest.raises(Refusal, match="should be a whole number from 1 to 9"):
        height.read(make_mocked_request("GET", "/?height="))


@pytest.mark.parametrize("text", ["", "0", "11", "-1", "1.5", "x", "٣", "1" * 4000])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(Refusal, match="should be a whole number from 1 to 10") as refused:
        LIMIT.read(make_mocked_request("GET", f"/?limit={text}"))
    assert refused.value.status == 422
    assert len(refused.value.message) < MAX_ECHO + 60


def test_text_may_be_missing() -> None:
    text = Text("before", "Older than this")
    assert text.read(make_mocked_request("GET", "/")) is None
    assert text.read(make_mocked_request("GET", "/?before=a/b")) == "a/b"


def test_a_value_in_a_message_is_shortened() -> None:
    assert shortened("a") == "a"
    assert len(shortened(LONG)) == len(shortened(["x" * 8000])) == MAX_ECHO
