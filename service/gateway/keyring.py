"""Who holds a key that came with a request, whether it may do that, and whether not too often.

A key is looked up by its SHA-256: how long that takes tells of the digest alone, which nobody can steer towards that of
a key they do not have, so it is as good as a comparison in constant time. Knows no transport.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from service.core.clock import Clock
from service.gateway.access import Forbidden, OverQuota, Unauthenticated
from service.gateway.key_file import Digest, KeysRefused, read_keys
from service.gateway.quota import Bucket, full, take
from service.gateway.rights import Holder, Right
from service.observe.logs import Log

_FILE_LIMIT_BYTES = 1 << 20
_OTHERS_MODE = 0o007
OUTCOMES = ("accepted", "forbidden", "over_quota")


class Keyring:
    """The keys of one server.

    Args:
        path: of the file of keys.
        clock: monotonic seconds, for quotas.
        log: told of keys that are read again, and of a file that others can read.

    Attributes:
        requests: (holder's name, what became of it) -> requests; "" for nobody's keys; as many as the file
            has had names.

    Raises:
        KeysRefused: the file cannot be read, or is wrong.
    """

    def __init__(self, path: Path, clock: Clock, log: Log) -> None:
        self._path = path
        self._clock = clock
        self._log = log
        self._holders: Mapping[Digest, Holder] = {}
        self._buckets: dict[str, tuple[Holder, Bucket]] = {}
        self.requests: Counter[tuple[str, str]] = Counter({("", "unknown"): 0})
        self._use(self._read())

    def read_again(self) -> None:
        """Takes the file's keys in place of those held; keeps these where it cannot be used, and says so."""
        try:
            holders = self._read()
        except KeysRefused as error:
            self._log.error("keys not read again, the old ones hold", reason=str(error))
            return
        self._use(holders)
        self._log.info("keys read again", keys=len(holders))

    def identify(self, key: bytes | None, right: Right) -> Holder:
        """Whose key it is.

        Raises:
            Unauthenticated: it is missing, or nobody's.
            Forbidden: its holder may not do that.
        """
        holder = None if key is None else self._holders.get(hashlib.sha256(key).digest())
        if holder is None:
            self.requests["", "unknown"] += 1
            raise Unauthenticated(_MISSING if key is None else _UNKNOWN)
        if not holder.may(right):
            self.requests[holder.name, "forbidden"] += 1
            raise Forbidden(f"the key of '{holder.name}' has no scope '{right.value}'")
        return holder

    def charge(self, holder: Holder) -> None:
        """Counts a request of `holder`. Raises OverQuota."""
        if holder.quota is not None:
            now_s = self._clock.now_s()
            charged, bucket = self._buckets.get(holder.name, (holder, None))
            if bucket is None or charged != holder:  # new here, or given another quota
                bucket = full(holder.quota, now_s)
            bucket, wait_s = take(holder.quota, bucket, now_s)
            self._buckets[holder.name] = holder, bucket
            if wait_s:
                self.requests[holder.name, "over_quota"] += 1
                raise OverQuota(f"'{holder.name}' may make {holder.quota.per_s:g} requests a second", wait_s)
        self.requests[holder.name, "accepted"] += 1

    def admit(self, key: bytes | None, right: Right) -> Holder:
        """`identify`, and `charge`."""
        holder = self.identify(key, right)
        self.charge(holder)
        return holder

    def _use(self, holders: Mapping[Digest, Holder]) -> None:
        self._holders = holders
        for holder in holders.values():
            for outcome in OUTCOMES:
                self.requests.setdefault((holder.name, outcome), 0)

    def _read(self) -> Mapping[Digest, Holder]:
        try:
            mode = self._path.stat().st_mode
            if not stat.S_ISREG(mode):  # a pipe would hold the event loop up until somebody writes
                raise KeysRefused(f"{self._path} is no regular file, as the file of keys must be")
            with self._path.open("rb") as file:
                data = file.read(_FILE_LIMIT_BYTES + 1)
        except OSError as error:
            raise KeysRefused(f"the file of keys {self._path} cannot be read: {_reason(error)}") from None
        if mode & _OTHERS_MODE:
            self._log.warning("the file of keys is open to every user of this machine", path=str(self._path))
        try:
            if len(data) > _FILE_LIMIT_BYTES:
                raise KeysRefused("it is larger than 1 MiB")
            return read_keys(data.decode())
        except (KeysRefused, UnicodeError) as error:
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeError) else str(error)
            raise KeysRefused(f"the file of keys {self._path} is wrong: {reason}") from None


_MISSING = "a key is needed: send it in the header Authorization: Bearer KEY"
_UNKNOWN = "the key is not known"


def key_in(authorization: bytes | None, api_key: bytes | None) -> bytes | None:
    """The key that a request brings.

    Args:
        authorization: that header: `Bearer KEY`, or `Basic` with the key as the password, as tritonclient's plug-in
            sends it, whose user name says nothing here. Sources: RFC 6750, 2.1; RFC 7617, 2.
        api_key: the header `X-Api-Key`, where the other is missing.

    Returns:
        None where there is none, or none that can be read.
    """
    if authorization is None:
        return api_key
    scheme, _, value = authorization.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip() or None
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2] or None
        except binascii.Error:
            return None
    return None


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
