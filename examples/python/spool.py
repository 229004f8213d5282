"""What a client keeps (docs/protocol.md, section 14): an SQLite file whose every commit is synced.

A packet is dropped from it only when the server has a final outcome for it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading

import wire
from wire import Run

RUN_BYTES_MAX = 500 << 10  # the program cuts below 512 KiB, too (5)


class Spool:
    """One process at a time has it; its threads share it."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # EXCLUSIVE: a second process gets "database is locked". WAL with FULL: each commit is
        # one fsync, and nothing comes back after a power cut that was not committed.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(
            """
            CREATE TABLE IF NOT EXISTS spool (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB,
                replaces BLOB, opened INTEGER, nonce BLOB, ledger BLOB);
            CREATE TABLE IF NOT EXISTS lane (lane INTEGER PRIMARY KEY, target TEXT UNIQUE,
                first INTEGER, next INTEGER, chain BLOB);
            CREATE TABLE IF NOT EXISTS run (lane INTEGER, last INTEGER, bytes BLOB,
                PRIMARY KEY (lane, last)) WITHOUT ROWID;
            """
        )
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO spool VALUES (1, ?, NULL, 0, NULL, NULL)", [os.urandom(16)]
            )
            self.nonce = secrets.randbits(64)
            self._db.execute("UPDATE spool SET opened = opened + 1, nonce = ?", [_u64(self.nonce)])
        self._read_identity()
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        os.fsync(folder)  # the file's name, too, has to survive a power cut
        os.close(folder)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def append(self, target: str, records: list[bytes]) -> list[str]:
        """Stores packets; returns their ids once they are synced."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO lane (target, first, next) VALUES (?, 1, 1)", [target]
            )
            lane, next_, chain = self._db.execute(
                "SELECT lane, next, chain FROM lane WHERE target = ?", [target]
            ).fetchone()
            chain = wire.chain_start(target, lane) if chain is None else _int(chain)
            first = next_
            for part in _cut(records):
                run = Run(self.id, self.nonce, next_, chain, tuple(part))
                next_, chain = run.last + 1, run.chain_at(run.last)
                self._db.execute("INSERT INTO run VALUES (?, ?, ?)", [lane, run.last, run.encoded()])
            self._db.execute(
                "UPDATE lane SET next = ?, chain = ? WHERE lane = ?", [next_, _u64(chain), lane]
            )
            return [f"{self.id.hex()}-{lane}-{number}" for number in range(first, next_)]

    def drop(self, through: dict[int, int]) -> None:
        """Lets go of what the server has a final outcome for."""
        with self._transaction():
            for lane, last in through.items():
                self._db.execute("DELETE FROM run WHERE lane = ? AND last <= ?", [lane, last])
                self._db.execute(
                    "UPDATE lane SET first = max(first, ?) WHERE lane = ?", [last + 1, lane]
                )

    def lanes(self) -> list[tuple[int, str, int, int]]:
        """Lane, target, first and next of each lane that holds packets."""
        query = "SELECT lane, target, first, next FROM lane WHERE first < next ORDER BY lane"
        with self._lock:
            return self._db.execute(query).fetchall()

    def bounds(self, lane: int) -> tuple[int, int]:
        """The lane's first and next."""
        query = "SELECT first, next FROM lane WHERE lane = ?"
        with self._lock:
            return self._db.execute(query, [lane]).fetchone()

    def run_with(self, lane: int, number: int) -> bytes | None:
        """The stored run that holds a packet."""
        query = "SELECT bytes FROM run WHERE lane = ? AND last >= ? ORDER BY last LIMIT 1"
        with self._lock:
            row = self._db.execute(query, [lane, number]).fetchone()
        return row and row[0]

    def packet_id(self, lane: int, number: int) -> str:
        """The id that a packet was born with: it keeps that when the spool takes another name."""
        return f"{Run.decoded(self.run_with(lane, number)).spool.hex()}-{lane}-{number}"

    def chain_at(self, lane: int, number: int) -> int:
        """The chain at any number from first - 1 to next - 1."""
        with self._lock:
            target, next_, chain = self._db.execute(
                "SELECT target, next, chain FROM lane WHERE lane = ?", [lane]
            ).fetchone()
            if number == next_ - 1:
                return _int(chain)
            if number == 0:
                return wire.chain_start(target, lane)
            # At first - 1 this is the chain before the run, or, when a part of it is acked, within.
            run = Run.decoded(self.run_with(lane, number + 1))
            return run.chain_at(number)

    def rekey(self) -> None:
        """Takes a new name: another history goes under the old one (8)."""
        with self._transaction():
            self._db.execute("UPDATE spool SET replaces = id, id = ?", [os.urandom(16)])
        self._read_identity()

    def meets(self, ledger: bytes) -> bool:
        """Remembers the server's ledger; false when it was another one before."""
        with self._transaction():
            (known,) = self._db.execute("SELECT ledger FROM spool").fetchone()
            self._db.execute("UPDATE spool SET ledger = ?", [ledger])
        return known in (None, ledger)

    def _read_identity(self) -> None:
        self.id, self.replaces, self.opened = self._db.execute(
            "SELECT id, replaces, opened FROM spool"
        ).fetchone()

    def _transaction(self):
        return _Transaction(self._lock, self._db)


class _Transaction:
    def __init__(self, lock, db) -> None:
        self._lock, self._db = lock, db

    def __enter__(self):
        self._lock.acquire()
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, *_):
        try:
            self._db.execute("ROLLBACK" if kind else "COMMIT")
        finally:
            self._lock.release()


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")  # SQLite's integers end at 2^63


def _int(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _cut(records: list[bytes]):
    part, size = [], 0
    for one in records:
        if part and size + len(one) + 5 > RUN_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one) + 5
    if part:
        yield part
