"""Writes boto3-vectors.jsonl beside this file: tokens made by boto3 at frozen times.

Run with the Python that has Debian's python3-boto3:

    /usr/bin/python3 tests/data/boto3_vectors.py

Same botocore, same bytes: the seed is fixed and no clock is read.
"""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import boto3.session
import botocore.auth

ROWS = 300

REGIONS = [
    "us-east-1",
    "us-west-2",
    "eu-central-1",
    "ap-southeast-2",
    "il-central-1",
    "us-gov-west-1",
    "us-gov-east-1",
    "cn-north-1",
    "cn-northwest-1",
    "eusc-de-east-1",
    "us-iso-east-1",
    "us-isob-east-1",
    # Not open yet: nothing may depend on a list of regions.
    "mx-south-9",
    "ap-southeast-17",
]

HOSTS = [
    "mydb.abc123xyz.{region}.rds.amazonaws.com",
    "my-cluster.cluster-ro-abc123xyz.{region}.rds.amazonaws.com",
    "mydb.abc123xyz.rds.{region}.amazonaws.com.cn",
    "my_tunnel.example.com",
    "localhost",
    "10.0.0.5",
    "[2001:db8::5]",
    # boto3 signs the host in lower case and sends it as given.
    "MyDB.Abc123XYZ.{region}.rds.amazonaws.com",
]

# Without 443: botocore signs `host` there, not `host:443`, although the token says `host:443`.
PORTS = [3306, 5432, 80, 1, 1433, 8443, 65535]

USERS = [
    "iam_user",
    "x",
    "we/ird us+er@x%é",
    "a+b",
    "a b",
    " ",
    "x&DBUser=admin",
    "&DBUser=admin",
    "x&X-Amz-Expires=604800",
    "a=b",
    "%2F",
    "100%",
    "a%20b",
    "~",
    "-._~",
    "!*'()",
    "o'brien",
    '"quoted"',
    "back\\slash",
    "?a#b",
    "user@example.com",
    "AWSReservedSSO_admin/jane@example.com",
    "ünïcödé",
    "e\u0301",
    "データベース",
    "数据库用户",
    "пользователь",
    "🦀",
    "👩‍💻 at work",
    "u" * 80,
    "é" * 80,
]

SECONDS = [
    0,  # 1970-01-01T00:00:00Z
    1,
    86399,  # the last second of a day
    86400,  # the first of the next
    951782400,  # 2000-02-29, a leap day
    1709251199,  # 2024-02-29T23:59:59Z
    1709251200,  # 2024-03-01T00:00:00Z
    1735689599,  # 2024-12-31T23:59:59Z
    2147483648,  # past 32 signed bits
    4107542400,  # 2100-03-01: 2100 is no leap year
    4294967296,  # past 32 bits
    253402300799,  # 9999-12-31T23:59:59Z
]

# A 0 stands for long-term credentials. boto3 is never given an empty session token: it would send an empty parameter.
SESSION_TOKEN_BYTES = [0, 0, 16, 100, 0, 356, 17]
LARGE_SESSION_TOKEN_BYTES = [1000, 2000, 4000]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BASE64 = LETTERS + LETTERS.upper() + "0123456789+/"


def text(rng, alphabet, length):
    return "".join(rng.choice(alphabet) for _ in range(length))


def session_token(rng, length):
    # Every one holds the three characters that must be encoded.
    return text(rng, BASE64, length - 4) + "+/==" if length else None


def credentials(rng, number):
    large = number % 50 == 49
    return {
        "access_key": text(rng, LETTERS + "0123456789_", rng.randint(3, 24)),
        "secret_key": text(rng, BASE64, rng.randint(4, 70)),
        "session_token": session_token(
            rng, rng.choice(LARGE_SESSION_TOKEN_BYTES if large else SESSION_TOKEN_BYTES)
        ),
    }


def epoch(rng, number):
    return SECONDS[number] if number < len(SECONDS) else rng.randint(0, SECONDS[-1])


def time_of(case):
    return datetime(1970, 1, 1) + timedelta(seconds=case["epoch"])


def client(service, case):
    return SESSION.client(
        service,
        region_name=case["region"],
        aws_access_key_id=case["access_key"],
        aws_secret_access_key=case["secret_key"],
        aws_session_token=case["session_token"],
    )


def check_date(token, now):
    """Fails if another version of botocore reads its clock elsewhere."""
    assert f"&X-Amz-Date={now:%Y%m%dT%H%M%SZ}&" in token, token


def write(file_name, rows, row):
    rng = random.Random("rds-iam")
    lines = [json.dumps(row(rng, number)) + "\n" for number in range(rows)]
    Path(__file__).with_name(file_name).write_text("".join(lines), encoding="ascii")


def frozen(now):
    """A `datetime` module for botocore.auth in which it is always `now`."""

    class FrozenDateTime(datetime):
        @classmethod
        def utcnow(cls):
            return now

    return SimpleNamespace(datetime=FrozenDateTime)


def row(rng, number):
    region = rng.choice(REGIONS)
    odd = rng.choice(USERS) + text(rng, LETTERS + " +&=%/~é", rng.randint(1, 40))
    case = {
        "host": rng.choice(HOSTS).format(region=region),
        "port": rng.choice(PORTS),
        # Each user of the table once, then random ones.
        "user": USERS[number] if number < len(USERS) else odd[:80],
        "region": region,
        **credentials(rng, number),
        "epoch": epoch(rng, number),
    }
    now = time_of(case)
    botocore.auth.datetime = frozen(now)
    token = client("rds", case).generate_db_auth_token(case["host"], case["port"], case["user"])
    check_date(token, now)
    return case | {"expected": token}


SESSION = boto3.session.Session()

if __name__ == "__main__":
    write("boto3-vectors.jsonl", ROWS, row)
