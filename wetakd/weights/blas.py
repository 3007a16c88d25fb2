"""One BLAS thread while we count."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep the matrix library to one thread, where `threadpoolctl` is installed (scikit-learn brings it).

    Our products are small: a second thread gains little on idle cores and, spinning, loses a factor of ten and more on
    busy ones.
    """
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
