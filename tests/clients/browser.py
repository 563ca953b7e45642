"""A customer in a real browser: logs in, withdraws, is held, is asked, mistypes, gives the code, has withdrawn once.

Run with JavaScript and without; then a customer without an app is asked by SMS. Speaks plain WebDriver to a
chromedriver of its own. Environment (the demo writes it to target/demo/env): GATEWAY, GATEWAY_FRANKFURT, DEMO_DO,
CONTROL. Screenshots: target/screens.
"""

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

import webdriver
from webdriver import Browser, chromedriver, claim

TOKYO, FRANKFURT = os.environ["GATEWAY"], os.environ["GATEWAY_FRANKFURT"]
HELPER, CONTROL = os.environ["DEMO_DO"], os.environ["CONTROL"]
HOLD_S = float(os.environ.get("HOLD_S", "10"))  # policies/demo.policy.toml, rule young-address
ADDRESS = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"
CODE = "input[autocomplete=one-time-code]"

def received(path):
    """What was posted to the exchange on this path."""
    with urllib.request.urlopen(CONTROL) as answer:
        return [one for one in json.load(answer) if one["target"] == path and one["method"] == "POST"]


def withdrawals(address):
    """How often the exchange was asked to withdraw to this address."""
    return [one for one in received("/withdraw") if address in one["body"]]


def helper(*words):
    return subprocess.run([HELPER, *words], capture_output=True, text=True, check=True).stdout.strip()


def code_of(customer):
    return helper("totp", customer)


def code_of_sms():
    return helper("sms", "--code")


def log_in(browser, customer):
    browser.open(f"{TOKYO}/login")
    browser.type("input[name=name]", customer)
    browser.type("input[name=password]", "demo")
    browser.submit("main form button")
    claim("Contract" in browser.text(), f"{customer} is logged in and sees balances", browser.text())


def fill_withdrawal(browser, address):
    browser.open(f"{TOKYO}/withdraw")
    browser.choose("asset", "BTC")
    browser.type("input[name=amount]", "0.125")
    browser.type("input[name=network]", "Bitcoin")
    browser.type("input[name=address]", address)
    browser.submit("main form button")


def fill_transfer(browser, amount):
    browser.open(f"{TOKYO}/transfer")
    browser.choose("asset", "USDT")
    browser.type("input[name=amount]", amount)
    browser.submit("main form button")


def bare(text):
    """Text as it is compared: pages group long values for the eye."""
    return re.sub(r"\s+", "", text)


def journey(browser, customer, address, mark):
    log_in(browser, customer)
    browser.screen(f"{mark}-1-balances")

    fill_withdrawal(browser, address)
    browser.screen(f"{mark}-2-held")
    claim(not browser.has(CODE), "a withdrawal to a new address is held: no code is asked for", browser.text())
    claim(not withdrawals(address), "the exchange heard nothing of it")
    time.sleep(HOLD_S + 1)

    fill_withdrawal(browser, address)
    browser.screen(f"{mark}-3-question")
    page = browser.text()
    claim(browser.has(CODE), "after the hold the page asks for a code", page)
    claim("0.125" in page and "BTC" in page, "it shows amount and asset", page)
    claim(address in bare(page), "it shows the whole address", page)

    browser.type(CODE, "000000")
    browser.submit("form.answer button")
    browser.screen(f"{mark}-4-wrong")
    page = browser.text()
    claim(browser.has(".notice.bad"), "a wrong code is answered with a message", page)
    claim(re.search(r"\b4\b", page), "and with the attempts left", page)
    claim(not withdrawals(address), "the exchange still heard nothing")

    browser.type(CODE, code_of(customer))
    browser.submit("form.answer button")
    browser.screen(f"{mark}-5-approved")
    if browser.has("form[action$='/release']"):
        browser.submit("form[action$='/release'] button")
    browser.screen(f"{mark}-6-done")
    claim(browser.has("#done"), "after the right code the receipt comes", browser.text())
    claim(browser.address().path.startswith("/receipt/"), "at the exchange's own address")
    claim(address in bare(browser.text()), "with the address that was shown")
    browser.open(f"{TOKYO}/")
    claim(address in bare(browser.text()), "the balances page lists the withdrawal")
    claim(len(withdrawals(address)) == 1, "the exchange was asked exactly once")


def texting(browser):
    """Bob has no app: a wrong way out first ("this wasn't me"), then a transfer with the code of an SMS."""
    log_in(browser, "bob")
    fill_transfer(browser, "12.5")
    browser.screen("sms-1-question")
    page = browser.text()
    claim("12.5" in page and "USDT" in page, "the page shows the transfer", page)
    claim("••78" in page, "and hints at the phone number", page)
    claim("+81312345678" not in page, "but does not print it", page)
    browser.submit("form[action$='/reject'] button")
    browser.screen("sms-3-refused")
    claim(not browser.has(CODE), "after \"this wasn't me\" no code is asked for", browser.text())

    code_of_sms()  # of the question that was refused
    fill_transfer(browser, "13.5")
    browser.screen("sms-4-again")
    browser.type(CODE, code_of_sms())
    browser.submit("form.answer button")
    if browser.has("form[action$='/release']"):
        browser.submit("form[action$='/release'] button")
    browser.screen("sms-5-done")
    claim(browser.has("#done"), "with the code of the SMS the transfer passes", browser.text())
    moved = [one["body"] for one in received("/transfer")]
    claim(moved == ["from=contract&to=spot&asset=USDT&amount=13.5"], "and only that one", moved)

    browser.open(f"{TOKYO}/.stepgate/challenge/{'x' * 43}")
    browser.screen("sms-6-nothing")
    claim("Nothing here" in browser.text(), "a made-up challenge is not found", browser.text())


def elsewhere(browser, mark):
    browser.open(f"{FRANKFURT}/")
    browser.screen(f"{mark}-7-frankfurt")
    page = browser.text()
    claim(browser.has(CODE), "the same session in Frankfurt sees only the question", page)
    claim("Contract" not in page, "and no balances")


def scripts_run(browser):
    browser.open("data:text/html,<title>off</title><script>document.title='on'</script>")
    return browser.title() == "on"


def main():
    with chromedriver() as driver:
        for customer, javascript in [("bot7", True), ("bot8", False)]:
            mark = "js" if javascript else "nojs"
            print(f"{customer}, JavaScript {'on' if javascript else 'off'}")
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                browser = Browser(driver, profile, javascript)
                try:
                    claim(scripts_run(browser) == javascript, "the browser is as it should be")
                    # An address of its own for each run, so that each is counted for itself.
                    journey(browser, customer, ADDRESS + customer, mark)
                    elsewhere(browser, mark)
                finally:
                    browser.quit()
        print("bob, by SMS")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(driver, profile, javascript=True)
            try:
                # As wide as a telephone.
                browser.ask("POST", "/window/rect", {"width": 500, "height": 900})
                texting(browser)
            finally:
                browser.quit()
    print(f"{webdriver.passed} claims hold; screenshots in {webdriver.SCREENS}")


main()
