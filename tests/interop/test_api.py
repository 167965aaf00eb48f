"""The local API over TCP, tried by a tool that knows nothing of it but its document: docs/openapi.json."""

import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from product import Broker, RustNode

DOCUMENT = Path(__file__).parents[2] / "docs/openapi.json"
SEED = 4711

# Streams do not end by themselves.
STREAMS = ["/v1/events", "/v1/topics/stream"]
# These change in which meshes the node is, and so what all others are asked about: they come last.
MESHES = ["/v1/mesh/create", "/v1/mesh/join", "/v1/mesh/broker", "/v1/mesh/leave", "/v1/mesh/recover"]
# What the document allows can still be refused for what there is: a message that nobody has sent, a node that is not there. The others
# are about resources of the usual kind (created by POST, deleted by DELETE), and want a second identity.
NOT_MEANT = ["positive_data_acceptance", "use_after_free", "ensure_resource_availability", "object_level_authorization"]


@pytest.fixture(scope="module")
def listening(tmp_path_factory) -> tuple[str, str]:
    """Where a node listens, and a token for everything."""
    folder = tmp_path_factory.mktemp("api")
    folder.chmod(0o700)
    node = RustNode(folder, "alpha", Broker(folder).url)
    token = node.run("node", "token", "create", "stranger", "--scope", "admin")["token"]
    node.process.stop()
    (node.state / "config.toml").write_text('listen = "127.0.0.1:0"\n')
    node.start(folder)
    return node.run("node", "status")["listen"], token


def tried(listening: tuple[str, str], folder: Path, *which: str) -> int:
    """How many requests were made, none of them answered in another way than the document says."""
    address, token = listening
    command = [Path(sys.executable).parent / "schemathesis", "run", DOCUMENT, "--url", f"http://{address}"]
    command += ["--header", f"Authorization: Bearer {token}", "--seed", str(SEED), "--max-examples", "3"]
    command += ["--phases", "examples,coverage,fuzzing", "--no-shrink", "--continue-on-failure", "--warnings", "off"]
    command += ["--checks", "all", "--exclude-checks", ",".join(NOT_MEANT), "--request-timeout", "10", *which]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: PLW1510
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def paths(flag: str, of: list[str]) -> list[str]:
    return [word for path in of for word in (flag, path)]


def test_every_answer_is_one_that_the_document_has(listening, tmp_path, figures):
    cases = tried(listening, tmp_path, *paths("--exclude-path", STREAMS + MESHES))
    cases += tried(listening, tmp_path, *paths("--include-path", MESHES))
    assert cases > 1_000
    figures["requests by the local API's document, by schemathesis"] = cases
    connection = http.client.HTTPConnection(listening[0], timeout=10)
    connection.request("GET", "/v1/health", headers={"Authorization": f"Bearer {listening[1]}"})
    health = json.load(connection.getresponse())
    assert health["live"], "and the node is as it was"
