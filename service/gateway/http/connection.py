"""One connection to a client: uvicorn's HTTP/1.1 within limits, and deaf to offers of another protocol.

Heads are counted before they are parsed; who sends or reads too slowly is told so and let go, by the one sweeper of the
server. What a message used is `usage`'s to know, who takes an answer too slowly `reader_watch`'s. Knows nothing of what
is asked.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.core.errors import BadInput, TooSlow
from service.gateway.guard import BROKEN
from service.gateway.http.bounds import Bounds
from service.gateway.http.codings import is_coded
from service.gateway.http.flow import Flow
from service.gateway.http.hosts import names_hosts
from service.gateway.http.large_body import LargeBody, offer
from service.gateway.http.offers import END_OF_HEAD, Offers
from service.gateway.http.reader_watch import ReaderWatch
from service.gateway.http.refusal import parser_error, refusal
from service.gateway.http.shortcut import Shortcut
from service.gateway.http.usage import Usage
from service.gateway.problems import problem_of

_LINGERING_LIMIT = 256  # connections beyond the limit that are told so; those beyond are cut without a word


class Connection(HttpToolsProtocol):
    """uvicorn's connection, within limits.

    Args:
        bounds: what it shares with others.
        of_uvicorn: what uvicorn hands to its own.
    """

    def __init__(self, bounds: Bounds, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._limits = bounds.limits
        self._sweeper = bounds.sweeper
        self._refused = bounds.refused
        self._shortcut = Shortcut(self, bounds.heads)
        self.large: LargeBody | None = None  # that is read past the parser
        self._inside = False  # a message whose end has not come yet
        self._in_head = False
        self._leaving = False  # what it still sends is dropped
        self._messages = 0  # that came to their end
        self._since_s = bounds.sweeper.now_s  # what is judged by time began then
        self._usage = Usage(bounds.limits)
        self._offers = Offers()
        self._reader: ReaderWatch
        self._answering: Any  # the transport as who answers sees it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody came."""
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._reader = ReaderWatch(transport, self._limits)
        self._answering = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self.end)
        over = len(self.connections) - self._limits.connections
        if over > 0:
            self._sweeper.turned_away()
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open here", {"Retry-After": "1"})
        if over > _LINGERING_LIMIT:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._inside and not self._leaving:
            data = self._shortcut.take(data)
            if not data:
                self._since_s = self._sweeper.now_s
                return
        self._parse(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._shortcut.leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops; a request that has begun is still answered."""
        self._parse(self._shortcut.give_back())
        super().shutdown()

    def _parse(self, data: bytes) -> None:
        if self._leaving or not data:
            return
        if not self._inside:
            end = data.find(END_OF_HEAD)
            if (end if end >= 0 else len(data)) > self._limits.head_bytes:
                self._refuse_head()
                return
            self._offers.begin()
        size_bytes, before = len(data), self._messages
        self._usage.read_bytes = size_bytes
        if self._in_head or not self._inside:
            data = self._offers.hidden(data)
        else:
            self._offers.passed(data)
        super().data_received(data)
        if self._inside and not self._leaving:
            # Behind the end of another message nobody knows where this one began: its bytes count from the next read.
            self._count(size_bytes if self._messages == before else 0)

    def _count(self, size_bytes: int) -> None:
        """Holds an unfinished message against the limits."""
        if self._in_head:
            if self._usage.is_head_over(size_bytes, len(self.headers)):
                self._refuse_head()
        elif self._usage.is_framing_over(size_bytes):
            self._break(BadInput("the body comes in chunks that are smaller than what is around them"))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside = self._in_head = True
        self._usage.begin()
        self._since_s = self._sweeper.now_s
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has come to its end."""
        if self._leaving:
            return
        if self._usage.was_head_over(self.url, self.headers):
            self._refuse_head()
        elif self.parser.should_upgrade():  # of whose body the parser would lose what has come
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "no other protocol is spoken here, expected HTTP/1.1")
        elif names_hosts(self.headers):
            self._refuse(HTTPStatus.BAD_REQUEST, "the request has more than one header Host")
        elif is_coded(self.headers):
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "the Transfer-Encoding is not known here, expected 'chunked'")
        elif len(self.pipeline) >= self._limits.pipelined:
            self._leave_after_answers()
        else:
            self._since_s = self._sweeper.now_s
            self._usage.begin_body()
            waits = self._is_answering()
            super().on_headers_complete()
            self._in_head = False  # not before: what is raised there is the head's, and no request has begun
            self.cycle.transport = self._answering
            if not waits:
                offer(self, self.headers)
            self.headers = []  # trailers end here, unread

    def on_body(self, body: bytes) -> None:
        """Bytes of a body came."""
        if not self._leaving:
            self._usage.body_bytes += len(body)
            super().on_body(body)

    def body_came(self, size_bytes: int) -> None:
        """Bytes of a large body came."""
        self._usage.body_came(size_bytes)

    def body_is_whole(self) -> None:
        """A large body has come to its end, of which the parser knows nothing."""
        self.parser, self.large = httptools.HttpRequestParser(self), None
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.on_message_complete()

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        self._inside = False
        self._messages += 1
        if not self._leaving:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer was given; uvicorn's own would arm a timer for each, and read on behind what waits."""
        self.server_state.total_requests += 1
        self._since_s = self._sweeper.now_s
        cycle: Any = self.cycle
        if cycle.response_complete and isinstance(cycle, RequestResponseCycle):
            cycle.body = bytearray()  # what nobody read of it: a connection at rest keeps its last cycle
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        if self.flow.read_paused:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is given."""
        self._reader.begin(self._sweeper.now_s)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._reader.end()
        super().resume_writing()

    def end(self) -> None:
        """Ends the connection behind an answer, once what its client still sends is read over (RFC 9112, 9.6)."""
        if (self._inside or self._leaving) and not self.pipeline and not self._is_answering():
            self._leave()
            self._say_no_more()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, or what there is no memory for; the parser is of no use after it."""
        if self._leaving:
            return
        error = parser_error()
        if self._inside and not self._in_head:
            self._break(error)
        else:
            self._refuse(problem_of(error, "").status, str(error))

    def judge(self, now_s: float) -> None:
        """Acts on what took too long by `now_s`, on the sweeper's clock."""
        self._reader.judge(now_s)
        self._parse(self._shortcut.give_back_old())  # whose body has its time from now on
        waited_s = now_s - self._since_s
        if self.transport.is_closing():
            return
        if self._leaving:
            if waited_s >= self._limits.linger_s and not self._is_answering():
                self.transport.close()
        elif self._inside and not self._in_head:
            if waited_s >= self._limits.window_s:
                self._judge_body(now_s)
        elif not self._is_answering():
            self._judge_silence(waited_s)

    def _judge_silence(self, waited_s: float) -> None:
        """Of who is expected to send a head, and has begun one or not."""
        if self._in_head:
            if waited_s >= self._limits.head_s:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the head took more than {self._limits.head_s:g} seconds")
        elif waited_s >= (self._limits.idle_s if self._messages or self._shortcut.used else self._limits.head_s):
            self.transport.close()

    def _judge_body(self, now_s: float) -> None:
        if self.cycle.response_complete:  # refused before its end, and what is left of it takes too long
            self.transport.close()
        elif self._usage.is_slow and not self.flow.read_paused:
            limits = self._limits
            rate = f"{limits.window_bytes} bytes in {limits.window_s:g} seconds"
            self._break(TooSlow(f"the body came too slowly, expected at least {rate}"))
        self._since_s = now_s
        self._usage.begin_window()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _refuse_head(self) -> None:
        limits = self._limits
        sentence = f"the head is larger than {limits.head_bytes} bytes or {limits.head_fields} fields"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)

    def _refuse(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """Answers what never becomes a request, and lets the client go; behind others it goes without a word."""
        if self._is_answering():
            self._leave_after_answers()
            return
        self._leave()
        self._refused(status)
        self.transport.write(refusal(status, sentence, headers))
        self._say_no_more()

    def _break(self, error: Exception) -> None:
        """Ends the request whose body is coming: its handler is told, and answers."""
        self._leave()
        if self.cycle.response_complete:
            self._say_no_more()
            return
        scope: Any = self.cycle.scope
        scope[BROKEN] = error
        if self.large is not None:
            self.large.fail(error)
        self.cycle.keep_alive = self.cycle.more_body = False
        self.cycle.message_event.set()

    def _say_no_more(self) -> None:
        """The client closes then, or `judge` does: a close with bytes unread would reset, and lose the answer."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS, which reads them over while it says goodbye
            self.transport.close()

    def _leave_after_answers(self) -> None:
        self._leave()
        self.cycle.keep_alive = False

    def _leave(self) -> None:
        self._leaving = True
        self._since_s = self._sweeper.now_s
