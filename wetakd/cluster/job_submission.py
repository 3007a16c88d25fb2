"""Studies as jobs of a Ray cluster: thin over `ray.job_submission`, for those who like one tool.

The study's folder is uploaded and `wetakd run` runs on the cluster's head; what it computes, the workers compute. Token
authentication is Ray's own matter: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wetakd.common.errors import UserError, first_line
from wetakd.common.redact import has_credentials, redact
from wetakd.config.study_file import load_study_file

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
# What a shell says about where studies go is said to the job, too.
_PASSED_ON = ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI")
# A study that is stopped has this long to close its runs, of which there may be hundreds; Ray's own word is 3 s.
_LAST_WORDS = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}
_STUDY = "wetakd.study"
# They tell of uploads and closed connections at a level that is on by default.
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_JOB_POLL_S = 0.5
_STOP_S = 60.0


@dataclass(frozen=True)
class JobState:
    """A job as the cluster has it."""

    job: str
    study: str
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    message: str
    started: float | None
    """Seconds since the epoch."""
    exit_code: int | None
    """Of `wetakd run`; None while it runs, and where it was stopped."""

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, in one way or another."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


class Cluster:
    """The jobs of one cluster.

    Every method raises UserError where the cluster does not answer, wants a token, or knows no such job.
    """

    def __init__(self, address: str) -> None:
        """`address`: of the dashboard, http://host:8265."""
        if not address.startswith(("http://", "https://")):
            plain = address.rpartition("@")[2]
            raise UserError(f"--address: {plain!r} must be that of the dashboard, such as {DEFAULT_ADDRESS}")
        self._address = address
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        # Ray puts the environment above the argument; here it is the other way round.
        os.environ["RAY_API_SERVER_ADDRESS"] = address

    @cached_property
    def _client(self) -> Any:
        """Connected when it is first asked, so that what needs no cluster is complained of before."""
        from ray.job_submission import JobSubmissionClient

        with self._answering():
            try:
                return JobSubmissionClient(self._address)
            except (RuntimeError, KeyError, TypeError, ValueError) as error:
                reason = redact(f"{type(error).__name__}: {error}", self._address)
                raise UserError(
                    f"--address: {redact(self._address)!r} does not answer as Ray's dashboard ({reason})"
                ) from error

    def submit(self, file: str, overrides: Sequence[str] = (), *, working_dir: str | None = None) -> str:
        """Upload `working_dir` (default: the folder of `file`) and start the study; returns the job's name.

        Left out: .git, .venv, `runs`, and wherever else in it the studies are kept.

        The file is checked here first: a mistake in it raises UserError before anything is sent.
        """
        config = load_study_file(file, overrides)
        study = config.study.name
        passed_on = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
        refuse_secrets({**passed_on, **{f"--set {text.partition('=')[0]}": text for text in overrides}})
        folder = Path(working_dir or Path(file).parent).resolve()
        try:
            inside = Path(file).resolve().relative_to(folder)
        except ValueError:
            raise UserError(f"--working-dir: {str(folder)!r} must hold the study file {file!r}") from None
        changes = [part for override in overrides for part in ("--set", override)]
        with self._answering(folder=folder):
            job: str = self._client.submit_job(
                entrypoint=shlex.join(["python", "-m", "wetakd", "run", str(inside), *changes]),
                submission_id=f"{study}-{uuid.uuid4().hex[:6]}",
                runtime_env={
                    "working_dir": str(folder),
                    "excludes": _excluded(folder, config.storage),
                    "env_vars": _LAST_WORDS | passed_on,
                },
                metadata={_STUDY: study},
            )
        return job

    def jobs(self) -> list[JobState]:
        """The studies' jobs that the cluster remembers, the newest first."""
        with self._answering():
            found = self._client.list_jobs()
        ours = [_state(details) for details in found if _STUDY in (details.metadata or {})]
        return sorted(ours, key=lambda state: state.started or 0.0, reverse=True)

    def job(self, job: str) -> JobState:
        """One job, whoever submitted it."""
        with self._answering(job):
            return _state(self._client.get_job_info(job))

    def stop(self, job: str) -> JobState:
        """Ask a job to end and wait for it, a minute at most; what it has finished stays on storage."""
        with self._answering(job):
            self._client.stop_job(job)
        deadline = time.monotonic() + _STOP_S
        while not (state := self.job(job)).is_over and time.monotonic() < deadline:
            time.sleep(_JOB_POLL_S)
        return state

    def follow(self, job: str, write: Callable[[str], None]) -> JobState:
        """Write the job's output as it comes, until the job is over."""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        with self._answering(job):
            asyncio.run(tail())
        # The output ends a moment before the job is known to be over.
        while not (state := self.job(job)).is_over:
            time.sleep(_JOB_POLL_S)
        return state

    @contextmanager
    def _answering(self, job: str = "", folder: Path | None = None) -> Iterator[None]:
        import aiohttp
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            reason = first_line(error).rstrip(".: ")
            raise UserError(
                f"--address: {redact(self._address)!r} wants another token ({reason}); set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN_PATH to the cluster's token file"
            ) from None
        except (ConnectionError, requests.RequestException, aiohttp.ClientError):
            raise UserError(
                f"--address: {redact(self._address)!r} does not answer as Ray's dashboard; start the cluster, or "
                "open the tunnel to it"
            ) from None
        except RuntimeError as error:
            if folder and ("status code 413" in str(error) or "exceeds the maximum size" in str(error)):
                raise UserError(
                    f"--working-dir: {str(folder)!r} is too large to be uploaded; put what the study does not need "
                    "elsewhere, or name it in .rayignore"
                ) from None
            if "status code 404" not in str(error):
                raise
            raise UserError(f"job {job!r}: the cluster knows no such job; `wetakd status` lists them") from None


def refuse_secrets(texts: Mapping[str, str]) -> None:
    """Raise UserError where one of the texts, by what it is called, holds a URI with credentials.

    A job's command and environment stand in the cluster's dashboard for all to read.
    """
    for name, text in texts.items():
        if has_credentials(text):
            raise UserError(
                f"{name}: has credentials in it, and the cluster shows a job's command and environment to all; give "
                "them to the cluster's nodes, such as by AWS_ACCESS_KEY_ID or MLFLOW_TRACKING_PASSWORD"
            )


def _excluded(folder: Path, storage: str) -> list[str]:
    """What is not uploaded, as patterns of a .gitignore: what studies left here before, and what no study is."""
    excluded = [".git", ".venv", "/runs"]
    path = storage.removeprefix("file://")
    local = Path(path).expanduser().resolve()
    if "://" not in path and local.is_relative_to(folder) and local != folder:
        excluded.append(f"/{local.relative_to(folder)}")
    return excluded


def _state(details: Any) -> JobState:
    return JobState(
        job=details.submission_id or details.job_id,
        study=(details.metadata or {}).get(_STUDY, ""),
        status=details.status.value,
        message=details.message or "",
        started=details.start_time / 1000 if details.start_time else None,
        exit_code=details.driver_exit_code,
    )
