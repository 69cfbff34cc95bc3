"""Framing of requests (RFC 9112). Each case sends bytes over a socket and checks the status of each answer and whether
the connection stays open.

A valid request follows each case on the same connection. If the case leaves the connection open, that request is
answered, too. Otherwise its bytes must never be interpreted as a request (request smuggling)."""

import pathlib
import socket
import time

import serve_support
import tools

complaints = []
PROBE = b"GET /version HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
BODY = b'{"prompt": "a"}'
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"f\r\n" + BODY + b"\r\n"
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def sized(extra: bytes, body: bytes = BODY) -> bytes:
    return POST + extra + b"\r\n" + body


# name -> bytes, statuses of all answers. The last 200 is that of the valid request; without it the connection is
# closed. Section numbers are those of RFC 9112 unless another source is named.
CASES = {
    # 6.3: length of a body.
    "no body": (GET + b"\r\n", [200, 200]),
    "a length": (sized(b"Content-Length: 15\r\n"), [200, 200]),
    "a length of zero": (GET + b"Content-Length: 0\r\n\r\n", [200, 200]),
    "white space around a length": (sized(b"Content-Length: \t15 \r\n"), [200, 200]),
    "leading zeros of a length": (sized(b"Content-Length: 0015\r\n"), [200, 200]),
    "chunks": (CHUNKED + CHUNK + b"0\r\n\r\n", [200, 200]),
    "a body that looks like a request": (sized(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED), [400, 200]),
    # Boost.Beast, issue 1610: whether one of the two takes precedence, or the request is refused
    "a length and chunks": (sized(b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    "chunks and a length": (sized(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED), [400]),
    # llhttp, test/request/content-length.md
    "two lengths that differ": (sized(b"Content-Length: 15\r\nContent-Length: 0\r\n"), [400]),
    "two lengths that are equal": (sized(b"Content-Length: 15\r\nContent-Length: 15\r\n"), [400]),
    # hyper, src/headers.rs (content_length_parse_all): a list is not a number
    "a list of lengths": (sized(b"Content-Length: 15, 15\r\n"), [400]),
    # hyper, CVE-2021-32715: a sign before the digits
    "a length with a plus sign": (sized(b"Content-Length: +15\r\n"), [400]),
    "a negative length": (sized(b"Content-Length: -15\r\n"), [400]),
    # protocol-http1 (Falcon), CVE-2023-38697: lengths and sizes with 0x and with +, line feeds in extensions
    "a hexadecimal length": (sized(b"Content-Length: 0xf\r\n"), [400]),
    "an empty length": (sized(b"Content-Length:\r\n"), [400]),
    "a length with a space inside": (sized(b"Content-Length: 1 5\r\n"), [400]),
    "a fractional length": (sized(b"Content-Length: 15.0\r\n"), [400]),
    "a length beyond 64 bits": (sized(b"Content-Length: 18446744073709551631\r\n"), [413]),
    # 6.1: a coding other than chunked must not be ignored (Boost.Beast, pull request 3100).
    "an unknown coding": (sized(b"Transfer-Encoding: xchunked\r\n", SMUGGLED), [400]),
    "the coding identity": (sized(b"Transfer-Encoding: identity\r\n", SMUGGLED), [400]),
    # 6.1: 501 for an unsupported coding if chunked is the last one
    "gzip, chunked": (sized(b"Transfer-Encoding: gzip, chunked\r\n", CHUNK + b"0\r\n\r\n"), [501]),
    "chunked, gzip": (sized(b"Transfer-Encoding: chunked, gzip\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    # Bun, pull request 35295: a table of lists that are refused
    "chunked, chunked": (sized(b"Transfer-Encoding: chunked, chunked\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    "two fields that say chunked": (sized(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                          CHUNK + b"0\r\n\r\n"), [400]),
    # h11, tests/test_headers.py (test_normalize_and_validate): a coding in a second field
    "chunked, then another field": (sized(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                                          CHUNK + b"0\r\n\r\n"), [400]),
    "a coding in upper case": (sized(b"Transfer-Encoding: Chunked\r\n", CHUNK + b"0\r\n\r\n"), [200, 200]),
    "an empty coding": (sized(b"Transfer-Encoding:\r\n", SMUGGLED), [400]),
    "an empty member before chunked": (sized(b"Transfer-Encoding: , chunked\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    "a parameter of chunked": (sized(b"Transfer-Encoding: chunked;q=1\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    "quotes around chunked": (sized(b'Transfer-Encoding: "chunked"\r\n', CHUNK + b"0\r\n\r\n"), [400]),
    # Known smuggling attacks use a vertical tab (llhttp, test/request/transfer-encoding.md)
    "a vertical tab before chunked": (sized(b"Transfer-Encoding: \x0bchunked\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    # 6.1: HTTP/1.0 has no transfer codings (Boost.Beast, pull request 3096)
    "chunks in HTTP/1.0": (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + CHUNK + b"0\r\n\r\n", [400]),
    # 7.1: chunks.
    "two chunks": (CHUNKED + b"7\r\n" + BODY[:7] + b"\r\n8\r\n" + BODY[7:] + b"\r\n0\r\n\r\n", [200, 200]),
    "an upper-case size with zeros": (CHUNKED + b"000F\r\n" + BODY + b"\r\n00\r\n\r\n", [200, 200]),
    "extensions": (CHUNKED + b'f;a=b;c="d e"\r\n' + BODY + b"\r\n0;last\r\n\r\n", [200, 200]),
    # 7.1.1: bad white space (BWS) before an extension is removed
    "white space before an extension": (CHUNKED + b"f ;a=b\r\n" + BODY + b"\r\n0\r\n\r\n", [200, 200]),
    # hyper, src/proto/h1/decode.rs (test_read_chunk_size) for the sizes that follow
    "a size with 0x": (CHUNKED + b"0xf\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "a size with a plus sign": (CHUNKED + b"+f\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "a negative size": (CHUNKED + b"-f\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "an empty size": (CHUNKED + b"\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "letters after a size": (CHUNKED + b"f invalid\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    # hyper, CVE-2021-32714: a size that overflows 64 bits
    "a size beyond 64 bits": (CHUNKED + b"f0000000000000003\r\nabc\r\n0\r\n\r\n", [400]),
    "a size of 2^64 - 1": (CHUNKED + b"ffffffffffffffff\r\n" + BODY, [413]),
    # h11, CVE-2025-43859: the bytes after a chunk's data must be CRLF
    "data that is longer than its size": (CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "two other bytes after the data": (CHUNKED + b"f\r\n" + BODY + b"XX0\r\n\r\n" + SMUGGLED, [400]),
    "a line feed after a size": (CHUNKED + b"f\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    # Bun, issue 29732: the same after the last chunk
    "two other bytes after the last chunk": (CHUNKED + CHUNK + b"0\r\nXX" + SMUGGLED, [400]),
    # ASP.NET Core Kestrel, CVE-2025-55315: a line feed in an extension
    "a line feed in an extension": (CHUNKED + b"f;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "a zero byte in an extension": (CHUNKED + b"f;a\x00b\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    # hyper, src/proto/h1/decode.rs (test_read_chunked_extensions_over_limit), and Go, CVE-2023-39326
    "an extension that is large": (CHUNKED + b"f;" + b"a" * 10_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
    "many extensions": (CHUNKED + b"".join(b"1;" + b"a" * 1000 + b"\r\n \r\n" for _ in range(20)) + b"0\r\n\r\n", [400]),
    # 7.1.2: trailers are read, checked and dropped.
    "trailers": (CHUNKED + CHUNK + b"0\r\nX-Checksum: 1\r\n\r\n", [200, 200]),
    "a length in the trailers": (CHUNKED + CHUNK + b"0\r\nContent-Length: 100\r\n\r\n", [200, 200]),
    "a coding in the trailers": (CHUNKED + CHUNK + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", [200, 200]),
    # hyper, src/proto/h1/decode.rs (test_trailer_max_header_size_huge_trailer)
    "trailers that are large": (CHUNKED + CHUNK + b"0\r\n" + b"X: aaaaaaaaaaaaaaaa\r\n" * 2000 + b"\r\n", [431]),
    "a folded trailer": (CHUNKED + CHUNK + b"0\r\nX: a\r\n b\r\n\r\n", [400]),
    # 3.2: Host.
    "no Host": (b"GET /health HTTP/1.1\r\n\r\n", [400]),
    "no Host in HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "two Hosts": (GET + b"Host: b\r\n\r\n", [400]),
    "two Hosts that are equal": (GET + b"Host: a\r\n\r\n", [400]),
    "an empty Host": (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n", [200, 200]),
    "a Host with a port": (b"GET /health HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", [200, 200]),
    "a Host with a path": (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
    "a list of Hosts": (b"GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n", [400]),
    # 5: fields.
    "obsolete folding": (GET + b"X: a\r\n b\r\n\r\n", [400]),
    "folding with a tab": (GET + b"X: a\r\n\tb\r\n\r\n", [400]),
    # Node.js and llhttp, CVE-2022-32215
    "folding of the coding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", [400]),
    "white space before the first field": (b"GET /health HTTP/1.1\r\n Host: a\r\n\r\n", [400]),
    # tiny-http, issue 173
    "a space before a colon": (sized(b"Content-Length : 15\r\n"), [400]),
    "a tab before a colon": (sized(b"Transfer-Encoding\t: chunked\r\n", CHUNK + b"0\r\n\r\n"), [400]),
    "a field without a name": (GET + b": a\r\n\r\n", [400]),
    "a field without a colon": (GET + b"X\r\n\r\n", [400]),
    "a zero byte in a value": (GET + b"X: a\x00b\r\n\r\n", [400]),
    "a zero byte in a name": (GET + b"X\x00: a\r\n\r\n", [400]),
    "a bell in a value": (GET + b"X: \x07\r\n\r\n", [400]),
    "obs-text in a value": (GET + b"X: \xe4\xff\r\n\r\n", [200, 200]),
    "an unknown expectation": (GET + b"Expect: 200-ok\r\n\r\n", [417]),
    # 2.2: lines.
    "an empty line before": (b"\r\n" + GET + b"\r\n", [200, 200]),
    "two empty lines before": (b"\r\n\r\n" + GET + b"\r\n", [200, 200]),
    "a carriage return alone in a value": (GET + b"X: a\rTransfer-Encoding: chunked\r\n\r\n", [400]),
    "a carriage return alone ends a line": (b"GET /health HTTP/1.1\rHost: a\r\r", [400]),
    "a line feed alone ends a line": (b"GET /health HTTP/1.1\nHost: a\n\n", [400]),
    "a line feed alone ends one field": (GET + b"X: a\nContent-Length: 5\r\n\r\n", [400]),
    "a line feed alone before": (b"\n" + GET + b"\r\n", [400]),
    "two carriage returns": (GET + b"X: a\r\r\n\r\n", [400]),
    # 3: the request line.
    "two spaces": (b"GET  /health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "a tab instead of a space": (b"GET\t/health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "a space at the end": (b"GET /health HTTP/1.1 \r\nHost: a\r\n\r\n", [400]),
    "a space in the target": (b"GET /hea lth HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "no version": (b"GET /health\r\nHost: a\r\n\r\n", [400]),
    "a version in lower case": (b"GET /health http/1.1\r\nHost: a\r\n\r\n", [400]),
    "a version of three digits": (b"GET /health HTTP/1.10\r\nHost: a\r\n\r\n", [400]),
    "a method that is not a token": (b"GE(T /health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    # h11, tests/test_events.py (test_events): a target has only visible ASCII characters
    "a byte that is not ASCII in the target": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    # 3.2: the forms of a target.
    "a query": (b"GET /health?a=b HTTP/1.1\r\nHost: a\r\n\r\n", [200, 200]),
    "a URL": (b"GET http://example.com/health HTTP/1.1\r\nHost: a\r\n\r\n", [200, 200]),
    "a URL with a port and a query": (b"GET HTTP://example.com:80/health?x HTTP/1.1\r\nHost: a\r\n\r\n", [200, 200]),
    "a URL without a path": (b"GET http://example.com HTTP/1.1\r\nHost: a\r\n\r\n", [200, 200]),
    "a URL without a host": (b"GET http:///health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "a URL of another scheme": (b"GET ftp://a/health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "a target without a slash": (b"GET health HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "a fragment": (b"GET /health#a HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "CONNECT": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n", [404, 200]),
    # 9.3 and 9.6: whether the connection stays open.
    "Connection: close": (GET + b"Connection: close\r\n\r\n", [200]),
    "close in a list": (GET + b"Connection: keep-alive, Close\r\n\r\n", [200]),
    "HTTP/1.0": (GET.replace(b"1.1", b"1.0") + b"\r\n", [200]),
    "HTTP/1.0 that is kept alive": (GET.replace(b"1.1", b"1.0") + b"Connection: Keep-Alive\r\n\r\n", [200, 200]),
    "an upgrade to HTTP/2 is ignored": (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                                        b"HTTP2-Settings: AAMAAABk\r\n\r\n", [200, 200]),
    # 2.3; httpcore, pull request 333: the preface of clients that start with HTTP/2
    "HTTP/2 prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    "HTTP/2.0": (GET.replace(b"1.1", b"2.0") + b"\r\n", [505]),
    "HTTP/0.9": (b"GET /\r\n", [400]),
}


def answers(port: int, data: bytes) -> list[tuple[int, bytes]]:
    """The status and head of each answer until the server closes."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            client.sendall(data)
        except OSError:
            pass  # answered and closed before all was sent
        received = b""
        try:
            while part := client.recv(65536):
                received += part
        except ConnectionResetError:
            pass
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields.get(b"content-length", b"0"))
        found.append((int(head.split()[1]), head, rest[:size]))
        received = rest[size:]
    return found


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    with serve_support.serving(t.binaries, bundle) as server:
        for name, (data, statuses) in CASES.items():
            began = time.monotonic()
            found = answers(server.port, data + PROBE)
            if [status for status, _, _ in found] != statuses:
                complaints.append(f"{name}: expected the statuses {statuses}, found {found}")
                continue
            is_open = len(statuses) > 1
            says_close = b"connection: close" in found[-1][1].lower() or found[-1][1].startswith(b"HTTP/1.0")
            if not is_open and statuses != [200] and not says_close:
                complaints.append(f"{name}: the answer does not say that the connection is closed: {found[-1][1]}")
            if statuses[0] in (400, 505) and b'"message"' not in found[0][2]:
                complaints.append(f"{name}: the refusal has no message: {found[0]}")
            if time.monotonic() - began > 8:
                complaints.append(f"{name}: was answered after {time.monotonic() - began:.1f} s")
        refusal = answers(server.port, CASES["HTTP/2 prior knowledge"][0])[0][2]
        if b"HTTP/1.1, not HTTP/2.0" not in refusal:
            complaints.append(f"HTTP/2 is refused with {refusal}")
        if server.get("/health")[0] != 200 or server.stop() != 0:
            complaints.append("the server did not end well")
    print(f"{len(CASES)} requests framed as RFC 9112 says")
    if complaints:
        tools.fail("\n".join(complaints[:40]))


tools.main(test)
