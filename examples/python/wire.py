"""Paquebot's bytes: records, runs, the chain and frames, as docs/protocol.md describes them.

Nothing here reads a socket, a file or a clock.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgpack
import xxhash

PREAMBLE = b"PAQUEBOT"
HEAD = struct.Struct(">III")
VERSION = 1
# What the program takes, too: no server has a reason to send more.
FRAME_BYTES_MAX = 16 << 20


class WireError(Exception):
    """The peer, or what lies between, broke the protocol."""


def xxh3(data: bytes, seed: int = 0) -> int:
    return xxhash.xxh3_64_intdigest(data, seed=seed)


# ---------------------------------------------------------------- records and the chain (4, 6)


def record(created_ms: int, data: bytes, meta: dict | None = None) -> bytes:
    return msgpack.packb([created_ms, data, meta] if meta else [created_ms, data])


def chain_start(target: str, lane: int) -> int:
    return xxh3(target.encode(), xxh3(b"paquebot chain 1", lane))


def chain_after(chain: int, one: bytes, nonce: int) -> int:
    return xxh3(struct.pack("<QQ", xxh3(one), nonce), chain)


# ------------------------------------------------------------------------------------ runs (5)


@dataclass(frozen=True)
class Run:
    """Consecutive packets of one lane, born in one opening of one spool."""

    spool: bytes
    nonce: int
    first: int
    chain: int  # before the first
    records: tuple[bytes, ...]

    @property
    def last(self) -> int:
        return self.first + len(self.records) - 1

    def chain_at(self, number: int) -> int:
        """The chain after a packet of the run, or just before the first."""
        chain = self.chain
        for one in self.records[: number - self.first + 1]:
            chain = chain_after(chain, one, self.nonce)
        return chain

    def part(self, first: int, count: int) -> Run:
        """Some of its packets: a run of its own."""
        at = first - self.first
        records = self.records[at : at + count]
        return Run(self.spool, self.nonce, first, self.chain_at(first - 1), records)

    def encoded(self) -> bytes:
        packets = b"".join(map(_boxed, self.records))
        fields = [self.spool, self.nonce, self.first, len(self.records)]
        return msgpack.packb([*fields, self.chain, self._check(), packets])

    @classmethod
    def decoded(cls, raw: bytes) -> Run:
        spool, nonce, first, count, chain, check, packets = msgpack.unpackb(raw)
        # Within `packets` each record is one MessagePack `bin`.
        records = msgpack.Unpacker(max_buffer_size=len(packets) or 1)
        records.feed(packets)
        run = cls(spool, nonce, first, chain, tuple(records))
        if len(run.records) != count or run._check() != check:
            raise WireError(f"the run that begins at {first} is damaged")
        return run

    def _check(self) -> int:
        sealed = self.spool + struct.pack("<QQI", self.nonce, self.first, len(self.records))
        return xxh3(sealed, self.chain_at(self.last))


def _boxed(one: bytes) -> bytes:
    size = len(one)
    head = struct.pack(">BH", 0xC5, size) if size < 65536 else struct.pack(">BI", 0xC6, size)
    return head + one


# -------------------------------------------------------------------------------- frames (2, 7)


def frame(body: bytes) -> bytes:
    length = struct.pack(">I", len(body))
    return HEAD.pack(len(body), _check(length), _check(body)) + body


def control(name: str, value) -> bytes:
    return frame(msgpack.packb({name: value}))


def run_frame(lane: int, generation: int, run: bytes) -> bytes:
    # The run stands in the array as it is, not in a `bin`.
    return frame(b"\x81\xa3run\x93" + msgpack.packb(lane) + msgpack.packb(generation) + run)


def _check(part: bytes) -> int:
    return xxh3(part) & 0xFFFFFFFF


class Reader:
    """Cuts the bytes that arrive into frames, and looks at every check."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._greeted = False

    def feed(self, arrived: bytes) -> list[tuple[str, object]]:
        """The frames that are now whole, as name and value."""
        self._bytes += arrived
        if not self._greeted:
            if not PREAMBLE.startswith(self._bytes[: len(PREAMBLE)]):
                raise WireError("no Paquebot server is there: it began with something else")
            if len(self._bytes) < len(PREAMBLE):
                return []
            del self._bytes[: len(PREAMBLE)]
            self._greeted = True
        frames = []
        while (body := self._next()) is not None:
            value = msgpack.unpackb(body, strict_map_key=True)
            if not isinstance(value, dict) or len(value) != 1:
                raise WireError("a frame is a map with one entry")
            frames.extend(value.items())
        return frames

    def _next(self) -> bytes | None:
        if len(self._bytes) < HEAD.size:
            return None
        length, length_check, body_check = HEAD.unpack_from(self._bytes)
        if _check(bytes(self._bytes[:4])) != length_check:
            raise WireError("a length was damaged on the way")
        if length > FRAME_BYTES_MAX:
            raise WireError(f"a frame of {length} bytes, at most {FRAME_BYTES_MAX} were expected")
        end = HEAD.size + length
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[HEAD.size : end])
        del self._bytes[:end]
        if _check(body) != body_check:
            raise WireError("a frame was damaged on the way")
        return body
