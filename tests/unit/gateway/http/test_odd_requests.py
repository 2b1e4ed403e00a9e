"""Odd requests for inference on each road that there is: past the parser, through it, and by FastAPI's own route.

Whatever is odd about the path, the method, the fields or the body: all of them give one answer, and it is no failure.
"""

from __future__ import annotations

import re

import orjson
import pytest

from service.gateway.http import entrance
from tests.unit.gateway.http.test_both_roads import BEFORE, GOOD, post, road

ANSWER_LIMIT_BYTES = 4096
HEADS = re.compile(rb"(?:HTTP/1\.1 100 Continue\r\n\r\n)?HTTP/1\.1 (\d+) (?:[^\r]*\r\n)+\r\n")
M = b"/v2/models/m"
PATHS: dict[bytes, int] = {
    M + b"/infer": 200,
    M + b"/infer?": 200,
    M + b"/infer?a=b&a": 200,
    b"/v2/models/%6d/infer": 200,
    b"http://h/v2/models/m/infer": 200,
    b"https://u:p@h:1/v2/models/m/infer": 200,
    M + b"/versions/1/infer": 200,
    M + b"/versions/%31/infer": 200,
    b"/" + M + b"/infer": 404,
    b"/v2//models/m/infer": 404,
    b"/v2/models//infer": 404,
    M + b"//infer": 404,
    M + b"/infer/": 404,
    M + b"/infer;a=b": 404,
    M + b";a/infer": 404,
    M + b"/infer%0A": 404,
    M + b"/infer%0D%0A": 404,
    M + b"/infer%20": 404,
    M + b"/infer%00": 404,
    M + b"/versions/1/infer%0a": 404,
    M + b"%0A/infer": 404,
    M + b"%/infer": 404,
    M + b"%zz/infer": 404,
    M + b"%ff/infer": 404,
    M + b"%2e%2e/infer": 404,
    M + b"/../m/infer": 404,
    M + b"/versions//infer": 404,
    M + b"/versions/2/infer": 404,
    M + b"/versions/1/versions/1/infer": 404,
    b"/V2/models/m/infer": 404,
    b"/v2/models/M/infer": 404,
    M + b"/INFER": 404,
    M + b'"/infer': 404,
    M + b"\\n/infer": 404,
    b"/v2/models/" + b"m" * 1900 + b"/infer": 404,
    b"*": 404,
    b"m": 400,
    b"http://h": 400,
    M + b"/infer\xc3\xa4": 400,
}
METHODS = {b"POST": 200, **dict.fromkeys((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE"), 405)}
METHODS |= {b"CONNECT": 501, b"post": 400, b"POSTS": 400}
VERSIONS = {b"/1.0": 200, b"/1.2": 400, b"/1.10": 400, b"/11": 400}
LENGTH = len(GOOD)
FIELDS: dict[bytes, int] = {
    b"Content-Type: application/json\r\nContent-Type: text/plain": 200,
    b"Expect: 100-continue": 200,
    b"Expect: else": 200,
    b"Connection: keep-alive": 200,
    b"Connection: close": 200,
    b"Connection: keep-alive, close": 200,
    b"Connection: x\r\nConnection: CLOSE": 200,
    b"Connection: upgrade\r\nUpgrade: h2c": 200,
    b"Content-Encoding: identity": 200,
    b"Content-Encoding:": 200,
    b"Content-Encoding: gzip": 400,
    b"Content-Encoding: br": 400,
    b"Content-Encoding: gzip, gzip": 400,
    b"Host: x": 400,
    b"Host: y": 400,
    b"Content-Length: %d" % LENGTH: 400,
    b"Content-Length: 1": 400,
    b"Content-Length : 1": 400,
    b"Transfer-Encoding: chunked": 400,
    b"Transfer-Encoding: identity": 400,
    b"Retort-Timeout-Ms: 5000\r\nRetort-Timeout-Ms: 0": 400,
    b"Retort-Timeout-Ms: -1": 400,
    b"Retort-Timeout-Ms:": 400,
    b"Inference-Header-Content-Length: %d" % LENGTH: 200,
    b"Inference-Header-Content-Length: +1": 400,
    b"Inference-Header-Content-Length: %d" % (LENGTH + 1): 400,
    b"X: \x80\xff": 200,
    b"X: \x01": 400,
    b"X: " + b"y" * 1900: 200,
    b"X: " + b"y" * (17 << 10): 431,
    b"\r\n".join([b"a: b"] * 97): 200,
    b"\r\n".join([b"a: b"] * 98): 431,
}
NUMBERS: dict[bytes, int] = {
    **dict.fromkeys((b"1", b"-0", b"-0.0", b"1E5", b"1e-400", b" 1\t", b"18446744073709551616"), 200),
    **dict.fromkeys((b"01", b"0x1", b"1e", b"1.", b".5", b"+1", b"-", b"--1", b"1_0", b"1f", b"/**/1", b"'1'"), 400),
    **dict.fromkeys((b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e39", b"9" * 400, b"1\0"), 400),
    **dict.fromkeys((b"", b"1,1", b"true", b"null", b'"1"', b'"a]b"', b'"\\ud800"', b"{}", b"[]", b"[1]"), 400),
    **dict.fromkeys((b'{"data":1}', b"\xef\xbb\xbf1", b"\xc2\xa01"), 400),
}
BODIES: dict[bytes, int] = {
    GOOD + b" \n": 200,
    b"\n" + GOOD: 200,
    b'{"id":"first",' + GOOD[1:]: 200,
    GOOD.replace(b'"data"', b'"d\\u0061ta"'): 200,
    GOOD.replace(b"[0,1,2,3]", b"[[0,1,2,3]]"): 200,
    GOOD.replace(b"[0,1,2,3]", b'[9,9,9,9],"data":[0,1,2,3]'): 200,
    b"": 400,
    b" ": 400,
    b"\0": 400,
    b"[]": 400,
    b"null": 400,
    GOOD + b"{}": 400,
    GOOD + b"\0": 400,
    b"\xef\xbb\xbf" + GOOD: 400,
    GOOD.decode().encode("utf-16"): 400,
    GOOD.replace(b'"a"', b'"\xff"'): 400,
    GOOD.replace(b'"a"', b'"\\ud800"'): 400,
    GOOD[:-1] + b',"inputs":[]}': 400,
    GOOD.replace(b"[1,4]", b"[1.0,4]"): 400,
    GOOD.replace(b"[1,4]", b"[18446744073709551616,4]"): 400,
    GOOD.replace(b"[0,1,2,3]", b"[" * 500 + b"]" * 500): 400,
    b"[" * 5000: 400,
}


def requests() -> dict[bytes, int]:
    """Every request, and the status that it is due; each number stands first in its list, and last."""
    found = {post(GOOD, path=path): status for path, status in PATHS.items()}
    found |= {method + post(GOOD).removeprefix(b"POST"): status for method, status in METHODS.items()}
    found |= {post(GOOD, field + b"\r\n"): status for field, status in FIELDS.items()}
    found |= {post(GOOD.replace(b"[0,", b"[%b," % number)): status for number, status in NUMBERS.items()}
    found |= {post(GOOD.replace(b",3]", b",%b]" % number)): status for number, status in NUMBERS.items()}
    found |= {post(body): status for body, status in BODIES.items()}
    return found | {
        post(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0"): 200,
        post(GOOD).replace(b"HTTP/1.1", b"HTTP/1.2"): 400,
    }


async def test_each_road_gives_the_answer_that_the_others_give(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requests()
    async with road(b"") as quick, road(BEFORE) as parsed:
        answers, through_parser = await quick.answers([*asked]), await parsed.answers([*asked])
        assert 50 < sum(quick.whole) < len(asked)
        assert not any(parsed.whole)
    monkeypatch.setattr(entrance, "_INFER", re.compile("(?!)"))
    async with road(BEFORE) as routed:
        by_route = await routed.answers([*asked])
    for octets, answer, *others in zip(asked, answers, through_parser, by_route, strict=True):
        assert others == [answer, answer], octets
        check(octets, answer, asked[octets])


def check(octets: bytes, answer: bytes, status: int) -> None:
    """One answer, which says in one sentence what is wrong, if anything is."""
    head = HEADS.match(answer)
    assert head is not None, octets
    assert int(head[1]) == status, octets
    body = answer[head.end() :]
    if status >= 400 and not octets.startswith(b"HEAD"):
        assert len(body) < ANSWER_LIMIT_BYTES
        assert list(orjson.loads(body)) == ["error"], octets


ORIGIN = "http://x"


async def test_a_page_reads_its_answer_on_each_road() -> None:
    asked = [post(GOOD, b"Origin: http://x\r\n"), post(b"{", b"Origin: http://x\r\n")]
    async with road(b"", cors_origins=(ORIGIN,)) as quick, road(BEFORE, cors_origins=(ORIGIN,)) as parsed:
        answers = await quick.answers(asked)
        assert answers == await parsed.answers(asked)
        assert quick.whole == [True, True]
    assert all(b"access-control-allow-origin: http://x\r\n" in answer for answer in answers)
