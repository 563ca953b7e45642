"""What is asked of an exchange's own client library, whichever it is: `sdk_okx.py` and `sdk_binance.py` say how it is called.

It knows no exchange. A library brings `harmless`, two moves, how a refusal looks, and how a header is set.
"""

from dataclasses import dataclass
from typing import Callable

from exchanges import Exchange
from harness import Account, claim, gateway

POLICY = "tests/clients/clients.policy.toml"


@dataclass(frozen=True)
class Move:
    """A call that takes money out, one like it with something changed, and the path it comes to."""

    name: str
    act: Callable
    other: Callable
    path: str


@dataclass(frozen=True)
class Refusal:
    """What the caller of the library gets to see."""

    kind: str
    text: str
    challenge: str


class Library:
    """One object of the library for one account. `sent` counts its HTTP requests."""

    def __init__(self, running, account):
        self.gateway, self.account = running, account
        self.sent = 0

    def harmless(self):
        """Ticker, balance and order; claims that each is what the exchange said."""
        raise NotImplementedError

    def transfer(self):
        raise NotImplementedError

    def withdrawal(self):
        raise NotImplementedError

    def attempt(self, act):
        """Calls it: a `Refusal`, or `None` if it passed."""
        raise NotImplementedError

    def header(self, code):
        """Sends this Step-Up-Code with every request from now on; `None`: no more."""
        raise NotImplementedError


def refused(library, act):
    before = library.sent
    refusal = library.attempt(act)
    claim(refusal is not None, "it is refused")
    claim(library.sent - before == 1, f"after one request, without a retry ({refusal.kind})")
    return refusal


def asked(library, move, kind):
    print(f" {move.name}")
    refusal = refused(library, move.act)
    claim(refusal.kind == kind, f"the library says {kind}")
    claim(refusal.challenge and refusal.challenge in refusal.text, "its text names the challenge")
    claim("/.stepgate/challenge/" in refusal.text, "and the address where it is answered")
    claim(refused(library, move.act).challenge == refusal.challenge, "asking again is the same challenge")


def moved(library, move, code, arrived):
    """The code of this move lets this move pass, and nothing else."""
    library.header("000000")
    refused(library, move.act)
    claim(not arrived(move, library), "nothing reached the exchange, with a wrong code either")
    library.header(code())
    claim(library.attempt(move.act) is None, "it passes with the code")
    requests = arrived(move, library)
    claim(len(requests) == 1, "the exchange received it once")
    claim(requests[0].header("step-up-code") is None, "without the code")
    refused(library, move.act)
    refused(library, move.other)
    claim(len(arrived(move, library)) == 1, "neither the same code again nor another call passed with it")


def journey(make, pack, header, kind):
    """`make` is the `Library`, `kind` what it says to a question."""
    mover, payer, texter = Account("mover"), Account("payer"), Account("texter", "+81312345679")
    accounts = (mover, payer, texter)
    exchange = Exchange(accounts)

    def arrived(move, library):
        requests = exchange.received(move.path)
        return [one for one in requests if library.account.key in dict(one.headers).values()]

    with gateway(exchange.url, [pack], POLICY, [header], accounts) as running:
        libraries = [make(running, account) for account in accounts]
        moves, pays, texts = libraries
        moves.harmless()
        for library, move in ((moves, moves.transfer()), (pays, pays.withdrawal())):
            asked(library, move, kind)
            moved(library, move, library.account.code, arrived)
        asked(texts, texts.transfer(), kind)
        moved(texts, texts.transfer(), lambda: running.text_code(texter.phone), arrived)
        for library in libraries:
            library.close()
        running.stop()
        claim(len(running.audit("code_sent")) == 1, "one text message was ordered, however often was asked")
        claim(len(running.texts(texter.phone)) == 1, "and one was sent")
    exchange.close()
