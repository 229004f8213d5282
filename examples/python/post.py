"""Hands one packet to the Paquebot client on this machine, over HTTP or its unix socket, with
nothing but Python's standard library.

The packet is on disk when this prints its id.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import time
from urllib.parse import quote, urlsplit


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("paquebot", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect(door: str, timeout: float = 60) -> http.client.HTTPConnection:
    if door.startswith("unix:"):
        return UnixConnection(door.removeprefix("unix:"), timeout)
    return http.client.HTTPConnection(urlsplit(door).netloc, timeout=timeout)


def post(door: str, target: str, data: bytes, content_type: str, patience_s: float = 30) -> dict:
    """Posts a packet until it is stored; the answer has its id."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            connection = connect(door)
            path = "/v1/packets/" + quote(target, safe="")
            connection.request("POST", path, data, {"Content-Type": content_type})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status < 300:
                return body
            why = f"{answer.status} {body.get('detail', answer.reason)}"
            if answer.status not in (429, 503):  # full, or stopping: these pass; others do not
                raise SystemExit(f"not taken: {why}")
            pause = float(answer.getheader("Retry-After", 1))
        except OSError as error:  # no client is there, or it went away before it answered
            why, pause = str(error), 1.0
        if time.monotonic() + pause > give_up:
            raise SystemExit(f"not stored within {patience_s:g} s: {why}")
        time.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hands one packet over, and prints its id.")
    parser.add_argument("target")
    parser.add_argument("data", nargs="?", help="the data; default: standard input")
    parser.add_argument("--door", default="http://127.0.0.1:7036", help="or unix:/path")
    parser.add_argument("--content-type", default="application/octet-stream")
    parser.add_argument("--patience", type=float, default=30, metavar="SECONDS")
    arguments = parser.parse_args()
    data = sys.stdin.buffer.read() if arguments.data is None else arguments.data.encode()
    answer = post(
        arguments.door, arguments.target, data, arguments.content_type, arguments.patience
    )
    print(answer["id"])


if __name__ == "__main__":
    main()
