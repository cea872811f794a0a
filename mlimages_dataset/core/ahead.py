"""Items that another thread makes while the last ones are used: reading apart from computing."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_Item = TypeVar("_Item")


class _End:
    """Stands behind the last item, with what ended them early."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Maker(Generic[_Item]):
    """Makes items in a thread until somebody wants no more."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self._items = items
        self._made: queue.Queue[_Item | _End] = queue.Queue(1)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, daemon=True)

    def used(self) -> Generator[_Item, None, None]:
        """Yield the items; at the end, however it comes, the thread has ended."""
        self._thread.start()
        try:
            while not isinstance(item := self._made.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self._unwanted.set()
            with contextlib.suppress(queue.Empty):
                self._made.get_nowait()  # a place for what it is about to hand over
            self._thread.join()

    def _make(self) -> None:
        error: BaseException | None = None
        items = iter(self._items)
        try:
            with contextlib.ExitStack() as at_the_end:
                if isinstance(items, Generator):
                    at_the_end.callback(items.close)
                for item in items:
                    self._made.put(item)
                    if self._unwanted.is_set():
                        break
        except BaseException as raised:  # noqa: BLE001 - the other thread raises it
            error = raised
        if not self._unwanted.is_set():
            self._made.put(_End(error))


def ahead(items: Iterable[_Item]) -> Generator[_Item, None, None]:
    """Yield items in their order, of which a thread makes two more meanwhile.

    Raises:
        Exception: what making them raises, in its place.
    """
    return _Maker(items).used()
