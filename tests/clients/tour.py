"""Runs the demo's tour as a person would: each line pasted into a shell of its own, the status compared.

Environment: TOUR (target/demo/tour.sh; the demo writes the path to target/demo/env) and CONTROL.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request

LINE_S = 60  # the longest line waits for an authenticator's next code


def steps(text):
    """(what is said, expected status, command) of each step."""
    pattern = r"^# (\d+\. .+)\n# expect: (\d{3})\n(.+)$"
    return [(say, int(status), command) for say, status, command in re.findall(pattern, text, re.M)]


def run(command):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=LINE_S, check=False)
    lines = done.stdout.strip().splitlines()
    status = int(lines[-1]) if lines and re.fullmatch(r"\d{3}", lines[-1]) else None
    return status, done.stdout + done.stderr


def received(path):
    with urllib.request.urlopen(os.environ["CONTROL"]) as answer:
        return [one["body"] for one in json.load(answer) if one["target"] == path and one["method"] == "POST"]


def main():
    with open(os.environ["TOUR"], encoding="utf-8") as file:
        tour = steps(file.read())
    if len(tour) < 20:
        sys.exit(f"FAILED: only {len(tour)} steps were found in the tour")
    for say, expected, command in tour:
        status, output = run(command)
        if status != expected:
            sys.exit(f"FAILED: {say}\n{command}\nexpected {expected}, got {status}:\n{output}")
        print(f"  {status}  {say}")
    # What moved must be what the tour said, and nothing more.
    moved = [body for body in received("/transfer") if "from=contract" in body]
    assert moved == ["from=contract&to=spot&asset=USDT&amount=50"], moved
    assert len(received("/withdraw")) == 1, received("/withdraw")
    assert len(received("/address-book")) == 1, received("/address-book")
    assert len(received("/api/v5/asset/transfer")) == 1, received("/api/v5/asset/transfer")
    print(f"{len(tour)} steps as promised")


main()
