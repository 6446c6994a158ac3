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
from botocore.awsrequest import prepare_request_dict

sys.dont_write_bytecode = True
import verifier

RDS = {
    "service": "rds-db",
    "hosts": ["mydb.example.us-east-1.rds.amazonaws.com"],
    "port": 5432,
    "region": "us-east-1",
}
DSQL = {
    "service": "dsql",
    "hosts": ["abc.dsql.us-east-1.on.aws", "abc.dsql-fnh4.us-east-1.on.aws"],
    "port": 5432,
    "region": "us-east-1",
}
ENDPOINTS = [RDS, DSQL]
USERS = ["iam_user", "we/ird us+er@x%é"]
DATA = Path(__file__).parents[1] / "data"


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


def client(key):
    return boto3.client(
        "rds",
        region_name="us-east-1",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
        aws_session_token=key["session_token"],
    )


def real_token(key, user):
    return client(key).generate_db_auth_token(RDS["hosts"][0], RDS["port"], user).encode()


def real_dsql_token(key, user, host=DSQL["hosts"][0]):
    """A token from the calls that boto3's client of DSQL makes. Debian's boto3 has no such client."""
    action = "DbConnectAdmin" if user == "admin" else "DbConnect"
    request = {
        "url_path": "/",
        "query_string": "",
        "headers": {},
        "body": {"Action": action},
        "method": "GET",
    }
    prepare_request_dict(request, f"https://{host}")
    rds = client(key)  # The signer needs the client until it has signed.
    url = rds._request_signer.generate_presigned_url(
        operation_name=action,
        request_dict=request,
        region_name=DSQL["region"],
        expires_in=900,
        signing_name="dsql",
    )
    return url.removeprefix("https://").encode()


def address_of(endpoint):
    port = f":{endpoint['port']}" if endpoint is RDS else ""
    return endpoint["hosts"][0] + port


def own_token(
    changes={}, key=KEYS["long-term"], scope={}, address=None, secret=None, at=None, endpoint=RDS
):
    """A token signed after all changes to it were made, so that its signature is never what is wrong.

    A change to None drops a parameter.
    """
    address = address or address_of(endpoint)
    date = datetime.fromtimestamp(at or time.time(), timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    date = changes.get("X-Amz-Date", date.encode())
    parts = {
        "day": date[:8].decode(errors="replace"),
        "region": endpoint["region"],
        "service": endpoint["service"],
        "terminator": "aws4_request",
        **scope,
    }
    scope = "/".join(parts.values())
    if endpoint is RDS:
        login = {"Action": b"connect", "DBUser": b"iam_user"}
    else:
        login = {"Action": b"DbConnect"}
    parameters = {
        **login,
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


def judge(token, user="iam_user", endpoint=RDS, keys=KEYS, now=None):
    """The reason of a refusal, or None."""
    try:
        verifier.judge(token, user, endpoint, keys, time.time() if now is None else now)
    except verifier.Refused as refused:
        return str(refused)


class Accepted(unittest.TestCase):
    def test_tokens_of_boto3(self):
        for name, key in KEYS.items():
            for user in USERS:
                with self.subTest(key=name, user=user):
                    self.assertIsNone(judge(real_token(key, user), user))

    def test_tokens_of_botocore_for_dsql(self):
        for name, key in KEYS.items():
            for user in [*USERS, "admin", "Admin"]:
                for host in DSQL["hosts"]:
                    with self.subTest(key=name, user=user, host=host):
                        self.assertIsNone(judge(real_dsql_token(key, user, host), user, DSQL))

    def test_tokens_in_the_data_for_dsql(self):
        for file in ["dsql-vectors.jsonl", "boto3-dsql-vectors.jsonl"]:
            for line in (DATA / file).read_text(encoding="ascii").splitlines():
                row = json.loads(line)
                host = row["host"].lower()
                key = {
                    "access_key_id": row["access_key"],
                    "secret_access_key": row["secret_key"],
                    "session_token": row["session_token"],
                }
                user = row.get("user") or ("admin" if row["action"] == "DbConnectAdmin" else "iam_user")
                endpoint = {**DSQL, "hosts": [host], "region": row["region"]}
                # boto3 signs the host in lower case and sends it as given.
                token = row["expected"].replace(row["host"], host).encode()
                with self.subTest(line=line):
                    self.assertIsNone(judge(token, user, endpoint, {"key": key}, row["epoch"]))

    def test_our_own_tokens(self):
        for endpoint in ENDPOINTS:
            for name, key in KEYS.items():
                with self.subTest(service=endpoint["service"], key=name):
                    token = own_token(key=key, endpoint=endpoint)
                    self.assertIsNone(judge(token, endpoint=endpoint))

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

    def test_lifetime_in_a_token_for_dsql_and_a_minute_of_leeway(self):
        now = int(time.time())
        for lifetime in [1, 450, 900, 604800]:
            for age, reason in [
                (-61, "dated in the future"),
                (-60, None),
                (lifetime - 1, None),
                (lifetime, "expired"),
            ]:
                with self.subTest(lifetime=lifetime, age=age):
                    changes = {"X-Amz-Expires": b"%d" % lifetime}
                    token = own_token(changes, at=now - age, endpoint=DSQL)
                    self.assertEqual(judge(token, endpoint=DSQL, now=now), reason)


class Refused(unittest.TestCase):
    def test_signed_but_wrong(self):
        long_term, session = KEYS["long-term"], KEYS["session-1600"]
        now = datetime.now(timezone.utc)
        cut = session["session_token"][:-1].encode()
        extended_date = now.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        longer_date = now.strftime("%Y%m%dT%H%M%SZZ").encode()
        for reason, arguments in [
            ("wrong X-Amz-Algorithm", {"changes": {"X-Amz-Algorithm": b"AWS4-HMAC-SHA1"}}),
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
            for endpoint in ENDPOINTS:
                with self.subTest(reason=reason, service=endpoint["service"], **arguments):
                    token = own_token(**arguments, endpoint=endpoint)
                    self.assertEqual(judge(token, endpoint=endpoint), reason)

    def test_signed_but_wrong_for_rds(self):
        host, address = RDS["hosts"][0], address_of(RDS)
        for reason, arguments in [
            ("host not in lower case", {"address": address.replace("mydb", "MyDB")}),
            ("wrong host", {"address": f"other{address}"}),
            ("wrong port", {"address": f"{host}:5433"}),
            ("wrong port", {"address": f"{host}:05432"}),
            ("wrong port", {"address": host}),
            ("wrong Action", {"changes": {"Action": b"Connect"}}),
            ("wrong Action", {"changes": {"Action": b"DbConnect"}}),
            ("wrong user", {"changes": {"DBUser": b"other_user"}}),
            ("wrong user", {"changes": {"DBUser": b"iam_user\0"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"899"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"901"}}),
            ("wrong service", {"scope": {"service": "dsql"}}),
        ]:
            with self.subTest(reason=reason, **arguments):
                self.assertEqual(judge(own_token(**arguments)), reason)

    def test_signed_but_wrong_for_dsql(self):
        host = DSQL["hosts"][0]
        for reason, arguments in [
            ("host not in lower case", {"address": host.replace("abc", "ABC")}),
            ("wrong host", {"address": f"other{host}"}),
            ("wrong host", {"address": host.replace("dsql", "dsql-fnh5")}),
            ("wrong port", {"address": f"{host}:5432"}),
            ("wrong port", {"address": f"{host}:"}),
            ("wrong Action", {"changes": {"Action": b"connect"}}),
            ("wrong Action", {"changes": {"Action": b"dbconnect"}}),
            ("wrong Action", {"changes": {"Action": b"DbConnectAdmin"}}),
            ("unknown parameter", {"changes": {"DBUser": b"iam_user"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"0"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"604801"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"9" * 5000}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"0900"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"-900"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b"soon"}}),
            ("wrong X-Amz-Expires", {"changes": {"X-Amz-Expires": b""}}),
            ("wrong service", {"scope": {"service": "rds-db"}}),
        ]:
            with self.subTest(reason=reason, **arguments):
                token = own_token(**arguments, endpoint=DSQL)
                self.assertEqual(judge(token, endpoint=DSQL), reason)

    def test_admin_of_dsql_has_an_action_of_its_own(self):
        token = real_dsql_token(KEYS["long-term"], "iam_user")
        admin_token = real_dsql_token(KEYS["long-term"], "admin")
        for user in [*USERS, "Admin", "admin ", ""]:
            with self.subTest(user=user):
                self.assertIsNone(judge(token, user, DSQL))
                self.assertEqual(judge(admin_token, user, DSQL), "wrong Action")
        self.assertIsNone(judge(admin_token, "admin", DSQL))
        self.assertEqual(judge(token, "admin", DSQL), "wrong Action")

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
        for endpoint in ENDPOINTS:
            address, query = own_token(endpoint=endpoint).split(b"/?")
            parameters = query.split(b"&")
            for missing in parameters:
                name = missing.partition(b"=")[0].decode()
                with self.subTest(service=endpoint["service"], name=name):
                    rest = b"&".join(parameter for parameter in parameters if parameter != missing)
                    reason = judge(address + b"/?" + rest, endpoint=endpoint)
                    self.assertEqual(reason, f"no {name}")

    def test_signature_covers_user_address_and_date(self):
        now = 1_700_000_000  # 2023-11-14T22:13:20Z
        token = own_token(at=now)
        for old, new, arguments in [
            (b"iam_user", b"other_user", {"user": "other_user"}),
            (b":5432", b":5433", {"endpoint": {**RDS, "port": 5433}}),
            (b"20231114T221320Z", b"20231114T221321Z", {}),
        ]:
            with self.subTest(new=new):
                changed = token.replace(old, new)
                self.assertNotEqual(changed, token)
                self.assertEqual(judge(changed, now=now, **arguments), "wrong signature")

    def test_signature_for_dsql_covers_action_host_date_and_lifetime(self):
        now = 1_700_000_000  # 2023-11-14T22:13:20Z
        token = own_token(at=now, endpoint=DSQL)
        for old, new, user in [
            (b"DbConnect", b"DbConnectAdmin", "admin"),
            (b"abc.dsql.", b"abc.dsql-fnh4.", "iam_user"),
            (b"20231114T221320Z", b"20231114T221321Z", "iam_user"),
            (b"X-Amz-Expires=900", b"X-Amz-Expires=9000", "iam_user"),
        ]:
            with self.subTest(new=new):
                changed = token.replace(old, new)
                self.assertNotEqual(changed, token)
                self.assertEqual(judge(changed, user, DSQL, now=now), "wrong signature")


class Program(unittest.TestCase):
    """The program as the PAM module runs it."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.write("endpoints.json", json.dumps({"postgres": RDS, "dsql": DSQL}))
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
        status = 2 if arguments.get("server") == "dsql" else 1
        self.assertEqual((result.returncode, result.stdout, result.stderr), (status, b"", b""))
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

    def test_rules_of_the_server_that_was_named(self):
        token = real_dsql_token(KEYS["session-4000"], "admin", DSQL["hosts"][1])
        self.assert_accepted(token, user="admin", server="dsql")
        self.assert_refused("wrong Action", token, user="iam_user", server="dsql")
        self.assert_refused("wrong host", token, user="admin", server="postgres")
        servers = [record["server"] for record in self.received()]
        self.assertEqual(servers, ["dsql", "dsql", "postgres"])

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
