#!/usr/bin/python3 -IS
"""Judges one IAM token for RDS or Aurora DSQL: `verifier.py SERVER STATE USER`, with the token on standard input.

Exits with 0 when USER may log in to SERVER, and otherwise with the service's own status. README.md describes the files in the directory STATE.
It shares nothing with the crate, so that the two cannot be wrong together.
"""

import hashlib
import hmac
import json
import os
import re
import sys
import time
from datetime import datetime
from urllib.parse import quote, unquote_to_bytes

LEEWAY = 60  # How far a client's clock may run ahead.

# The parameters with one right value.
FIXED = {
    "X-Amz-Algorithm": b"AWS4-HMAC-SHA256",
    "X-Amz-SignedHeaders": b"host",
}
REQUIRED = {*FIXED, "Action", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature"}
SESSION_TOKEN = "X-Amz-Security-Token"


class Refused(Exception):
    """Why a token is no good, in words that repeat nothing of the token."""


def require(condition, reason):
    if not condition:
        raise Refused(reason)


class Rds:
    """The rules of Amazon RDS: `HOST:PORT/?Action=connect&DBUser=USER&...`"""

    name = "rds-db"  # In the credential scope.
    required = REQUIRED | {"DBUser"}
    lifetimes = [900]
    status_if_refused = 1

    @staticmethod
    def port_suffix(port):
        return f":{port}"

    @staticmethod
    def check_user(parameters, user):
        require(parameters["Action"] == b"connect", "wrong Action")
        require(parameters["DBUser"] == os.fsencode(user), "wrong user")


class Dsql:
    """The rules of Aurora DSQL: `HOST/?Action=DbConnect&...`, or `DbConnectAdmin` for the user `admin`."""

    name = "dsql"
    required = REQUIRED
    lifetimes = range(1, 7 * 86400 + 1)
    status_if_refused = 2

    @staticmethod
    def port_suffix(port):
        return ""

    @staticmethod
    def check_user(parameters, user):
        action = b"DbConnectAdmin" if user == "admin" else b"DbConnect"
        require(parameters["Action"] == action, "wrong Action")


SERVICES = {service.name: service for service in [Rds, Dsql]}


def judge(token, user, endpoint, keys, now):
    """Returns if the bytes `token` log `user` in to `endpoint` at the Unix time `now`, or raises Refused."""
    service = SERVICES[endpoint["service"]]
    require(token.isascii(), "not ASCII")
    address, separator, query = token.decode().partition("/?")
    require(separator, "not a token")
    check_address(address, endpoint, service)
    parameters = parse(query, service)
    for name, value in FIXED.items():
        require(parameters[name] == value, f"wrong {name}")
    service.check_user(parameters, user)
    lifetime = check_lifetime(parameters["X-Amz-Expires"], service)

    date = parameters["X-Amz-Date"].decode(errors="replace")
    credential = parameters["X-Amz-Credential"].decode(errors="replace")
    access_key_id, scope = check_credential(credential, date, endpoint)
    check_date(date, lifetime, now)
    key = next((key for key in keys.values() if key["access_key_id"] == access_key_id), None)
    require(key, "unknown access key")
    check_session_token(parameters.get(SESSION_TOKEN), key["session_token"])

    right = signature(parameters, address, scope, key["secret_access_key"]).encode()
    require(hmac.compare_digest(parameters["X-Amz-Signature"], right), "wrong signature")


def check_address(address, endpoint, service):
    host, colon, port = address.partition(":")
    require(host == host.lower(), "host not in lower case")
    require(host in endpoint["hosts"], "wrong host")
    require(colon + port == service.port_suffix(endpoint["port"]), "wrong port")


def parse(query, service):
    """The parameters of a query: text names, values in bytes."""
    parameters = {}
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        require(name in service.required or name == SESSION_TOKEN, "unknown parameter")
        require(name not in parameters, f"duplicate {name}")
        parameters[name] = unquote_to_bytes(value)
        require(encode(parameters[name]) == value, f"{name} not strictly percent-encoded")
    for name in sorted(service.required):
        require(name in parameters, f"no {name}")
    return parameters


def encode(value):
    return quote(value, safe="")


def check_lifetime(expires, service):
    """Returns the lifetime of the token in seconds."""
    plain = re.fullmatch(rb"[1-9][0-9]{0,5}", expires)
    require(plain and int(expires) in service.lifetimes, "wrong X-Amz-Expires")
    return int(expires)


def check_credential(credential, date, endpoint):
    """Returns the access key id and the credential scope."""
    access_key_id, _, scope = credential.partition("/")
    require(scope.count("/") == 3, "malformed credential scope")
    day, region, service, terminator = scope.split("/")
    require(day == date[:8], "credential scope of another day")
    require(region == endpoint["region"], "wrong region")
    require(service == endpoint["service"], "wrong service")
    require(terminator == "aws4_request", "wrong terminator")
    return access_key_id, scope


def check_date(date, lifetime, now):
    require(re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date), "malformed X-Amz-Date")
    try:
        signed_at = datetime.fromisoformat(date).timestamp()
    except ValueError:
        raise Refused("impossible X-Amz-Date") from None
    require(signed_at <= now + LEEWAY, "dated in the future")
    require(now < signed_at + lifetime, "expired")


def check_session_token(presented, known):
    if known is None:
        require(presented is None, "unexpected session token")
    else:
        require(presented is not None, "no session token")
        require(presented == known.encode(), "wrong session token")


def signature(parameters, address, scope, secret_access_key):
    """Signature Version 4 of `GET https://address/` with these parameters in its query, in hex."""
    query = "&".join(
        f"{name}={encode(value)}"
        for name, value in sorted(parameters.items())
        if name != "X-Amz-Signature"
    )
    request = f"GET\n/\n{query}\nhost:{address}\n\nhost\n{sha256(b'')}"
    date = parameters["X-Amz-Date"].decode(errors="replace")
    string_to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(request.encode())}"
    key = b"AWS4" + secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_json(state, name):
    with open(os.path.join(state, name), encoding="utf-8") as file:
        return json.load(file)


def clock_offset(state, user):
    try:
        with open(os.path.join(state, "clock-offsets", os.fsencode(user).hex())) as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


def verdict(token, server, state, user):
    """The exit status, and why the token is refused."""
    status = 1
    try:
        endpoint = read_json(state, "endpoints.json")[server]
        status = SERVICES[endpoint["service"]].status_if_refused
        keys = read_json(state, "keys.json")
        judge(token, user, endpoint, keys, time.time() + clock_offset(state, user))
    except Refused as refused:
        return status, str(refused)
    except Exception as error:
        # Its message may quote a key file or a token; its type does not.
        return status, f"verifier failed: {type(error).__name__}"
    return 0, ""


def main():
    server, state, user = sys.argv[1:]
    token = sys.stdin.buffer.read()
    status, reason = verdict(token, server, state, user)
    record = {
        "server": server,
        "user": os.fsencode(user).decode(errors="backslashreplace"),
        "bytes": len(token),
        "verdict": "refused" if status else "accepted",
        "reason": reason,
    }
    try:
        # One write in append mode, so that the lines of parallel logins do not mix.
        received = os.open(os.path.join(state, "received.jsonl"), os.O_WRONLY | os.O_APPEND)
        os.write(received, json.dumps(record).encode() + b"\n")
    except OSError as error:
        sys.exit(f"verifier: received.jsonl: {error.strerror}")
    sys.exit(status)


if __name__ == "__main__":
    main()
