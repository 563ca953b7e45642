"""A customer makes a passkey in a real browser and withdraws with it a day later; signatures for something else count
for nothing. The passkey is ChromeDriver's virtual authenticator (WebAuthn Level 3 §11).

Two gateways of its own, one after the other over the same store, in front of the demo's exchange (stations.py): the
first lives 26 hours ago, so that what is made there has served its wait in the second. Environment as for browser.py.
Screenshots: target/screens/passkey-*.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import time
import urllib.request

import stations
import webdriver
from webdriver import Browser, chromedriver, claim

CONTROL = os.environ["CONTROL"]
ACCOUNTS = {one["name"]: one for one in json.loads(pathlib.Path(os.environ["ACCOUNTS"]).read_text())}
AGO_S = 26 * 3600
ADDRESS = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"
CODE, RELEASE, PASSKEY = "#code", "form[action$='/release'] button", "#passkey button"
NAME = "alice"

POLICY = """version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "webauthn"
"""

# The options and the answer as browsers read and write them themselves; `passkey.js` does it by hand.
SIGN = """
const told = async (step, body) => {
  const init = { method: "POST", body: JSON.stringify(body) };
  init.headers = { accept: "application/json", "content-type": "application/json" };
  const answer = await fetch(step, init);
  return [answer.status, await answer.json()];
};
const send = async (at) => (await told(at + "/send", { factor: "webauthn" }))[1].publicKey;
const sign = async (publicKey) => {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return (await navigator.credentials.get({ publicKey: options })).toJSON();
};
const answer = (at, assertion) => told(at + "/answer", { factor: "webauthn", assertion });
"""


def clock():
    """The library that tells one process another time."""
    library = stations.CONFIG.parent / "clock.so"
    source = pathlib.Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library.resolve()), "CLOCK_SECONDS": str(-AGO_S)}


def totp(at):
    secret = base64.b32decode(ACCOUNTS[NAME]["totp"])
    digest = hmac.digest(secret, struct.pack(">Q", int(at) // 30), hashlib.sha1)
    number = struct.unpack(">I", digest[digest[-1] & 15:][:4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def sent(address):
    with urllib.request.urlopen(CONTROL) as answer:
        calls = json.load(answer)
    return [one for one in calls if one["target"] == "/withdraw" and one["method"] == "POST" and address in one["body"]]


def come_from_tokyo(browser):
    for command, values in [
        ("Network.enable", {}),
        ("Network.setExtraHTTPHeaders", {"headers": {"X-Forwarded-For": "203.0.113.10"}}),
    ]:
        browser.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": values})


def log_in(browser, base):
    browser.open(f"{base}/login")
    browser.type("input[name=name]", NAME)
    browser.type("input[name=password]", "demo")
    browser.submit("main form button")


def patiently(browser, begin):
    """A busy machine may be slower than the store's deadline; then nothing was begun."""
    for _ in range(10):
        begin()
        if "cannot be checked right now" not in browser.text():
            return


def fill(browser, base, address):
    browser.open(f"{base}/withdraw")
    browser.choose("asset", "BTC")
    browser.type("input[name=amount]", "0.125")
    browser.type("input[name=network]", "Bitcoin")
    browser.type("input[name=address]", address)
    browser.submit("main form button")


def begin_passkey(browser, base):
    browser.open(f"{base}/.stepgate/factors")
    browser.submit("form[action$='/factors/webauthn'] button")


def withdraw(browser, base, address):
    """Fills in the form; answers the address of the question."""
    patiently(browser, lambda: fill(browser, base, address))
    form = browser.find("form[action*='/challenge/']")
    action = browser.ask("GET", f"/element/{form}/attribute/action")
    return re.search(r"/\.stepgate/challenge/[\w-]{43}", action)[0]


def passkeys(browser, authenticator):
    return browser.ask("GET", f"/webauthn/authenticator/{authenticator}/credentials")


def press(browser):
    """The button, once the script has shown it."""
    for _ in range(200):
        element = browser.find(PASSKEY)
        if browser.ask("GET", f"/element/{element}/displayed"):
            break
        time.sleep(0.05)
    browser.submit(PASSKEY)


def making(browser, base, authenticator):
    log_in(browser, base)
    browser.open(f"{base}/.stepgate/factors")
    browser.screen("passkey-1-factors")
    claim("passkey" in browser.text(), "the page of factors offers a passkey", browser.text())
    patiently(browser, lambda: begin_passkey(browser, base))
    claim(browser.has(CODE), "a factor that the account has is asked for first", browser.text())
    claim(not passkeys(browser, authenticator), "nothing is made yet")
    browser.type(CODE, totp(time.time() - AGO_S))
    browser.submit("form.answer button")
    browser.submit(RELEASE)
    browser.screen("passkey-2-button")
    claim(browser.has(PASSKEY) and not browser.has(CODE), "then there is a button for the passkey", browser.text())
    press(browser)
    browser.screen("passkey-3-made")
    codes = browser.ask("POST", "/elements", {"using": "css selector", "value": ".codes li"})
    claim(len(codes) == 10, "it is made, and recovery codes come with it", browser.text())
    claim(len(passkeys(browser, authenticator)) == 1, "the authenticator has it")
    browser.open(f"{base}/.stepgate/factors")
    claim("Passkey 1" in browser.text(), "it is among the account's factors", browser.text())
    patiently(browser, lambda: fill(browser, base, ADDRESS))
    browser.screen("passkey-4-young")
    page = browser.text()
    claim(not browser.has(PASSKEY) and "new" in page, "which is too new to confirm a withdrawal", page)
    claim(not sent(ADDRESS), "the exchange heard nothing of it")


def thief(driver, base, cookies):
    """Whoever has her session in another browser while a passkey waits to be made."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(driver, profile, javascript=True)
        try:
            come_from_tokyo(browser)
            browser.open(f"{base}/login")
            for cookie in cookies:
                if not cookie["name"].startswith("__Host-"):
                    browser.ask("POST", "/cookie", {"cookie": cookie})
            browser.open(f"{base}/.stepgate/factors")
            claim("Passkey 1" in browser.text(), "a stolen session sees the account's factors", browser.text())
            return waits(browser, base)
        finally:
            browser.quit()


def waits(browser, base):
    """What the other browser is shown of the enrolment that is open."""
    browser.open(f"{base}/.stepgate/approvals")
    links = browser.run("return [...document.querySelectorAll('a[href*=\"/challenge/\"]')].map((a) => a.href)")
    claim(len(links) == 2, "and that something waits", browser.text())
    browser.open(links[-1])
    browser.screen("passkey-9-stolen")
    page = browser.text()
    claim("another browser" in page, "but it was begun in another browser", page)
    claim(not browser.has(PASSKEY) and not browser.has("svg.qr"), "no button and no key is there", page)
    claim(browser.has("form[action$='/reject'] button"), "it can only be refused", page)


def withdrawing(browser, base):
    log_in(browser, base)
    withdraw(browser, base, ADDRESS)
    browser.screen("passkey-5-question")
    claim(browser.has(PASSKEY), "a day later the withdrawal asks for the passkey", browser.text())
    press(browser)
    claim(browser.has(RELEASE), "which confirms it", browser.text())
    browser.submit(RELEASE)
    browser.screen("passkey-6-done")
    claim(browser.has("#done"), "and the receipt comes", browser.text())
    claim(len(sent(ADDRESS)) == 1, "the exchange was asked once")


def another_intent(browser, base):
    small, large = (ADDRESS[:-1] + letter for letter in "yz")
    one = withdraw(browser, base, small)
    other = withdraw(browser, base, large)
    script = SIGN + """
    const [one, other] = arguments[0];
    const forOne = await sign(await send(one));
    await send(other);
    const refused = await answer(other, forOne);
    const again = await answer(other, forOne);
    return [refused, again, await answer(one, forOne)];
    """
    refused, again, right = browser.run(script, [one, other])
    claim(refused[0] == 403 and refused[1]["error"] == "wrong_passkey",
          "a signature for one withdrawal is refused for another", refused)
    claim(again[0] == 403, "however often", again)
    claim(right == [200, {"state": "approved"}], "and right where it belongs", right)
    claim(not sent(large), "nothing went to the other address")
    browser.open(f"{base}{other}")
    press(browser)
    browser.submit(RELEASE)
    claim(browser.has("#done") and len(sent(large)) == 1, "which its own signature confirms", browser.text())


def lost(browser, base, authenticator):
    """Somebody else's authenticator, then none at all."""
    browser.ask("DELETE", f"/webauthn/authenticator/{authenticator}/credentials")
    address = ADDRESS[:-1] + "x"
    withdraw(browser, base, address)
    for _ in range(200):
        if browser.ask("GET", f"/element/{browser.find(PASSKEY)}/displayed"):
            break
        time.sleep(0.05)
    browser.click(PASSKEY)
    for _ in range(200):
        if browser.ask("GET", f"/element/{browser.find('#passkey [role=alert]')}/text"):
            break
        time.sleep(0.05)
    browser.screen("passkey-7-lost")
    claim("not used" in browser.text(), "without the passkey the page says that none was used", browser.text())
    claim(not sent(address), "and nothing is sent")


def stolen(driver, browser, base):
    """Another passkey is begun, and somebody else has the session."""
    patiently(browser, lambda: begin_passkey(browser, base))
    browser.type(CODE, totp(time.time()))
    browser.submit("form.answer button")
    browser.submit(RELEASE)
    claim(browser.has(PASSKEY), "another passkey waits to be made", browser.text())
    thief(driver, base, browser.ask("GET", "/cookie"))


def without_script(driver, base):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(driver, profile, javascript=False)
        try:
            come_from_tokyo(browser)
            log_in(browser, base)
            browser.open(f"{base}/.stepgate/factors")
            browser.screen("passkey-8-nojs")
            page = browser.text()
            claim("only with JavaScript" in page, "without JavaScript the page says what a passkey needs", page)
        finally:
            browser.quit()


def enrolment():
    secret = ACCOUNTS[NAME]["totp"]
    uri = f"otpauth://totp/Demo:{NAME}?secret={secret}&issuer=Demo&algorithm=SHA1&digits=6&period=30"
    return {"account": NAME, "otpauth": uri}


def main():
    with chromedriver() as driver, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(driver, profile, javascript=True)
        try:
            authenticator = browser.ask("POST", "/webauthn/authenticator", {
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                "hasUserVerification": True, "isUserVerified": True, "isUserConsenting": True,
            })
            come_from_tokyo(browser)
            print("26 hours ago")
            with stations.gateway("passkey", policy=POLICY, env=clock()) as station:
                station.enrol(enrolment())
                making(browser, station.base, authenticator)
            print("today")
            with stations.gateway("passkey", policy=POLICY) as station:
                withdrawing(browser, station.base)
                another_intent(browser, station.base)
                lost(browser, station.base, authenticator)
                stolen(driver, browser, station.base)
                without_script(driver, station.base)
        finally:
            browser.quit()
    print(f"{webdriver.passed} claims hold; screenshots in {webdriver.SCREENS}")


main()
