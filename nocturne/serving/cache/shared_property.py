"""A property that views of the same thing share: whichever is asked first works it out for all."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SharedProperty(Generic[Result]):
    """A property like `functools.cached_property`, kept in the `shared` that all copies of an object have in common."""

    def __init__(self, work: Callable[[Any], Result]) -> None:
        self._work = work
        self.__doc__ = work.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, _owner: type | None = None) -> Result:
        shared: dict[str, Result] = instance.shared
        if self._name not in shared:
            shared[self._name] = self._work(instance)
        value = instance.__dict__[self._name] = shared[self._name]  # found there from now on
        return value
