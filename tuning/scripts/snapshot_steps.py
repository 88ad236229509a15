#!/usr/bin/env python3
"""How long a shard does nothing but a snapshot's step, under load: journal strict, snapshots one after
the other, several rounds; and how much the same load carries without snapshots.

    python3 tuning/scripts/snapshot_steps.py target/release 50000

The rate is a second's, open loop, or `max`. Everything is on 127.0.0.1 and ends by itself; the journal is
written to a folder beside the binaries, which is removed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from thread_cpu import PORT, SWITCH

SECONDS, ROUNDS = 8, 3


def round_of(binaries, rate, every_s):
    with tempfile.TemporaryDirectory(dir=binaries) as folder:
        file, report = pathlib.Path(folder) / "switch.toml", pathlib.Path(folder) / "load.json"
        key = pathlib.Path(folder) / "card.key"
        subprocess.run([binaries / "tapswitch", "key", "new", key], check=True, stdout=subprocess.DEVNULL)
        journal = f'[keys]\ncard_key_file = "{key}"\n[journal]\ndata_dir = "{folder}/journal"\n'
        journal += f"snapshot_every_s = {every_s}\n"
        file.write_text(SWITCH + journal)
        run = [binaries / "tapswitch", "run", "--config", file, "--seconds", str(SECONDS + 8)]
        switch = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            time.sleep(5)
            load = [binaries / "loadgen", "run", "--target", f"127.0.0.1:{PORT}", "--dialect", "cups",
                    "--rate", rate, "--seconds", str(SECONDS), "--connections", "16",
                    "--zipf", "0", "--json", report]
            subprocess.run(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            text = switch.communicate(timeout=60)[0]
        finally:
            switch.kill()
        wanted = ("snapshot{", "journal{commit_us")
        rows = [row.split() for row in text.splitlines() if row.strip().startswith(wanted)]
        return json.loads(report.read_text()), rows


def main():
    binaries, rate = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    for turn in range(ROUNDS):
        for name, every_s in [("none", 3_600), ("back to back", 1)]:
            load, rows = round_of(binaries, rate, every_s)
            told = [" ".join(row[:5]) for row in rows]
            print(turn + 1, name, load["achieved_per_s"], load["p50_us"], *told, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
