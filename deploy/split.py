"""Splits one file of cameras over boxes:

    python deploy/split.py cameras.toml --boxes 3 --output deploy/kubernetes/boxes

writes 0.toml, 1.toml, ...: configurations of streamd, each with everything of ``cameras.toml`` but the streams of other
boxes; kustomization.yaml, which makes a StatefulSet of that many boxes read them; and mediamtx.yml, the paths of a
media server in front. Few cameras change their box when the number of boxes changes. Needs Python alone.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
from pathlib import Path

HEADER = re.compile(r"^\s*\[\[?\s*(?P<section>[^\s.\]]+)\s*(?:\.\s*(?P<name>\"[^\"]*\"|'[^']*'|[^\s.\]]+))?")

NOTE = "# Written by deploy/split.py: do not edit.\n"

KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../streamd
components:{components}
replicas:
  - {{ name: streamd, count: {boxes} }}
images:
  - {{ name: streamd, newName: {image} }}
  - {{ name: tritonserver, newName: nvcr.io/nvidia/tritonserver, newTag: 25.06-py3 }}
  - {{ name: bluenviron/mediamtx, newTag: 1.18.2 }}
configMapGenerator:
  - name: streamd-cameras
    files: [{files}]
  - name: streamd-paths
    files: [mediamtx.yml]
# The tokens are yours to make, and in no file here:
#   kubectl create secret generic streamd-tokens --from-literal view=$(openssl rand -hex 16) \\
#       --from-literal control=$(openssl rand -hex 16)
"""

PATHS = """\
# The token comes in MTX_PATHDEFAULTS_WHEPBEARERTOKEN, which gets the video from streamd, and in
# MTX_AUTHINTERNALUSERS_0_PASS, which viewers show.
authInternalUsers:
  - user: viewer
    permissions: [{ action: read }]
pathDefaults:
  sourceOnDemand: yes
webrtcLocalUDPAddress: :8190
paths:
"""


def places(names: list[str], boxes: int) -> dict[str, int]:
    """The box of each stream: none has more than its share, rounded up.

    Each stream ranks the boxes by a digest of both names, and takes the first that has room: rendezvous hashing
    (Thaler and Ravishankar, 1998) with bounded loads.
    """
    share = -(-len(names) // boxes)
    room = [share] * boxes
    chosen = {}
    for name in sorted(names):
        ranked = sorted(range(boxes), key=lambda box: hashlib.sha256(f"{name}/{box}".encode()).digest())
        box = next(box for box in ranked if room[box])
        room[box] -= 1
        chosen[name] = box
    return chosen


def blocks(text: str) -> list[tuple[str | None, str]]:
    """(stream or None, lines) in their order: comments and spelling stay as they are."""
    found: list[tuple[str | None, str]] = []
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if header := HEADER.match(line):
            found.append((name, "".join(lines)))
            lines = []
            name = header["name"].strip("\"'") if header["section"] == "streams" and header["name"] else None
        lines.append(line)
    return [*found, (name, "".join(lines))]


def split(text: str, boxes: int) -> tuple[list[str], dict[str, int]]:
    """The configurations, and the box of each stream. Raises ValueError for what cannot be split by lines."""
    streams = tomllib.loads(text).get("streams", {})
    if not streams:
        raise ValueError("it has no [streams.NAME]")
    chosen = places(list(streams), boxes)
    parts = blocks(text)
    files = ["".join(lines for name, lines in parts if name is None or chosen.get(name) == box) for box in range(boxes)]
    for box, file in enumerate(files):
        wanted = {name: stream for name, stream in streams.items() if chosen[name] == box}
        if {"streams": {}} | tomllib.loads(file) != tomllib.loads(text) | {"streams": wanted}:
            raise ValueError("write each stream as a table of its own, [streams.NAME]")
    return files, chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cameras", type=Path, help="a configuration of streamd, with all streams")
    parser.add_argument("--boxes", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder beside kubernetes/streamd")
    parser.add_argument("--image", default="registry.example.org/streamd", help="where your image of streamd is")
    parser.add_argument("--engine", action="store_true", help="infer on Triton, by kubernetes/engine")
    parser.add_argument("--fan-out", action="store_true", help="a media server in front, by kubernetes/fan-out")
    args = parser.parse_args()
    try:
        if args.boxes < 1:
            raise ValueError("--boxes must be 1 or more")
        files, chosen = split(args.cameras.read_text(encoding="utf-8"), args.boxes)
    except (OSError, ValueError) as error:
        print(f"{args.cameras}: {error}", file=sys.stderr)
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    for old in args.output.glob("[0-9]*.toml"):
        old.unlink()
    for box, text in enumerate(files):
        (args.output / f"{box}.toml").write_text(NOTE + text, encoding="utf-8")
    components = [name for name, wanted in (("engine", args.engine), ("fan-out", args.fan_out)) if wanted]
    (args.output / "kustomization.yaml").write_text(
        NOTE
        + KUSTOMIZATION.format(
            components="".join(f"\n  - ../{name}" for name in components) or " []",
            boxes=args.boxes,
            image=args.image,
            files=", ".join(f"{box}.toml" for box in range(args.boxes)),
        )
    )
    paths = [
        f'  "{name}":\n    source: whep://streamd-{box}.streamd:8080/whep/{name}\n' for name, box in chosen.items()
    ]
    (args.output / "mediamtx.yml").write_text(NOTE + PATHS + "".join(paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
