"""DPT-Large of MiDaS v3 (Ranftl et al. 2021; MIT): ViT-L/16 under a DPT decoder."""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models import dpt, vit
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import head

_PATCH, _WIDTH = 16, 1024
_TAPS = ((5, 1, 256), (11, 2, 512), (17, 3, 1024), (23, 4, 1024))


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 32. Relative inverse depth, never below 0.

    Keys are those of the official dpt_large_384.pt.
    """
    key = "pretrained.model.patch_embed.proj"
    patches = ops.convolution(planes, key, _WIDTH, _PATCH, stride=_PATCH, padding=0)
    levels = vit.levels(ops, patches, blocks=24, heads=16, taps=_TAPS)
    return head(ops, dpt.decoder(ops, levels), 32, align_corners=True)


SPEC = ModelSpec(
    name="dpt_large",
    title="MiDaS v3 DPT-Large",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=384, fit="minimal"),
    least_timeout_s=60.0,
    least_memory_mb=8000,
    download=Download(
        url="https://github.com/isl-org/MiDaS/releases/download/v3/dpt_large_384.pt",
        sha256="2f21e586477d90cb9624c7eef5df7891edca49a1c4795ee2cb631fd4daa6ca69",
        size=1_376_378_527,
    ),
)
