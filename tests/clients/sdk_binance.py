"""binance-connector, the exchange's own library, through the gateway's binary.

Its POSTs have all parameters in the query, an empty body and a JSON media type. It raises ClientError with `code` and
`msg` of the body, and dies with a KeyError on a body that lacks one of them.
"""

import importlib.metadata
import os

from binance.error import ClientError
from binance.spot import Spot

import sdk
from harness import claim, summary

ADDRESS, OTHER = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8"


class Binance(sdk.Library):
    def __init__(self, running, account):
        super().__init__(running, account)
        self.spot = Spot(account.key, account.secret, base_url=running.base)
        os.environ["REQUESTS_CA_BUNDLE"] = running.ca  # is read at each request, and beats `session.verify`
        self.spot.session.hooks["response"].append(self._count)

    def _count(self, response, **_):
        self.sent += 1

    def close(self):
        self.spot.session.close()

    def harmless(self):
        claim(self.spot.ticker_24hr("BTCUSDT")["lastPrice"] == "60000", "the ticker is read")
        claim(self.spot.account()["balances"][0]["free"] == "5000", "the balance is read")
        terms = {"timeInForce": "GTC", "quantity": 0.01, "price": 10000}
        order = self.spot.new_order("BTCUSDT", "BUY", "LIMIT", **terms)
        claim(order["orderId"], "an order passes")

    def transfer(self):
        return sdk.Move(
            "transfer",
            lambda: self.spot.user_universal_transfer("UMFUTURE_MAIN", "USDT", "7"),
            lambda: self.spot.user_universal_transfer("UMFUTURE_MAIN", "USDT", "8"),
            "/sapi/v1/asset/transfer",
        )

    def withdrawal(self):
        return sdk.Move(
            "withdrawal",
            lambda: self.spot.withdraw("USDT", 5, ADDRESS, network="TRX"),
            lambda: self.spot.withdraw("USDT", 5, OTHER, network="TRX"),
            "/sapi/v1/capital/withdraw/apply",
        )

    def attempt(self, act):
        try:
            act()
        except ClientError as error:
            challenge = error.header.get("step-up-challenge", "")
            return sdk.Refusal(f"ClientError {error.status_code} {error.error_code}", error.error_message, challenge)
        return None

    def header(self, code):
        self.spot.session.headers["Step-Up-Code"] = code


print(f"binance-connector {importlib.metadata.version('binance-connector')}")
sdk.journey(Binance, "binance.actions.toml", "X-MBX-APIKEY", "ClientError 401 -1002")
summary()
