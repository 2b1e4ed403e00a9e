"""Locust users for a server of the Open Inference Protocol: JSON, binary and gRPC, with every answer checked.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000 --model digits --model-version 1-int8 BinaryUser

Locust waits for an answer before the same user sends again, so a server that stalls is sent less: for a comparison
between versions, use `retort compare`, whose requests leave at their planned times.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `locust -f` needs no installed package: the file's own tree comes first.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtests.locust_users.grpc_user import GrpcUser
from loadtests.locust_users.hooks import listen
from loadtests.locust_users.http_users import BinaryUser, JsonUser

__all__ = ["BinaryUser", "GrpcUser", "JsonUser"]

listen()
