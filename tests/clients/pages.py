"""Every page as customers see it, in a real browser: five languages, two themes, axe-core, 320 pixels, the keyboard alone.

Each page is reached through a gateway and the demo's exchange, none is made up. Screenshots: target/screens/pages.
Environment as for browser.py, and target/axe/axe.min.js (tests/tools/setup.sh).
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import stations
import webdriver
from webdriver import Browser, chromedriver, claim

HELPER = os.environ["DEMO_DO"]
ACCOUNTS = {one["name"]: one for one in json.loads(pathlib.Path(os.environ["ACCOUNTS"]).read_text())}
AXE = pathlib.Path("target/axe/axe.min.js").read_text()
SCREENS = pathlib.Path("target/screens/pages")
LANGUAGES = ["en", "zh-TW", "zh-CN", "ja", "de"]
THEMES = ["light", "dark"]
TOKYO, FRANKFURT = "203.0.113.10", "198.51.100.7"
ENTER, TAB, SHIFT, SPACE = "\ue007", "\ue004", "\ue008", " "
BITCOIN = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"

# What it finds at WCAG 2.2 AA, and what it holds to be good practice.
RUN_AXE = """
const found = await axe.run(document, {resultTypes: ['violations'],
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});
return found.violations.map((one) => one.id + ': ' + one.help + '\\n' + one.nodes.map((n) => n.html + '\\n' + n.failureSummary).join('\\n'));
"""

pictures = 0
STARTED = time.monotonic()


class Customer:
    """One browser, one person at a time."""

    def __init__(self, browser):
        self.browser = browser

    def cdp(self, command, **values):
        return self.browser.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": values})

    def come_from(self, address):
        self.cdp("Network.enable")
        self.cdp("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": address})

    def theme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def width(self, pixels):
        self.cdp("Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=False)

    def log_in(self, base, name):
        self.browser.ask("DELETE", "/cookie")
        self.browser.open(f"{base}/login")
        self.browser.type("input[name=name]", name)
        self.browser.type("input[name=password]", "demo")
        self.browser.submit("main form button")

    def fill(self, base, form, asset, amount, address=None):
        self.browser.open(f"{base}/{form}")
        self.browser.choose("asset", asset)
        self.browser.type("input[name=amount]", amount)
        if address:
            self.browser.type("input[name=network]", "Bitcoin")
            self.browser.type("input[name=address]", address)
        self.browser.submit("main form button")

    def answer(self, code):
        self.browser.type("#code", code)
        self.browser.submit("form.answer button")

    def links(self):
        """Where the page's switch leads, by language."""
        script = "return [...document.querySelectorAll('.languages a')].map((a) => [a.hreflang, a.href])"
        return dict(self.browser.run(script))

    def here(self):
        """The page's address without a language."""
        return self.links()["en"].rsplit("lang=", 1)[0][:-1]


def in_language(address, tag):
    return f"{address}{'&' if '?' in address else '?'}lang={tag}"


def code_of(name):
    return subprocess.run([HELPER, "totp", name], capture_output=True, text=True, check=True).stdout.strip()


def factors(name, **more):
    secret = ACCOUNTS[name]["totp"]
    uri = f"otpauth://totp/Demo:{name}?secret={secret}&issuer=Demo&algorithm=SHA1&digits=6&period=30"
    lines = [{"account": name, "otpauth": uri}] if secret else []
    return lines + [{"account": name, **{key: value}} for key, value in more.items()]


def picture(customer, name):
    """The whole page, however long."""
    global pictures
    size = customer.cdp("Page.getLayoutMetrics")["cssContentSize"]
    width = customer.browser.run("return innerWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": min(size["height"], 3000), "scale": 1}
    shot = customer.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                        optimizeForSpeed=True, clip=clip)
    SCREENS.mkdir(parents=True, exist_ok=True)
    (SCREENS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
    pictures += 1


def judge(customer, name, tag):
    """What is asked of a page in one language, in both themes."""
    browser = customer.browser
    said = browser.run("return document.documentElement.lang")
    if said != tag:
        sys.exit(f"FAILED: {name} in {tag} says {said}\n{browser.text()}")
    customer.width(320)
    wide = browser.run("return document.scrollingElement.scrollWidth")
    if wide > 320:
        sys.exit(f"FAILED: {name} in {tag} is {wide} pixels wide in a window of 320")
    if name in NARROW and tag == "de":
        picture(customer, f"{name}-{tag}-320")
    customer.width(640)
    browser.run(AXE)
    for theme in THEMES:
        customer.theme(theme)
        found = browser.run(RUN_AXE)
        if found:
            sys.exit(f"FAILED: axe-core on {name} in {tag}, {theme}:\n" + "\n".join(found))
        picture(customer, f"{name}-{tag}-{theme}")


NARROW = {"challenge", "place", "held", "suspended"}


def in_grey(customer, name):
    """For whoever looks at the pictures: a transaction and a sign-in check differ without their colours."""
    customer.theme("light")
    customer.cdp("Emulation.setEmulatedVisionDeficiency", type="achromatopsia")
    picture(customer, f"{name}-grey")
    customer.cdp("Emulation.setEmulatedVisionDeficiency", type="none")


def everywhere(customer, name, address=None, words=None):
    """The page at this address, or the one that is open, in every language by its own switch."""
    address = address or customer.here()
    for tag in LANGUAGES:
        customer.browser.open(in_language(address, tag))
        judge(customer, name, tag)
    customer.browser.open(in_language(address, "en"))
    text = customer.browser.text()
    claim(words is None or words in text, f"{name}: five languages, two themes, nothing to mend", text)
    return address


def ask_to_thaw(customer, base, name, judged=False):
    """The way back for the owner of a frozen account: a code, and then a wait that every contact can end."""
    browser = customer.browser
    browser.open(f"{base}/.stepgate/thaw")
    if judged:
        everywhere(customer, "thaw", words="Ask to lift the freeze")
    browser.submit("form[action='/.stepgate/thaw'] button")
    claim("Lifting of the freeze" in browser.text(), "to lift a freeze is confirmed like a transaction", browser.text())
    customer.answer(code_of(name))
    browser.submit("form[action$='/release'] button")
    claim("The freeze ends at" in browser.text(), "and takes a day from then", browser.text())
    if judged:
        everywhere(customer, "thaw-waits", words="The freeze ends at")


def questions(customer, station):
    """What asks for a code, and what becomes of it."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot1")
    browser.run(AXE)
    browser.run("document.body.append(Object.assign(document.createElement('img'), {src: '/x.png'}))")
    claim("image-alt" in "".join(browser.run(RUN_AXE)), "axe-core finds a fault that is planted")
    customer.fill(base, "withdraw", "BTC", "0.125", BITCOIN)
    text = browser.text()
    claim("0.125" in text and BITCOIN in re.sub(r"\s", "", text), "the whole transaction is shown", text)
    claim("not in your address book" in text, "and that the address is new", text)
    claim("Chrome on" in text and "Japan" in text, "and what asked, and where", text)
    challenge = everywhere(customer, "challenge", words="Confirm: Withdrawal")
    in_grey(customer, "challenge")

    # Wrong codes are counted, so two people share the five languages.
    for tag in LANGUAGES[:3]:
        browser.open(in_language(challenge, tag))
        customer.answer("000000")
        judge(customer, "wrong", tag)
    tied = browser.run("const i = document.activeElement; return [i.id, i.ariaInvalid, "
                       "i.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id)?.textContent ?? 'missing')]")
    claim(tied[:2] == ["code", "true"] and "missing" not in tied[2], "an error is tied to the field, which has the focus", tied)
    browser.open(in_language(challenge, "en"))
    customer.answer(code_of("bot1"))
    everywhere(customer, "approved-held", words="It is sent exactly as shown")
    browser.submit("form[action$='/release'] button")
    claim(browser.has("#done"), "the withdrawal is done", browser.text())
    everywhere(customer, "ended", challenge, "It was sent")

    customer.log_in(base, "bot2")
    customer.fill(base, "transfer", "USDT", "12.5")
    challenge = customer.here()
    for tag in LANGUAGES[3:]:
        browser.open(in_language(challenge, tag))
        customer.answer("000000")
        judge(customer, "wrong", tag)
    browser.open(in_language(challenge, "en"))
    browser.submit("form[action$='/reject'] button")
    everywhere(customer, "rejected", challenge, "Freeze my account")
    for tag in LANGUAGES:
        browser.open(in_language(challenge, tag))
        browser.submit("form[action$='/reject'] button")
        judge(customer, "rejected-frozen", tag)
    claim(True, "rejected-frozen: five languages, two themes, nothing to mend")
    customer.fill(base, "transfer", "USDT", "12.5")
    everywhere(customer, "frozen", words="Account frozen")
    ask_to_thaw(customer, base, "bot2", judged=True)

    customer.log_in(base, "bot3")
    customer.fill(base, "transfer", "USDT", "12.5")
    challenge = customer.here()
    for _ in range(5):
        customer.answer("000000")
    everywhere(customer, "locked", challenge, "Too many wrong codes")
    customer.fill(base, "transfer", "USDT", "13.5")
    everywhere(customer, "too-many", words="You can try again from")

    customer.log_in(base, "bob")
    customer.fill(base, "transfer", "USDT", "12.5")
    claim("••78" in browser.text(), "a code is on its way to a number that is hinted at", browser.text())
    everywhere(customer, "challenge-sms", words="Code from the text message")

    customer.log_in(base, "bot4")
    customer.fill(base, "transfer", "BTC", "0.5")
    challenge = customer.here()
    customer.answer(code_of("bot4"))
    claim("One more is needed" in browser.text(), "the second factor is asked for", browser.text())
    claim(not browser.has("#code"), "and nothing is asked for that was not sent")
    everywhere(customer, "more", challenge, "Send a code by text message")


def now_code(secret):
    """RFC 6238: SHA-1, 6 digits, 30 s."""
    tag = hmac.new(base64.b32decode(secret), int(time.time() // 30).to_bytes(8), hashlib.sha1).digest()
    at = tag[19] & 15
    return f"{(int.from_bytes(tag[at:at + 4]) & 0x7fffffff) % 1000000:06}"


def enrolment(customer, station):
    """Who has no way to confirm is led to one, and money waits for a while after it."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "alice")
    customer.fill(base, "withdraw", "BTC", "0.125", BITCOIN)
    claim("Add a way to confirm" in browser.text(), "who has no way to confirm is led to add one", browser.text())
    browser.submit("main .ways a.button")
    everywhere(customer, "factors-none", words="You have no way to confirm yet")
    everywhere(customer, "approvals-none", f"{base}/.stepgate/approvals", words="Nothing waits")
    for number, tag in enumerate(LANGUAGES):
        customer.log_in(base, f"bot{10 + number}")
        browser.open(in_language(f"{base}/.stepgate/factors?return_to=%2Fwithdraw", tag))
        browser.submit("form[action$='/factors/totp'] button")
        judge(customer, "enrol-totp", tag)
        key = browser.run("return new URL(document.querySelector('a[href^=\"otpauth:\"]').href).searchParams.get('secret')")
        customer.answer("000000")
        judge(customer, "enrol-wrong", tag)
        customer.answer(now_code(key))
        judge(customer, "enrolled", tag)
        shown = browser.run("return document.querySelectorAll('ol.codes li').length")
        claim(shown == 10, f"an authenticator app is set up by its key, and ten codes are shown once ({tag})", browser.text())
    browser.submit("main .ways a.button")
    claim(browser.address().path == "/withdraw", "and its owner is led back to what was wanted")
    everywhere(customer, "factors", f"{base}/.stepgate/factors", words="It can confirm requests from")
    customer.fill(base, "withdraw", "BTC", "0.125", BITCOIN)
    claim("Not yet" in browser.text(), "who enrols and then withdraws has to wait", browser.text())

    customer.log_in(base, "bot15")
    browser.open(f"{base}/.stepgate/factors?lang=en")
    browser.type("input[name=number]", "+81 3-1234-9999")
    browser.submit("form[action$='/factors/sms'] button")
    everywhere(customer, "enrol-sms", words="A code goes to this number")
    everywhere(customer, "approvals", f"{base}/.stepgate/approvals", words="wait for your confirmation")

    customer.log_in(base, "bot16")
    browser.open(f"{base}/.stepgate/factors?lang=en")
    browser.submit("form[action$='/factors/webauthn'] button")
    everywhere(customer, "enrol-passkey", words="Press the button")

    customer.log_in(base, "bot5")
    browser.open(f"{base}/.stepgate/factors?lang=en")
    browser.submit("form[action$='/factors/totp/remove'] button")
    everywhere(customer, "factor-remove", words="Confirm: Removal of a way to confirm")
    customer.answer(code_of("bot5"))
    browser.submit("form[action$='/release'] button")
    claim("You have no way to confirm yet" in browser.text(), "a removal is held, confirmed and carried out", browser.text())


def places(customer, station):
    """A known session somewhere else."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot5")
    browser.open(f"{base}/")
    customer.come_from(FRANKFURT)
    browser.open(f"{base}/address-book")
    text = browser.text()
    claim("Is this you?" in text and "Germany" in text, "the same session in Frankfurt is asked who it is", text)
    band = "return getComputedStyle(document.querySelector('.head')).backgroundColor"
    plain = browser.run(band)
    challenge = everywhere(customer, "place", words="It approves no transaction")
    in_grey(customer, "place")
    customer.answer(code_of("bot5"))
    everywhere(customer, "approved-place", challenge, "You can go on")
    browser.submit("main a.button")
    claim(browser.address().path == "/address-book", "and is led back to where it wanted to go")
    customer.come_from(TOKYO)
    customer.log_in(base, "bot6")
    customer.fill(base, "transfer", "USDT", "1")
    claim(browser.run(band) != plain, "a transaction does not look like a sign-in check")


def notices(customer, station):
    """The link in a notice. Last, because it freezes its account."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot4")
    browser.open(f"{base}/")
    customer.come_from(FRANKFURT)
    browser.open(f"{base}/address-book")
    texts, path = stations.CONFIG.parent / "pages-sms.jsonl", None
    for _ in range(200):
        links = re.findall(r"/\.stepgate/not-me/[\w-]{43}", texts.read_text() if texts.exists() else "")
        if links:
            path = links[-1]
            break
        time.sleep(0.1)
    claim(path is not None, "the owner is told of a sign-in from Germany by text message")
    browser.ask("DELETE", "/cookie")
    everywhere(customer, "not-me", f"{base}{path}", "Freeze my account")
    browser.submit("form[action*='/not-me/'] button")
    claim("Your account is frozen" in browser.text(), "its button freezes without any sign-in", browser.text())
    judge(customer, "not-me-frozen", "en")
    everywhere(customer, "not-me-used", f"{base}{path}", "This link was used")
    customer.come_from(TOKYO)

    customer.log_in(base, "bot4")
    ask_to_thaw(customer, base, "bot4")
    path = None
    for _ in range(200):
        links = re.findall(r"Freeze ends[^\n]*?(/\.stepgate/not-me/[\w-]{43})", texts.read_text())
        if links:
            path = links[-1]
            break
        time.sleep(0.1)
    claim(path is not None, "the owner is told at once that a freeze is to end")
    browser.ask("DELETE", "/cookie")
    everywhere(customer, "keep-frozen", f"{base}{path}", "Keep my account frozen")
    browser.submit("form[action*='/not-me/'] button")
    claim("Your account stays frozen" in browser.text(), "and keeps it up without any sign-in", browser.text())
    judge(customer, "kept-frozen", "en")


def refusals(customer, station):
    """What is not carried out, and what is said about it."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot6")
    customer.fill(base, "withdraw", "ETH", "1", "0x52908400098527886E0F7030069857D2E4169EE7")
    text = browser.text()
    claim("19 hours" in text and re.search(r"1[89]:\d\d:\d\d", text), "a hold says when it ends, and counts down", text)
    everywhere(customer, "held", words="is not kept")
    customer.fill(base, "transfer", "ETH", "1")
    everywhere(customer, "denied", words="Ether cannot be moved")
    told = ["--reason", "Wallets are being moved.", "--reason", "de=Die Wallets ziehen um."]
    station.operate("suspend", "withdrawal", "--for", "2h", *told)
    customer.fill(base, "withdraw", "BTC", "0.125", BITCOIN)
    text = browser.text()
    claim("Wallets are being moved" in text and re.search(r"1:59:\d\d|about 2 hours", text),
          "who meets a suspension is told why, and when it ends", text)
    everywhere(customer, "suspended", words="Suspended for now")
    customer.fill(base, "transfer", "USDT", "1")
    claim("Confirm: Transfer" in browser.text(), "everything else goes on", browser.text())
    station.operate("suspend", "transfer")
    customer.fill(base, "transfer", "USDT", "1")
    claim("You can try again from" not in browser.text(), "without an end, no time is promised", browser.text())
    everywhere(customer, "suspended-open", words="Suspended for now")
    station.operate("resume", "transfer")
    station.operate("resume", "withdrawal")
    session = browser.ask("GET", "/cookie/session")["value"]

    browser.ask("DELETE", "/cookie/session")
    browser.open(f"{base}/.stepgate/challenge/{'x' * 43}")
    everywhere(customer, "signed-out", words="Go to the sign-in page")
    customer.log_in(base, "alice")
    customer.fill(base, "transfer", "USDT", "1")
    everywhere(customer, "no-factor", words="Not allowed")
    browser.open(f"{base}/.stepgate/challenge/{'x' * 43}")
    everywhere(customer, "not-found", words="Nothing here")

    for host, page, path, words in [
        ("gone", "bad-gateway", "/", "Try again"),
        ("silent", "no-answer", "/", "Try again"),
        ("unsure", "unavailable", "/transfer", "cannot be checked"),
    ]:
        at = station.at(host)
        # A cookie needs a page of its host.
        browser.open(f"{at}/.stepgate/style.css")
        cookie = {"name": "sid" if host == "unsure" else "session", "value": session, "secure": True, "path": "/"}
        browser.ask("POST", "/cookie", {"cookie": cookie})
        if host == "unsure":
            post(browser, f"{at}/transfer", "from=contract&to=spot&asset=USDT&amount=1")
        else:
            browser.open(f"{at}{path}")
        everywhere(customer, page, words=words)

    at = station.at("silent")
    post(browser, f"{at}/transfer", "from=contract&to=spot&asset=USDT&amount=2")
    customer.answer(code_of("bot6"))
    browser.submit("form[action$='/release'] button")
    everywhere(customer, "unknown-outcome", words="Look at your account")
    claim("Try again" not in browser.text(), "nobody is told to send again what may have been carried out")


def post(browser, address, body):
    """A form of the same site, which no page of a dead exchange can bring."""
    base = "/".join(address.split("/")[:3])
    browser.open(f"{base}/.stepgate/client.json")
    browser.run("""
        const form = document.createElement('form');
        form.method = 'post'; form.action = arguments[0];
        for (const [name, value] of new URLSearchParams(arguments[1])) {
          const field = document.createElement('input');
          field.name = name; field.value = value; form.append(field);
        }
        const button = document.createElement('button');
        button.id = 'go'; button.textContent = 'go'; form.append(button); document.body.append(form);
    """, address, body)
    browser.submit("#go")


def dialogs(customer, station):
    """The dialog of single-page applications, in its shadow root."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot7")
    for tag in LANGUAGES:
        browser.open(f"{base}/app")
        browser.run("document.documentElement.lang = arguments[0]", tag)
        browser.run("fetch('/transfer', {method: 'POST', headers: {accept: 'application/json'}, "
                    "body: new URLSearchParams('from=contract&to=spot&asset=USDT&amount=7')}); return 1")
        until(lambda: browser.has("stepgate-dialog"))
        judge(customer, "dialog", tag)
    claim(True, "dialog: five languages, two themes, nothing to mend")


def until(there):
    """Waits for it, within bounds; what is claimed afterwards says what was missing."""
    for _ in range(200):
        if there():
            return
        time.sleep(0.05)


def keyboard(customer, station):
    """From the question to the receipt without a pointer, by way of another language."""
    browser, base = customer.browser, station.base
    customer.log_in(base, "bot8")
    customer.fill(base, "transfer", "USDT", "21.5")
    focus = "const e = document.activeElement; return e.id || e.textContent.trim()"
    claim(browser.run(focus) == "code", "the focus is in the field for the code")
    pasted = browser.run("""
        const field = document.getElementById('code'), data = new DataTransfer();
        data.setData('text', ' 123 456\\n');
        field.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, cancelable: true}));
        const value = field.value; field.value = ''; return value;
    """)
    claim(pasted == "123456", "a code may be pasted as apps write it", pasted)
    seen = []
    for _ in range(6):
        browser.press([TAB])
        seen.append(browser.run(focus))
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        claim(outline != "none", f"the focus is seen on {seen[-1]!r}")
        if seen[-1] == "Refuse this request":
            break
    claim("Confirm" in seen and seen[-1] == "Refuse this request", "from there to refusing it is a few steps", seen)
    browser.run("document.querySelector('header a').focus()")
    browser.press([TAB, ENTER] + [TAB] * 5 + [ENTER])
    until(lambda: browser.has("html[lang=de]"))
    text = browser.text()
    claim("Bestätigen: Umbuchung" in text and "21.5" in text, "the keyboard chooses another language for the same question", text)
    browser.press([*code_of("bot8"), ENTER])
    until(lambda: browser.has("form[action$='/release'] button"))
    claim(browser.run(focus) == "Jetzt senden", "the focus is on what is left to do")
    browser.press([ENTER])
    until(lambda: browser.has("#done"))
    claim(browser.has("#done"), "and the held request goes out", browser.text())


def times(customer, brief):
    """What happens at the end of a question's time, and after a hold."""
    browser, base = customer.browser, brief.base
    customer.log_in(base, "bot1")
    customer.fill(base, "withdraw", "ETH", "1", "0x52908400098527886E0F7030069857D2E4169EE7")
    held = customer.here()
    customer.fill(base, "transfer", "USDT", "12.5")
    heard = "return document.getElementById('time-left').textContent"
    until(lambda: "The time is over" in browser.run(heard))
    claim("The time is over" in browser.run(heard), "the end of the time is said where a voice hears it")
    everywhere(customer, "expired", words="Expired")
    everywhere(customer, "held-over", held, "The wait is over")
    claim(browser.has("main a[href='/withdraw']"), "with the way back to the form")


def without_script(driver, station):
    """Times are in UTC, the switch is a link, the journey is the same."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(driver, profile, javascript=False)
        try:
            customer = Customer(browser)
            customer.come_from(TOKYO)
            customer.log_in(station.base, "bot9")
            customer.fill(station.base, "transfer", "USDT", "3.5")
            text = browser.text()
            claim(re.search(r"\d\d:\d\d:\d\d UTC", text), "without a script times are in UTC, and said so", text)
            browser.click(".languages summary")
            browser.submit(".languages a[hreflang=ja]")
            claim("振替の確認" in browser.text(), "the switch works", browser.text())
            customer.answer(code_of("bot9"))
            browser.submit("form[action$='/release'] button")
            claim(browser.has("#done"), "and so does all the rest", browser.text())
        finally:
            browser.quit()


SITES = """
[[site]]
name = "gone"
hosts = ["gone.localhost"]
upstream = ["http://127.0.0.1:9"]
actions = ["policies/demo.actions.toml"]
policy = "{policy}"
accounts = "demo"
IDENTITY

[[site]]
name = "silent"
hosts = ["silent.localhost"]
upstream = ["SILENT"]
actions = ["policies/demo.actions.toml"]
policy = "{policy}"
accounts = "demo"
IDENTITY

[[site]]
name = "unsure"
hosts = ["unsure.localhost"]
upstream = ["{upstream}"]
actions = ["policies/demo.actions.toml"]
policy = "{policy}"
accounts = "demo"

[[site.identity]]
kind = "opaque"
from = ["cookie:sid"]
introspect = "http://127.0.0.1:9/introspect"
"""


def sites(silent):
    identity = re.search(r'\[\[site\.identity\]\]\nkind = "jwt".*?\n\n', stations.CONFIG.read_text(), re.S)[0]
    return SITES.replace("IDENTITY", identity).replace("SILENT", silent)


def main():
    everyone = [line for number in range(1, 10) for line in factors(f"bot{number}")]
    with stations.hangs_up() as silent, \
            stations.gateway("pages", sites=sites(silent)) as station, \
            stations.gateway("brief", challenge_s=2, hold="1s") as brief, \
            chromedriver() as driver, \
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        both = [{"account": "bot4", "phone": "+81312345678"}, {"account": "bob", "phone": "+81312345678"}]
        station.enrol(*everyone, *both)
        brief.enrol(*factors("bot1"))
        browser = Browser(driver, profile, javascript=True)
        customer = Customer(browser)
        try:
            customer.come_from(TOKYO)
            for part in [questions, places, refusals, dialogs, keyboard, notices, enrolment]:
                customer.width(640)
                part(customer, station)
            times(customer, brief)
        finally:
            browser.quit()
        without_script(driver, station)
    took = time.monotonic() - STARTED
    print(f"{webdriver.passed} claims hold in {took:.0f} s; {pictures} screenshots in {SCREENS}")


main()
