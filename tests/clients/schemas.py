"""The schemas in policies/schemas as editors use them: with the engines of two editor plug-ins, tombi and taplo.

Every shipped file is valid, and of each planted mistake both engines mark the very line. Nothing is fetched: schemas
are files beside the files, the catalogues of both are off, and a proxy that is not there stands for the network.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLICIES = ROOT / "policies"
BIN = pathlib.Path(sys.executable).parent
NOWHERE = "http://127.0.0.1:9"
ENVIRONMENT = dict(os.environ, HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, ALL_PROXY=NOWHERE, NO_COLOR="1")

CONFIG = """#:schema schemas/config.schema.json

[listen]
address = "127.0.0.1:8443"
certificate = "gateway.pem"
key = "gateway.key"
trusted_proxies = ["10.0.0.0/8"]
body_timeout_ms = 30_000

[[listen.tls]]
certificate = "other.pem"
key = "other.key"

[admin]
address = "127.0.0.1:9443"
token = "env:STEPGATE_TOKEN"

[store]
url = "rediss://stepgate@redis.internal:6379/0"
master_key = "file:secrets/master.key"

[audit]
file = "audit/stepgate.jsonl"

[sms]
provider = "log"

[limits]
attempts_max = 3

[prices]
url = "https://exchange.example/tickers"
symbol = "json.data[].instId"
price = "json.data[].last"
separator = "-"
usd = ["USDT"]

[[site]]
name = "main"
shadow_policy = "policies/next.policy.toml"
inject = true
hosts = ["exchange.example"]
upstream = ["http://127.0.0.1:9000"]
actions = ["policies/okx.actions.toml"]
policy = "policies/exchange.policy.toml"

[[site.identity]]
kind = "jwt"
from = ["cookie:session", "bearer"]
algorithms = ["ES256"]
keys = "file:secrets/session.jwks"
"""

# File, what stands there once, what is written instead; the mark is on the first line that differs.
MISTAKES = [
    ("stepgate.toml", 'certificate = "gateway.pem"', 'certficate = "gateway.pem"'),
    ("stepgate.toml", 'provider = "log"', 'provider = "twillio"'),
    ("stepgate.toml", "body_timeout_ms = 30_000", 'body_timeout_ms = "30s"'),
    ("stepgate.toml", 'kind = "jwt"', 'kind = "jwks"'),
    ("stepgate.toml", 'price = "json.data[].last"', 'price = "data.last"'),
    ("stepgate.toml", "inject = true", 'inject = "true"'),
    ("stepgate.toml", 'algorithms = ["ES256"]', 'algorithms = ["ES265"]'),
    ("stepgate.toml", 'token = "env:STEPGATE_TOKEN"', 'token = "a-token-in-the-open"'),
    ("demo.policy.toml", "version = 1", 'version = "1"'),
    ("exchange.policy.toml", 'hold = "24h"', "hold = 24"),
    ("exchange.policy.toml", "notify = true", "notfy = true"),
    ("exchange.policy.toml", 'require = "totp and sms"', 'require = "totp and pin"'),
    ("exchange.policy.toml", "\nshadow = true", '\nshadow = "true"'),
    ("exchange.cases.toml", 'expect = { verdict = "allow"', 'expect = { verdict = "permit"'),
    ("exchange.cases.toml", 'facts = { "geo.country" = "DE" }', 'facts = { "geo.contry" = "DE" }'),
    ("exchange.cases.toml", 'account = { countries = ["JP"] }', 'account = { country = ["JP"] }'),
    ("exchange.cases.toml", 'place = { country = "DE", ip', 'place = { county = "DE", ip'),
    ("exchange.cases.toml", 'credential = "api_key"', 'credential = "apikey"'),
    ("exchange.cases.toml", 'answer = "totp"', 'answer = "topt"'),
    ("exchange.cases.toml", 'after = "1h"', 'after = "1 h"'),
    ("exchange.cases.toml", 'columns = ["geo.distance_km", "geo.speed_kmh"', 'columns = ["geo.distance", "geo.speed_kmh"'),
    ("exchange.cases.toml", 'valid = "session"', 'valid = "sesion"'),
    ("exchange.cases.toml", 'done = [{ action', 'done = [{ acton'),
    ("okx.actions.toml", 'body = "json"', 'body = "jsno"'),
    ("okx.actions.toml", "status = 401", "status = 1401"),
    ("okx.actions.toml", 'need = ["asset"', 'needs = ["asset"'),
    ("okx.actions.cases.toml", 'expect = { action = "withdrawal"', 'expect = { acton = "withdrawal"'),
    ("okx.actions.cases.toml", 'unlisted = "deny"', 'unlisted = "denied"'),
]


def tombi(folder, files):
    """Lines of errors by file; warnings are about looks."""
    out = folder / "diagnostics.json"
    out.unlink(missing_ok=True)
    command = [BIN / "tombi", "lint", "--offline", "--diagnostics-format", "json", "--diagnostics-file", out, *files]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    marks = {}
    if out.exists():
        for said in json.loads(out.read_text()):
            if str(said.get("level", "")).lower() == "error":
                marks.setdefault(pathlib.Path(said["path"]).name, []).append(said["range"]["start"]["line"])
    assert done.returncode in (0, 1), done.stderr
    return marks, done.stdout + done.stderr


def taplo(folder, files):
    command = [BIN / "taplo", "lint", "--no-auto-config", *files]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    marks = {}
    for path, line in re.findall(r"┌─ (\S+):(\d+):\d+", done.stderr):
        marks.setdefault(pathlib.Path(path).name, []).append(int(line))
    assert (done.returncode == 0) == (not marks), done.stderr
    return marks, done.stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(POLICIES / "schemas", folder / "schemas")
        texts = {path.name: path.read_text() for path in sorted(POLICIES.glob("*.toml"))}
        texts["stepgate.toml"] = CONFIG
        for name, text in texts.items():
            (folder / name).write_text(text)
        for engine in (tombi, taplo):
            marks, said = engine(folder, sorted(texts))
            assert not marks, f"{engine.__name__} does not take a shipped file:\n{said}"
        for name, right, wrong in MISTAKES:
            text = texts[name]
            assert right in text, f"{name} has no `{right}` any more: plant another mistake"
            line = text[: text.index(right) + len(right) - len(right.lstrip())].count("\n") + 1
            (folder / name).write_text(text.replace(right, wrong, 1))
            for engine in (tombi, taplo):
                marks, said = engine(folder, [name])
                found = marks.get(name, [])
                assert line in found, f"{engine.__name__} marks {found} and not {name}:{line}, `{wrong}`:\n{said}"
                # What taplo says of an unknown key stands at every line of its table.
                assert engine is taplo or set(found) == {line}, f"tombi marks {found} of {name}, not only {line}"
            (folder / name).write_text(text)
    print(f"{len(texts)} files are valid, {len(MISTAKES)} mistakes are marked at their line by tombi and taplo")


main()
