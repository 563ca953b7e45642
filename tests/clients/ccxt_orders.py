"""ccxt for OKX, Binance and Kraken under a policy that asks about every order.

Packs let orders stream through unread, and clients make up a new id, nonce or time for each. Claims checked: where a
policy names `order`, it is asked about once, the same order again is the same question, and the code lets it pass once.
"""

import asyncio

import ccxt

from exchanges import Exchange
from harness import Account, claim, gateway, summary
from library import call, challenge_of, client, refusal, step_up

POLICY = "tests/clients/orders.policy.toml"
ORDER, BIGGER = ("BTC/USDT", "limit", "buy", 0.01, 10000), ("BTC/USDT", "limit", "buy", 0.02, 10000)
CASES = (
    ("okx", "okx.actions.toml", "OK-ACCESS-KEY", "/api/v5/trade/batch-orders"),
    ("binance", "binance.actions.toml", "X-MBX-APIKEY", "/api/v3/order"),
    ("kraken", "kraken.actions.toml", "API-Key", "/0/private/AddOrder"),
)


async def order(exchange, one, path, code):
    await call(one.load_markets)
    await refusal(one, one.create_order, *ORDER)
    challenge = challenge_of(one)
    await refusal(one, one.create_order, *ORDER)
    claim(challenge and challenge_of(one) == challenge, "the same order again is the same question")
    with step_up(one, code()):
        placed = await call(one.create_order, *ORDER)
        claim(placed["id"], "it passes with the code")
        await refusal(one, one.create_order, *ORDER)
        await refusal(one, one.create_order, *BIGGER)
    claim(len(exchange.received(path)) == 1, "once, and no bigger one with it")


def main():
    for name, pack, header, path in CASES:
        print(f"ccxt {ccxt.__version__}: {name}")
        owner = Account(f"{name}-owner")
        exchange = Exchange([owner])
        with gateway(exchange.url, [pack], POLICY, [header], [owner]) as running:
            options = {"fetchMarkets": {"types": ["spot"]}, "maxRetriesOnFailure": 3}
            one = client(getattr(ccxt, name), running.base, running.ca, owner, **options)
            asyncio.run(order(exchange, one, path, owner.code))
        exchange.close()
    summary()


main()
