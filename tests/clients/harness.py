"""What client tests stand on: claims, an authenticator, accounts, and the gateway's own binary in front of something.

It never reaches into the gateway: configuration, command line, listeners, SMS outbox and audit log are all there is
between the two. All state is in a temporary directory; two runs behave alike.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"
START_S = 20
TOTP_STEP_S = 30

passed = 0


def claim(truth, text):
    """One line of the summary; the first false one ends the run."""
    global passed
    if not truth:
        fail(text)
    passed += 1
    print(f"  ok  {text}", flush=True)


def fail(text):
    sys.exit(f"FAILED: {text}")


def summary():
    print(f"{passed} claims hold")


def totp(secret):
    """RFC 6238 with SHA-1, 6 digits and 30 s, written out so that the gateway meets a second implementation."""
    step = struct.pack(">Q", int(time.time()) // TOTP_STEP_S)
    mac = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), step, hashlib.sha1).digest()
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def at_gateway(urls, base):
    """A library's addresses with the gateway's authority: paths kept, `ws` for `http` where it was so."""
    if isinstance(urls, dict):
        return {key: at_gateway(value, base) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    authority = base.partition("://")[2]
    return re.sub(r"^(http|ws)s?://[^/]+", lambda scheme: f"{scheme[1]}s://{authority}", urls)


@dataclass(frozen=True)
class Account:
    """A customer with an API key and one factor: an authenticator, or a phone if there is a number.

    An authenticator's code is good once and the next one comes half a minute later, so a test has one account for each
    code that it gives.
    """

    name: str
    phone: str = ""

    @property
    def key(self):
        return f"key-{self.name}"

    @property
    def secret(self):
        """In base64, which Kraken wants and the others do not mind."""
        return base64.b64encode(f"secret of {self.name}".encode()).decode()

    @property
    def passphrase(self):
        return f"pass-{self.name}"

    @property
    def seed(self):
        """The authenticator's secret in base32."""
        return base64.b32encode(hashlib.sha1(self.name.encode()).digest()).decode()

    def code(self):
        return totp(self.seed)

    def factor(self):
        """One line for `stepgate factor import`."""
        if self.phone:
            return {"account": self.name, "phone": self.phone}
        return {"account": self.name, "otpauth": f"otpauth://totp/x:{self.name}?secret={self.seed}"}


class Gateway:
    """`stepgate serve` with the packs of `policies/`, from the files that an operator would write."""

    def __init__(self, folder, upstream, packs, policy, headers, accounts):
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.base = f"https://localhost:{self.port}"
        self.ca = str(folder / "ca.pem")
        self._furnish(upstream, packs, policy, headers, accounts)
        self._log = (folder / "gateway.log").open("w", encoding="utf-8")
        serve = [BUILT / "stepgate", "serve", "-c", folder / "stepgate.toml"]
        self._child = subprocess.Popen(serve, stdout=self._log, stderr=self._log)

    def _furnish(self, upstream, packs, policy, headers, accounts):
        run(BUILT / "examples/dev_certs", self.folder)
        for name in ("secrets", "state", "audit"):
            (self.folder / name).mkdir()
        self._secret("admin.token", base64.b64encode(os.urandom(24)).decode())
        self._secret("master.key", f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
        keys = (f'[[key]]\nid = "{one.key}"\naccount = "{one.name}"\n' for one in accounts)
        self._secret("api-keys.toml", "".join(keys))
        self._secret("factors.jsonl", "".join(json.dumps(one.factor()) + "\n" for one in accounts))
        (self.folder / "stepgate.toml").write_text(f"""
[listen]
address = "127.0.0.1:{self.port}"
certificate = "gateway.pem"
key = "gateway.key"
[admin]
address = "127.0.0.1:{self.admin}"
token = "file:secrets/admin.token"
[store]
url = "file:state/stepgate.db"
master_key = "file:secrets/master.key"
[audit]
file = "audit/stepgate.jsonl"
[sms]
provider = "log"
file = "sms.jsonl"
[[site]]
name = "clients"
hosts = ["localhost"]
upstream = ["{upstream}"]
actions = {json.dumps([str(ROOT / "policies" / pack) for pack in packs])}
policy = {json.dumps(str(ROOT / policy))}
[[site.identity]]
kind = "api_key"
from = {json.dumps([f"header:{name}" for name in headers])}
accounts = "file:secrets/api-keys.toml"
""", encoding="utf-8")

    def _secret(self, name, text):
        path = self.folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    def wait(self):
        """Until both listeners answer; then the factors are brought in."""
        until = time.monotonic() + START_S
        for port in (self.port, self.admin):
            while not listens(port):
                if self._child.poll() is not None or time.monotonic() > until:
                    fail("the gateway did not start")
                time.sleep(0.02)
        config, factors = self.folder / "stepgate.toml", self.folder / "secrets/factors.jsonl"
        run(BUILT / "stepgate", "factor", "-c", config, "import", factors)

    def stop(self):
        """Asks it to drain. What it remembers is whole only after that."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._log.close()

    def last_words(self):
        return "\n".join((self.folder / "gateway.log").read_text(encoding="utf-8").splitlines()[-40:])

    def texts(self, phone):
        """What was sent to this number so far."""
        return [one["text"] for one in self._lines("sms.jsonl") if one["to"] == phone]

    def text_code(self, phone):
        """The code of the newest message; waits until there is one."""
        until = time.monotonic() + 10
        while not self.texts(phone):
            if time.monotonic() > until:
                fail(f"no SMS to {phone} came")
            time.sleep(0.02)
        return re.search(r"#(\d+)$", self.texts(phone)[-1].strip())[1]

    def audit(self, event):
        return [one for one in self._lines("audit/stepgate.jsonl") if one["event"] == event]

    def _lines(self, name):
        path = self.folder / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def requests(self):
        """How many requests arrived, by the gateway's own count."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith("stepgate_requests_total{"))

    def answer(self, challenge, header, account, code, factor="totp"):
        return answer(self.base, self.ca, challenge, (header, account.key), code, factor)


def answer(base, ca, challenge, credential, code, factor="totp"):
    """Answers a challenge at its own address, as a script of the bot's owner would: status and body."""
    request = urllib.request.Request(
        f"{base}/.stepgate/challenge/{challenge}/answer",
        data=json.dumps({"factor": factor, "code": code}).encode(),
        headers={"Content-Type": "application/json", credential[0]: credential[1]},
    )
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca)) as done:
            return done.status, json.load(done)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextlib.contextmanager
def gateway(upstream, packs, policy, headers, accounts):
    """A running gateway, stopped in the end; its last words are printed if a claim did not hold."""
    with tempfile.TemporaryDirectory(prefix="stepgate-clients-") as folder:
        running = Gateway(pathlib.Path(folder), upstream, packs, policy, headers, accounts)
        try:
            running.wait()
            yield running
        except BaseException:
            print(f"--- the gateway said:\n{running.last_words()}", file=sys.stderr)
            raise
        finally:
            running.stop()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{command[0]}: {done.stdout}{done.stderr}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
