"""The floor that latencies are compared with: one request on a connection that is already open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import requests

from bench.checks import check

if TYPE_CHECKING:
    from typing import Self

    from bench.api import Api
    from bench.corpus import Item
    from bench.storage import Variant


class PlainClient:
    """A plain `requests` session; a context manager.

    Args:
        variant: the storage.
    """

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(variant.authority) if variant.authority else True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def range(self, item: Item, start: int, length: int) -> float:
        """Fetch a range of a file and return the seconds it took."""
        url = self._variant.plain(item.group, item.name)
        began = time.perf_counter()
        response = self._session.get(
            url, headers={"Range": f"bytes={start}-{start + length - 1}"}, timeout=10
        )
        seconds = time.perf_counter() - began
        check(
            len(response.content) == length, f"a plain GET brought {len(response.content)} of {length} bytes"
        )
        return seconds

    def metadata(self, api: Api, item: Item) -> float:
        """Ask the API for a recording and return the seconds it took."""
        began = time.perf_counter()
        response = self._session.get(
            f"{api.url}/recordings/{item.id}", headers={"Authorization": f"Bearer {api.key}"}, timeout=10
        )
        seconds = time.perf_counter() - began
        check(response.status_code == requests.codes.ok, "a plain API request failed")
        return seconds
