"""The exchange as a FastAPI application, for uvicorn; LOG in the environment.

As permissive as people make them: JSON whatever the content type says, else a form, and the query beside it. Never
asks for anything; it writes down what it executed.
"""

import json
import os

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

LOG = os.open(os.environ["LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

app = FastAPI()


async def given(request):
    pairs = dict(request.query_params)
    try:
        body = await request.json()
    except Exception:  # what cannot be read as JSON may be a form
        try:
            body = dict(await request.form())
        except Exception:  # nor that
            body = {}
    if isinstance(body, dict):
        pairs.update(body)
    return pairs


def route(method, path, what):
    async def handler(request: Request):
        pairs = await given(request)
        if what == "withdrawal" and ("amt" not in pairs or "toAddr" not in pairs):
            return JSONResponse({"error": "amt and toAddr"}, 400)
        said = {
            "ran": what,
            "case": request.headers.get("x-case", ""),
            "amt": str(pairs.get("amt")),
            "to": str(pairs.get("toAddr")),
        }
        os.write(LOG, (json.dumps(said) + "\n").encode())
        return {"ran": what}

    app.add_api_route(path, handler, methods=[method])


@app.middleware("http")
async def named(request, call_next):
    response = await call_next(request)
    response.headers["x-app"] = "fastapi"
    return response


ASSET = "/api/v5/asset"
route("POST", f"{ASSET}/withdrawal", "withdrawal")
route("POST", f"{ASSET}/withdrawal-form", "withdrawal")
route("POST", f"{ASSET}/withdrawal-query", "withdrawal")
route("GET", f"{ASSET}/withdrawal-get", "withdrawal")
route("PUT", f"{ASSET}/withdrawal-put", "withdrawal")
route("POST", f"{ASSET}/{{ccy}}/withdrawal-to", "withdrawal")
route("GET", f"{ASSET}/balances", "neighbour")
route("POST", f"{ASSET}/deposit-note", "neighbour")
route("POST", "/api/v5/trade/order", "neighbour")
route("PUT", "/api/v5/trade/order", "neighbour")
route("GET", "/api/v5/market/ticker", "neighbour")
