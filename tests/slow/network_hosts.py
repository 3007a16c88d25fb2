"""Two hosts on one machine: a network, a /tmp and a /dev/shm of their own each, joined by one cable.

Needs root. On the first host run MLflow on PostgreSQL, storage that speaks S3, and Ray's head.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
HEAD, WORKER = "10.77.0.1", "10.77.0.2"
STORAGE = f"s3://wetakd?endpoint_override={HEAD}:9000&scheme=http&region=us-east-1&allow_bucket_creation=true"
MLFLOW = f"http://{HEAD}:5000"
# What a host sees of this machine's /tmp is the checkout, where it lies there, and nothing else.
_PRIVATE = """
set -e
mount --bind "$1" /mnt
mount -t tmpfs tmpfs /tmp && chmod 1777 /tmp
mount -t tmpfs -o size=600m tmpfs /dev/shm
if [ ! -e "$1" ]; then mkdir -p "$1" && mount --bind /mnt "$1"; fi
ip link set lo up
exec sleep infinity
"""


def missing() -> str | None:
    """Why this machine cannot play two hosts."""
    if os.geteuid() != 0:
        return "two hosts need root"
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "two hosts need ip and nsenter"
    if POSTGRES is None:
        return "two hosts need PostgreSQL"
    return None


@dataclass(frozen=True)
class Host:
    """One of them, held by a process that sleeps in its namespaces."""

    name: str
    address: str
    holder: int
    environment: dict[str, str]

    def command(self, *words: str) -> list[str]:
        """`words`, run on this host."""
        return ["nsenter", f"--target={self.holder}", "--mount", "--net", f"--wd={ROOT}", "--", *words]

    def run(self, *words: str, timeout_s: float = 300.0) -> str:
        """Run a command to its end; returns what it printed."""
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        """All processes in its network, but for the one that holds it."""
        mine, found = os.readlink(f"/proc/{self.holder}/ns/net"), []
        for process in psutil.process_iter():
            try:
                if os.readlink(f"/proc/{process.pid}/ns/net") == mine and process.pid != self.holder:
                    found.append(process)
            except OSError:
                continue
        return found

    def works(self) -> bool:
        """Whether a process of Ray computes something here."""
        return any(_title(process).startswith(("ray::network:", "ray::_StudentTrial")) for process in self.processes())


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Head and worker host with everything that runs on them; `folder` gets their logs."""
    tag = secrets.token_hex(2)
    cable = (f"wkh{tag}", f"wkw{tag}")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with ExitStack() as stack:
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        head, worker = (
            stack.enter_context(_host(name, address, folder, token))
            for name, address in zip(cable, (HEAD, WORKER), strict=True)
        )
        stack.enter_context(_servers(head, folder))
        start_ray(head, "--head", f"--dashboard-host={HEAD}", "--num-cpus=1")
        start_ray(worker, f"--address={HEAD}:6379", "--num-cpus=1")
        yield head, worker


def ip(*words: str) -> None:
    """Set up the network."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _host(name: str, address: str, folder: Path, token: dict[str, str]) -> Iterator[Host]:
    ip("netns", "add", name)
    held = ["ip", "netns", "exec", name, "unshare", "--mount", "--propagation=private"]
    holder = subprocess.Popen([*held, "bash", "-c", _PRIVATE, "host", str(ROOT)])
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "WETAKD_", "MLFLOW_"))}
    ours |= token | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), ours["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "RAY_ADDRESS": f"{HEAD}:6379",
        "WETAKD_STORAGE": STORAGE,
        "MLFLOW_TRACKING_URI": MLFLOW,
        # A host that is cut off is given up after some seconds instead of a minute.
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "3000",
        "RAY_health_check_failure_threshold": "4",
    }
    host = Host(name, address, holder.pid, ours)
    try:
        _wait(lambda: "sleep" in _title(psutil.Process(holder.pid)), 20, f"host {name}")
        ip("link", "set", name, "netns", name)
        ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
        ip("-n", name, "link", "set", name, "up")
        yield host
    finally:
        for process in host.processes():
            process.send_signal(signal.SIGKILL)
        holder.kill()
        holder.wait()
        ip("netns", "del", name)


@contextmanager
def _servers(head: Host, folder: Path) -> Iterator[None]:
    """Storage, PostgreSQL and MLflow; they end with their host."""
    moto = head.command(sys.executable, "-m", "moto.server", "-H", HEAD, "-p", "9000")
    database = (
        f"set -e; mkdir /tmp/pg; chown postgres /tmp/pg; cd /tmp/pg; as='runuser -u postgres --'; bin={POSTGRES}; "
    )
    database += "$as $bin/initdb --auth=trust -D /tmp/pg/data >/dev/null; "
    database += "echo 'host all all 10.77.0.0/24 trust' >> /tmp/pg/data/pg_hba.conf; "
    database += f"exec $as $bin/postgres -D /tmp/pg/data -k /tmp/pg -h {HEAD}"
    mlflow = head.command(
        *(sys.executable, "-m", "mlflow", "server", "--host", HEAD, "--port", "5000", "--workers", "1"),
        *("--allowed-hosts", f"{HEAD}:5000", "--artifacts-destination", "s3://wetakd/mlflow"),
    )
    settings = {
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://postgres@{HEAD}:5432/postgres",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{HEAD}:9000",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    _start(moto, head.environment, folder / "storage.log")
    _start(head.command("bash", "-c", database), head.environment, folder / "postgres.log")
    _wait(lambda: _succeeds(head, f"{POSTGRES}/pg_isready", "-h", HEAD), 60, "PostgreSQL")
    _start(mlflow, head.environment | settings, folder / "mlflow.log")
    _wait(lambda: _answers(head, f"{MLFLOW}/health"), 180, "MLflow")
    _wait(lambda: _answers(head, f"http://{HEAD}:9000/moto-api/"), 60, "storage")
    yield


def start_ray(host: Host, *words: str) -> None:
    """Join the host to the cluster, or begin it."""
    ports = ["--min-worker-port=0", "--max-worker-port=0", f"--node-ip-address={host.address}", "--disable-usage-stats"]
    memory = f"--object-store-memory={200 * 2**20}"
    host.run(sys.executable, "-m", "ray.scripts.scripts", "start", *words, *ports, memory, timeout_s=120)


def _start(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as stream:
        subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True)


def _succeeds(host: Host, *words: str) -> bool:
    return subprocess.run(host.command(*words), env=host.environment, capture_output=True, check=False).returncode == 0


def _answers(host: Host, url: str) -> bool:
    script = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=5)"
    return _succeeds(host, sys.executable, "-c", script)


def _wait(ready, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, f"{what} does not start"
        time.sleep(0.5)
