"""What people do while a form is held, in a real browser: two clicks, back, reload, two tabs, a session that ended,
another browser, another country, wrong codes, "this wasn't me". Each with JavaScript and without.

A gateway of its own in front of the demo's exchange (stations.py), which is asked what reached it. Environment as for
browser.py. Screenshots: target/screens/journeys-*.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

import stations
import webdriver
from webdriver import Browser, chromedriver, claim

HELPER, CONTROL = os.environ["DEMO_DO"], os.environ["CONTROL"]
ACCOUNTS = {one["name"]: one for one in json.loads(pathlib.Path(os.environ["ACCOUNTS"]).read_text())}
TOKYO, FRANKFURT = "203.0.113.10", "198.51.100.7"
CODE, RELEASE = "#code", "form[action$='/release'] button"
STARTED = time.monotonic()


def sent(address):
    """The withdrawals to this address that reached the exchange."""
    with urllib.request.urlopen(CONTROL) as answer:
        calls = json.load(answer)
    return [one for one in calls if one["target"] == "/withdraw" and one["method"] == "POST" and address in one["body"]]


def code_of(name):
    return subprocess.run([HELPER, "totp", name], capture_output=True, text=True, check=True).stdout.strip()


def enrolment(name):
    secret = ACCOUNTS[name]["totp"]
    uri = f"otpauth://totp/Demo:{name}?secret={secret}&issuer=Demo&algorithm=SHA1&digits=6&period=30"
    return {"account": name, "otpauth": uri}


def until(there, text, more=lambda: ""):
    for _ in range(200):
        if there():
            return
        time.sleep(0.05)
    raise SystemExit(f"FAILED: {text} did not come\n{more()}")


class Person:
    """One browser and whoever sits before it."""

    def __init__(self, browser, base, mark):
        self.browser, self.base, self.mark, self.name = browser, base, mark, None

    def cdp(self, command, **values):
        return self.browser.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": values})

    def come_from(self, address):
        self.cdp("Network.enable")
        self.cdp("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": address})

    def log_in(self, name):
        self.name = name
        self.browser.ask("DELETE", "/cookie")
        self.browser.open(f"{self.base}/login")
        self.browser.type("input[name=name]", name)
        self.browser.type("input[name=password]", "demo")
        self.browser.submit("main form button")

    def withdraw(self, address, amount="0.125"):
        """Fills in the form of the exchange and sends it."""
        self.browser.open(f"{self.base}/withdraw")
        self.browser.choose("asset", "BTC")
        self.browser.type("input[name=amount]", amount)
        self.browser.type("input[name=network]", "Bitcoin")
        self.browser.type("input[name=address]", address)
        self.browser.submit("main form button")
        claim(self.browser.has(CODE), f"{self.name} is asked for a code", self.text())

    def answer(self, code=None):
        self.browser.type(CODE, code or code_of(self.name))
        self.browser.submit("form.answer button")

    def text(self):
        return self.browser.text()

    def question(self):
        """The address of the question that is open."""
        for selector in ["form[action*='/challenge/']", ".languages a"]:
            if self.browser.has(selector):
                element = self.browser.find(selector)
                attribute = "action" if "action" in selector else "href"
                found = self.browser.ask("GET", f"/element/{element}/attribute/{attribute}")
                path = re.search(r"/\.stepgate/challenge/[\w-]{43}", found)
                if path:
                    return self.base + path[0]
        raise SystemExit(f"FAILED: no question\n{self.text()}")

    def click_twice(self, selector):
        """As fast as a finger does."""
        element = {webdriver.ELEMENT: self.browser.find(selector)}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        actions = [{"type": "pointerMove", "origin": element, "x": 0, "y": 0}, *press, *press]
        self.browser.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def tab(self):
        """A new tab, which has the word from now on; answers the old one."""
        old = self.browser.ask("GET", "/window")
        new = self.browser.ask("POST", "/window/new", {"type": "tab"})["handle"]
        self.turn_to(new)
        return old

    def turn_to(self, window):
        self.browser.ask("POST", "/window", {"handle": window})
        self.come_from(TOKYO)

    def back(self):
        self.browser.ask("POST", "/back")

    def reload(self):
        self.browser.ask("POST", "/refresh")

    def screen(self, name):
        self.browser.screen(f"journeys-{self.mark}-{name}")


def two_clicks(person, javascript):
    """Held, confirmed, and the button pressed twice; then back, and loaded anew."""
    browser, address = person.browser, f"bc1q{person.mark}clicks"
    person.withdraw(address)
    question = person.question()
    if javascript:
        claim(person.base + browser.address().path == question, "the page has an address of its own")
        person.reload()
        claim(browser.has(CODE) and address in person.text().replace(" ", ""), "loaded anew, it still asks", person.text())
    claim(not sent(address), "the exchange heard nothing")
    person.answer()
    claim(not sent(address) and browser.has(RELEASE), "confirmed, it still waits", person.text())
    if javascript:
        person.reload()
        claim(browser.has(RELEASE), "and so it does loaded anew", person.text())
    person.click_twice(RELEASE)
    until(lambda: browser.has("#done") or "It was sent" in person.text(), "the end of two clicks", person.text)
    person.screen("1-two-clicks")
    claim(len(sent(address)) == 1, "two clicks on the button are one withdrawal", sent(address))
    if javascript:
        claim(browser.has("#done"), "and end on the exchange's receipt", person.text())
    elif not browser.has("#done"):
        browser.submit("main a.button")
        claim(browser.has("#done"), "and lead to the exchange's receipt", person.text())
    person.back()
    if javascript:
        until(lambda: "the exchange answered it" in person.text(), "what became of it", person.text)
        claim(not browser.has("main form"), "back at the question there is nothing left to send", person.text())
        person.screen("2-back")
        person.reload()
        claim("the exchange answered it" in person.text(), "nor when it is loaded anew", person.text())
    browser.open(question)
    claim("It was sent" in person.text() and not browser.has("main form"), "the question says that it was sent", person.text())
    browser.submit("main a.button")
    claim(browser.has("#done"), "and leads to the receipt", person.text())
    claim(len(sent(address)) == 1, "none of it sent it again", sent(address))


def two_tabs(person):
    """Different withdrawals in two tabs, and the same one in two."""
    browser = person.browser
    one, other = f"bc1q{person.mark}one", f"bc1q{person.mark}other"
    person.withdraw(one)
    first = person.question()
    old = person.tab()
    person.withdraw(other, "0.25")
    claim(person.question() != first, "two withdrawals are two questions")
    person.answer()
    browser.submit(RELEASE)
    claim(browser.has("#done"), "the one that was confirmed is done", person.text())
    claim(len(sent(other)) == 1 and not sent(one), "and only that one", sent(one))
    person.withdraw(one)
    claim(person.question() == first, "the same withdrawal in a second tab is the same question")
    person.turn_to(old)
    claim(one in person.text().replace(" ", "") and browser.has(CODE), "the first tab still asks about its own", person.text())
    person.screen("3-tabs")


def signed_out(person):
    """The session ends between the approval and the button."""
    browser, address = person.browser, f"bc1q{person.mark}out"
    person.withdraw(address)
    question = person.question()
    person.answer()
    browser.ask("DELETE", "/cookie/session")
    browser.submit(RELEASE)
    person.screen("4-signed-out")
    claim("You are signed out" in person.text() and "is not sent" in person.text(), "signed out, one is told that it is not sent", person.text())
    browser.submit("main a.button")
    claim(browser.address().path == "/login", "and where to sign in")
    person.log_in(person.name)
    browser.open(question)
    person.screen("5-elsewhere")
    claim("Asked in another sign-in" in person.text(), "signed in again, one is told that it was asked elsewhere", person.text())
    claim(not browser.has("main form"), "and can neither answer nor send it")
    browser.submit("main a.button")
    claim(browser.address().path == "/withdraw", "the way on leads back to the form")
    claim(not sent(address), "nothing was sent")


def abroad(person):
    """The same session in Germany: first the sign-in check, then the transaction."""
    browser, address = person.browser, f"bc1q{person.mark}abroad"
    browser.open(f"{person.base}/")
    person.come_from(FRANKFURT)
    browser.open(f"{person.base}/withdraw")
    claim("Is this you?" in person.text(), "the same session in Germany is asked who it is", person.text())
    person.screen("6-abroad")
    person.answer()
    browser.submit("main a.button")
    claim(browser.address().path == "/withdraw", "and is led on to where it wanted to go")
    person.withdraw(address)
    claim("Confirm: Withdrawal" in person.text(), "a withdrawal there is asked about by itself", person.text())
    claim(not sent(address), "and waits")
    person.come_from(TOKYO)


def wrong_codes(person):
    """Five of them."""
    browser, address = person.browser, f"bc1q{person.mark}wrong"
    person.withdraw(address)
    for left in (4, 3, 2, 1):
        person.answer("000000")
        claim(f"Attempts left: {left}" in person.text(), f"a wrong code leaves {left}", person.text())
    person.answer("000000")
    person.screen("7-locked")
    claim("Too many wrong codes" in person.text() and not browser.has(CODE), "the fifth closes the question", person.text())
    browser.open(f"{person.base}/withdraw")
    browser.type("input[name=amount]", "0.5")
    browser.type("input[name=network]", "Bitcoin")
    browser.type("input[name=address]", address)
    browser.submit("main form button")
    claim("Too many attempts" in person.text() and "is not kept" in person.text(), "and nothing else is asked for a while", person.text())
    claim(not sent(address), "nothing was sent")


def not_me(person):
    browser, address = person.browser, f"bc1q{person.mark}notme"
    person.withdraw(address)
    question = person.question()
    browser.click("input[name=freeze]")
    browser.submit("form[action$='/reject'] button")
    person.screen("8-frozen")
    claim("your account is frozen" in person.text(), "\"this wasn't me\" refuses it and freezes the account", person.text())
    browser.open(question)
    claim(not browser.has(CODE) and not browser.has(RELEASE), "nobody can answer it any more", person.text())
    browser.open(f"{person.base}/withdraw")
    browser.type("input[name=amount]", "0.5")
    browser.type("input[name=network]", "Bitcoin")
    browser.type("input[name=address]", address)
    browser.submit("main form button")
    claim("Account frozen" in person.text(), "and nothing sensitive passes", person.text())
    claim(not sent(address), "nothing was sent")


def another_browser(driver, person):
    """With the same cookie: a session is one, wherever it is."""
    browser, address = person.browser, f"bc1q{person.mark}cookie"
    person.withdraw(address)
    question = person.question()
    cookie = browser.ask("GET", "/cookie/session")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        other = Person(Browser(driver, profile, javascript=False), person.base, person.mark)
        try:
            other.come_from(TOKYO)
            other.name = person.name
            other.browser.open(f"{person.base}/.stepgate/style.css")
            other.browser.ask("POST", "/cookie", {"cookie": {"name": "session", "value": cookie["value"], "path": "/"}})
            other.browser.open(question)
            other.answer()
            claim(other.browser.has(RELEASE), "the same session in another browser may answer", other.text())
        finally:
            other.browser.quit()
    person.reload()
    browser.submit(RELEASE)
    claim(browser.has("#done") and len(sent(address)) == 1, "and the first browser sends it, once", person.text())


def everything(driver, station, javascript, names):
    mark = "js" if javascript else "nojs"
    print(f"JavaScript {'on' if javascript else 'off'}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        person = Person(Browser(driver, profile, javascript), station.base, mark)
        try:
            person.come_from(TOKYO)
            person.log_in(names[0])
            two_clicks(person, javascript)
            for name, journey in zip(names[1:], [two_tabs, signed_out, abroad, wrong_codes, not_me]):
                person.log_in(name)
                journey(person)
            if javascript:
                person.log_in(names[6])
                another_browser(driver, person)
        finally:
            person.browser.quit()


def main():
    names = [f"bot{number}" for number in range(1, 14)]
    with stations.gateway("journeys") as station, chromedriver() as driver:
        station.enrol(*[enrolment(name) for name in names])
        everything(driver, station, True, names[:7])
        everything(driver, station, False, names[7:])
    took = time.monotonic() - STARTED
    print(f"{webdriver.passed} claims hold in {took:.0f} s; screenshots in {webdriver.SCREENS}")


main()
