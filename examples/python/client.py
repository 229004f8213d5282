"""A client of Paquebot in Python: packets are on disk before `store` returns, and stay there
until the server says that they are handled.

    with Client("till-17", "orders.spool", "127.0.0.1:7035") as client:
        packet_id = client.store("orders.till-17", b'{"total": 17}')
        client.wait()

It was written from docs/protocol.md alone; the numbers in the comments are that page's sections.
It leaves out what a client may leave out: time to live, skips, retirement of lanes.
"""

from __future__ import annotations

import argparse
import logging
import random
import select
import socket
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import wire
from spool import Spool
from wire import Run, WireError

log = logging.getLogger("paquebot")

CONNECT_S, PING_S, SILENCE_S = 10.0, 10.0, 30.0  # (12)
BACK_OFF_S, BACK_OFF_MAX_S = 0.1, 30.0  # (8)
REFUSED_RUN_S = 300.0  # (13)
RAMP_MAX = 4096  # (9, "Pause")
WRITE_AHEAD = 1 << 20  # bytes that wait for the socket; the rest waits on the disk


@dataclass
class Lane:
    """A lane on one connection (9)."""

    lane: int
    target: str
    generation: int = 0
    state: str = "closed"  # opening, open, paused
    window: int = 0
    sent: int = 0  # the last number that was sent on this opening
    unacked: deque = field(default_factory=deque)  # (last, bytes) of what was sent
    unacked_bytes: int = 0
    ramp: int | None = None  # after a pause: how many packets at a time
    again_at: float = 0.0

    def close(self) -> None:
        self.unacked.clear()
        self.unacked_bytes = 0

    def acked(self, through: int) -> int:
        """Gives the window back; returns how many bytes of it."""
        given = 0
        while self.unacked and self.unacked[0][0] <= through:
            given += self.unacked.popleft()[1]
        self.unacked_bytes -= given
        if self.ramp and not self.unacked:
            self.ramp = self.ramp * 2 if self.ramp < RAMP_MAX else None
        return given


class Rekey(Exception):
    """The server and this spool mean different packets by the same name."""


class ComeAgain(Exception):
    """The connection ended; not an error."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Connection:
    """One connection, from the preamble to its end. It sends only what the spool has on disk."""

    def __init__(self, client: Client, sock: socket.socket) -> None:
        self._client, self._spool, self._socket = client, client.spool, sock
        self._reader, self._out = wire.Reader(), bytearray(wire.PREAMBLE)
        self._lanes: dict[int, Lane] = {}
        self._limits: dict | None = None
        self._unacked_bytes = 0
        self._drops: dict[int, int] = {}
        self.welcomed = False

    def live(self) -> None:
        spool = self._spool
        self._say("hello", {
            "version": wire.VERSION, "spool": spool.id, "replaces": spool.replaces,
            "opened": spool.opened, "nonce": spool.nonce, "client": self._client.name,
            "program": "paquebot examples/python",
        })
        self._socket.setblocking(False)
        connected_at = heard_at = pinged_at = time.monotonic()
        while not self._client.stopping:
            readable, writable = [self._socket, self._client.woken], []
            if self._out:
                writable.append(self._socket)
            readable, writable, _ = select.select(readable, writable, [], 0.2)
            now = time.monotonic()
            if self._client.woken in readable:
                self._client.woken.recv(4096)
            if self._socket in readable:
                self._receive()
                heard_at = pinged_at = now
            if not self.welcomed and now - connected_at > CONNECT_S:
                raise ComeAgain("no welcome in time")
            if now - heard_at > SILENCE_S:
                raise ComeAgain("the server is silent")
            if self.welcomed:
                if now - pinged_at > PING_S:
                    self._say("ping", int(now))
                    pinged_at = now
                self._open_lanes(now)
                for lane in self._lanes.values():
                    self._send_runs(lane)
            if self._out:
                self._write()
        self._say("bye", "the client is stopping")
        self._write()

    # ------------------------------------------------------------------------ the socket

    def _say(self, name: str, value) -> None:
        self._out += wire.control(name, value)

    def _write(self) -> None:
        try:
            del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass

    def _receive(self) -> None:
        arrived = self._socket.recv(1 << 18)
        if not arrived:
            raise ComeAgain("the server closed the connection")
        for name, value in self._reader.feed(arrived):
            hear = getattr(self, f"_hear_{name}", None)
            if hear is None:
                raise WireError(f"the server sent an unknown frame: {name}")
            hear(value)
        if self._drops:
            # All that these frames acked in one commit. If it is lost, the packets go out again,
            # and the server knows them.
            self._spool.drop(self._drops)
            self._drops = {}
            self._client.tell_handled()

    # ------------------------------------------------------------------------- sending

    def _open_lanes(self, now: float) -> None:
        questions = []
        for number, target, first, next_ in self._spool.lanes():
            if number not in self._lanes:
                if len(self._lanes) >= self._limits["lanes_max"]:
                    continue
                self._lanes[number] = Lane(number, target)
            lane = self._lanes[number]
            if lane.state == "closed" or (lane.state == "paused" and now >= lane.again_at):
                lane.state, lane.generation = "opening", lane.generation + 1
                questions.append({
                    "lane": number, "generation": lane.generation, "target": target,
                    "first": first, "next": next_,
                })
        # In parts: a frame, too, has its limit.
        for at in range(0, len(questions), 500):
            self._say("open_lane", questions[at : at + 500])

    def _send_runs(self, lane: Lane) -> None:
        while lane.state == "open" and len(self._out) < WRITE_AHEAD:
            if lane.unacked and (  # a lane with nothing unacked may always send one run (10)
                lane.ramp
                or lane.unacked_bytes >= lane.window
                or self._unacked_bytes >= self._limits["window_bytes"]
            ):
                return
            raw = self._spool.run_with(lane.lane, lane.sent + 1)
            if raw is None:
                return
            run = Run.decoded(raw)
            if run.first <= lane.sent or lane.ramp:
                first = max(run.first, lane.sent + 1)
                run = run.part(first, lane.ramp or len(run.records))
                raw = run.encoded()
            frame = wire.run_frame(lane.lane, lane.generation, raw)
            if len(frame) - wire.HEAD.size > self._limits["frame_bytes_max"]:
                self._pause(lane, REFUSED_RUN_S, "a packet is longer than this server takes")
                return
            self._out += frame
            lane.sent = run.last
            lane.unacked.append((run.last, len(raw)))
            lane.unacked_bytes += len(raw)
            self._unacked_bytes += len(raw)

    def _pause(self, lane: Lane, after_s: float, reason: str) -> None:
        log.warning("%s waits for %.1f s: %s", lane.target, after_s, reason)
        self._unacked_bytes -= lane.unacked_bytes
        lane.close()
        lane.state, lane.ramp, lane.again_at = "paused", 1, time.monotonic() + after_s

    # ------------------------------------------------------------------------- hearing

    def _hear_welcome(self, said: dict) -> None:
        if said["version"] != wire.VERSION:
            raise WireError(f"the server wants version {said['version']}, this is {wire.VERSION}")
        self._limits, self.welcomed = said["limits"], True
        if not self._spool.meets(said["ledger"]):
            log.warning("another ledger: what the old one handled and did not ack comes again")
        log.info("connected to %s", said.get("program"))

    def _hear_refused(self, said: dict) -> None:
        if said["code"] == "rekey":
            raise Rekey(said["message"])
        after_s = (said.get("retry_after_ms") or 0) / 1000
        raise ComeAgain(f"refused ({said['code']}): {said['message']}", after_s)

    def _hear_lane_opened(self, answers: list[dict]) -> None:
        for said in answers:
            lane = self._lanes.get(said["lane"])
            if lane is None or lane.state != "opening" or lane.generation != said["generation"]:
                continue
            cursor, chain = said["cursor"], said.get("chain")
            first, next_ = self._spool.bounds(lane.lane)
            if cursor < first - 1:
                raise WireError(f"the cursor of lane {lane.lane} is {cursor}, below {first - 1}")
            if cursor >= next_ or (chain is None and cursor > first - 1):
                raise Rekey(f"lane {lane.lane}: the ledger has packets that this spool never had")
            if chain is not None and chain != self._spool.chain_at(lane.lane, cursor):
                raise Rekey(f"lane {lane.lane}: the ledger has another history")
            self._client.tell_dead(lane.lane, said.get("dead", []), "")
            self._final(lane, cursor)
            lane.state, lane.window, lane.sent = "open", said["window_bytes"], cursor

    def _hear_ack(self, acks: list) -> None:
        for number, through, *_ in acks:
            lane = self._lanes.get(number)
            if lane is None or through > lane.sent:
                raise WireError(f"an ack of lane {number} for what was not sent: {through}")
            self._unacked_bytes -= lane.acked(through)
            self._final(lane, through)

    def _final(self, lane: Lane, through: int) -> None:
        self._drops[lane.lane] = max(through, self._drops.get(lane.lane, 0))

    def _hear_dead(self, said: dict) -> None:
        self._client.tell_dead(said["lane"], said["numbers"], said.get("reason", ""))

    def _hear_pause(self, said: dict) -> None:
        lane = self._lanes.get(said["lane"])
        if lane and lane.state == "open" and lane.generation == said["generation"]:
            self._pause(lane, said["retry_after_ms"] / 1000, said.get("reason", ""))

    def _hear_refuse_run(self, said: dict) -> None:
        lane = self._lanes.get(said["lane"])
        if lane and lane.state == "open" and lane.generation == said["generation"]:
            self._pause(lane, REFUSED_RUN_S, f"the server refused a run: {said['code']}")

    def _hear_ping(self, number: int) -> None:
        self._say("pong", number)

    def _hear_pong(self, _number: int) -> None:
        pass

    def _hear_bye(self, reason: str) -> None:
        raise ComeAgain(f"the server said bye: {reason}")


class Client:
    """Stores packets, and has a thread that brings them to the server, however often it is cut."""

    def __init__(self, name: str, spool: str, *servers: str) -> None:
        self.name, self.spool, self.stopping = name, Spool(spool), False
        self.dead: list[tuple[str, str]] = []  # ids and reasons of dead letters
        self.woken, self._waker = socket.socketpair()
        self.woken.setblocking(False)
        self._waker.setblocking(False)
        self._handled = threading.Condition()
        self._servers = [_address(server) for server in servers]
        self._thread = threading.Thread(target=self._run, name="paquebot", daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def store(self, target: str, data: bytes, **meta) -> str:
        """Stores one packet and returns its id; from then on it survives a crash."""
        return self.store_all(target, [data], **meta)[0]

    def store_all(self, target: str, datas: list[bytes], **meta) -> list[str]:
        """Stores packets in one commit. `meta`: content_type, headers, traceparent (4)."""
        now_ms = time.time_ns() // 1_000_000
        ids = self.spool.append(target, [wire.record(now_ms, data, meta) for data in datas])
        self._wake()
        return ids

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until everything that was stored is handled, or dead; false when it takes longer."""
        with self._handled:
            return self._handled.wait_for(lambda: not self.spool.lanes(), timeout_s)

    def close(self) -> None:
        """Ends the connection. What is not handled stays in the spool for the next time."""
        self.stopping = True
        self._wake()
        self._thread.join()
        self.spool.close()

    def tell_handled(self) -> None:
        with self._handled:
            self._handled.notify_all()

    def tell_dead(self, lane: int, numbers: list[int], reason: str) -> None:
        for number in numbers:
            packet_id = self.spool.packet_id(lane, number)
            log.warning("%s is a dead letter: %s", packet_id, reason)
            self.dead.append((packet_id, reason))

    def _wake(self) -> None:
        try:
            self._waker.send(b"!")
        except BlockingIOError:
            pass  # it is being woken already

    def _run(self) -> None:
        ceiling, attempt = BACK_OFF_S, 0
        while not self.stopping:
            address = self._servers[attempt % len(self._servers)]
            attempt, after_s, welcomed = attempt + 1, 0.0, False
            try:
                with socket.create_connection(address, timeout=CONNECT_S) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection = Connection(self, sock)
                    try:
                        connection.live()
                    finally:
                        welcomed = connection.welcomed
            except Rekey as reason:
                self.spool.rekey()
                log.error("the spool has a new name, packets may come twice: %s", reason)
            except ComeAgain as reason:
                after_s = reason.after_s
                log.warning("%s", reason)
            except (OSError, WireError) as reason:
                log.warning("the connection ended: %s", reason)
            ceiling = BACK_OFF_S if welcomed else min(ceiling * 2, BACK_OFF_MAX_S)
            until = time.monotonic() + max(random.uniform(0, ceiling), after_s)
            while not self.stopping and time.monotonic() < until:
                time.sleep(min(0.05, max(0.0, until - time.monotonic())))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hands over each line of standard input.")
    parser.add_argument("target")
    parser.add_argument("--server", action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--spool", default="paquebot.spool", metavar="FILE")
    parser.add_argument("--client", default=socket.gethostname(), metavar="ID")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait at the end")
    arguments = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    with Client(arguments.client, arguments.spool, *arguments.server) as client:
        for line in sys.stdin.buffer:
            # The id is printed when the packet is on disk, not before.
            print(client.store(arguments.target, line.rstrip(b"\n")), flush=True)
        if not client.wait(arguments.timeout):
            log.error("not everything is handled yet; the rest goes with the next start")
            return 75
        return 65 if client.dead else 0


if __name__ == "__main__":
    sys.exit(main())
