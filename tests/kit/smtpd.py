"""A mail server that writes down what it takes: one JSON line for each mail.

    smtpd.py PORT MODE CERTIFICATE KEY OUT

MODE is `wrapped` (TLS from the first byte), `upgraded` (STARTTLS, and nothing without it) or `plain`. Unless it is `plain`,
only `gateway` with the password `a-mail-password` may send. Addresses that begin with `refused` are refused.
"""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, mode, certificate, key, out = int(sys.argv[1]), *sys.argv[2:]


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: (mail.get_body((kind,)) or mail).get_content()
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "wrapped",
            "authenticated": bool(session.authenticated),
            "headers": [[name, str(value)] for name, value in mail.items()],
            "subject": mail["subject"],
            "text": part("plain").replace("\r\n", "\n"),
            "html": part("html").replace("\r\n", "\n"),
        }
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = data.login == b"gateway" and data.password == b"a-mail-password"
    return AuthResult(success=right, handled=False if not right else True)


def server(loop, context):
    secured = mode != "plain"
    return SMTP(
        Keep(),
        loop=loop,
        tls_context=context if mode == "upgraded" else None,
        require_starttls=mode == "upgraded",
        auth_required=secured,
        auth_require_tls=mode == "upgraded",
        authenticator=authenticate if secured else None,
    )


async def main():
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    wrapped = context if mode == "wrapped" else None
    await loop.create_server(lambda: server(loop, context), "127.0.0.1", port, ssl=wrapped)
    await asyncio.Event().wait()


asyncio.run(main())
