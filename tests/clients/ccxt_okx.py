"""A real OKX client library (ccxt, sync and async) against a running demo.

Claims checked: what is harmless passes; a contract-to-spot transfer and a withdrawal are refused once, without a retry,
with an exception that names the challenge; the same call with a Step-Up-Code header reaches the exchange exactly once
and unchanged; the same code again, another amount and another address do not. A challenge that was approved at its own
address lets exactly the call that it was about pass, once.

Environment (the demo writes it to target/demo/env): GATEWAY, CA, ACCOUNTS, CONTROL. Each account gives one code per
run, so a second run against the same demo has to be half a minute later.
"""

import asyncio
import json
import os
import time
import urllib.request
from types import SimpleNamespace

import ccxt
import ccxt.async_support

from harness import answer, claim, summary, totp
from library import call, challenge_of, client, refusal, step_up

GATEWAY, CA, CONTROL = (os.environ[name] for name in ("GATEWAY", "CA", "CONTROL"))
with open(os.environ["ACCOUNTS"], encoding="utf-8") as file:
    ACCOUNTS = {account["name"]: account for account in json.load(file)}
HOLD_S = float(os.environ.get("HOLD_S", "10"))  # policies/demo.policy.toml, rule young-address
ADDRESS, OTHER = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8"
TRANSFER, WITHDRAWAL = "/api/v5/asset/transfer", "/api/v5/asset/withdrawal"


def exchange_of(kind, name):
    """A ccxt exchange of this account of the demo."""
    account = SimpleNamespace(**ACCOUNTS[name])
    options = {"fetchMarkets": {"types": ["spot", "swap"]}, "maxRetriesOnFailure": 3}
    return client(kind, GATEWAY, CA, account, **options)


def received(path):
    """What reached the exchange on this path since the log was emptied."""
    with urllib.request.urlopen(CONTROL) as log:
        return [one for one in json.load(log) if one["target"].split("?")[0] == path]


def forget():
    urllib.request.urlopen(urllib.request.Request(CONTROL, method="DELETE")).close()


async def harmless(exchange):
    await call(exchange.load_markets)
    claim("BTC/USDT" in exchange.markets and "BTC/USDT:USDT" in exchange.markets, "markets load")
    ticker = await call(exchange.fetch_ticker, "BTC/USDT")
    claim(ticker["last"] == 60000, "the ticker is read")
    balance = await call(exchange.fetch_balance)
    claim(balance["USDT"]["total"] > 0, "the balance is read")
    order = await call(exchange.create_order, "BTC/USDT", "limit", "buy", 0.01, 10000)
    claim(order["id"], "an order passes")


async def asked_once(exchange, function, *args):
    """The call is asked about; asking again is the same question."""
    first = await refusal(exchange, function, *args)
    challenge = challenge_of(exchange)
    claim(isinstance(first, ccxt.AuthenticationError), "the library raises AuthenticationError")
    claim(challenge and challenge in str(first), "its text names the challenge")
    await refusal(exchange, function, *args)
    claim(challenge_of(exchange) == challenge, "asking again is the same challenge")


def arrived_clean(path):
    requests = received(path)
    claim(len(requests) == 1, "the exchange received it once")
    names = [name for name, _ in requests[0]["headers"]]
    claim("step-up-code" not in names, "the code did not reach the exchange")
    claim("stepgate-assertion" in names, "the gateway's assertion did")


async def transfer(exchange, secret):
    out = ("USDT", 7, "trading", "funding")
    await asked_once(exchange, exchange.transfer, *out)
    claim(not received(TRANSFER), "nothing reached the exchange")
    code = totp(secret)
    with step_up(exchange, code):
        done = await call(exchange.transfer, *out)
        claim(done["id"], "the transfer passes with the code")
        arrived_clean(TRANSFER)
        await refusal(exchange, exchange.transfer, *out)
        await refusal(exchange, exchange.transfer, "USDT", 8, "trading", "funding")
    claim(len(received(TRANSFER)) == 1, "neither the same code again nor another amount passed")
    await call(exchange.transfer, "USDT", 3, "funding", "trading")
    claim(len(received(TRANSFER)) == 2, "the other way needs no code")


async def withdraw(exchange, secret, held_since):
    await asyncio.sleep(max(0.0, held_since + HOLD_S + 1 - time.monotonic()))
    out = ("USDT", 5, ADDRESS, {"network": "TRC20"})
    await asked_once(exchange, exchange.withdraw, *out)
    with step_up(exchange, totp(secret)):
        done = await call(exchange.withdraw, *out)
        claim(done["id"], "the withdrawal passes with the code")
        arrived_clean(WITHDRAWAL)
        await refusal(exchange, exchange.withdraw, *out)
        await refusal(exchange, exchange.withdraw, "USDT", 5, OTHER, {"network": "TRC20"})
    claim(len(received(WITHDRAWAL)) == 1, "neither the same code again nor another address passed")


def approve(challenge, account, code):
    """Answers a challenge with the account's key, as a script of the bot's owner would: status and body."""
    return answer(GATEWAY, CA, challenge, ("OK-ACCESS-KEY", account["key"]), code)


async def approved(exchange, account):
    """No header: the approval lies ready at the gateway, and only this call finds it."""
    await call(exchange.load_markets)
    out, before = ("USDT", 9, "trading", "funding"), len(received(TRANSFER))
    await refusal(exchange, exchange.transfer, *out)
    challenge = challenge_of(exchange)
    status, body = approve(challenge, account, "000000")
    claim(status == 403 and "wrong_code" in body, "a wrong code is answered 403 at the challenge's address")
    await refusal(exchange, exchange.transfer, *out)
    status, body = approve(challenge, account, totp(account["totp"]))
    claim(status == 200 and body["state"] == "approved", "the right one approves")
    await refusal(exchange, exchange.transfer, "USDT", 9.5, "trading", "funding")
    claim(challenge_of(exchange) != challenge, "another amount is another question")
    claim(len(received(TRANSFER)) == before, "and does not pass on this approval")
    done = await call(exchange.transfer, *out)
    claim(done["id"], "the call that was approved passes")
    await refusal(exchange, exchange.transfer, *out)
    claim(len(received(TRANSFER)) == before + 1, "once")


async def journey(kind, mover, withdrawer, owner):
    forget()
    print(f"{kind.__module__} {ccxt.__version__}")
    one, two, three = (exchange_of(kind, name) for name in (mover, withdrawer, owner))
    try:
        await harmless(one)
        await call(two.load_markets)
        held = await refusal(two, two.withdraw, "USDT", 5, ADDRESS, {"network": "TRC20"})
        claim(isinstance(held, ccxt.ExchangeError), "a withdrawal to a new address is held")
        held_since = time.monotonic()
        await transfer(one, ACCOUNTS[mover]["totp"])
        await approved(three, ACCOUNTS[owner])
        await withdraw(two, ACCOUNTS[withdrawer]["totp"], held_since)
    finally:
        for exchange in (one, two, three):
            if hasattr(exchange, "close"):
                await call(exchange.close)


async def main():
    await journey(ccxt.okx, "bot1", "bot2", "bot5")
    await journey(ccxt.async_support.okx, "bot3", "bot4", "bot6")
    summary()


asyncio.run(main())
