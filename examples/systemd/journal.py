"""Hands the journal over, entry by entry, and goes on after the last one that was stored.

The place in the journal is written down after the client has said "stored", so an entry may come
twice after a crash, and none is left out. The entry's cursor is its header `journal-cursor`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

BATCH = 500  # entries; one request takes 10,000 lines, or 16 MiB


def entries(journalctl: list[str], cursor: str | None):
    """Follows the journal: yields what is there, several at a time."""
    command = [*journalctl, "--follow", "--output=json"]
    command += [f"--after-cursor={cursor}"] if cursor else ["--lines=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        rest = b""
        while arrived := child.stdout.read(1 << 16):  # whatever is there, at least a byte
            *lines, rest = (rest + arrived).split(b"\n")
            for at in range(0, len(lines), BATCH):
                yield lines[at : at + BATCH]
    raise SystemExit("journalctl has ended")


def hand_over(door: str, target: str, lines: list[bytes]) -> str:
    """Returns the cursor of the last entry once all are on disk."""
    packets, cursor = [], ""
    for line in lines:
        entry = json.loads(line)
        cursor = entry["__CURSOR"]
        unit = entry.get("_SYSTEMD_UNIT", "kernel")
        packets.append(json.dumps({
            "target": target, "data": line.decode(), "content_type": "application/json",
            "headers": {"journal-cursor": cursor, "unit": str(unit)},
        }))
    body = "\n".join(packets).encode()
    while True:
        try:
            connection = http.client.HTTPConnection(urlsplit(door).netloc, timeout=60)
            connection.request("POST", "/v1/packets", body, {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            states = [json.loads(each) for each in answer.read().splitlines() if each]
            if answer.status == 200 and all(each.get("state") == "stored" for each in states):
                return cursor
            why = next((each for each in states if each.get("state") != "stored"), answer.status)
        except (OSError, http.client.HTTPException) as error:
            why = error
        # The client is away, or full. The whole batch comes again: entries that were taken, too.
        print(f"not stored: {why}", file=sys.stderr)
        time.sleep(1)


def save(path: str, cursor: str) -> None:
    with open(path + ".new", "w") as file:
        file.write(cursor)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hands the journal over to Paquebot.")
    parser.add_argument("target")
    parser.add_argument("--door", default="http://127.0.0.1:7036")
    parser.add_argument("--cursor", default="cursor", metavar="FILE", help="how far it has come")
    parser.add_argument("--journalctl", nargs="+", default=["journalctl"], help="with options")
    arguments = parser.parse_args()
    cursor = None
    if os.path.exists(arguments.cursor):
        with open(arguments.cursor) as file:
            cursor = file.read().strip()
    for lines in entries(arguments.journalctl, cursor):
        save(arguments.cursor, hand_over(arguments.door, arguments.target, lines))


if __name__ == "__main__":
    main()
