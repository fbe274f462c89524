"""A real standalone Spark cluster on this machine's loopback: one master and two workers."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLDEST = 17  # the Java that Spark 4 asks for
PATIENCE = 300  # seconds for a process to say that it is up, on a machine that is busy
LIGHT = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # these Javas live too short to optimise


def absent() -> str:
    """Why Spark cannot run here; nothing if it can."""
    if not shutil.which("java"):
        return "java is not on the path"
    done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    if not found or int(found[1]) < OLDEST:
        return f"java {found[1] if found else '?'} is older than {OLDEST}"
    with on_path():
        if importlib.util.find_spec("pyspark") is None:
            return "pyspark is not installed; `make .venv` adds it where java is on the path"
    return ""


@contextmanager
def on_path() -> Iterator[None]:
    """Let pyspark be found for a while, where `make .venv` puts it.

    pandera loads any Spark that it can find, which warns of pandas 3 and takes seconds.
    """
    folder = str(Path(sys.prefix) / "spark")
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@dataclass
class Cluster:
    """The master's address, the workers' processes and a session whose executors they run."""

    master: str
    workers: list[subprocess.Popen[bytes]]
    session: Any

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its executors at once, as a machine that loses its power would."""
        listed = subprocess.run(
            ["ps", "-axo", "pid,ppid"], capture_output=True, text=True, check=True
        )
        rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()[1:]]
        children = [pid for pid, parent in rows if parent == worker.pid]
        for pid in (worker.pid, *children):
            os.kill(pid, signal.SIGKILL)
        worker.wait()


@contextmanager
def cluster(
    folder: Path, memory: str = "512m", java: str = LIGHT, split: str = "256k"
) -> Iterator[Cluster]:
    """Start it, and take it down again; everything listens on 127.0.0.1 only.

    The defaults suit tests: Javas that start quickly, and small files in many splits. A measurement
    gives Spark what it has elsewhere.
    """
    with on_path():
        import pyspark
        from pyspark.sql import SparkSession

    home = Path(pyspark.__file__).parent
    env = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": LIGHT,
        "SPARK_NO_DAEMONIZE": "1",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with open(folder / f"{name}.log", "wb") as log:
            command = [str(home / "bin" / "spark-class"), *arguments]
            process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
        started.append(process)
        return process

    def said(name: str, words: str) -> str:
        for _ in range(PATIENCE * 10):
            found = re.search(words, (folder / f"{name}.log").read_text("utf-8", "replace"))
            if found:
                return found[0]
            time.sleep(0.1)
        raise TimeoutError((folder / f"{name}.log").read_text("utf-8", "replace")[-2000:])

    session = None
    try:
        package = "org.apache.spark.deploy"
        here = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        start("master", f"{package}.master.Master", *here)
        master = said("master", r"spark://127\.0\.0\.1:\d+")
        room = ("--cores", "1", "--memory", "4g")
        workers = [
            start(name, f"{package}.worker.Worker", *here, *room, "--work-dir", name, master)
            for name in ("one", "two")
        ]
        for name in ("one", "two"):
            said(name, "Successfully registered with master")
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        session = (
            SparkSession.builder.master(master)
            .appName("evalkit")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.extraJavaOptions", java)
            .config("spark.executor.extraJavaOptions", java)
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.executor.memory", memory)
            .config("spark.executor.cores", "1")
            .config("spark.sql.shuffle.partitions", "4")
            .config("spark.sql.files.maxPartitionBytes", split)
            .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        yield Cluster(master, workers, session)
    finally:
        os.environ.pop("SPARK_LOCAL_IP", None)
        if session is not None:
            session.stop()
        for process in reversed(started):
            process.kill()
            process.wait()
        for name in [name for name in sys.modules if name.split(".")[0] in ("pyspark", "py4j")]:
            del sys.modules[name]
