"""ccxt, sync and async, for OKX, Binance and Kraken, through the gateway's binary to an exchange that checks signatures.

Claims checked for each: ticker, balance and order pass; a transfer out of the contract account and a withdrawal raise
the exception that the library has for "not allowed", with the challenge in its text, after exactly one request, also if
the library is told to retry; a wrong code does no better; the right one in a Step-Up-Code header passes the call once
and unchanged, and nothing else. However often an owner's bot asks again, there is one text message.
"""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass

import ccxt
import ccxt.async_support

from exchanges import Exchange
from harness import Account, claim, fail, gateway, summary
from library import call, challenge_of, client, refusal, step_up

ADDRESS, OTHER = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8"
POLICY = "tests/clients/clients.policy.toml"


@dataclass(frozen=True)
class Move:
    """A call that takes money out: which ccxt class, what arrives where, what it raises without a code."""

    kind: str
    method: str
    given: tuple
    other: tuple
    path: str
    raises: type


@dataclass(frozen=True)
class Case:
    name: str
    packs: tuple
    headers: tuple
    ticker: str
    transfer: Move
    withdrawal: Move


CASES = (
    Case(
        "okx", ("okx.actions.toml",), ("OK-ACCESS-KEY",), "/api/v5/market/ticker",
        Move("okx", "transfer", ("USDT", 7, "trading", "funding"), ("USDT", 8, "trading", "funding"),
             "/api/v5/asset/transfer", ccxt.AuthenticationError),
        Move("okx", "withdraw", ("USDT", 5, ADDRESS, {"network": "TRC20"}), ("USDT", 5, OTHER, {"network": "TRC20"}),
             "/api/v5/asset/withdrawal", ccxt.AuthenticationError),
    ),
    Case(
        "binance", ("binance.actions.toml",), ("X-MBX-APIKEY",), "/api/v3/ticker/24hr",
        Move("binance", "transfer", ("USDT", 7, "swap", "spot"), ("USDT", 8, "swap", "spot"),
             "/sapi/v1/asset/transfer", ccxt.AuthenticationError),
        Move("binance", "withdraw", ("USDT", 5, ADDRESS, {"network": "TRC20"}),
             ("USDT", 5, OTHER, {"network": "TRC20"}), "/sapi/v1/capital/withdraw/apply", ccxt.AuthenticationError),
    ),
    Case(
        "kraken", ("kraken.actions.toml", "kraken-futures.actions.toml"), ("API-Key", "APIKey"), "/0/public/Ticker",
        Move("krakenfutures", "transfer", ("USD", 7, "main", "spot"), ("USD", 8, "main", "spot"),
             "/derivatives/api/v3/withdrawal", ccxt.AuthenticationError),
        Move("kraken", "withdraw", ("USDT", 5, ADDRESS, {"key": "cold"}), ("USDT", 5, ADDRESS, {"key": "warm"}),
             "/0/private/Withdraw", ccxt.PermissionDenied),
    ),
)


# What bots do all day beside it. Whether the exchange likes it is not the question: each has to get there.
SPOT, CONTRACT = "BTC/USDT", "BTC/USDT:USDT"
TRADING = (
    ("fetch_order_book", SPOT), ("fetch_ohlcv", SPOT), ("fetch_trades", SPOT), ("fetch_open_orders", SPOT),
    ("fetch_order", "1", SPOT), ("fetch_my_trades", SPOT), ("cancel_order", "1", SPOT),
    ("create_order", SPOT, "market", "sell", 0.01), ("edit_order", "1", SPOT, "limit", "buy", 0.02, 10000),
    ("fetch_deposits",), ("fetch_withdrawals",),
)
CONTRACTS = (
    ("create_order", CONTRACT, "limit", "buy", 1, 10000), ("set_leverage", 5, CONTRACT), ("fetch_positions", [CONTRACT]),
    ("fetch_open_orders", CONTRACT), ("cancel_order", "1", CONTRACT), ("fetch_funding_rate", CONTRACT),
    ("fetch_deposit_address", "USDT", {"network": "TRC20"}),
)
ORDINARY = {
    "okx": (*TRADING, *CONTRACTS, ("transfer", "USDT", 3, "funding", "trading"), ("cancel_orders", ["1", "2"], SPOT)),
    "binance": (*TRADING, *CONTRACTS, ("transfer", "USDT", 3, "spot", "swap"), ("cancel_all_orders", SPOT),
                ("create_orders", [{"symbol": CONTRACT, "type": "limit", "side": "buy", "amount": 1, "price": 10000}])),
    "kraken": (*TRADING, ("transfer", "USDT", 3, "spot", "swap"), ("cancel_all_orders",),
               ("fetch_ledger", "USDT"), ("fetch_deposit_address", "USDT", {"network": "TRC20"})),
}


class Journey:
    """One exchange, one flavour of the library. Each account gives one code; `texter` has a phone."""

    def __init__(self, case, flavour, phone):
        self.case, self.flavour = case, flavour
        word = f"{case.name}-{flavour.__name__.rpartition('.')[2]}"
        self.mover, self.payer = Account(f"{word}-mover"), Account(f"{word}-payer")
        self.trader, self.texter = Account(f"{word}-trader"), Account(f"{word}-texter", phone)
        self.accounts = (self.mover, self.payer, self.trader, self.texter)
        self.clients = []

    def client(self, kind, account):
        # Fewer lists of what this test does not trade.
        options = {"fetchMarkets": {"types": ["spot", "swap" if self.case.name == "okx" else "linear"]}}
        made = client(getattr(self.flavour, kind), self.gateway.base, self.gateway.ca, account, **options)
        self.clients.append(made)
        return made

    async def run(self, exchange, running):
        self.exchange, self.gateway = exchange, running
        try:
            await self.harmless()
            await self.move(self.case.transfer, self.mover)
            await self.move(self.case.withdrawal, self.payer)
            await self.texted(self.case.transfer)
        finally:
            for one in self.clients:
                if hasattr(one, "close"):
                    await call(one.close)

    async def harmless(self):
        one = self.client(self.case.name, self.mover)
        ticker = await call(one.fetch_ticker, "BTC/USDT")
        claim(ticker["last"] == 60000, "the ticker is read")
        balance = await call(one.fetch_balance)
        claim(balance["USDT"]["total"] == 5000, "the balance is read")
        order = await call(one.create_order, "BTC/USDT", "limit", "buy", 0.01, 10000)
        claim(order["id"], "an order passes")
        await self.retries_elsewhere(one)
        await self.ordinary(self.client(self.case.name, self.trader))
        one.secret = Account("somebody else").secret
        error = await refusal(one, one.fetch_balance)
        claim("signature" in str(error).lower() or "Sign" in str(error), "a signature that is not right is found out")

    async def ordinary(self, one):
        await call(one.load_markets)
        for name, *given in ORDINARY[self.case.name]:
            sent, arrived = one.sent, len(self.exchange.received())
            answered = contextlib.suppress(ccxt.BaseError, KeyError, TypeError, IndexError, AttributeError)
            with answered:
                await call(getattr(one, name), *given)
            reached = len(self.exchange.received()) - arrived
            if not 0 < one.sent - sent == reached:
                fail(f"{name}{given}: {one.sent - sent} requests, {reached} got there; {one.last_http_response}")
        claim(True, f"{len(ORDINARY[self.case.name])} other calls of a bot all get to the exchange")

    async def retries_elsewhere(self, one):
        """The other side of "no retry": what the exchange itself cannot serve is asked for again."""
        one.options["maxRetriesOnFailure"] = 3
        self.exchange.broken.add(self.case.ticker)
        before = one.sent
        try:
            await call(one.fetch_ticker, "BTC/USDT")
            fail("a ticker was read from an exchange that is down")
        except ccxt.NetworkError:
            claim(one.sent - before == 4, "told to retry, the library asks four times for what is down")
        self.exchange.broken.clear()

    async def move(self, move, account):
        one = self.client(move.kind, account)
        await call(one.load_markets)
        act = getattr(one, move.method)
        await self.asked(move, one, act)
        with step_up(one, "000000"):
            await refusal(one, act, *move.given)
            claim(not self.arrived(move, account), "a wrong code is refused, and nothing reached the exchange")
        with step_up(one, account.code()):
            await call(act, *move.given)
            self.passed_once(move, account)
            await refusal(one, act, *move.given)
            await refusal(one, act, *move.other)
        claim(len(self.arrived(move, account)) == 1, "neither the same code again nor another call passed with it")

    async def asked(self, move, one, act):
        """Refused in the library's own words; told to retry it sends no more; asking again is the same question."""
        error = await refusal(one, act, *move.given)
        challenge = challenge_of(one)
        claim(type(error) is move.raises, f"{move.method}: the library raises {move.raises.__name__}")
        claim(challenge and challenge in str(error), "its text names the challenge")
        claim("/.stepgate/challenge/" in str(error), "and the address where it is answered")
        one.options["maxRetriesOnFailure"] = 3
        await refusal(one, act, *move.given)
        claim(challenge_of(one) == challenge, "asking again is the same challenge")

    async def texted(self, move):
        """A phone is the owner's only factor: the first question sends the message, the repetitions send none."""
        one = self.client(move.kind, self.texter)
        await call(one.load_markets)
        act = getattr(one, move.method)
        await self.asked(move, one, act)
        code = self.gateway.text_code(self.texter.phone)
        await refusal(one, act, *move.given)
        with step_up(one, code):
            await call(act, *move.given)
        self.passed_once(move, self.texter)

    def arrived(self, move, account):
        return [one for one in self.exchange.received(move.path) if account.key in dict(one.headers).values()]

    def passed_once(self, move, account):
        requests = self.arrived(move, account)
        claim(len(requests) == 1, f"{move.method}: with the right code the exchange received it once")
        claim(requests[0].header("step-up-code") is None, "without the code")


def settled(running, clients):
    """Every request of a library is one request at the gateway: nothing below the library repeats any."""
    sent = sum(one.sent for one in clients)
    until = time.monotonic() + 5
    while running.requests() < sent and time.monotonic() < until:
        time.sleep(0.02)
    claim(running.requests() == sent, f"{sent} calls were {sent} requests")


def at_one_exchange(case):
    flavours = (ccxt, ccxt.async_support)
    journeys = [Journey(case, flavour, f"+8131234567{at}") for at, flavour in enumerate(flavours)]
    accounts = [account for journey in journeys for account in journey.accounts]
    exchange = Exchange(accounts)
    with gateway(exchange.url, case.packs, POLICY, case.headers, accounts) as running:
        for journey in journeys:
            print(f"{journey.flavour.__name__} {ccxt.__version__}: {case.name}")
            asyncio.run(journey.run(exchange, running))
        settled(running, [one for journey in journeys for one in journey.clients])
        running.stop()
        claim(len(running.audit("code_sent")) == len(journeys), "one text message per owner was ordered")
        sent = [len(running.texts(journey.texter.phone)) for journey in journeys]
        claim(sent == [1] * len(journeys), "and one was sent")
    exchange.close()


def main():
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.name in wanted:
            at_one_exchange(case)
    summary()


main()
