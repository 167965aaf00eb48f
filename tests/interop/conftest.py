import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from product import Broker, Process, RustNode, eventually
from second.node import Node

VECTORS = Path(__file__).parents[2] / "crypto/tests/vectors"


COUNTED = {
    "test_vectors.py": "vectors and their changes, in the second implementation",
    "test_exchange.py": "exchanges of mail between the two",
    "test_rules.py": "rules that a sender breaks, at both ends",
    "test_link.py": "cases of link and login, by Python's websockets",
}
ASIDE: dict[str, int] = {}


@pytest.fixture(scope="session")
def figures() -> dict[str, int]:
    """What a test has counted beside itself."""
    return ASIDE


def pytest_terminal_summary(terminalreporter, exitstatus) -> None:
    """The figures of a whole run, for `.ci/record`."""
    passed = Counter(Path(report.location[0]).name for report in terminalreporter.stats.get("passed", []))
    if exitstatus or terminalreporter.stats.get("deselected") or not all(passed[file] for file in COUNTED):
        return
    counted = [[what, passed[file]] for file, what in COUNTED.items()] + [list(item) for item in ASIDE.items()]
    figures = {
        "what": "Strangers: a second implementation, other WebSocket stacks, the local API by its document",
        "figures": counted,
    }
    terminalreporter.write_line(f"figures: {json.dumps(figures)}")


@pytest.fixture(scope="session")
def vectors():
    """A file of vectors by its name."""
    return lambda name: json.loads((VECTORS / f"{name}.json").read_text())


@pytest.fixture(scope="session", autouse=True)
def _stopped() -> Iterator[None]:
    yield
    for process in reversed(Process.started):
        process.stop()


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mesh")
    path.chmod(0o700)
    return path


@pytest.fixture(scope="session")
def broker(folder) -> Broker:
    return Broker(folder)


@pytest.fixture(scope="session")
def alpha(folder, broker) -> RustNode:
    """The product's node, which founded the mesh."""
    return RustNode(folder, "alpha", broker.url)


@pytest.fixture
def joined(alpha):
    """Makes nodes of ours that have joined, and ends their links."""
    nodes: list[Node] = []

    def one_more(by: tuple[str, int] | None = None) -> Node:
        name = f"py-{os.urandom(4).hex()}"
        node = Node.join(name, alpha.invite())
        eventually(lambda: name in alpha.members(), "the product's node has read the log")
        node.broker.by = by
        node.connect()
        nodes.append(node)
        return node

    yield one_more
    for node in nodes:
        node.disconnect()
