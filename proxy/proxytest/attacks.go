package proxytest

import "strings"

// Attack is input that makes two readers see different requests, or harmless input that
// looks like it. Its Host is "h".
type Attack struct {
	Name   string
	Text   string    // See Bytes.
	Why    string    // The reason of proxy/framing for refusing it; "": it passes.
	Served []Request // Requests that a server may see before the refusal.
}

// Request is a request as a server sees it.
type Request struct {
	Method, Target, Body string
	Whole                bool // The body came to its end.
}

// Bytes is the input on the wire: CR LF for \n, a bare LF for \rLF, and one more CR for \rCR.
func (a Attack) Bytes() []byte { return Wire(a.Text) }

// Wire makes bytes of a text as [Attack.Bytes] does.
func Wire(s string) []byte {
	return []byte(strings.NewReplacer("\rLF", "\n", "\rCR", "\r", "\n", "\r\n").Replace(s))
}

// Smuggled is the request that no server may see.
const Smuggled = "GET /smuggled HTTP/1.1\nHost: h\n\n"

func get(target string) Request { return Request{"GET", target, "", true} }
func post(body string) Request  { return Request{"POST", "/", body, true} }

func head(lines ...string) string {
	return "POST / HTTP/1.1\nHost: h\n" + strings.Join(lines, "\n") + "\n\n"
}

// Attacks is a table of the known attacks, and of harmless input.
func Attacks() []Attack {
	const smuggled = Smuggled
	return []Attack{
		{"plain", "GET /a HTTP/1.1\nHost: h\n\n", "", []Request{get("/a")}},
		{"pipelined", "GET /a HTTP/1.1\nHost: h\n\nPOST / HTTP/1.1\nHost: h\nContent-Length: 3\n\nabcGET /b HTTP/1.1\nHost: h\n\n", "", []Request{get("/a"), post("abc"), get("/b")}},
		{"chunked", head("Transfer-Encoding: chunked") + "3\nabc\n2\nde\n0\n\n" + smuggled, "", []Request{post("abcde"), get("/smuggled")}},
		{"trailers", head("Transfer-Encoding: chunked", "Trailer: X-A") + "3\nabc\n0\nX-A: 1\n\n", "", []Request{post("abc")}},
		{"HTTP/1.0", "GET /a HTTP/1.0\nHost: h\nConnection: keep-alive\n\n", "", []Request{get("/a")}},
		{"body with HTTP/1.0", "POST / HTTP/1.0\nHost: h\nConnection: keep-alive\nContent-Length: 3\n\nabc", "", []Request{post("abc")}},
		{"asterisk", "OPTIONS * HTTP/1.1\nHost: h\n\n", "", []Request{{"OPTIONS", "*", "", true}}},
		{"any case", head("tRaNsFeR-EnCoDiNg: \t CHUNKED \t") + "a;x=\"y\"\n0123456789\n0\n\n", "", []Request{post("0123456789")}},
		{"absolute", "GET http://h/a HTTP/1.1\nHost: H\n\n", "", []Request{get("http://h/a")}},
		{"odd paths", "GET //a/../%2F%2e;x?\\\xff'\"<>{}[] HTTP/1.1\nHost: h\n\n", "", []Request{get("//a/../%2F%2e;x?\\\xff'\"<>{}[]")}},
		{"leading zeros", head("Content-Length: 003") + "abc" + smuggled, "", []Request{post("abc"), get("/smuggled")}},
		{"GET with a body", "GET /a HTTP/1.1\nHost: h\nContent-Length: 35\n\n" + smuggled, "", []Request{{"GET", "/a", string(Wire(smuggled)), true}}},

		{"length and chunked", head("Content-Length: 5", "Transfer-Encoding: chunked") + "0\n\n" + smuggled, "length_and_coding", nil},
		{"chunked and length", head("Transfer-Encoding: chunked", "Content-Length: 5") + "0\n\n" + smuggled, "length_and_coding", nil},
		{"chunked and length 0", head("Transfer-Encoding: chunked", "Content-Length: 0") + "0\n\n", "length_and_coding", nil},
		{"two lengths", head("Content-Length: 3", "Content-Length: 5") + "abcde", "content_length", nil},
		{"one length twice", head("Content-Length: 3", "Content-Length: 3") + "abc", "content_length", nil},
		{"list of lengths", head("Content-Length: 3, 3") + "abc", "content_length", nil},
		{"signed length", head("Content-Length: +3") + "abc", "content_length", nil},
		{"negative length", head("Content-Length: -1") + "abc", "content_length", nil},
		{"empty length", head("Content-Length: ") + smuggled, "content_length", nil},
		{"hexadecimal length", head("Content-Length: 0x10") + "abc", "content_length", nil},
		{"length with underscores", head("Content-Length: 1_0") + "abc", "content_length", nil},
		{"fraction", head("Content-Length: 3.0") + "abc", "content_length", nil},
		{"two numbers", head("Content-Length: 3 3") + "abc", "content_length", nil},
		{"overflow", head("Content-Length: 18446744073709551619") + "abc", "content_length", nil},
		{"overflow of int64", head("Content-Length: 9223372036854775808") + "abc", "content_length", nil},
		{"length by another name", head("Content_Length: 3") + "abc", "content_length", nil},
		{"other digits", head("Content-Length: \u0663") + "abc", "content_length", nil},
		{"no-break space", head("Content-Length: 3\u00a0") + "abc", "content_length", nil},

		{"unknown coding", head("Transfer-Encoding: xchunked") + smuggled, "transfer_encoding", nil},
		{"identity", head("Transfer-Encoding: identity") + smuggled, "transfer_encoding", nil},
		{"identity with length", head("Transfer-Encoding: identity", "Content-Length: 3") + "abc", "transfer_encoding", nil},
		{"chunked twice", head("Transfer-Encoding: chunked, chunked") + "0\n\n", "transfer_encoding", nil},
		{"two lines of chunked", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\n\n", "transfer_encoding", nil},
		{"chunked, then identity", head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\n\n", "transfer_encoding", nil},
		{"gzip, chunked", head("Transfer-Encoding: gzip, chunked") + "0\n\n", "transfer_encoding", nil},
		{"quoted", head("Transfer-Encoding: \"chunked\"") + "0\n\n", "transfer_encoding", nil},
		{"empty coding", head("Transfer-Encoding:", "Content-Length: 3") + "abc", "transfer_encoding", nil},
		{"parameter", head("Transfer-Encoding: chunked;x=y") + "0\n\n", "transfer_encoding", nil},
		{"coding with vertical tab", head("Transfer-Encoding: \vchunked") + "0\n\n", "header_line", nil},
		{"coding by another name", head("Transfer_Encoding: chunked") + "0\n\n", "transfer_encoding", nil},
		{"space before the colon", head("Transfer-Encoding : chunked", "Content-Length: 3") + "abc", "header_name", nil},
		{"tab before the colon", head("Content-Length\t: 3") + "abc", "header_name", nil},
		{"NUL before the name", head("\x00Transfer-Encoding: chunked", "Content-Length: 3") + "abc", "header_name", nil},
		{"long s", head("Tran\u017ffer-Encoding: chunked") + "0\n\n", "header_name", nil},
		{"HTTP/1.0 chunked", "POST / HTTP/1.0\nHost: h\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n" + smuggled, "transfer_encoding", nil},

		{"fold", head("X: a", " Content-Length: 3") + "abc", "fold", nil},
		{"fold with tab", head("X: a", "\tb"), "fold", nil},
		{"fold of chunked", head("Transfer-Encoding:", " chunked") + "0\n\n", "transfer_encoding", nil},
		{"fold of the first line", "GET / HTTP/1.1\n Host: h\n\n", "fold", nil},
		{"line of spaces", head("X: a", "   "), "fold", nil},
		{"bare LF", "GET / HTTP/1.1\nHost: h\nX: a\rLFTransfer-Encoding: chunked\n\n0\n\n", "line_end", nil},
		{"bare LF after the request line", "GET / HTTP/1.1\rLFHost: h\n\n", "line_end", nil},
		{"bare LF at the end", "GET / HTTP/1.1\nHost: h\n\rLF" + smuggled, "line_end", nil},
		{"bare CR", head("X: a\rTransfer-Encoding: chunked"), "line_end", nil},
		{"CR CR LF", head("X: a\rCR"), "line_end", nil},
		{"bare CR at the end", "GET / HTTP/1.1\nHost: h\n\rCR\n" + smuggled, "line_end", nil},
		{"NUL in a value", head("X: a\x00b"), "header_line", nil},
		{"escape in a value", head("X: \x1b[0m"), "header_line", nil},
		{"DEL in a value", head("X: \x7f"), "header_line", nil},
		{"no colon", head("Transfer-Encoding"), "header_name", nil},
		{"no name", head(": chunked"), "header_name", nil},
		{"name in brackets", head("[X]: a"), "header_name", nil},

		{"no Host", "GET / HTTP/1.1\nX: a\n\n", "host", nil},
		{"two Hosts", "GET / HTTP/1.1\nHost: h\nHost: i\n\n", "host", nil},
		{"one Host twice", "GET / HTTP/1.0\nHost: h\nHost: h\n\n", "host", nil},
		{"absolute with another Host", "GET http://i/ HTTP/1.1\nHost: h\n\n", "host", nil},
		{"absolute without Host", "GET http://h/ HTTP/1.1\n\n", "host", nil},
		{"absolute with a user", "GET http://h@i/ HTTP/1.1\nHost: i\n\n", "target", nil},
		{"another scheme", "GET file:///etc/passwd HTTP/1.1\nHost: h\n\n", "target", nil},
		{"opaque", "GET h:80 HTTP/1.1\nHost: h\n\n", "target", nil},
		{"no path", "GET ?x HTTP/1.1\nHost: h\n\n", "target", nil},
		{"fragment", "GET /a#b HTTP/1.1\nHost: h\n\n", "target", nil},
		{"NUL in the target", "GET /\x00 HTTP/1.1\nHost: h\n\n", "target", nil},
		{"asterisk of GET", "GET * HTTP/1.1\nHost: h\n\n", "target", nil},
		{"CONNECT", "CONNECT h:80 HTTP/1.1\nHost: h:80\n\n" + smuggled, "method", nil},
		{"CONNECT to a path", "CONNECT / HTTP/1.1\nHost: h:80\n\n" + smuggled, "method", nil},

		{"HTTP/0.9", "GET /\n", "request_line", nil},
		{"empty line first", "\nGET / HTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"empty line after a body", head("Content-Length: 3") + "abc\n" + smuggled, "request_line", []Request{post("abc")}},
		{"garbage after a body", head("Content-Length: 3") + "abcdef" + smuggled, "", []Request{post("abc"), {"defGET", "/smuggled", "", true}}},
		{"line end after a declined upgrade", "GET /a HTTP/1.1\nHost: h\nUpgrade: x\n\n\rLF" + smuggled, "line_end", []Request{get("/a")}},
		{"two spaces", "GET  / HTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"tab", "GET\t/\tHTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"space in the target", "GET /a b HTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"space at the end", "GET / HTTP/1.1 \nHost: h\n\n", "request_line", nil},
		{"space first", " GET / HTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"method with a colon", "GET: / HTTP/1.1\nHost: h\n\n", "request_line", nil},
		{"HTTP/1.2", "GET / HTTP/1.2\nHost: h\n\n", "version", nil},
		{"HTTP/2.0", "GET / HTTP/2.0\nHost: h\n\n", "version", nil},
		{"HTTP/1.10", "GET / HTTP/1.10\nHost: h\n\n", "version", nil},
		{"http/1.1", "GET / http/1.1\nHost: h\n\n", "version", nil},
		{"preface as a request", "PRI * HTTP/2.0\n\nSX\n\n" + smuggled, "version", nil},
		{"preface after a request", "GET /a HTTP/1.1\nHost: h\n\nPRI * HTTP/2.0\n\nSM\n\n", "version", []Request{get("/a")}},
		{"preface with headers", "PRI * HTTP/2.0\nHost: h\n\n" + smuggled, "version", nil},

		{"chunk size with 0x", head("Transfer-Encoding: chunked") + "0x3\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk size signed", head("Transfer-Encoding: chunked") + "+3\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk size empty", head("Transfer-Encoding: chunked") + "\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk size with a space", head("Transfer-Encoding: chunked") + "3 \nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"space before a chunk size", head("Transfer-Encoding: chunked") + " 3\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk size overflow", head("Transfer-Encoding: chunked") + "10000000000000003\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk size too long", head("Transfer-Encoding: chunked") + "0000000000000003\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk longer than said", head("Transfer-Encoding: chunked") + "3\nabcd\n0\n\n", "chunk", nil},
		{"chunk shorter than said", head("Transfer-Encoding: chunked") + "5\nabc\n0\n\n", "chunk", nil},
		{"chunk line with bare LF", head("Transfer-Encoding: chunked") + "3\rLFabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"chunk end with bare LF", head("Transfer-Encoding: chunked") + "3\nabc\rLF0\n\n", "chunk", nil},
		{"extension with LF", head("Transfer-Encoding: chunked") + "3;a\rLFb\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"extension with CR", head("Transfer-Encoding: chunked") + "3;a\rb\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"extension with NUL", head("Transfer-Encoding: chunked") + "3;\x00\nabc\n0\n\n", "chunk", []Request{{"POST", "/", "", false}}},
		{"trailer with the length", head("Transfer-Encoding: chunked") + "3\nabc\n0\nContent-Length: 3\n\n", "trailer", nil},
		{"trailer with the coding", head("Transfer-Encoding: chunked") + "3\nabc\n0\nTransfer-Encoding: chunked\n\n", "trailer", nil},
		{"trailer with a Host", head("Transfer-Encoding: chunked") + "3\nabc\n0\nHost: i\n\n", "trailer", nil},
		{"trailer of Wadi", head("Transfer-Encoding: chunked") + "3\nabc\n0\nwadi_service: i\n\n", "trailer", nil},
		{"trailer about forwarding", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX-Forwarded-For: 1.2.3.4\n\n", "trailer", nil},
		{"trailer with a fold", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX: 1\n 2\n\n", "trailer", nil},
		{"trailer with bare LF", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX: 1\rLF\n", "trailer", nil},
	}
}
