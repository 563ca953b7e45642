"""A single-page application with the gateway's script, in a real browser: its calls wait for the owner and then end.

Environment as for browser.py. Each claim begins at the page's own door: fetch or XMLHttpRequest.
"""

import gzip
import json
import os
import subprocess
import tempfile
import time
import urllib.request

import webdriver
from webdriver import Browser, chromedriver, claim

TOKYO = os.environ["GATEWAY"]
HELPER, CONTROL = os.environ["DEMO_DO"], os.environ["CONTROL"]
DIALOG = "stepgate-dialog"
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"

# Begins a call and keeps how it ended in `window.ended`.
START = """
window.ended = null;
const [name, ...values] = arguments;
const calls = {
  form: (body) => fetch('/transfer', {method: 'POST', headers: {accept: 'application/json'}, body: new URLSearchParams(body)}),
  text: (body, signal) => fetch('/transfer', {method: 'POST', body, signal,
    headers: {accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded'}}),
  request: (body) => fetch(new Request('/transfer', {method: 'POST', body, headers: {accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded'}})),
  stream: (body) => fetch('/transfer', {method: 'POST', duplex: 'half', headers: {accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded'}, body: new Blob([body]).stream()}),
  bytes: (body) => fetch('/transfer', {method: 'POST', headers: {accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded'}, body: new TextEncoder().encode(body)}),
  xhr: (body) => new Promise((resolve, reject) => {
    const call = window.call = new XMLHttpRequest();
    window.seen = [];
    for (const kind of ['readystatechange', 'loadstart', 'load', 'loadend', 'abort', 'error', 'timeout']) {
      call.addEventListener(kind, () => window.seen.push(kind === 'readystatechange' ? String(call.readyState) : kind));
    }
    call.open('POST', '/transfer');
    call.responseType = 'json';
    call.timeout = 2000;
    call.setRequestHeader('accept', 'application/json');
    call.setRequestHeader('content-type', 'application/x-www-form-urlencoded');
    call.onload = () => resolve({status: call.status, text: async () => JSON.stringify(call.response)});
    call.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    call.onerror = () => reject(new TypeError('no answer'));
    call.send(body);
  }),
};
calls[name](...values).then(
  async (answer) => { window.ended = [answer.status, await answer.text()]; },
  (error) => { window.ended = [0, error.name]; });
"""


def helper(*words):
    return subprocess.run([HELPER, *words], capture_output=True, text=True, check=True).stdout.strip()


def posted():
    """What reached the exchange as a transfer."""
    with urllib.request.urlopen(CONTROL) as answer:
        calls = json.load(answer)
    return [one["body"] for one in calls if one["target"] == "/transfer" and one["method"] == "POST"]


def until(work, text):
    for _ in range(200):
        value = work()
        if value:
            return value
        time.sleep(0.05)
    raise SystemExit(f"FAILED: {text} did not come")


class App:
    """The demo's single-page application, and what its user does."""

    def __init__(self, browser):
        self.browser = browser
        self.amount = 0

    def begin(self, how, more=""):
        self.amount += 1
        body = f"from=contract&to=spot&asset=USDT&amount=1.{self.amount:03}"
        script = START if not more else START.replace("calls[name](...values)", more)
        self.browser.run(script, how, body)
        return body

    def asked(self):
        """Waits for the dialog; what it says."""
        until(lambda: self.browser.has(DIALOG), "a dialog")
        self.root = self.browser.shadow(DIALOG)
        return self.browser.run("return document.querySelector('stepgate-dialog').shadowRoot.querySelector('dialog').innerText")

    def focus(self):
        return self.browser.run("const inner = document.querySelector('stepgate-dialog')?.shadowRoot.activeElement; return inner && (inner.name || inner.textContent)")

    def click(self, selector):
        self.browser.ask("POST", f"/element/{self.browser.inside(self.root, selector)}/click")

    def ended(self):
        return until(lambda: self.browser.run("return window.ended"), "the end of the call")

    def gone(self):
        return until(lambda: not self.browser.has(DIALOG), "the end of the dialog")

    def code(self):
        """The next code that was not used: one step of thirty seconds has one."""
        return helper("totp", self.customer)


def log_in(browser, customer):
    browser.open(f"{TOKYO}/login")
    browser.type("input[name=name]", customer)
    browser.type("input[name=password]", "demo")
    browser.submit("main form button")
    browser.open(f"{TOKYO}/app")


def passing(app, how):
    """One call of each kind: asked, mistyped, answered, sent once as it was."""
    browser, before = app.browser, len(posted())
    body = app.begin(how)
    page = app.asked()
    claim(f"1.{app.amount:03}" in page and "USDT" in page, f"{how}: the dialog shows what would be moved", page)
    claim(app.focus() == "code", f"{how}: the focus is on the code")
    claim(len(posted()) == before, f"{how}: the exchange heard nothing yet")
    browser.press("000000")
    browser.press(ENTER)
    until(lambda: "That code is not right" in app.asked(), "the word about a wrong code")
    claim("Attempts left: 4" in app.asked(), f"{how}: a wrong code is told, with the attempts left")
    browser.press(app.code())
    browser.press(ENTER)
    status, text = app.ended()
    claim(status == 200 and "receipt" in text, f"{how}: the caller gets the final answer", f"{status} {text}")
    app.gone()
    claim(posted()[before:] == [body], f"{how}: the exchange got the very body, once", posted()[before:])


def not_answered(app):
    browser, before = app.browser, len(posted())
    browser.run("""
        window.addEventListener('stepgate:challenge', (event) => {
          event.detail.challenge.transaction.forEach((line) => { line.value = 'forged'; });
          event.detail.challenge = null;
        });
    """)
    app.begin("form")
    page = app.asked()
    claim("forged" not in page and f"1.{app.amount:03}" in page, "what an app writes into its event changes nothing that is shown", page)
    browser.press(ESCAPE)
    status, text = app.ended()
    claim(status == 401 and "challenge" in text, "closed with Escape: the caller gets the refusal", f"{status} {text}")
    app.gone()

    app.begin("text", "(window.stop = new AbortController(), calls[name](...values, window.stop.signal))")
    app.asked()
    browser.run("window.stop.abort()")
    claim(app.ended() == [0, "AbortError"], "an aborted call ends as one")
    app.gone()
    claim(True, "and its dialog with it")

    app.begin("xhr")
    app.asked()
    browser.run("window.call.abort()")
    claim(app.ended() == [0, "AbortError"], "so does an aborted XMLHttpRequest")
    app.gone()

    app.begin("xhr")
    app.asked()
    time.sleep(2.5)
    claim(browser.run("return window.ended") is None, "an owner who types does not run into a network's timeout")
    browser.press(ESCAPE)
    status, text = app.ended()
    seen = browser.run("return window.seen")
    claim(status == 401 and "challenge" in text, "closed with Escape: XMLHttpRequest gets the refusal", f"{status} {text}")
    claim(seen[0] == "1" and seen[-3:] == ["4", "load", "loadend"], "with its events in order, once", seen)
    app.gone()

    app.begin("form")
    app.asked()
    app.click("button.danger")
    until(lambda: "Refused" in app.asked(), "the word about a refusal")
    claim(True, "\"this wasn't me\" refuses it and says so")
    app.click("button:not(.danger)")
    claim(app.ended()[0] == 401, "and the caller gets the refusal")
    app.gone()
    claim(len(posted()) == before, "none of these reached the exchange")


def together(app):
    """Two calls with the same transaction wait for one dialog, and one approval lets one pass."""
    browser, before = app.browser, len(posted())
    body = app.begin("form", "(window.twin = calls[name](...values).then((a) => a.status), calls[name](...values))")
    app.asked()
    claim(browser.run("return document.querySelectorAll('stepgate-dialog').length") == 1, "twins are one question")
    browser.press(app.code())
    browser.press(ENTER)
    until(lambda: len(posted()) == before + 1, "the first of the twins")
    # The other one needs an approval of its own, which is asked for in a second dialog.
    def over():
        if app.focus() == "code":
            browser.press(ESCAPE)
        return browser.run("return window.ended")
    until(over, "the end of the other twin")
    claim(posted()[before:] == [body], "one approval lets one of them pass", posted()[before:])
    app.gone()


def own_dialog(app):
    browser, before = app.browser, len(posted())
    browser.run("""
        window.addEventListener('stepgate:challenge', (event) => { event.preventDefault(); window.question = event.detail; }, {once: true});
        window.addEventListener('stepgate:approved', () => { window.approved = true; }, {once: true});
    """)
    body = app.begin("form")
    until(lambda: browser.run("return !!window.question"), "the app's own question")
    shown = browser.run("return window.question.challenge")
    claim(shown["about"] == "transaction" and {"name": "asset", "value": "USDT"} in shown["transaction"], "an app may ask by itself", shown)
    claim(not browser.has(DIALOG), "and then the gateway's dialog stays away")
    wrong = browser.run("return await window.question.answer('totp', '000000')")
    claim(wrong["error"] == "wrong_code" and wrong["attempts_left"] == 4, "its answers are told", wrong)
    right = browser.run("return await window.question.answer('totp', arguments[0])", app.code())
    claim(right["state"] == "approved" and app.ended()[0] == 200, "and end the call", right)
    claim(browser.run("return window.approved") is True and posted()[before:] == [body], "once")


def by_text(app):
    browser = app.browser
    app.begin("form")
    app.asked()
    app.click("form button.quiet")
    until(lambda: "on its way" in app.asked(), "the word about a message")
    claim("••78" in app.asked() and "+81312345678" not in app.asked(), "a code is sent to a number that is hinted at")
    until(lambda: app.focus() == "code", "the field for it")
    browser.press(helper("sms", "--code"))
    browser.press(ENTER)
    claim(app.ended()[0] == 200, "and its code lets the call pass")
    app.gone()


# Adds a factor that the demo's customers have not to what the gateway says, and keeps what is answered.
WITH_RECOVERY = r"""
const inner = window.fetch;
window.fetch = async (input, init) => {
  const address = String(input.url || input);
  if (/challenge\/[\w-]{43}\/answer$/.test(address)) window.answered = init.body;
  const answer = await inner(input, init);
  if (!/challenge\/[\w-]{43}$/.test(address)) return answer;
  const said = await answer.json();
  return Response.json({...said, factors: [...said.factors, 'recovery']}, {status: answer.status});
};
"""


def recovery(app):
    browser = app.browser
    cdp = lambda command, **values: browser.ask("POST", "/goog/cdp/execute", {"cmd": f"Page.{command}", "params": values})
    added = cdp("addScriptToEvaluateOnNewDocument", source=WITH_RECOVERY)["identifier"]
    browser.open(f"{TOKYO}/app")
    app.begin("form")
    claim("Recovery code" in app.asked(), "recovery codes are offered to whoever has them")
    app.click("button[value=recovery]")
    claim(app.focus() == "code", "and then the focus is on the field")
    inside = "document.querySelector('stepgate-dialog').shadowRoot.querySelector"
    label = browser.run(f"return {inside}('label').textContent")
    claim(label == "Recovery code", "which says what it is for", label)
    browser.press("abcd-efgh-jkmn-pqrs")
    browser.press(ENTER)
    answered = json.loads(until(lambda: browser.run("return window.answered"), "the answer"))
    claim(answered == {"factor": "recovery", "code": "abcd-efgh-jkmn-pqrs"}, "a code is handed on as it is written", answered)
    app.click("button[value=totp]")
    pattern = browser.run(f"return {inside}('input').pattern")
    claim("[0-9]{6}" in pattern, "and there is a way back to the authenticator app", pattern)
    browser.press(ESCAPE)
    app.ended()
    app.gone()
    cdp("removeScriptToEvaluateOnNewDocument", identifier=added)


def languages(app):
    for tag, words in [("de", "Bestätigen"), ("ja", "確認"), ("zh-TW", "確認"), ("zh-CN", "确认"), ("en", "Confirm")]:
        app.browser.open(f"{TOKYO}/app")
        app.browser.run("document.documentElement.lang = arguments[0]", tag)
        app.begin("form")
        page = app.asked()
        app.browser.screen(f"spa-{tag}")
        claim(words in page, f"the dialog speaks {tag}", page)
        app.browser.press(ESCAPE)
        app.ended()
        app.gone()


def light():
    """What a page has to load for it."""
    with open("src/pages/script/client.js", "rb") as script:
        size = len(gzip.compress(script.read(), mtime=0))
    claim(size <= 8192, f"the script is {size} bytes, compressed")


def main():
    light()
    customers = iter(f"bot{number}" for number in range(10, 20))
    with chromedriver() as driver, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(driver, profile, javascript=True)
        app = App(browser)
        try:
            # A code is good once, so each call that passes is another customer's.
            for how in ["form", "text", "request", "stream", "bytes", "xhr"]:
                app.customer = next(customers)
                log_in(browser, app.customer)
                passing(app, how)
            for part in [not_answered, together, own_dialog]:
                app.customer = next(customers)
                log_in(browser, app.customer)
                part(app)
            log_in(browser, "bob")
            by_text(app)
            app.customer = next(customers)
            log_in(browser, app.customer)
            recovery(app)
            languages(app)
        finally:
            browser.quit()
    print(f"{webdriver.passed} claims hold; screenshots in {webdriver.SCREENS}")


main()
