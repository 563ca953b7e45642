"""python-okx, the exchange's own library, over HTTP/2 through the gateway's binary.

It raises nothing: its callers look at `code`, so the gateway's answer has to be a dictionary with a code that is not 0.
"""

import importlib.metadata
import os

from okx.Account import AccountAPI
from okx.Funding import FundingAPI
from okx.MarketData import MarketAPI
from okx.Trade import TradeAPI

import sdk
from harness import claim, fail, summary

ADDRESS, OTHER = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8"


class Okx(sdk.Library):
    def __init__(self, running, account):
        super().__init__(running, account)
        os.environ["SSL_CERT_FILE"] = running.ca  # the library has no setting for it; httpx reads this one
        key = {"api_key": account.key, "api_secret_key": account.secret, "passphrase": account.passphrase}
        common = {"flag": "0", "domain": running.base}
        self.apis = [api(**key, **common) for api in (AccountAPI, FundingAPI, TradeAPI)]
        self.accounts, self.funding, self.trade = self.apis
        self.market = MarketAPI(**common)
        self.apis.append(self.market)
        self.last = None
        for api in self.apis:
            api.event_hooks = {"request": [self._count], "response": [self._keep]}

    def _count(self, _):
        self.sent += 1

    def _keep(self, response):
        self.last = response

    def close(self):
        for api in self.apis:
            api.close()

    def harmless(self):
        ticker = self.market.get_ticker("BTC-USDT")
        claim(ticker["data"][0]["last"] == "60000", "the ticker is read")
        claim(self.last.http_version == "HTTP/2", "over HTTP/2")
        balance = self.accounts.get_account_balance()
        claim(balance["data"][0]["details"][0]["availBal"] == "5000", "the balance is read")
        order = self.trade.place_order("BTC-USDT", "cash", "buy", "limit", "0.01", px="10000")
        claim(order["code"] == "0" and order["data"][0]["ordId"], "an order passes")

    def transfer(self):
        return sdk.Move(
            "transfer",
            lambda: self.funding.funds_transfer("USDT", "7", "18", "6"),
            lambda: self.funding.funds_transfer("USDT", "8", "18", "6"),
            "/api/v5/asset/transfer",
        )

    def withdrawal(self):
        return sdk.Move(
            "withdrawal",
            lambda: self.funding.withdrawal("USDT", "5", "4", ADDRESS, chain="USDT-TRC20"),
            lambda: self.funding.withdrawal("USDT", "5", "4", OTHER, chain="USDT-TRC20"),
            "/api/v5/asset/withdrawal",
        )

    def attempt(self, act):
        answer = act()
        if answer["code"] == "0":
            return None
        if answer["data"] != []:
            fail(f"this is no OKX error: {answer}")
        return sdk.Refusal(f"code {answer['code']}", answer["msg"], self.last.headers.get("step-up-challenge", ""))

    def header(self, code):
        self.funding.headers["Step-Up-Code"] = code


print(f"python-okx {importlib.metadata.version('python-okx')}")
sdk.journey(Okx, "okx.actions.toml", "OK-ACCESS-KEY", "code 50114")
summary()
