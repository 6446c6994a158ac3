#!/usr/bin/python3
"""Tests of verifier.py. Needs boto3, whose tokens it must accept."""

import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import unittest
from datetime import datetime, timezone
from pathlib import Path

import boto3

sys.dont_write_bytecode = True
import verifier

ENDPOINT = {"host": "mydb.example.us-east-1.rds.amazonaws.com", "port": 5432, "region": "us-east-1"}
ADDRESS = f"{ENDPOINT['host']}:{ENDPOINT['port']}"
USERS = ["iam_user", "we/ird us+er@x%é"]


def random_base64(characters):
    return base64.b64encode(secrets.token_bytes(characters))[:characters].decode()


def random_key(session_token=None):
    return {
        "access_key_id": "A" + secrets.token_hex(10).upper(),
        "secret_access_key": random_base64(40),
        "session_token": session_token,
    }


KEYS = {
    "long-term": random_key(),
    "session-1600": random_key(random_base64(1598) + "=="),
    "session-4000": random_key(random_base64(3998) + "=="),
}


def real_token(key, user):
    client = boto3.client(
        "rds",
        region_name=ENDPOINT["region"],
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
        aws_session_token=key["session_token"],
    )
    return client.generate_db_auth_token(ENDPOINT["host"], ENDPOINT["port"], user).encode()


def own_token(changes={}, key=KEYS["long-term"], scope={}, address=ADDRESS, secret=None, at=None):
    """A token signed after all changes to it were made, so that its signature is never what is wrong.

    A change to None drops a parameter.
    """
    date = datetime.fromtimestamp(at or time.time(), timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    date = changes.get("X-Amz-Date", date.encode())
    parts = {
        "day": date[:8].decode(errors="replace"),
        "region": ENDPOINT["region"],
        "service": "rds-db",
        "terminator": "aws4_request",
        **scope,
    }
    scope = "/".join(parts.values())
    parameters = {
        "Action": b"connect",
        "DBUser": b"iam_user",
        "X-Amz-Algorithm": b"AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key['access_key_id']}/{scope}".encode(),
        "X-Amz-Date": date,
        "X-Amz-Expires": b"900",
        "X-Amz-SignedHeaders": b"host",
    }
    if key["session_token"]:
        parameters["X-Amz-Security-Token"] = key["session_token"].encode()
    parameters |= changes
    parameters = {name: value for name, value in parameters.items() if value is not None}
    signature = verifier.signature(parameters, address, scope, secret or key["secret_access_key"])
    query = "&".join(f"{name}={verifier.encode(value)}" for name, value in parameters.items())
    return f"{address}/?{query}&X-Amz-Signature={signature}".encode()


def judge(token, user="iam_user", endpoint=ENDPOINT, keys=KEYS, now=None):
    """The reason of a refusal, or None."""
    try:
        verifier.judge(token, user, endpoint, keys, now or time.time())
    except verifier.Refused as refused:
        return str(refused)


class Accepted(unittest.TestCase):
    def test_tokens_of_boto3(self):
        for name, key in KEYS.items():
            for user in USERS:
                with self.subTest(key=name, user=user):
                    self.assertIsNone(judge(real_token(key, user), user))

    def test_our_own_tokens(self):
        for name, key in KEYS.items():
            with self.subTest(key=name):
                self.assertIsNone(judge(own_token(key=key)))

    def test_any_order_of_parameters(self):
        address, query = real_token(KEYS["session-1600"], "iam_user").split(b"/?")
        reversed_query = b"&".join(reversed(query.split(b"&")))
        self.assertIsNone(judge(address + b"/?" + reversed_query))

    def test_fifteen_minutes_and_a_minute_of_leeway(self):
        now = int(time.time())
        for age, reason in [
            (-61, "dated in the future"),
            (-60, None),
            (899, None),
            (900, "expired"),
        ]:
            with self.subTest(age=age):
                self.assertEqual(judge(own_token(at=now - age), now=now), reason)


class Refused(unittest.TestCase):
    def test_signed_but_wrong(self):
        long_term, session = KEYS["long-term"], KEYS["session-1600"]
        now = datetime.now(timezone.utc)
        cut = session["session_token"][:-1].encode()
        extended_date = now.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        longer_date = now.strftime("%Y%m%dT%H%M%SZZ").encode()
        for reason, arguments in [
            ("host not in lower case", {"address": ADDRESS.replace("mydb", "MyDB")}),
            ("wrong host", {"address": f"other{ADDRESS}"}),
            ("wrong port", {"address": f"{ENDPOINT['host']}:5433"}),
            ("wrong port", {"address": f"{ENDPOINT['host']}:05432"}),
            ("wrong Action", {"changes": {"Action": b"Connect"}}),
            ("wrong user", {"changes": {"DBUser": b"other_user"}}),
            ("wrong user", {"changes": {"DBUser": b"iam_user\0"}}),
            ("wrong X-Amz-Algorithm", {"changes": {"X-Amz-Algorithm": b"AWS4-HMAC-SHA1"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"901"}}),
            ("wrong X-Amz-SignedHeaders", {"changes": {"X-Amz-SignedHeaders": b"host;x"}}),
            ("unknown parameter", {"changes": {"X-Amz-Other": b""}}),
            ("malformed X-Amz-Date", {"changes": {"X-Amz-Date": extended_date}}),
            ("malformed X-Amz-Date", {"changes": {"X-Amz-Date": longer_date}}),
            ("impossible X-Amz-Date", {"changes": {"X-Amz-Date": b"20251301T000000Z"}}),
            ("malformed credential scope", {"scope": {"terminator": "aws4_request/more"}}),
            ("malformed credential scope", {"scope": {"terminator": "aws4_request", "more": ""}}),
            ("credential scope of another day", {"scope": {"day": "20200101"}}),
            ("wrong region", {"scope": {"region": "us-west-2"}}),
            ("wrong service", {"scope": {"service": "rds"}}),
            ("wrong terminator", {"scope": {"terminator": "aws5_request"}}),
            ("unknown access key", {"key": random_key()}),
            ("unexpected session token", {"changes": {"X-Amz-Security-Token": b"token"}}),
            ("unexpected session token", {"changes": {"X-Amz-Security-Token": b""}}),
            ("no session token", {"key": session, "changes": {"X-Amz-Security-Token": None}}),
            ("wrong session token", {"key": session, "changes": {"X-Amz-Security-Token": cut}}),
            ("wrong signature", {"secret": session["secret_access_key"]}),
            ("wrong signature", {"key": session, "secret": long_term["secret_access_key"]}),
        ]:
            with self.subTest(reason=reason, **arguments):
                self.assertEqual(judge(own_token(**arguments)), reason)

    def test_changed_after_it_was_signed(self):
        token = own_token()
        signature = token.rpartition(b"=")[2]
        for reason, old, new in [
            ("not ASCII", b"connect", "cönnect".encode()),
            ("not a token", b"/?", b"?"),
            ("wrong host", b"mydb.", b"https://mydb."),
            ("duplicate Action", b"&DBUser", b"&Action=connect&DBUser"),
            ("unknown parameter", b"&DBUser", b"&&DBUser"),
            ("X-Amz-Credential not strictly percent-encoded", b"%2F", b"%2f"),
            ("X-Amz-Credential not strictly percent-encoded", b"%2F", b"/"),
            ("Action not strictly percent-encoded", b"connect", b"%63onnect"),
            ("DBUser not strictly percent-encoded", b"iam_user", b"iam+user"),
            ("DBUser not strictly percent-encoded", b"iam_user", b"iam_user=x"),
            ("wrong signature", signature, signature[::-1]),
            ("wrong signature", signature, signature.upper()),
            ("wrong signature", signature, b""),
        ]:
            with self.subTest(reason=reason, new=new):
                changed = token.replace(old, new)
                self.assertNotEqual(changed, token)
                self.assertEqual(judge(changed), reason)

    def test_missing_parameter(self):
        address, query = own_token().split(b"/?")
        parameters = query.split(b"&")
        for missing in parameters:
            name = missing.partition(b"=")[0].decode()
            with self.subTest(name=name):
                rest = b"&".join(parameter for parameter in parameters if parameter != missing)
                self.assertEqual(judge(address + b"/?" + rest), f"no {name}")

    def test_signature_covers_user_address_and_date(self):
        now = 1_700_000_000  # 2023-11-14T22:13:20Z
        token = own_token(at=now)
        for old, new, arguments in [
            (b"iam_user", b"other_user", {"user": "other_user"}),
            (b":5432", b":5433", {"endpoint": {**ENDPOINT, "port": 5433}}),
            (b"20231114T221320Z", b"20231114T221321Z", {}),
        ]:
            with self.subTest(new=new):
                changed = token.replace(old, new)
                self.assertNotEqual(changed, token)
                self.assertEqual(judge(changed, now=now, **arguments), "wrong signature")


class Program(unittest.TestCase):
    """The program as the PAM module runs it."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.write("endpoints.json", json.dumps({"postgres": ENDPOINT}))
        self.write("keys.json", json.dumps(KEYS))
        self.write("received.jsonl", "")
        (self.state / "clock-offsets").mkdir()

    def write(self, name, text):
        (self.state / name).write_text(text)

    def run_verifier(self, token, user="iam_user", server="postgres"):
        return subprocess.run(
            [Path(verifier.__file__), server, self.state, user],
            input=token,
            capture_output=True,
            env={},
        )

    def received(self):
        return [json.loads(line) for line in (self.state / "received.jsonl").read_text().splitlines()]

    def assert_refused(self, reason, token, **arguments):
        result = self.run_verifier(token, **arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (1, b"", b""))
        self.assertEqual(self.received()[-1]["verdict"], "refused")
        self.assertEqual(self.received()[-1]["reason"], reason)

    def assert_accepted(self, token, **arguments):
        result = self.run_verifier(token, **arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))

    def test_records_what_it_received(self):
        token = real_token(KEYS["session-4000"], USERS[1])
        self.assert_accepted(token, user=USERS[1])
        self.assert_refused("wrong user", token)
        common = {"server": "postgres", "bytes": len(token)}
        self.assertEqual(
            self.received(),
            [
                {**common, "user": USERS[1], "verdict": "accepted", "reason": ""},
                {**common, "user": "iam_user", "verdict": "refused", "reason": "wrong user"},
            ],
        )

    def test_records_parallel_logins_each_on_its_line(self):
        token = own_token()
        programs = [
            subprocess.Popen(
                [Path(verifier.__file__), "postgres", self.state, "iam_user"], stdin=subprocess.PIPE
            )
            for _ in range(20)
        ]
        for program in programs:
            program.communicate(token)
        self.assertEqual([record["verdict"] for record in self.received()], ["accepted"] * 20)

    def test_any_bytes_are_refused(self):
        self.assert_refused("not a token", b"")
        self.assert_refused("not a token", b"a" * 10240)
        self.assert_refused("not ASCII", b"\xff\0")
        self.assert_refused("wrong user", own_token(), user=b"\xff")
        self.assertEqual(self.received()[-1]["user"], "\\xff")
        self.assert_refused("malformed X-Amz-Date", own_token({"X-Amz-Date": b"\xff"}))
        self.assert_refused("malformed credential scope", own_token({"X-Amz-Credential": b"\xff"}))

    def test_clock_offset_of_a_user(self):
        for offset, reason in [("901", "expired"), ("-70\n", "dated in the future")]:
            self.write("clock-offsets/" + b"iam_user".hex(), offset)
            self.assert_refused(reason, own_token())
            self.assert_accepted(own_token({"DBUser": b"other_user"}), user="other_user")
        self.write("clock-offsets/" + b"iam_user".hex(), "0")
        self.assert_accepted(own_token())
        self.write("clock-offsets/" + USERS[1].encode().hex(), "901")
        self.assert_refused("expired", real_token(KEYS["long-term"], USERS[1]), user=USERS[1])

    def test_revoked_key(self):
        token = own_token()
        self.assert_accepted(token)
        self.write("keys.json", json.dumps({**KEYS, "long-term": random_key()}))
        self.assert_refused("unknown access key", token)

    def test_key_that_changed(self):
        token = own_token()
        key = KEYS["long-term"]
        self.write("keys.json", json.dumps({"long-term": {**key, "secret_access_key": "other"}}))
        self.assert_refused("wrong signature", token)
        self.write("keys.json", json.dumps({"long-term": {**key, "session_token": "token"}}))
        self.assert_refused("no session token", token)

    def test_broken_state_refuses_without_a_traceback(self):
        token = own_token()
        self.assert_refused("verifier failed: KeyError", token, server="other")
        self.write("clock-offsets/" + b"iam_user".hex(), "soon")
        self.assert_refused("verifier failed: ValueError", token)
        for name in ["endpoints.json", "keys.json"]:
            self.setUp()
            self.write(name, "{")
            self.assert_refused("verifier failed: JSONDecodeError", token)
            (self.state / name).unlink()
            self.assert_refused("verifier failed: FileNotFoundError", token)

    def test_a_login_that_cannot_be_recorded_is_refused(self):
        (self.state / "received.jsonl").unlink()
        result = self.run_verifier(own_token())
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, b"verifier: received.jsonl: No such file or directory\n")


if __name__ == "__main__":
    unittest.main()
