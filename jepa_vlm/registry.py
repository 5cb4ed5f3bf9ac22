"""One small registry, for the parts whose names are data: adapters, formats, benchmarks, playground tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from jepa_vlm.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to components, with a did-you-mean on a miss.

    Args:
        kind: What is filed, in the singular, for messages.
        hint: One sentence on how to add a new one.
    """

    def __init__(self, kind: str, *, hint: str = "") -> None:
        self._kind, self._hint = kind, hint
        self._filed: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under ``name``.

        Raises:
            ValueError: When decorating, if the name is taken.
        """

        def file(component: T) -> T:
            if name in self._filed:
                raise ValueError(f"{self._kind} {name!r} is already {self._filed[name]!r}, got {component!r}.")
            self._filed[name] = component
            return component

        return file

    def __getitem__(self, name: str) -> T:
        if name not in self._filed:
            raise UnknownNameError(self._kind, name, known=self._filed, hint=self._hint)
        return self._filed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._filed

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._filed))

    def __len__(self) -> int:
        return len(self._filed)
