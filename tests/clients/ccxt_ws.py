"""ccxt's WebSocket clients for OKX and Binance through the gateway's binary, to an exchange that checks signatures.

Claims checked: the public stream passes and goes on while questions are asked; an order over WebSocket raises the
library's exception with the challenge in its text and does not reach the exchange; the library cannot send a code here,
so the owner answers at the challenge's own address, and then exactly the order that was asked about passes, once, on the
same connection. However often it is asked, there is one text message.
"""

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass

import ccxt
import ccxt.pro

from exchanges import Exchange
from harness import Account, claim, fail, gateway, summary
from library import client

POLICY = "tests/clients/orders.policy.toml"
CHALLENGE = re.compile(r"/\.stepgate/challenge/([\w-]+)")
ORDER, BIGGER = ("BTC/USDT", "limit", "buy", 0.01, 10000), ("BTC/USDT", "limit", "buy", 0.02, 10000)


@dataclass(frozen=True)
class Case:
    name: str
    packs: tuple
    header: str
    path: str
    operation: str


CASES = (
    Case("okx", ("okx.actions.toml",), "OK-ACCESS-KEY", "/ws/v5/private", "batch-orders"),
    Case("binance", ("binance.actions.toml",), "X-MBX-APIKEY", "/ws-api/v3", "order.place"),
)


# What bots do beside it on the same connection; no rule asks about it.
ORDINARY = {
    "okx": (("cancel_order_ws", "1", "BTC/USDT"), ("cancel_orders_ws", ["1", "2"], "BTC/USDT")),
    "binance": (
        ("fetch_ohlcv_ws", "BTC/USDT"),
        ("fetch_balance_ws",), ("fetch_order_ws", "1", "BTC/USDT"), ("fetch_open_orders_ws", "BTC/USDT"),
        ("fetch_my_trades_ws", "BTC/USDT"), ("cancel_order_ws", "1", "BTC/USDT"), ("cancel_all_orders_ws", "BTC/USDT"),
    ),
}


class Journey:
    def __init__(self, case):
        self.case = case
        self.owner, self.other = Account("owner"), Account("other")
        self.texter = Account("texter", "+81312345679")
        self.accounts = (self.owner, self.other, self.texter)
        self.clients = []

    def client(self, account):
        options = {"fetchMarkets": {"types": ["spot"]}}
        kind = getattr(ccxt.pro, self.case.name)
        self.clients.append(client(kind, self.gateway.base, self.gateway.ca, account, **options))
        return self.clients[-1]

    async def run(self, exchange, running):
        self.exchange, self.gateway = exchange, running
        try:
            one = self.client(self.owner)
            await self.streams(one, "the public stream passes")
            challenge = await self.asked(one)
            await self.approved(one, challenge)
            await self.ordinary(one)
            await self.streams(one, "the public stream goes on")
            await self.texted(self.client(self.texter))
        finally:
            for one in self.clients:
                await one.close()

    async def streams(self, one, text):
        """Each price of the exchange is higher than the one before."""
        prices = [(await asyncio.wait_for(one.watch_ticker("BTC/USDT"), 10))["last"] for _ in range(5)]
        claim(sorted(set(prices)) == prices, text)

    async def asked(self, one):
        """The order is refused in the library's own words, and the connection stays."""
        error, challenge = await refusal(one, ORDER)
        claim(type(error) is ccxt.AuthenticationError, "an order over WebSocket raises AuthenticationError")
        claim(challenge, "its text names the address where the challenge is answered")
        claim((await refusal(one, ORDER))[1] == challenge, "asking again is the same challenge")
        claim(not self.orders(), "no order reached the exchange")
        return challenge

    async def approved(self, one, challenge):
        """The owner answers out of band; the approval is good for this order of this account, once."""
        status, body = self.gateway.answer(challenge, self.case.header, self.owner, "000000")
        claim(status == 403 and "wrong_code" in body, "a wrong code is answered 403 at the challenge's address")
        await refusal(one, ORDER)
        status, body = self.gateway.answer(challenge, self.case.header, self.owner, self.owner.code())
        claim(status == 200 and body["state"] == "approved", "the right one approves")
        claim((await refusal(one, BIGGER))[1] != challenge, "a bigger order is another question")
        claim((await refusal(self.client(self.other), ORDER))[1] != challenge, "so is the same one of another account")
        claim(not self.orders(), "neither passes on this approval")
        order = await one.create_order_ws(*ORDER)
        claim(order["id"], "the order that was approved passes")
        claim(len(self.orders()) == 1, "the exchange received it once")
        claim((await refusal(one, ORDER))[1] != challenge, "the next one is a new question")
        claim(len(self.orders()) == 1, "and did not reach the exchange")
        opened = [made for made in self.exchange.received(self.case.path) if made.method == "GET"]
        claim(len(opened) == 2, "each account kept its one connection through all of this")

    async def ordinary(self, one):
        """Whether the exchange likes it is not the question: each has to get there."""
        for name, *given in ORDINARY[self.case.name]:
            before = len(self.exchange.received(self.case.path))
            with contextlib.suppress(ccxt.BaseError, KeyError, TypeError, AttributeError):
                await asyncio.wait_for(getattr(one, name)(*given), 10)
            if len(self.exchange.received(self.case.path)) != before + 1:
                fail(f"{name}{given} did not get to the exchange")
        claim(True, f"{len(ORDINARY[self.case.name])} other calls on the connection all get to the exchange")

    async def texted(self, one):
        challenges = {(await refusal(one, ORDER))[1] for _ in range(3)}
        claim(len(challenges) == 1, "a phone's owner is asked three times, about one challenge")
        code = self.gateway.text_code(self.texter.phone)
        status, _ = self.gateway.answer(challenges.pop(), self.case.header, self.texter, code, "sms")
        claim(status == 200, "the code of the message approves")
        order = await one.create_order_ws(*ORDER)
        claim(order["id"] and len(self.orders()) == 2, "the order passes")

    def orders(self):
        """The frames on the private path that place an order."""
        frames = [one.body for one in self.exchange.received(self.case.path) if one.method == "WS"]
        said = [json.loads(frame) for frame in frames if frame.startswith(b"{")]
        return [one for one in said if self.case.operation in (one.get("op"), one.get("method"))]


async def refusal(one, order):
    """The exception that an order raises, and the challenge in its text."""
    try:
        made = await asyncio.wait_for(one.create_order_ws(*order), 10)
    except ccxt.BaseError as error:
        named = CHALLENGE.search(str(error))
        return error, named and named[1]
    return fail(f"the order passed: {made}")


def main():
    for case in CASES:
        print(f"ccxt.pro {ccxt.__version__}: {case.name}")
        journey = Journey(case)
        exchange = Exchange(journey.accounts)
        with gateway(exchange.url, case.packs, POLICY, [case.header], journey.accounts) as running:
            asyncio.run(journey.run(exchange, running))
            running.stop()
            claim(len(running.texts(journey.texter.phone)) == 1, "one text message was sent")
        exchange.close()
    summary()


main()
