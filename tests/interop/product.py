"""The product's own processes: a broker, and nodes of the `waxwing` program. What is started is stopped, by its process."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

WITHIN = 20


class Process:
    """A program that runs until it is told to stop, with its log."""

    started: ClassVar[list["Process"]] = []

    def __init__(self, log: Path, *words: str):
        self.log = log
        with log.open("ab") as out:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment())
        self.started.append(self)

    def said(self, pattern: str) -> re.Match:
        """The first place of its log that is like this."""
        return eventually(lambda: re.search(pattern, self.log.read_text()), f"{pattern} in {self.log.read_text()}")

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def eventually(probe: Any, what: str, within: float = WITHIN) -> Any:
    end = time.monotonic() + within
    while not (found := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)
    return found


def program() -> str:
    built = Path(__file__).parents[2] / "target/debug/waxwing"
    return os.environ.get("WAXWING", str(built))


def environment() -> dict[str, str]:
    """Nothing of whoever runs this."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


class Broker(Process):
    def __init__(self, folder: Path, *more: str):
        words = [program(), "broker", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        super().__init__(folder / "broker.log", *words, "--data", str(folder / "broker"), *more)
        self.url = self.said(r"(?m)^wss?://\S+")[0]
        self.port = int(re.search(r":(\d+)", self.url)[1])


class RustNode:
    """A node of the product, and its command line."""

    def __init__(self, folder: Path, name: str, broker: str):
        self.name = name
        self.state = folder / name
        self.run("mesh", "create", "interop", "--broker", broker, "--node", name)
        self.start(folder)

    def start(self, folder: Path) -> None:
        self.process = Process(folder / f"{self.name}.log", *self.words("node", "up", "--foreground"))
        eventually(self.is_linked, "the link is up")

    def is_linked(self) -> bool:
        return any(
            mesh["link"]["state"] == "up" for mesh in self.run("node", "status", may_fail=True).get("meshes", [])
        )

    def words(self, *words: str) -> list[str]:
        return [program(), "--state", str(self.state), "--json", *words]

    def run(self, *words: str, may_fail: bool = False) -> dict:
        """A command, and the document it prints."""
        done = subprocess.run(  # noqa: PLW1510
            self.words(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            env=environment(),
        )
        if done.returncode and not may_fail:
            raise AssertionError(f"{words} ended with {done.returncode}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout or "{}")

    def start_command(self, *words: str) -> subprocess.Popen:
        """A command that waits for what the test does meanwhile."""
        return subprocess.Popen(
            self.words(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def members(self) -> list[str]:
        return [member["node"] for member in self.run("members")["members"]]

    def invite(self) -> str:
        return self.run("invite")["token"]
