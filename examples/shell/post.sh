#!/bin/sh
# From a script to a handler: each command succeeds only when the packet is on disk.
set -eu
DOOR=${DOOR:-http://127.0.0.1:7036}
PAQUEBOT=${PAQUEBOT:-paquebot}

# One packet. `--fail-with-body` makes curl's exit code tell; 429 and 503 are tried again, as long as
# the answer's Retry-After says.
curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
    --header 'Content-Type: application/json' --data '{"total": 17}' \
    "$DOOR/v1/packets/orders.shell"
echo

# Many in one request, to any targets: a line for each packet, and a line of answer for each.
curl --silent --show-error --fail-with-body \
    --header 'Content-Type: application/x-ndjson' --data-binary @- "$DOOR/v1/packets" <<'LINES'
{"target": "orders.shell", "json": {"total": 18}}
{"target": "orders.shell", "data": "plain text", "headers": {"shop": "north"}}
LINES

# The same from the command line; it prints the packet's id.
"$PAQUEBOT" send --client "$DOOR" orders.shell '{"total": 19}' --content-type application/json

# Wait until the server has handled it, and not longer than 10 seconds.
"$PAQUEBOT" send --client "$DOOR" orders.shell 'this one matters' --wait handled --timeout 10s

# Each line of a program's output is a packet.
printf 'one\ntwo\nthree\n' | "$PAQUEBOT" send --client "$DOOR" orders.shell --lines
