"""Pictures that were recorded lying down."""

from __future__ import annotations

from typing import ClassVar

import av
import av.filter


class Rotation:
    """Turns pictures by their display matrix: phones record lying down."""

    _FILTERS: ClassVar = {90: "cclock", 180: "hflip", 270: "clock"}

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._made_for: object = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        turn = picture.rotation % 360
        if turn not in self._FILTERS:
            return picture
        key = (turn, picture.width, picture.height, picture.format.name)
        if key != self._made_for:
            self._graph, self._made_for = self._build(picture, turn), key
        assert self._graph is not None
        self._graph.push(picture)
        turned = self._graph.pull()
        assert isinstance(turned, av.VideoFrame)
        turned.pts, turned.time_base = picture.pts, picture.time_base
        return turned

    def _build(self, picture: av.VideoFrame, turn: int) -> av.filter.Graph:
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
            )
        ]
        if turn == 180:
            nodes += [graph.add("hflip"), graph.add("vflip")]
        else:
            nodes.append(graph.add("transpose", self._FILTERS[turn]))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph
