#!/usr/bin/env python3
"""How long after its bank dies an acquirer has the answers to 10,000 requests in flight on one link.

    python3 tuning/scripts/link_loss.py target/release

Starts `tapswitch bank` and `tapswitch run` on 127.0.0.1, ends both. Prints when the first and the last
answer were read, counted from the kill of the bank, in milliseconds.
"""

import datetime
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

REQUESTS, CONNECTIONS, PORT, BANK_PORT = 10_000, 16, 18584, 19101
CONFIGURATION = f"""
[switch]
shards = 1
pending_max = 32_768
issuer_in_flight_max = 16_384
duplicates_bytes = 134_217_728
originals_bytes = 134_217_728
[acquirer.a]
listen = "127.0.0.1:{PORT}"
dialect = "iso87-ascii"
answer_within_ms = 60_000
answer_margin_ms = 20_000
retry_window_s = 60
[issuer.ABC]
connect = "127.0.0.1:{BANK_PORT}"
dialect = "iso87-ascii"
[bank]
delay_median_us = 20_000_000
delay_p99_us = 20_000_000
silence_ppm = 0
late_ppm = 0
[velocity]
lines = 65_536
[[velocity.counter]]
name = "day"
window = "day"
[[velocity.limit]]
name = "never_reached"
counter = "day"
count_max = 60_000
"""


def purchase(number):
    now = datetime.datetime.now(datetime.timezone.utc)
    fields = {
        2: "19" + "622848%013d" % number, 3: "000000", 4: "%012d" % 100,
        7: now.strftime("%m%d%H%M%S"), 11: "%06d" % number, 18: "5411", 22: "072", 25: "00",
        32: "0803330000", 37: "%012d" % number, 41: "01080209", 42: "333290054110001", 49: "156",
    }
    bitmap = sum(1 << (64 - field) for field in fields)
    body = ("0200%016X" % bitmap + "".join(fields[it] for it in sorted(fields))).encode()
    return len(body).to_bytes(2, "big") + body


def frames(stream):
    at, count = 0, 0
    while at + 2 <= len(stream):
        at += 2 + int.from_bytes(stream[at:at + 2], "big")
        count += at <= len(stream)
    return count


def answered(clients, since):
    """Times of the first and last bytes, and how many answers came within ten seconds."""
    poll, read = select.epoll(), {}
    for client in clients:
        client.setblocking(False)
        poll.register(client, select.EPOLLIN)
        read[client.fileno()] = (client, bytearray())
    first = last = None
    count = 0
    while time.perf_counter() < since + 10 and count < REQUESTS:
        ready = poll.poll(0.3)
        for number, _ in ready:
            client, stream = read[number]
            stream += client.recv(1 << 20)
            last = time.perf_counter()
            first = first or last
        if not ready:
            count = sum(frames(stream) for _, stream in read.values())
    return first, last, count


def main(binaries):
    tapswitch = binaries / "tapswitch"
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "switch.toml"
        file.write_text(CONFIGURATION)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        bank = subprocess.Popen([tapswitch, "bank", "--config", file], **quiet)
        switch = subprocess.Popen([tapswitch, "run", "--config", file, "--seconds", "60"], **quiet)
        try:
            time.sleep(3)
            clients = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(CONNECTIONS)]
            each = REQUESTS // CONNECTIONS
            for place, client in enumerate(clients):
                client.sendall(b"".join(purchase(place * each + it) for it in range(each)))
            time.sleep(2)
            bank.send_signal(signal.SIGKILL)
            since = time.perf_counter()
            first, last, count = answered(clients, since)
            print(f"{count} answers, the first after {(first - since) * 1e3:.1f} ms, "
                  f"the last after {(last - since) * 1e3:.1f} ms")
        finally:
            switch.terminate()
            switch.wait(30)
            bank.kill()
            bank.wait()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
