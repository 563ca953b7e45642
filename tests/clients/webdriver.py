"""A real browser, driven by plain WebDriver, and what tests of people's journeys claim.

It starts a chromedriver of its own on a port of the driver's choice. Screenshots: target/screens.
"""

import base64
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

SCREENS = pathlib.Path("target/screens")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver §12.1
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--ignore-certificate-errors", "--lang=en-US", "--window-size=800,1000",
]

passed = 0


def claim(truth, text, more=""):
    """One line of the summary; the first false one ends the run."""
    global passed
    if not truth:
        sys.exit(f"FAILED: {text}\n{more}")
    passed += 1
    print(f"  ok  {text}")


class Refused(Exception):
    """The driver could not do it."""


class Browser:
    """One session of one browser."""

    def __init__(self, driver, profile, javascript):
        content = {} if javascript else {"profile.managed_default_content_settings.javascript": 2}
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "prefs": content}
        self.base = driver
        wanted = {"acceptInsecureCerts": True, "goog:chromeOptions": options}
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base = f"{driver}/session/{answer['sessionId']}"

    def ask(self, method, path, body=None):
        try:
            return self.tell(method, path, body)
        except Refused as error:
            sys.exit(f"FAILED: {method} {path} {body}: {error}")

    def tell(self, method, path, body=None):
        """The same for whoever knows what to do about a refusal."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            self.base + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)["value"]["message"]) from error

    def open(self, address):
        self.ask("POST", "/url", {"url": address})

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def has(self, selector):
        found = self.ask("POST", "/elements", {"using": "css selector", "value": selector})
        return bool(found)

    def type(self, selector, text):
        element = self.find(selector)
        self.ask("POST", f"/element/{element}/clear")
        self.ask("POST", f"/element/{element}/value", {"text": text})

    def choose(self, name, option):
        element = self.ask("POST", "/element", {
            "using": "xpath", "value": f"//select[@name='{name}']/option[.='{option}']",
        })
        self.ask("POST", f"/element/{element[ELEMENT]}/click")

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click")

    def submit(self, selector):
        """Clicks what leads to another page, and waits until that page is there."""
        root = {"using": "css selector", "value": "html"}
        before = self.ask("POST", "/elements", root)
        self.click(selector)
        for _ in range(200):
            # Between two pages there is none.
            if self.ask("POST", "/elements", root) not in ([], before):
                return
            time.sleep(0.05)
        sys.exit(f"FAILED: {selector} led nowhere\n{self.text()}")

    def text(self):
        """What the page says. Between two pages there is none: then the next one's."""
        body = {"using": "css selector", "value": "body"}
        for _ in range(100):
            try:
                element = self.tell("POST", "/element", body)[ELEMENT]
                return self.tell("GET", f"/element/{element}/text")
            except Refused as error:
                last = error
                time.sleep(0.05)
        sys.exit(f"FAILED: no page: {last}")

    def address(self):
        return urllib.parse.urlsplit(self.ask("GET", "/url"))

    def title(self):
        return self.ask("GET", "/title")

    def screen(self, name):
        SCREENS.mkdir(parents=True, exist_ok=True)
        (SCREENS / f"{name}.png").write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def run(self, script, *values):
        """What a script in the page comes to; a promise is waited for."""
        body = {"script": f"return (async () => {{ {script} }})()", "args": list(values)}
        return self.ask("POST", "/execute/sync", body)

    def shadow(self, selector):
        """What stands in the shadow root of the first such element."""
        root = self.ask("GET", f"/element/{self.find(selector)}/shadow")
        return next(iter(root.values()))

    def inside(self, root, selector):
        found = self.ask("POST", f"/shadow/{root}/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def press(self, keys):
        """Keys for whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def quit(self):
        self.ask("DELETE", "")


@contextlib.contextmanager
def chromedriver():
    """A driver on a port of its own choice.

    It takes a free port of IPv6 and then wants the same one of IPv4, and exits where somebody else has that: it is
    started anew then.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = pathlib.Path(folder) / "said"
        for _ in range(10):
            with said.open("wb") as log:
                driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=subprocess.STDOUT)
            try:
                port = port_of(driver, said)
                if port:
                    yield f"http://127.0.0.1:{port}"
                    return
            finally:
                driver.terminate()
                driver.wait()
        sys.exit(f"FAILED: chromedriver did not start:\n{said.read_text()}")


def port_of(driver, said):
    """The port that a driver reports; none if it exits, or says nothing for half a minute."""
    for _ in range(600):
        exited = driver.poll() is not None
        started = re.search(r"started successfully on port (\d+)", said.read_text())
        if started:
            return started[1]
        if exited:
            return None
        time.sleep(0.05)
    return None
