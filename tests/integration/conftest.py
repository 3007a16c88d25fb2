"""One real Ray cluster of two CPUs for the whole test run, and one finished study on it."""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.integration.small_study import study
from wetakd import Study
from wetakd.cluster.ray_cluster import set_switches

MEBIBYTE = 2**20


@pytest.fixture(scope="session")
def ray_cluster():
    """Started by the first test that asks for it; the dashboard lets Train's worker groups give their CPUs back."""
    # The socket paths below it may not be longer than about 100 characters.
    folder = tempfile.mkdtemp(prefix="wetakd-ray-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))
        set_switches()
        try:
            ray.init(
                address="local",
                num_cpus=2,
                object_store_memory=300 * MEBIBYTE,
                include_dashboard=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def finished(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of the small study, and its result."""
    folder = tmp_path_factory.mktemp("study")
    return folder, Study(study(folder)).run()
