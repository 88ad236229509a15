#!/usr/bin/env python3
"""CPU time of each thread of a switch, a transaction: banks in the process, banks over TCP, and with
`/metrics` read ten times a second.

    python3 tuning/scripts/thread_cpu.py target/release 30000

The rate is a second's, open loop. Everything is on 127.0.0.1 and ends by itself; threads below 20 ms are
left out.
"""

import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

PORT, BANKS_PORT, METRICS_PORT, SECONDS, ROUNDS = 18585, 19200, 18590, 6, 3
SWITCH = f"""
[switch]
shards = 1
issuer_in_flight_max = 8_000
[acquirer.cups]
listen = "127.0.0.1:{PORT}"
dialect = "cups"
[bank]
delay_median_us = 0
delay_p99_us = 0
silence_ppm = 0
late_ppm = 0
[velocity]
lines = 4_194_304
[[velocity.counter]]
name = "day"
window = "day"
[[velocity.limit]]
name = "daily"
counter = "day"
amount_minor_max = 140_000_000_000
"""
TABLE = pathlib.Path(__file__).parent.parent / "profiles" / "iins_cn.csv"


def links():
    rows = [row.split(",") for row in TABLE.read_text().splitlines() if row[:1].isdigit()]
    banks = enumerate(sorted({row[1] for row in rows}))
    link = '[issuer.%s]\nconnect = "127.0.0.1:%d"\ndialect = "cups"\n'
    return "".join(link % (bank, BANKS_PORT + place) for place, bank in banks)


def cpu_ms(pid):
    tick_ms, found = 1_000 / os.sysconf("SC_CLK_TCK"), {}
    for thread in glob.glob(f"/proc/{pid}/task/*/stat"):
        stat = pathlib.Path(thread).read_text()
        name, rest = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2:].split()
        found[name] = found.get(name, 0) + (int(rest[11]) + int(rest[12])) * tick_ms
    return found


def measure(binaries, folder, rate, more, is_scraped):
    file = pathlib.Path(folder) / "switch.toml"
    file.write_text(SWITCH + more)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = []
    try:
        if "connect" in more:
            started.append(subprocess.Popen([binaries / "tapswitch", "bank", "--config", file], **quiet))
        run = [binaries / "tapswitch", "run", "--config", file, "--seconds", "60"]
        switch = subprocess.Popen(run, **quiet)
        started.append(switch)
        time.sleep(4)
        load = [binaries / "loadgen", "run", "--target", f"127.0.0.1:{PORT}", "--dialect", "cups",
                "--rate", str(rate), "--seconds", str(SECONDS), "--connections", "16"]
        started.append(subprocess.Popen(load, **quiet))
        time.sleep(0.5)
        before, since = cpu_ms(switch.pid), time.perf_counter()
        while time.perf_counter() < since + SECONDS - 1.5:
            if is_scraped:
                urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics").read()
            time.sleep(0.1)
        after, transactions = cpu_ms(switch.pid), rate * (time.perf_counter() - since)
        started[-1].wait()
    finally:
        for process in started:
            process.terminate()
            process.wait()
    used = {name: after[name] - before.get(name, 0) for name in after}
    return {name: round(ms * 1e3 / transactions, 2) for name, ms in used.items() if ms > 20}


def main(binaries, rate):
    kinds = [("in the process", "", False), ("over TCP", links(), False),
             ("scraped", f'[admin]\nhttp = "127.0.0.1:{METRICS_PORT}"\n', True)]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, more, is_scraped in kinds:
                print(name, measure(binaries, folder, rate, more, is_scraped), "us a transaction")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
