"""Gateways of a test's own beside the demo's, in front of the demo's exchange and of servers that fail.

Each has a store, an audit log and ports of its own; sessions are the demo exchange's. Nothing is reached into.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

CONFIG = pathlib.Path(os.environ["CONFIG"])
STEPGATE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "debug/stepgate"

POLICY = """version = 1

[[rule]]
id = "remote-login"
on = "*"
when = "geo.new_country"
require = "totp or sms"
valid = "session"
why = "You have not used this account from here before."

[[rule]]
id = "moves"
on = ["transfer", "withdrawal", "address_book.add"]
require = "totp or sms"

[[rule]]
id = "both"
on = "transfer"
when = "asset is BTC"
require = "totp and sms"
why = "Bitcoin needs two codes."

[[rule]]
id = "stopped"
on = "transfer"
when = "asset is ETH"
deny = true
why = "Ether cannot be moved while its network is upgraded."

[[rule]]
id = "young"
on = "withdrawal"
when = "asset is ETH"
hold = "HOLD"
why = "This address is new to you."
"""


def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def gateway(name, challenge_s=300, hold="19h", sites="", policy=POLICY, env=None):
    """Its base address. `sites` are more [[site]] tables; `{upstream}` stands for the demo exchange. A name that was there
    before finds its store again; `env` is for its process alone."""
    folder = CONFIG.parent
    (folder / f"policies/{name}.policy.toml").write_text(policy.replace("HOLD", hold))
    text = CONFIG.read_text()
    address, admin = f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"
    changes = [
        (r'(?s)(\[listen\]\naddress = )"[^"]*"', rf'\1"{address}"'),
        (r'(\[admin\]\naddress = )"[^"]*"', rf'\1"{admin}"'),
        (r"proxy_protocol = true", "proxy_protocol = false"),
        (r"state/stepgate.db", f"state/{name}.db"),
        (r"audit/stepgate.jsonl", f"audit/{name}.jsonl"),
        (r'file = "sms.jsonl"', f'file = "{name}-sms.jsonl"\n\n[limits]\nchallenge_s = {challenge_s}'),
        (r"policies/demo.policy.toml", f"policies/{name}.policy.toml"),
        (r'hosts = \[[^]]*\]', 'hosts = ["localhost"]'),
        (r'origins = \[[^]]*\]', f'origins = ["https://localhost:{address.split(":")[1]}"]'),
    ]
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text)
        assert count == 1, pattern
    upstream = re.search(r'upstream = \["([^"]*)"\]', text)[1]
    text += sites.replace("{upstream}", upstream).replace("{policy}", f"policies/{name}.policy.toml")
    config = folder / f"{name}.toml"
    config.write_text(text)
    log = open(folder / f"{name}.log", "w")
    child = subprocess.Popen([STEPGATE, "serve", "-c", config], stdout=log, stderr=log, env={**os.environ, **(env or {})})
    try:
        wait_for(address, child, folder / f"{name}.log")
        wait_for(admin, child, folder / f"{name}.log")
        yield Station(f"https://localhost:{address.split(':')[1]}", config, folder / f"{name}-sms.jsonl")
    finally:
        child.terminate()
        child.wait()
        log.close()


def wait_for(address, child, log):
    host, number = address.split(":")
    for _ in range(400):
        assert child.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((host, int(number)), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"FAILED: nothing listens on {address}\n{log.read_text()}")


class Station:
    """One such gateway."""

    def __init__(self, base, config, outbox):
        self.base, self.config, self.outbox = base, config, outbox

    def at(self, host):
        """The same gateway by another of its names."""
        return self.base.replace("localhost", f"{host}.localhost")

    def enrol(self, *lines):
        file = self.config.with_suffix(".factors")
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        command = [STEPGATE, "factor", "-c", self.config, "import", file]
        for _ in range(20):
            done = subprocess.run(command, capture_output=True, text=True)
            # A busy machine may be slower than the store's deadline; enrolling the same again changes nothing.
            if "did not answer within" not in done.stderr:
                break
        assert done.returncode == 0, done.stderr

    def operate(self, *words):
        """What an operator types."""
        command = [STEPGATE, *words, "-c", self.config]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def sms_code(self):
        """The code of the last message, which ends in `@host #code`."""
        for _ in range(200):
            text = self.outbox.read_text() if self.outbox.exists() else ""
            codes = re.findall(r"@localhost #(\d+)", text)
            if codes:
                return codes[-1]
            time.sleep(0.05)
        raise SystemExit(f"FAILED: no message in {self.outbox}")


@contextlib.contextmanager
def hangs_up():
    """A server that takes each request and closes without a word; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    connection.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
