"""Writes boto3-dsql-vectors.jsonl beside this file: tokens made by boto3's client of Aurora DSQL at frozen times.

Run with a Python that has the boto3 of README.md, because Debian's boto3 has no such client:

    python3 -m venv /tmp/boto3 && /tmp/boto3/bin/pip install boto3==1.44.8 botocore==1.44.8
    /tmp/boto3/bin/python -B tests/data/boto3_dsql_vectors.py

Same botocore, same bytes: the seed is fixed and no clock is read.
"""

import botocore.auth

import boto3_vectors

ROWS = 100

# Without the partitions that have another DNS suffix than `on.aws`.
REGIONS = [
    region
    for region in boto3_vectors.REGIONS
    if not region.startswith(("cn-", "eusc-", "us-iso"))
]

HOSTS = [
    "abc1de2fghij3klmn4opqrstuv.dsql.{region}.on.aws",
    "abc1de2fghij3klmn4opqrstuv.dsql-fnh4.{region}.on.aws",
    # boto3 signs the host in lower case and sends it as given.
    "ABC1DE2FGHIJ3KLMN4OPQRSTUV.dsql.{region}.on.aws",
]

# A token of DSQL contains no user. Only `admin` needs another action. Users that look like `admin` do not.
USERS = ["Admin", "ADMIN", "admin2", "administrator", "dbadmin", *boto3_vectors.USERS]


def row(rng, number):
    region = rng.choice(REGIONS)
    case = {
        "host": rng.choice(HOSTS).format(region=region),
        "user": "admin" if number % 2 else USERS[number // 2 % len(USERS)],
        "region": region,
        **boto3_vectors.credentials(rng, number),
        "epoch": boto3_vectors.epoch(rng, number),
    }
    now = boto3_vectors.time_of(case)
    botocore.auth.get_current_datetime = lambda: now
    client = boto3_vectors.client("dsql", case)
    if case["user"] == "admin":
        token = client.generate_db_connect_admin_auth_token(case["host"])
    else:
        token = client.generate_db_connect_auth_token(case["host"])
    boto3_vectors.check_date(token, now)
    return case | {"expected": token}


if __name__ == "__main__":
    boto3_vectors.write("boto3-dsql-vectors.jsonl", ROWS, row)
