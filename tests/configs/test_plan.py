"""benchmarks/plan.py: machines for cameras and viewers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.plan import COSTS, Costs, Hardware, Load, main, plan, plans

COST = Costs(
    cpu="a test",
    idle_cores=0.0,
    frame_ms=2.0,
    inference_ms={"midas_small": 20.0},
    picture_ms=2.0,
    recorded_ms=4.0,
    viewer_ms=0.1,
    daemon_mb=200.0,
    stream_mb=20.0,
    worker_mb={"midas_small": 300.0},
    picture_kbit=40.0,
    recorded_kbit=50.0,
)
BOX = Hardware(cores=4, memory_gb=8, load=0.5)


def test_one_camera_that_always_moves() -> None:
    """10 frames a second of 2 ms, each inferred in 20 ms; watched by two: 2 ms more, and 0.1 ms for each of them."""
    found = plan(Load(cameras=1, viewers=2, fps=10, moving=1.0), BOX, COST)
    assert found.cores == pytest.approx((10 * 2 + 10 * 20 + 10 * 2 + 2 * 10 * 0.1) / 1000)
    assert (found.boxes, found.engines, found.media_servers) == (1, 0, 0)
    assert found.memory_gb == pytest.approx(0.52)
    assert found.viewers_mbit == pytest.approx(2 * 10 * 40 / 1000, rel=0.05)


def test_a_still_camera_is_inferred_now_and_then() -> None:
    found = plan(Load(cameras=1, viewers=0, fps=10, moving=0.0, refresh_s=2.0), BOX, COST)
    assert found.cores == pytest.approx((10 * 2 + 0.5 * 20) / 1000)


def test_boxes_by_what_runs_out_first() -> None:
    load = Load(cameras=100, viewers=0, fps=10, moving=1.0)
    assert plan(load, BOX, COST).boxes == 11, "22 busy cores, 2 of each box may be"
    many_still = replace(load, cameras=1000, moving=0.0, fps=1.0, refresh_s=100.0)
    assert plan(many_still, replace(BOX, memory_gb=4), COST).boxes == 14, "20 GB, 1.5 of each box are left for streams"
    watched = Load(cameras=1, viewers=3000, fps=10, moving=1.0)
    assert plan(watched, replace(BOX, cores=1000), COST).boxes == 3, "1248 Mbit/s, 500 of each"


@pytest.mark.parametrize("box", [replace(BOX, cores=0), replace(BOX, memory_gb=1.0), replace(BOX, load=0.06)])
def test_a_box_that_is_too_small_is_said_to_be(box: Hardware) -> None:
    """One of them was planned for all cameras."""
    with pytest.raises(ValueError, match="no room for streamd with midas_small in a box of"):
        plan(Load(cameras=100, viewers=0), box, COST)


def test_engines_take_the_inferences() -> None:
    load = Load(cameras=100, viewers=0, fps=10, moving=1.0)
    found = plan(load, BOX, COST, engines=True)
    assert found.boxes == 1
    assert found.engines == 10, "1000 inferences a second, 100 of each engine's 200"
    assert plan(load, replace(BOX, engine_rate=4000), COST, engines=True).engines == 1


def test_media_servers_take_the_viewers() -> None:
    load = Load(cameras=10, viewers=10_000, fps=10, moving=1.0)
    found = plan(load, BOX, COST, fan_out=True)
    assert found.boxes_mbit < 0.01 * plan(load, BOX, COST).boxes_mbit
    assert found.media_servers == 9, "4160 Mbit/s, 500 of each"


@pytest.mark.parametrize("more", [{"cameras": 20}, {"viewers": 40}, {"fps": 20.0}, {"moving": 0.5}, {"recorded": 0.5}])
def test_more_of_anything_takes_no_less(more: dict[str, float]) -> None:
    load = Load(cameras=10, viewers=20, moving=0.2)
    assert plan(replace(load, **more), BOX, COST).cores > plan(load, BOX, COST).cores  # type: ignore[arg-type]


def test_a_price_where_prices_are_known() -> None:
    load = Load(cameras=100, viewers=0, fps=10, moving=1.0)
    assert plan(load, BOX, COST).price is None
    priced = replace(BOX, box_price=20.0, engine_rate=4000.0)
    assert plan(load, priced, COST).price == 11 * 20
    assert plan(load, priced, COST, engines=True).price is None, "that of an engine is not"
    assert plan(load, replace(priced, engine_price=300.0), COST, engines=True).price == 20 + 300


def test_without_viewers_nobody_needs_a_media_server() -> None:
    assert [each.name for each in plans(Load(1, 0), BOX, COST)] == ["boxes", "boxes + engines"]
    assert len(plans(Load(1, 1), BOX, COST)) == 4


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cameras", "1000", "--viewers", "200", "--box-price", "20"]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "boxes + engines + media servers" in table
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["plans"][0]["boxes"] > 1
    assert told["costs"]["cpu"] == Costs.read(COSTS).cpu


def test_costs_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    for text in ("", "{}", '{"costs": {"frame_ms": 1}}'):
        file.write_text(text)
        assert main(["--cameras", "1", "--costs", str(file)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["--cameras", "1", "--model", "leres_resnet50"]) == 1
    assert "it has no costs of leres_resnet50" in capsys.readouterr().err


def test_the_document_says_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Of docs/scaling.md: each block with the command, and what it prints below it."""
    document = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    blocks = [block for block in document.split("```") if block.startswith("\n$ python -m benchmarks.plan ")]
    assert len(blocks) >= 4
    for block in blocks:
        command, _, printed = block.strip().partition("\n")
        assert main(command.split()[4:]) == 0
        assert capsys.readouterr().out.strip() == printed.strip(), command
