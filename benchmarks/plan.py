"""How many boxes, engines and media servers for so many cameras and viewers: computed from what this repository's
benchmarks measured.

    python -m benchmarks.plan --cameras 1000 --viewers 200 --moving 0.2 --box-price 20

The costs of a frame, an inference, a picture and a viewer come from ``benchmarks/costs.json``. ``benchmarks/costs.py``
measures them, so make your own on the box that you mean to buy and give it as ``--costs``. Prices are yours, in any
currency, for a month. Prints a table, or JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COSTS = Path(__file__).with_name("costs.json")
MONTH_S = 30 * 86400
STILL_PICTURES_PER_S = 1.0
"""What the encoder sends of a scene that does not change."""
HEADERS = 1.04
"""RTP, UDP and IP on top of the video."""


@dataclass(frozen=True)
class Costs:
    """Of one box, 1280x720 H.264 in, by ``benchmarks/costs.py``. Milliseconds are of CPU, in daemon and worker."""

    cpu: str
    idle_cores: float
    """Of a daemon without streams."""
    frame_ms: float
    """Decode a frame and look whether it changed."""
    inference_ms: dict[str, float]
    """By model, preprocessing included."""
    picture_ms: float
    """Render and encode the live depth view once."""
    recorded_ms: float
    """Render, encode and write a recorded depth view."""
    viewer_ms: float
    """Send a picture to one viewer by WebRTC."""
    daemon_mb: float
    stream_mb: float
    """Each stream adds, decoder and encoder included."""
    worker_mb: dict[str, float]
    picture_kbit: float
    """Of the live depth view, for each picture that moves."""
    recorded_kbit: float

    @classmethod
    def read(cls, path: Path) -> Costs:
        """Raises OSError, ValueError or TypeError."""
        return cls(**json.loads(path.read_text())["costs"])


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    cameras: int
    viewers: int
    fps: float = 10.0
    moving: float = 0.2
    """Share of the time in which a camera's scene moves."""
    refresh_s: float = 2.0
    recorded: float = 0.0
    """Share of the cameras."""
    model: str = "midas_small"

    @property
    def watched(self) -> int:
        """Streams that somebody watches: as if viewers chose different ones."""
        return min(self.cameras, self.viewers)

    @property
    def inferences_per_s(self) -> float:
        """Of one camera."""
        return self.moving * self.fps + (1 - self.moving) * min(self.fps, 1 / self.refresh_s)

    @property
    def pictures_per_s(self) -> float:
        """Of one camera."""
        return self.moving * self.fps + (1 - self.moving) * min(self.fps, STILL_PICTURES_PER_S)


@dataclass(frozen=True)
class Hardware:
    """Of one machine, whatever runs on it."""

    cores: int = 4
    memory_gb: float = 8.0
    load: float = 0.7
    """Share of its cores and of its network that a plan may use."""
    network_mbit: float = 1000.0
    box_price: float | None = None
    engine_price: float | None = None
    engine_rate: float | None = None
    """Inferences a second of one engine. None: those of the box's own CPU."""
    traffic_price: float = 0.0
    """For each GB that leaves for viewers."""


@dataclass(frozen=True)
class Plan:
    name: str
    boxes: int
    engines: int
    media_servers: int
    cores: float
    """Busy ones of all boxes."""
    memory_gb: float
    """Resident, of all boxes."""
    viewers_mbit: float
    boxes_mbit: float
    """What leaves the boxes."""
    recorded_gb_per_day: float
    price: float | None


def plan(load: Load, hardware: Hardware, costs: Costs, *, engines: bool = False, fan_out: bool = False) -> Plan:
    """Machines for all of it, if cameras and viewers are spread evenly. Raises ValueError for too small a box."""
    frames, inferences, pictures = (
        load.cameras * load.fps,
        load.cameras * load.inferences_per_s,
        load.watched * load.pictures_per_s,
    )
    recorded = load.cameras * load.recorded * load.pictures_per_s
    sent = load.viewers * load.pictures_per_s
    kbit_each = load.pictures_per_s * costs.picture_kbit * HEADERS
    viewers_mbit = load.viewers * kbit_each / 1000
    media_servers = 0
    if fan_out:
        media_servers = math.ceil(viewers_mbit / (hardware.network_mbit * hardware.load))
        sent = pictures * media_servers
    boxes_mbit = sent * costs.picture_kbit * HEADERS / 1000
    inference_ms = costs.inference_ms[load.model]
    engine_count = 0
    if engines:
        rate = hardware.engine_rate or hardware.cores * 1000 / inference_ms
        engine_count = math.ceil(inferences / (rate * hardware.load))
    work_ms = frames * costs.frame_ms + pictures * costs.picture_ms + recorded * costs.recorded_ms
    work_ms += sent * costs.viewer_ms + (0 if engines else inferences * inference_ms)
    usable = hardware.cores * hardware.load - costs.idle_cores
    fixed_mb = costs.daemon_mb + costs.worker_mb[load.model]
    memory_mb = load.cameras * costs.stream_mb
    room_mb = hardware.memory_gb * 1000 * hardware.load - fixed_mb
    if usable <= 0 or room_mb < costs.stream_mb:
        size = f"{hardware.cores} cores and {hardware.memory_gb:g} GB, of which {hardware.load:.0%} may be used"
        raise ValueError(f"no room for streamd with {load.model} in a box of {size}: give more of them")
    boxes = max(
        1,
        math.ceil(work_ms / 1000 / usable),
        math.ceil(memory_mb / room_mb),
        math.ceil(boxes_mbit / (hardware.network_mbit * hardware.load)),
    )
    return Plan(
        name=" + ".join(["boxes", *(["engines"] if engines else []), *(["media servers"] if fan_out else [])]),
        boxes=boxes,
        engines=engine_count,
        media_servers=media_servers,
        cores=work_ms / 1000 + boxes * costs.idle_cores,
        memory_gb=(memory_mb + boxes * fixed_mb) / 1000,
        viewers_mbit=viewers_mbit,
        boxes_mbit=boxes_mbit,
        recorded_gb_per_day=recorded * costs.recorded_kbit / 8e6 * 86400,
        price=_price(hardware, boxes, engine_count, media_servers, viewers_mbit),
    )


def plans(load: Load, hardware: Hardware, costs: Costs) -> list[Plan]:
    """Boxes alone, with engines, with media servers, and with both."""
    return [
        plan(load, hardware, costs, engines=engines, fan_out=fan_out)
        for fan_out in ((False, True) if load.viewers else (False,))
        for engines in (False, True)
    ]


def _price(hardware: Hardware, boxes: int, engines: int, media_servers: int, viewers_mbit: float) -> float | None:
    """For a month; media servers cost what boxes do. Traffic as if all viewers watched all the time."""
    if hardware.box_price is None or (engines and hardware.engine_rate and hardware.engine_price is None):
        return None
    engine_price = hardware.box_price if hardware.engine_price is None else hardware.engine_price
    traffic = viewers_mbit / 8000 * MONTH_S * hardware.traffic_price
    return (boxes + media_servers) * hardware.box_price + engines * engine_price + traffic


def table(found: list[Plan]) -> str:
    heads = ("", "boxes", "engines", "media servers", "busy cores", "GB", "Mbit/s to viewers", "GB a day", "price")
    rows = [heads] + [
        (
            each.name,
            f"{each.boxes}",
            f"{each.engines}",
            f"{each.media_servers}",
            f"{each.cores:.1f}",
            f"{each.memory_gb:.1f}",
            f"{each.viewers_mbit:.0f}",
            f"{each.recorded_gb_per_day:.0f}",
            "-" if each.price is None else f"{each.price:.0f}",
        )
        for each in found
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        costs = Costs.read(options.costs)
        if options.model not in costs.inference_ms:
            raise ValueError(f"it has no costs of {options.model}, only of {', '.join(sorted(costs.inference_ms))}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"{options.costs}: {error}", file=sys.stderr)
        return 1
    fields = vars(options)
    load = Load(**{name: fields[name] for name in Load.__dataclass_fields__})
    hardware = Hardware(**{name: fields[name] for name in Hardware.__dataclass_fields__})
    try:
        found = plans(load, hardware, costs)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        facts: dict[str, Any] = {"load": asdict(load), "hardware": asdict(hardware), "costs": asdict(costs)}
        json.dump(facts | {"plans": [asdict(each) for each in found]}, sys.stdout, indent=1)
        print()
    else:
        print(f"by what was measured on {costs.cpu}\n{table(found)}")
    return 0


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError("a share, from 0 to 1")
    return value


def _usable(text: str) -> float:
    if not 0 < (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError("a share above 0, up to 1")
    return value


def _above(text: str) -> float:
    if not 0 < (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("above 0")
    return value


def _count(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError("0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cameras", type=_count, required=True)
    parser.add_argument("--viewers", type=_count, default=0, help="people who watch at the same time (0)")
    parser.add_argument("--fps", type=_above, default=Load.fps, help="of each camera (10)")
    parser.add_argument("--moving", type=_share, default=Load.moving, help="share of the time that scenes move (0.2)")
    parser.add_argument("--refresh-s", type=_above, default=Load.refresh_s, help="as in the configuration (2)")
    parser.add_argument("--recorded", type=_share, default=Load.recorded, help="share of the cameras (0)")
    parser.add_argument("--model", default=Load.model, help="midas_small")
    parser.add_argument("--cores", type=_count, default=Hardware.cores, help="of a box (4)")
    parser.add_argument("--memory-gb", type=_above, default=Hardware.memory_gb, help="of a box (8)")
    parser.add_argument("--load", type=_usable, default=Hardware.load, help="share of a box to plan with (0.7)")
    parser.add_argument("--network-mbit", type=_above, default=Hardware.network_mbit, help="of a machine (1000)")
    parser.add_argument("--box-price", type=_above, help="of a box, or a media server, for a month")
    parser.add_argument("--engine-price", type=_above, help="of an engine; without, that of a box")
    parser.add_argument("--engine-rate", type=_above, help="inferences a second of an engine, as with a GPU")
    parser.add_argument("--traffic-price", type=float, default=0.0, help="for each GB to viewers (0)")
    parser.add_argument("--costs", type=Path, default=COSTS, help="by benchmarks/costs.py, of your own box")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
