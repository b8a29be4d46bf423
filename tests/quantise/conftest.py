"""Quantised networks that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from quantisable import NETWORKS, quantised

from ellc.quantise.quantising import Quantised


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Quantised]:
    """A function that returns a network of `NETWORKS`, quantised once."""

    @cache
    def of(name: str) -> Quantised:
        return quantised(NETWORKS[name](), tmp_path_factory.mktemp("drawn"))

    return of
