"""One thread for linear algebra: small products lose time to more, and sums in another order would
move last digits, so that a number would depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _blas(scipy: bool) -> Any:
    """The BLAS libraries of this process: numpy's, and scipy's own once it is loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, in which linear algebra runs on one thread.

    Examples
    --------
    >>> import numpy as np
    >>> float(one_thread(np.dot)(np.ones(3), np.ones(3)))
    3.0
    """

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        blas = _blas("scipy.linalg" in sys.modules)
        if all(library.get_num_threads() == 1 for library in blas.lib_controllers):
            return function(*args, **kwargs)
        with blas.limit(limits=1):
            return function(*args, **kwargs)

    return alone
