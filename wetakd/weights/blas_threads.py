"""One BLAS thread while we count."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep the matrix library to one thread, where `threadpoolctl` is installed (scikit-learn brings it).

    Our products are small: a second thread gains little on idle cores and, spinning, loses a factor of ten and more on
    busy ones.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        threadpool_limits = nullcontext
    with threadpool_limits(1):
        yield
