"""A passkey in a real browser: made, then used for a withdrawal; and one that was asked for something else is refused.

ChromeDriver's virtual authenticator holds it (WebAuthn Level 3 §11). Environment as for browser.py.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

import webdriver
from webdriver import Browser, chromedriver, claim

TOKYO, HELPER, CONTROL = os.environ["GATEWAY"], os.environ["DEMO_DO"], os.environ["CONTROL"]
HOLD_S = float(os.environ.get("HOLD_S", "10"))  # policies/demo.policy.toml, rule young-address
ADDRESS = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3passkey"
CODE, PASSKEY = "input[autocomplete=one-time-code]", "#passkey button"

# Asks the gateway what is to be signed for a challenge, and lets the browser sign it, with the page's own script.
SIGN = """
const {offer} = await import('/.stepgate/passkey.js');
const [path, elsewhere] = arguments;
const talk = async (step, body) => (await fetch(step, {method: 'POST', body: JSON.stringify(body),
  headers: {accept: 'application/json', 'content-type': 'application/json'}})).json();
const form = document.createElement('form');
let answer = null;
const detail = {
  challenge: {factors: ['webauthn']},
  send: () => talk(path + '/send', {factor: 'webauthn'}),
  answer: (factor, assertion) => talk((elsewhere || path) + '/answer', {factor, assertion}),
};
document.body.append(form);
offer(detail, form, (it) => { answer = it; }, {passkey_use: 'use', passkey_failed: 'failed'});
form.querySelector('button').click();
for (let tries = 0; tries < 100 && !answer; tries++) await new Promise((done) => setTimeout(done, 50));
return answer;
"""


class Authenticator:
    """A virtual one, in the browser's own device."""

    def __init__(self, browser):
        self.browser = browser
        self.id = browser.ask("POST", "/webauthn/authenticator", {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserConsenting": True, "isUserVerified": True,
        })

    def credentials(self):
        return self.browser.ask("GET", f"/webauthn/authenticator/{self.id}/credentials")

    def verifies(self, truth):
        self.browser.ask("POST", f"/webauthn/authenticator/{self.id}/uv", {"isUserVerified": truth})


def withdrawals():
    with urllib.request.urlopen(CONTROL) as answer:
        posts = [one for one in json.load(answer) if one["target"] == "/withdraw" and one["method"] == "POST"]
    return [one for one in posts if ADDRESS in one["body"]]


def code_of(customer):
    return subprocess.run([HELPER, "totp", customer], capture_output=True, text=True, check=True).stdout.strip()


def log_in(browser, customer):
    browser.open(f"{TOKYO}/login")
    browser.type("input[name=name]", customer)
    browser.type("input[name=password]", "demo")
    browser.submit("main form button")


def withdraw(browser, amount="0.125"):
    browser.open(f"{TOKYO}/withdraw")
    browser.choose("asset", "BTC")
    browser.type("input[name=amount]", amount)
    browser.type("input[name=network]", "Bitcoin")
    browser.type("input[name=address]", ADDRESS)
    browser.submit("main form button")


def waited(truth):
    for _ in range(100):
        if truth():
            return True
        time.sleep(0.1)
    return False
