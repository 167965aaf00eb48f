"""A broker that lies, as far as a node can tell: between a node and the true one, changing what comes from there."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from second.encoding import FRAME, frame, read_frame
from second.link import SUBPROTOCOL
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

Change = Callable[[str, dict], dict]


@contextlib.contextmanager
def relay(port: int, change: Change) -> Iterator[tuple[str, int]]:
    """Where a node finds it. Every frame of the broker on this port passes through `change`."""

    def passed_on(node: ServerConnection) -> None:
        with connect(
            f"ws://127.0.0.1:{port}/v1/link", subprotocols=[SUBPROTOCOL], compression=None, max_size=FRAME, proxy=None
        ) as broker:
            upward = threading.Thread(target=pump, args=(node, broker, lambda data: data), daemon=True)
            upward.start()
            pump(broker, node, changed)
            node.close()
            upward.join(5)

    def changed(data: bytes) -> bytes:
        name, body = read_frame(data)
        return frame(name, change(name, body))

    def pump(source, sink, through) -> None:
        with contextlib.suppress(ConnectionClosed):
            for data in source:
                sink.send(through(data))
        sink.close()

    with serve(passed_on, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None, max_size=FRAME) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.socket.getsockname()[:2]
        finally:
            server.shutdown()


def once(change: Change) -> Change:
    """Until it has changed something, and then no more."""
    done = []

    def only_once(name: str, body: dict) -> dict:
        if done:
            return body
        other = change(name, body)
        if other is not body:
            done.append(True)
        return other

    return only_once


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
