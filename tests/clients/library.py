"""How the client tests use ccxt: its addresses at the gateway, every request counted, sync and async called alike.

It changes nothing in what the library sends or raises; the header of a step-up is set the way the library's users do.
"""

import asyncio
import contextlib

import ccxt

from harness import at_gateway, claim, fail


def client(kind, base, ca, account, **options):
    """An exchange object of this account that counts its HTTP requests in `sent`."""

    class Counting(kind):
        sent = 0

        def fetch(self, *args, **kwargs):
            self.sent += 1
            return super().fetch(*args, **kwargs)

    exchange = Counting({
        "apiKey": account.key, "secret": account.secret, "password": account.passphrase,
        "enableRateLimit": False, "cafile": ca, "timeout": 15000, "options": options,
    })
    exchange.validateServerSsl = ca
    exchange.urls["api"] = at_gateway(exchange.urls["api"], base)
    return exchange


@contextlib.contextmanager
def step_up(exchange, code):
    """Adds the header to every request of this object."""
    before = dict(exchange.headers or {})
    exchange.headers = {**before, "Step-Up-Code": code}
    try:
        yield
    finally:
        exchange.headers = before


async def call(function, *args):
    """Calls a sync or an async method alike."""
    result = function(*args)
    return await result if asyncio.iscoroutine(result) else result


async def refusal(exchange, function, *args):
    """The exception that a refused call raises, after exactly one HTTP request."""
    before = exchange.sent
    try:
        result = await call(function, *args)
    except ccxt.BaseError as error:
        claim(exchange.sent - before == 1, f"{function.__name__}: one request, no retry ({type(error).__name__})")
        return error
    return fail(f"{function.__name__}{args} passed: {result}")


def challenge_of(exchange):
    headers = {key.lower(): value for key, value in dict(exchange.last_response_headers).items()}
    return headers.get("step-up-challenge", "")
