"""A fake exchange that speaks OKX, Binance and Kraken (spot and futures), HTTP and WebSocket, and records everything.

It never repairs a request: like the real ones it checks each signature over the bytes as they came, so a gateway that
changes one byte of a signed request is found out. What it answers is the least that ccxt and the exchanges' own
libraries take for success. Their paths do not overlap, so one server is all three.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

DRIFT_MS = 30_000  # OKX: how far a signed timestamp may be from now
TICK_S = 0.01


@dataclass(frozen=True)
class Request:
    """One HTTP request as it arrived, or one frame of a WebSocket (method `WS`)."""

    method: str
    target: str
    headers: list
    body: bytes

    @property
    def path(self):
        return self.target.split("?")[0]

    @property
    def query(self):
        return self.target.partition("?")[2]

    def header(self, name):
        """The only value of a header; a second one is no request that a library makes."""
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if len(values) == 1 else None

    def parameters(self):
        """Query and form body as one set, as Binance and Kraken Futures read them."""
        form = self.body.decode() if not self.body.startswith((b"{", b"[")) else ""
        return dict(urllib.parse.parse_qsl(f"{self.query}&{form}", keep_blank_values=True))


@dataclass
class Refused(Exception):
    """The exchange's own word for a request that it does not take."""

    status: int
    body: dict = field(default_factory=dict)


class Exchange:
    """Runs in a thread of its own until `close`. `accounts` are looked up by their public key."""

    def __init__(self, accounts):
        self.accounts = {account.key: account for account in accounts}
        self.broken = set()  # paths that are answered 503
        self._log = []
        self._nonces = {}
        self._orders = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner, self.url = self._run(self._start())

    def close(self):
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def received(self, path=None):
        """Everything, or what came on one path, in order."""
        return [one for one in list(self._log) if path in (None, one.path)]

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _serve(self, incoming):
        headers = [(name.decode().lower(), value.decode()) for name, value in incoming.raw_headers]
        request = Request(incoming.method, incoming.raw_path, headers, await incoming.read())
        self._log.append(request)
        if request.path in self.broken:
            return web.Response(status=503, text="unavailable")
        if (request.header("upgrade") or "").lower() == "websocket":
            return await self._talk(incoming, request)
        for prefix, handler in HTTP.items():
            if request.path.startswith(prefix):
                try:
                    return web.json_response(handler(self, request))
                except Refused as refused:
                    return web.json_response(refused.body, status=refused.status)
        return web.json_response({"unknown": request.path}, status=404)

    async def _talk(self, incoming, request):
        """Answers each frame with what the dialogue of this path says; a function among that is asked again and again."""
        socket = web.WebSocketResponse()
        await socket.prepare(incoming)
        said = next(made for prefix, made in WS.items() if request.path.startswith(prefix))(self)
        streams = []
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            self._log.append(Request("WS", request.target, request.headers, message.data.encode()))
            for answer in said(message.data):
                if callable(answer):
                    streams.append(asyncio.create_task(stream(socket, answer)))
                else:
                    await socket.send_str(answer if isinstance(answer, str) else json.dumps(answer))
        for one in streams:
            one.cancel()
        return socket

    def next_order(self):
        self._orders += 1
        return 1_000_000 + self._orders

    def newer(self, key, nonce):
        """Whether this nonce is greater than the key's last one, which it then replaces."""
        newest = self._nonces.get(key, -1)
        self._nonces[key] = max(newest, nonce)
        return nonce > newest


async def stream(socket, price):
    """Sends a new price every few milliseconds, until the connection ends."""
    for step in itertools.count():
        await socket.send_str(json.dumps(price(str(60_000 + step))))
        await asyncio.sleep(TICK_S)


def sha256(secret, *parts):
    return hmac.new(secret.encode(), b"".join(parts), hashlib.sha256)


def now_ms():
    return int(time.time() * 1000)


# --- OKX v5


def okx(exchange, request):
    return {"code": "0", "msg": "", "data": okx_data(exchange, request)}


def okx_data(exchange, request):
    asked = request.parameters()
    match request.path.removeprefix("/api/v5/"):
        case "public/instruments":
            return okx_instruments(asked.get("instType"))
        case "market/ticker":
            return [okx_ticker("60000")]
    okx_signed(exchange, request)
    body = json.loads(request.body or b"null")
    match (request.method, request.path.removeprefix("/api/v5/")):
        case ("GET", "asset/currencies"):
            coin = {"ccy": "USDT", "name": "Tether", "chain": "USDT-TRC20", "canDep": True, "canWd": True,
                    "canInternal": True, "mainNet": True, "fee": "0.8", "minFee": "0.8", "maxFee": "1.6",
                    "minWd": "0.001", "maxWd": "100000", "wdTickSz": "8"}
            return [coin]
        case ("GET", "account/balance"):
            coin = {"ccy": "USDT", "cashBal": "5000", "eq": "5000", "availBal": "5000", "availEq": "5000",
                    "frozenBal": "0"}
            return [{"uTime": str(now_ms()), "totalEq": "", "details": [coin]}]
        case ("POST", "trade/order" | "trade/batch-orders"):
            return [okx_order(exchange, one) for one in (body if isinstance(body, list) else [body])]
        case ("POST", "asset/transfer"):
            return [{"transId": str(exchange.next_order()), "ccy": body["ccy"], "amt": body["amt"],
                     "from": body["from"], "to": body["to"]}]
        case ("POST", "asset/withdrawal"):
            return [{"wdId": str(exchange.next_order()), "ccy": body["ccy"], "amt": body["amt"],
                     "chain": body.get("chain", "")}]
    raise Refused(404, {"code": "50404", "msg": "Not found", "data": []})


def okx_signed(exchange, request):
    account = exchange.accounts.get(request.header("ok-access-key"))
    stamp = request.header("ok-access-timestamp") or ""
    if account is None or request.header("ok-access-passphrase") != account.passphrase:
        raise Refused(401, {"code": "50105", "msg": "OK-ACCESS-PASSPHRASE incorrect", "data": []})
    seconds = time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    if abs(seconds * 1000 - now_ms()) > DRIFT_MS:
        raise Refused(401, {"code": "50102", "msg": "Timestamp request expired", "data": []})
    parts = (stamp.encode(), request.method.encode(), request.target.encode(), request.body)
    expected = base64.b64encode(sha256(account.secret, *parts).digest()).decode()
    if request.header("ok-access-sign") != expected:
        raise Refused(401, {"code": "50113", "msg": "Invalid Sign", "data": []})


def okx_order(exchange, order):
    return {"ordId": str(exchange.next_order()), "clOrdId": order.get("clOrdId", ""), "tag": order.get("tag", ""),
            "ts": str(now_ms()), "sCode": "0", "sMsg": ""}


def okx_instruments(kind):
    common = {"instType": kind, "settleCcy": "", "uly": "", "state": "live", "lotSz": "0.00000001", "minSz": "0.00001",
              "tickSz": "0.1", "lever": "10", "ctVal": "", "ctMult": "", "ctType": "", "ctValCcy": "", "expTime": "",
              "listTime": "1548133413000", "optType": "", "stk": "", "alias": "", "category": "1"}
    if kind == "SPOT":
        return [{**common, "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT"}]
    contract = {"uly": "BTC-USDT", "instFamily": "BTC-USDT", "settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1",
                "ctType": "linear", "ctValCcy": "BTC", "lotSz": "1", "minSz": "1", "baseCcy": "", "quoteCcy": ""}
    return [{**common, **contract, "instId": "BTC-USDT-SWAP"}] if kind == "SWAP" else []


def okx_ticker(price):
    return {"instType": "SPOT", "instId": "BTC-USDT", "last": price, "lastSz": "1", "askPx": price, "askSz": "1",
            "bidPx": price, "bidSz": "1", "open24h": price, "high24h": price, "low24h": price, "volCcy24h": "1000",
            "vol24h": "10", "sodUtc0": price, "sodUtc8": price, "ts": str(now_ms())}


def okx_ws(exchange):
    """One connection: subscriptions are free, orders need a login before them."""
    logged_in = False

    def said(text):
        nonlocal logged_in
        if text == "ping":
            return ["pong"]
        frame = json.loads(text)
        arguments = frame.get("args", [])
        match frame.get("op"):
            case "subscribe":
                confirmed = [{"event": "subscribe", "arg": one, "connId": "c"} for one in arguments]
                return confirmed + [lambda price: {"arg": arguments[0], "data": [okx_ticker(price)]}]
            case "login":
                logged_in = okx_login(exchange, arguments[0])
                good = {"event": "login", "code": "0", "msg": "", "connId": "c"}
                return [good if logged_in else {"event": "error", "code": "60009", "msg": "Login failed."}]
            case "order" | "batch-orders" if logged_in:
                data = [okx_order(exchange, one) for one in arguments]
                return [{"id": frame["id"], "op": frame["op"], "code": "0", "msg": "", "data": data}]
        return [{"event": "error", "code": "60012", "msg": f"Illegal request: {text}", "connId": "c"}]

    return said


def okx_login(exchange, arguments):
    account = exchange.accounts.get(arguments["apiKey"])
    if account is None or arguments["passphrase"] != account.passphrase:
        return False
    signed = sha256(account.secret, arguments["timestamp"].encode(), b"GET/users/self/verify").digest()
    return arguments["sign"] == base64.b64encode(signed).decode()


# --- Binance: api, sapi, fapi


def binance(exchange, request):
    match (request.method, request.path):
        case ("GET", "/api/v3/exchangeInfo"):
            return {"timezone": "UTC", "serverTime": now_ms(), "rateLimits": [], "symbols": [binance_symbol()]}
        case ("GET", "/fapi/v1/exchangeInfo"):
            return {"timezone": "UTC", "serverTime": now_ms(), "rateLimits": [], "symbols": [binance_contract()]}
        case ("GET", "/sapi/v1/margin/allPairs" | "/sapi/v1/margin/isolated/allPairs"):
            return []
        case ("GET", "/api/v3/ticker/24hr"):
            return binance_ticker("60000")
    binance_signed(exchange, request)
    asked = request.parameters()
    match (request.method, request.path):
        case ("GET", "/sapi/v1/capital/config/getall"):
            return [binance_coin()]
        case ("GET", "/api/v3/account"):
            coin = {"asset": "USDT", "free": "5000", "locked": "0"}
            return {"accountType": "SPOT", "updateTime": now_ms(), "balances": [coin]}
        case ("POST", "/api/v3/order" | "/fapi/v1/order"):
            return binance_order(exchange, asked)
        case ("POST", "/sapi/v1/asset/transfer"):
            return {"tranId": exchange.next_order()}
        case ("POST", "/sapi/v1/capital/withdraw/apply"):
            return {"id": str(exchange.next_order())}
    raise Refused(404, {"code": -1, "msg": "Not found"})


def binance_signed(exchange, request):
    """The signature covers query and body as they are, up to itself."""
    account = exchange.accounts.get(request.header("x-mbx-apikey"))
    if account is None:
        raise Refused(401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    signed, _, signature = (request.query + request.body.decode()).rpartition("&signature=")
    stamp = int(dict(urllib.parse.parse_qsl(signed)).get("timestamp", "0"))
    if abs(now_ms() - stamp) > 5000:
        raise Refused(400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
    if signature != sha256(account.secret, signed.encode()).hexdigest():
        raise Refused(400, {"code": -1022, "msg": "Signature for this request is not valid."})


def binance_order(exchange, asked):
    return {"symbol": asked["symbol"], "orderId": exchange.next_order(), "orderListId": -1,
            "clientOrderId": asked.get("newClientOrderId", ""), "transactTime": now_ms(), "price": asked.get("price", "0"),
            "origQty": asked["quantity"], "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW",
            "timeInForce": "GTC", "type": asked["type"], "side": asked["side"], "fills": []}


def binance_symbol():
    filters = [{"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
               {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"}]
    return {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8,
            "quoteAsset": "USDT", "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "filters": filters,
            "permissions": [], "permissionSets": [["SPOT"]]}


def binance_contract():
    return {**binance_symbol(), "pair": "BTCUSDT", "contractType": "PERPETUAL", "marginAsset": "USDT",
            "underlyingType": "COIN", "deliveryDate": 4133404800000, "onboardDate": 1569398400000,
            "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8, "quotePrecision": 8}


def binance_coin():
    chain = {"network": "TRX", "coin": "USDT", "name": "Tron (TRC20)", "isDefault": True, "depositEnable": True,
             "withdrawEnable": True, "withdrawFee": "1", "withdrawMin": "2", "withdrawMax": "100000",
             "withdrawIntegerMultiple": "0.000001"}
    return {"coin": "USDT", "name": "TetherUS", "depositAllEnable": True, "withdrawAllEnable": True, "free": "5000",
            "locked": "0", "isLegalMoney": False, "trading": True, "networkList": [chain]}


def binance_ticker(price):
    return {"symbol": "BTCUSDT", "priceChange": "0", "priceChangePercent": "0", "weightedAvgPrice": price,
            "prevClosePrice": price, "lastPrice": price, "lastQty": "1", "bidPrice": price, "bidQty": "1",
            "askPrice": price, "askQty": "1", "openPrice": price, "highPrice": price, "lowPrice": price,
            "volume": "10", "quoteVolume": "600000", "openTime": now_ms(), "closeTime": now_ms(), "count": 1}


def binance_stream(exchange):
    """Public market data: a subscription is confirmed, then prices come."""

    def said(text):
        frame = json.loads(text)
        event = {"e": "24hrMiniTicker", "E": now_ms(), "s": "BTCUSDT", "o": "60000", "h": "70000", "l": "50000",
                 "v": "10", "q": "600000"}
        return [{"result": None, "id": frame["id"]}, lambda price: {**event, "c": price}]

    return said


def binance_ws_api(exchange):
    """Every request is signed: over its parameters, sorted by name."""

    def said(text):
        frame = json.loads(text)
        asked = frame["params"]
        account = exchange.accounts.get(asked.get("apiKey"))
        signed = "&".join(f"{name}={binance_plain(asked[name])}" for name in sorted(asked) if name != "signature")
        if account is None or asked.get("signature") != sha256(account.secret, signed.encode()).hexdigest():
            error = {"code": -1022, "msg": "Signature for this request is not valid."}
            return [{"id": frame["id"], "status": 400, "error": error}]
        if frame["method"] != "order.place":
            return [{"id": frame["id"], "status": 404, "error": {"code": -1, "msg": "Not found"}}]
        return [{"id": frame["id"], "status": 200, "result": binance_order(exchange, asked), "rateLimits": []}]

    return said


def binance_plain(value):
    return str(value).lower() if isinstance(value, bool) else value


# --- Kraken: spot and futures


def kraken(exchange, request):
    name = request.path.rpartition("/")[2]
    if request.path.startswith("/0/private/"):
        kraken_signed(exchange, request)
    elif request.method != "GET":
        raise Refused(405)
    match name:
        case "Assets":
            result = {"USDT": {"aclass": "currency", "altname": "USDT", "decimals": 8, "display_decimals": 4},
                      "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5}}
        case "AssetPairs":
            result = {"XBTUSDT": kraken_pair()}
        case "Ticker":
            quote = {"a": ["60000", "1", "1.0"], "b": ["60000", "1", "1.0"], "c": ["60000", "0.1"],
                     "v": ["10", "10"], "p": ["60000", "60000"], "t": [10, 10], "l": ["60000", "60000"],
                     "h": ["60000", "60000"], "o": "60000"}
            result = {"XBTUSDT": quote}
        case "BalanceEx":
            result = {"USDT": {"balance": "5000", "hold_trade": "0"}}
        case "AddOrder":
            result = {"txid": [f"O{exchange.next_order()}"], "descr": {"order": "buy 0.01 XBTUSDT @ limit 10000"}}
        case "Withdraw":
            result = {"refid": f"R{exchange.next_order()}"}
        case _:
            result = None
    known = result is not None
    return {"error": [], "result": result} if known else {"error": ["EGeneral:Unknown method"]}


def kraken_signed(exchange, request):
    """HMAC-SHA512 over path and SHA-256 of nonce and body; the nonce grows with every request of a key."""
    account = exchange.accounts.get(request.header("api-key"))
    if account is None:
        raise Refused(200, {"error": ["EAPI:Invalid key"]})
    nonce = request.parameters().get("nonce") or str(json.loads(request.body)["nonce"])
    inner = hashlib.sha256(nonce.encode() + request.body).digest()
    secret = base64.b64decode(account.secret)
    expected = hmac.new(secret, request.path.encode() + inner, hashlib.sha512).digest()
    if request.header("api-sign") != base64.b64encode(expected).decode():
        raise Refused(200, {"error": ["EAPI:Invalid signature"]})
    if not exchange.newer(account.key, int(nonce)):
        raise Refused(200, {"error": ["EAPI:Invalid nonce"]})


def kraken_pair():
    return {"altname": "XBTUSDT", "wsname": "XBT/USDT", "aclass_base": "currency", "base": "XXBT",
            "aclass_quote": "currency", "quote": "USDT", "lot": "unit", "pair_decimals": 1, "cost_decimals": 5,
            "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.26]],
            "fees_maker": [[0, 0.16]], "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
            "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online"}


def kraken_futures(exchange, request):
    match (request.method, request.path.removeprefix("/derivatives/api/v3/")):
        case ("GET", "instruments"):
            perpetual = {"symbol": "PF_XBTUSD", "type": "flexible_futures", "tickSize": 1, "contractSize": 1,
                         "contractValueTradePrecision": 4, "tradeable": True}
            return {"result": "success", "instruments": [perpetual], "serverTime": "2026-01-01T00:00:00.000Z"}
        case ("POST", "withdrawal"):
            kraken_futures_signed(exchange, request)
            return {"result": "success", "uid": str(exchange.next_order()), "serverTime": "2026-01-01T00:00:00.000Z"}
    raise Refused(404, {"result": "error", "error": "notFound"})


def kraken_futures_signed(exchange, request):
    account = exchange.accounts.get(request.header("apikey"))
    if account is None:
        raise Refused(401, {"result": "error", "error": "authenticationError"})
    path = request.path.removeprefix("/derivatives")
    inner = hashlib.sha256(request.query.encode() + request.body + path.encode()).digest()
    expected = hmac.new(base64.b64decode(account.secret), inner, hashlib.sha512).digest()
    if request.header("authent") != base64.b64encode(expected).decode():
        raise Refused(401, {"result": "error", "error": "authenticationError"})


HTTP = {
    "/api/v5/": okx,
    "/api/v3/": binance, "/sapi/": binance, "/fapi/": binance, "/dapi/": binance,
    "/0/": kraken, "/derivatives/": kraken_futures,
}
WS = {"/ws/v5/": okx_ws, "/ws-api/": binance_ws_api, "/ws/": binance_stream}
