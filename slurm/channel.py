"""JSON objects, one per line, over a connected stream socket."""

import json
import socket
from collections.abc import Iterator
from typing import Any


class Channel:
    """One end of a conversation. If it is closed, or its process dies, the other end notices that as ``closed``."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self.closed = False

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Raises ``OSError`` where the other end is gone."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Iterator[dict[str, Any]]:
        """The complete messages that one read brings; waits if there is nothing to read. At the end there are none, and
        ``closed`` is set. Half a line at the end is dropped: its sender died while writing."""
        try:
            chunk = self._socket.recv(1 << 16)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self.closed = True
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def close(self) -> None:
        self.closed = True
        self._socket.close()
