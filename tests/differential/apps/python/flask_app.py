"""The exchange as a Flask application, for gunicorn; LOG in the environment.

As permissive as people make them: JSON whatever the content type says, form and query together, slashes that need not
be there, the method override of Flask's own documentation and the prefix taken from a header of its snippets. Never
asks for anything; it writes down what it executed.
"""

import json
import os

from flask import Flask, request

LOG = os.open(os.environ["LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
METHODS = {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}

app = Flask(__name__)
app.url_map.strict_slashes = False


class Override:
    """`X-HTTP-Method-Override`, or `_method` in the query."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", "").upper()
        if not method:
            pairs = environ.get("QUERY_STRING", "").split("&")
            method = next((p[8:].upper() for p in pairs if p.startswith("_method=")), "")
        if method in METHODS:
            environ["REQUEST_METHOD"] = method
        return self.inner(environ, start_response)


class Prefix:
    """`X-Script-Name`: mounted below a prefix by the proxy in front."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        script = environ.get("HTTP_X_SCRIPT_NAME", "")
        if script:
            environ["SCRIPT_NAME"] = script
            if environ["PATH_INFO"].startswith(script):
                environ["PATH_INFO"] = environ["PATH_INFO"][len(script):]
        return self.inner(environ, start_response)


def run(what):
    given = request.values.to_dict()
    body = request.get_json(force=True, silent=True)
    if isinstance(body, dict):
        given.update(body)
    if what == "withdrawal" and ("amt" not in given or "toAddr" not in given):
        return {"error": "amt and toAddr"}, 400
    said = {
        "ran": what,
        "case": request.headers.get("x-case", ""),
        "amt": given.get("amt"),
        "to": given.get("toAddr"),
    }
    os.write(LOG, (json.dumps(said) + "\n").encode())
    return {"ran": what}


@app.after_request
def named(response):
    response.headers["x-app"] = "flask"
    return response


def route(method, path, what):
    app.add_url_rule(path, f"{method} {path}", lambda **_: run(what), methods=[method])


ASSET = "/api/v5/asset"
route("POST", f"{ASSET}/withdrawal", "withdrawal")
route("POST", f"{ASSET}/withdrawal-form", "withdrawal")
route("POST", f"{ASSET}/withdrawal-query", "withdrawal")
route("GET", f"{ASSET}/withdrawal-get", "withdrawal")
route("PUT", f"{ASSET}/withdrawal-put", "withdrawal")
route("POST", f"{ASSET}/<ccy>/withdrawal-to", "withdrawal")
route("GET", f"{ASSET}/balances", "neighbour")
route("POST", f"{ASSET}/deposit-note", "neighbour")
route("POST", "/api/v5/trade/order", "neighbour")
route("PUT", "/api/v5/trade/order", "neighbour")
route("GET", "/api/v5/market/ticker", "neighbour")
app.wsgi_app = Override(Prefix(app.wsgi_app))
