"""Odd files: containers x codecs x what makes each file odd. Valid combinations only, by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.support.odd_recipe import CODECS, CONTAINERS, Recipe
from tests.support.odd_twists import TWISTS, Twist


@dataclass(frozen=True)
class Odd:
    """One file. Its name says all: ``mkv-h264-turned90+sar2``."""

    container: str
    codec: str
    twists: tuple[str, ...]

    @classmethod
    def named(cls, name: str) -> Odd:
        """Raises KeyError, naming what there is not."""
        container, codec, *twists = name.split("-", 2)
        odd = cls(container, codec, tuple(twists[0].split("+")) if twists else ())
        odd.recipe()
        return odd

    @property
    def name(self) -> str:
        return f"{self.container}-{self.codec}-{'+'.join(self.twists)}"

    def recipe(self) -> Recipe:
        recipe = Recipe(self.name, CONTAINERS[self.container], CODECS[self.codec])
        for twist in sorted((TWISTS[name] for name in self.twists), key=lambda twist: twist.late):
            twist.apply(recipe)
        return recipe


def _singles() -> list[Odd]:
    return [
        Odd(container.name, codec, (twist.name,))
        for container in CONTAINERS.values()
        for codec, twist in product(container.codecs, TWISTS.values())
        if twist.fits(container, CODECS[codec])
    ]


def _twins(odd: Odd) -> list[Twist]:
    """What may be odd about it too."""
    first = TWISTS[odd.twists[0]]
    container, codec = CONTAINERS[odd.container], CODECS[odd.codec]
    return [other for other in TWISTS.values() if first.goes_with(other) and other.fits(container, codec)]


def one_of_each() -> list[Odd]:
    """So few that each container, codec and oddity is among them."""
    chosen: list[Odd] = []
    seen: set[str] = set()
    singles = shuffled = _singles()
    random.Random(0).shuffle(shuffled)
    candidates = [
        Odd(odd.container, odd.codec, (*odd.twists, twin.name)) for odd in shuffled for twin in _twins(odd)
    ] + singles
    parts = {odd: {f"in {odd.container}", f"of {odd.codec}", *odd.twists} for odd in candidates}
    while parts[best := max(candidates, key=lambda odd: len(parts[odd] - seen))] - seen:
        chosen.append(best)
        seen |= parts[best]
    return chosen


def combined(count: int, seed: int) -> Iterator[Odd]:
    """``count`` different ones: each oddity as often as any other, half of them with a second one."""
    chance = random.Random(seed)
    by_twist: dict[str, list[Odd]] = {}
    for odd in _singles():
        by_twist.setdefault(odd.twists[0], []).append(odd)
    for odds in by_twist.values():
        chance.shuffle(odds)
    made: set[frozenset[str]] = set()
    while len(made) < count:
        before = len(made)
        for odds in by_twist.values():
            odd = odds[0]
            odds.append(odds.pop(0))
            twins = _twins(odd)
            if twins and chance.random() < 0.5:
                odd = Odd(odd.container, odd.codec, (*odd.twists, chance.choice(twins).name))
            key = frozenset({f"in {odd.container}", f"of {odd.codec}", *odd.twists})
            if key not in made and len(made) < count:
                made.add(key)
                yield odd
        if len(made) == before and all(len(odds) == 1 for odds in by_twist.values()):
            return


__all__ = ["Odd", "combined", "one_of_each"]
