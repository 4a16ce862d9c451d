package framing_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/framing"
)

// attack is what a caller sends, with \n standing for CR LF.
type attack struct {
	name string
	in   string
	why  framing.Reason
	want []request // What the server may see.
}

func get(target string) request { return request{"GET", target, "", true} }
func post(body string) request  { return request{"POST", "/", body, true} }

const smuggled = "GET /smuggled HTTP/1.1\nHost: h\n\n"

func head(lines ...string) string {
	return "POST / HTTP/1.1\nHost: h\n" + strings.Join(lines, "\n") + "\n\n"
}

// attacks are the known ones. The harmless are among them, to be passed.
func attacks() []attack {
	return []attack{
		{"plain", "GET /a HTTP/1.1\nHost: h\n\n", 0, []request{get("/a")}},
		{"pipelined", "GET /a HTTP/1.1\nHost: h\n\nPOST / HTTP/1.1\nHost: h\nContent-Length: 3\n\nabcGET /b HTTP/1.1\nHost: h\n\n", 0, []request{get("/a"), post("abc"), get("/b")}},
		{"chunked", head("Transfer-Encoding: chunked") + "3\nabc\n2\nde\n0\n\n" + smuggled, 0, []request{post("abcde"), get("/smuggled")}},
		{"trailers", head("Transfer-Encoding: chunked", "Trailer: X-A") + "3\nabc\n0\nX-A: 1\n\n", 0, []request{post("abc")}},
		{"HTTP/1.0", "GET /a HTTP/1.0\n\n", 0, []request{get("/a")}},
		{"body with HTTP/1.0", "POST / HTTP/1.0\nContent-Length: 3\n\nabc", 0, []request{post("abc")}},
		{"asterisk", "OPTIONS * HTTP/1.1\nHost: h\n\n", 0, []request{{"OPTIONS", "*", "", true}}},
		{"any case", head("tRaNsFeR-EnCoDiNg: \t CHUNKED \t") + "a;x=\"y\"\n0123456789\n0\n\n", 0, []request{post("0123456789")}},
		{"absolute", "GET http://h/a HTTP/1.1\nHost: H\n\n", 0, []request{get("http://h/a")}},
		{"odd paths", "GET //a/../%2F%2e;x?\\\xff'\"<>{}[] HTTP/1.1\nHost: h\n\n", 0, []request{get("//a/../%2F%2e;x?\\\xff'\"<>{}[]")}},
		{"leading zeros", head("Content-Length: 003") + "abc" + smuggled, 0, []request{post("abc"), get("/smuggled")}},
		{"GET with a body", "GET /a HTTP/1.1\nHost: h\nContent-Length: 35\n\n" + smuggled, 0, []request{{"GET", "/a", string(wire(smuggled)), true}}},

		{"length and chunked", head("Content-Length: 5", "Transfer-Encoding: chunked") + "0\n\n" + smuggled, framing.LengthAndCoding, nil},
		{"chunked and length", head("Transfer-Encoding: chunked", "Content-Length: 5") + "0\n\n" + smuggled, framing.LengthAndCoding, nil},
		{"chunked and length 0", head("Transfer-Encoding: chunked", "Content-Length: 0") + "0\n\n", framing.LengthAndCoding, nil},
		{"two lengths", head("Content-Length: 3", "Content-Length: 5") + "abcde", framing.Length, nil},
		{"one length twice", head("Content-Length: 3", "Content-Length: 3") + "abc", framing.Length, nil},
		{"list of lengths", head("Content-Length: 3, 3") + "abc", framing.Length, nil},
		{"signed length", head("Content-Length: +3") + "abc", framing.Length, nil},
		{"negative length", head("Content-Length: -1") + "abc", framing.Length, nil},
		{"empty length", head("Content-Length: ") + smuggled, framing.Length, nil},
		{"hexadecimal length", head("Content-Length: 0x10") + "abc", framing.Length, nil},
		{"length with underscores", head("Content-Length: 1_0") + "abc", framing.Length, nil},
		{"fraction", head("Content-Length: 3.0") + "abc", framing.Length, nil},
		{"two numbers", head("Content-Length: 3 3") + "abc", framing.Length, nil},
		{"overflow", head("Content-Length: 18446744073709551619") + "abc", framing.Length, nil},
		{"overflow of int64", head("Content-Length: 9223372036854775808") + "abc", framing.Length, nil},
		{"length by another name", head("Content_Length: 3") + "abc", framing.Length, nil},
		{"other digits", head("Content-Length: \u0663") + "abc", framing.Length, nil},
		{"no-break space", head("Content-Length: 3\u00a0") + "abc", framing.Length, nil},

		{"unknown coding", head("Transfer-Encoding: xchunked") + smuggled, framing.Coding, nil},
		{"identity", head("Transfer-Encoding: identity") + smuggled, framing.Coding, nil},
		{"identity with length", head("Transfer-Encoding: identity", "Content-Length: 3") + "abc", framing.Coding, nil},
		{"chunked twice", head("Transfer-Encoding: chunked, chunked") + "0\n\n", framing.Coding, nil},
		{"two lines of chunked", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\n\n", framing.Coding, nil},
		{"chunked, then identity", head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\n\n", framing.Coding, nil},
		{"gzip, chunked", head("Transfer-Encoding: gzip, chunked") + "0\n\n", framing.Coding, nil},
		{"quoted", head("Transfer-Encoding: \"chunked\"") + "0\n\n", framing.Coding, nil},
		{"empty coding", head("Transfer-Encoding:", "Content-Length: 3") + "abc", framing.Coding, nil},
		{"parameter", head("Transfer-Encoding: chunked;x=y") + "0\n\n", framing.Coding, nil},
		{"coding with vertical tab", head("Transfer-Encoding: \vchunked") + "0\n\n", framing.HeaderLine, nil},
		{"coding by another name", head("Transfer_Encoding: chunked") + "0\n\n", framing.Coding, nil},
		{"space before the colon", head("Transfer-Encoding : chunked", "Content-Length: 3") + "abc", framing.HeaderName, nil},
		{"tab before the colon", head("Content-Length\t: 3") + "abc", framing.HeaderName, nil},
		{"NUL before the name", head("\x00Transfer-Encoding: chunked", "Content-Length: 3") + "abc", framing.HeaderName, nil},
		{"long s", head("Tran\u017ffer-Encoding: chunked") + "0\n\n", framing.HeaderName, nil},
		{"HTTP/1.0 chunked", "POST / HTTP/1.0\nHost: h\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n" + smuggled, framing.Coding, nil},

		{"fold", head("X: a", " Content-Length: 3") + "abc", framing.Fold, nil},
		{"fold with tab", head("X: a", "\tb"), framing.Fold, nil},
		{"fold of chunked", head("Transfer-Encoding:", " chunked") + "0\n\n", framing.Coding, nil},
		{"fold of the first line", "GET / HTTP/1.1\n Host: h\n\n", framing.Fold, nil},
		{"line of spaces", head("X: a", "   "), framing.Fold, nil},
		{"bare LF", "GET / HTTP/1.1\nHost: h\nX: a\rLFTransfer-Encoding: chunked\n\n0\n\n", framing.LineEnd, nil},
		{"bare LF after the request line", "GET / HTTP/1.1\rLFHost: h\n\n", framing.LineEnd, nil},
		{"bare LF at the end", "GET / HTTP/1.1\nHost: h\n\rLF" + smuggled, framing.LineEnd, nil},
		{"bare CR", head("X: a\rTransfer-Encoding: chunked"), framing.LineEnd, nil},
		{"CR CR LF", head("X: a\rCR"), framing.LineEnd, nil},
		{"bare CR at the end", "GET / HTTP/1.1\nHost: h\n\rCR\n" + smuggled, framing.LineEnd, nil},
		{"NUL in a value", head("X: a\x00b"), framing.HeaderLine, nil},
		{"escape in a value", head("X: \x1b[0m"), framing.HeaderLine, nil},
		{"DEL in a value", head("X: \x7f"), framing.HeaderLine, nil},
		{"no colon", head("Transfer-Encoding"), framing.HeaderName, nil},
		{"no name", head(": chunked"), framing.HeaderName, nil},
		{"name in brackets", head("[X]: a"), framing.HeaderName, nil},

		{"no Host", "GET / HTTP/1.1\nX: a\n\n", framing.Host, nil},
		{"two Hosts", "GET / HTTP/1.1\nHost: h\nHost: i\n\n", framing.Host, nil},
		{"one Host twice", "GET / HTTP/1.0\nHost: h\nHost: h\n\n", framing.Host, nil},
		{"absolute with another Host", "GET http://i/ HTTP/1.1\nHost: h\n\n", framing.Host, nil},
		{"absolute without Host", "GET http://h/ HTTP/1.1\n\n", framing.Host, nil},
		{"absolute with a user", "GET http://h@i/ HTTP/1.1\nHost: i\n\n", framing.Target, nil},
		{"another scheme", "GET file:///etc/passwd HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"opaque", "GET h:80 HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"no path", "GET ?x HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"fragment", "GET /a#b HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"NUL in the target", "GET /\x00 HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"asterisk of GET", "GET * HTTP/1.1\nHost: h\n\n", framing.Target, nil},
		{"CONNECT", "CONNECT h:80 HTTP/1.1\nHost: h:80\n\n" + smuggled, framing.Method, nil},
		{"CONNECT to a path", "CONNECT / HTTP/1.1\nHost: h:80\n\n" + smuggled, framing.Method, nil},

		{"HTTP/0.9", "GET /\n", framing.RequestLine, nil},
		{"empty line first", "\nGET / HTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"empty line after a body", head("Content-Length: 3") + "abc\n" + smuggled, framing.RequestLine, []request{post("abc")}},
		{"garbage after a body", head("Content-Length: 3") + "abcdef" + smuggled, 0, []request{post("abc"), {"defGET", "/smuggled", "", true}}},
		{"line end after a declined upgrade", "GET /a HTTP/1.1\nHost: h\nUpgrade: x\n\n\rLF" + smuggled, framing.LineEnd, []request{get("/a")}},
		{"two spaces", "GET  / HTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"tab", "GET\t/\tHTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"space in the target", "GET /a b HTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"space at the end", "GET / HTTP/1.1 \nHost: h\n\n", framing.RequestLine, nil},
		{"space first", " GET / HTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"method with a colon", "GET: / HTTP/1.1\nHost: h\n\n", framing.RequestLine, nil},
		{"HTTP/1.2", "GET / HTTP/1.2\nHost: h\n\n", framing.Version, nil},
		{"HTTP/2.0", "GET / HTTP/2.0\nHost: h\n\n", framing.Version, nil},
		{"HTTP/1.10", "GET / HTTP/1.10\nHost: h\n\n", framing.Version, nil},
		{"http/1.1", "GET / http/1.1\nHost: h\n\n", framing.Version, nil},
		{"preface as a request", "PRI * HTTP/2.0\n\nSX\n\n" + smuggled, framing.Version, nil},
		{"preface after a request", "GET /a HTTP/1.1\nHost: h\n\nPRI * HTTP/2.0\n\nSM\n\n", framing.Version, []request{get("/a")}},
		{"preface with headers", "PRI * HTTP/2.0\nHost: h\n\n" + smuggled, framing.Version, nil},

		{"chunk size with 0x", head("Transfer-Encoding: chunked") + "0x3\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk size signed", head("Transfer-Encoding: chunked") + "+3\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk size empty", head("Transfer-Encoding: chunked") + "\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk size with a space", head("Transfer-Encoding: chunked") + "3 \nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"space before a chunk size", head("Transfer-Encoding: chunked") + " 3\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk size overflow", head("Transfer-Encoding: chunked") + "10000000000000003\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk size too long", head("Transfer-Encoding: chunked") + "0000000000000003\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk longer than said", head("Transfer-Encoding: chunked") + "3\nabcd\n0\n\n", framing.Chunk, nil},
		{"chunk shorter than said", head("Transfer-Encoding: chunked") + "5\nabc\n0\n\n", framing.Chunk, nil},
		{"chunk line with bare LF", head("Transfer-Encoding: chunked") + "3\rLFabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"chunk end with bare LF", head("Transfer-Encoding: chunked") + "3\nabc\rLF0\n\n", framing.Chunk, nil},
		{"extension with LF", head("Transfer-Encoding: chunked") + "3;a\rLFb\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"extension with CR", head("Transfer-Encoding: chunked") + "3;a\rb\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"extension with NUL", head("Transfer-Encoding: chunked") + "3;\x00\nabc\n0\n\n", framing.Chunk, []request{{"POST", "/", "", false}}},
		{"trailer with the length", head("Transfer-Encoding: chunked") + "3\nabc\n0\nContent-Length: 3\n\n", framing.Trailer, nil},
		{"trailer with the coding", head("Transfer-Encoding: chunked") + "3\nabc\n0\nTransfer-Encoding: chunked\n\n", framing.Trailer, nil},
		{"trailer with a Host", head("Transfer-Encoding: chunked") + "3\nabc\n0\nHost: i\n\n", framing.Trailer, nil},
		{"trailer of Wadi", head("Transfer-Encoding: chunked") + "3\nabc\n0\nwadi_service: i\n\n", framing.Trailer, nil},
		{"trailer about forwarding", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX-Forwarded-For: 1.2.3.4\n\n", framing.Trailer, nil},
		{"trailer with a fold", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX: 1\n 2\n\n", framing.Trailer, nil},
		{"trailer with bare LF", head("Transfer-Encoding: chunked") + "3\nabc\n0\nX: 1\rLF\n", framing.Trailer, nil},
	}
}

// wire is what is sent: CR LF for \n, a bare LF for \rLF, and one more CR for \rCR.
func wire(s string) []byte {
	return []byte(strings.NewReplacer("\rLF", "\n", "\rCR", "\r", "\n", "\r\n").Replace(s))
}

// pieces are ways in which what is sent may come.
func pieces() map[string]func() int {
	return map[string]func() int{
		"at once": func() int { return 1 << 20 }, "byte by byte": func() int { return 1 }, "by three": func() int { return 3 },
	}
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		for how, piece := range pieces() {
			t.Run(a.name+"/"+how, func(t *testing.T) {
				got := serveMem(t, wire(a.in), piece, framing.Config{HTTP2: true}, nil)
				if a.why == framing.None {
					if len(got.refused) > 0 {
						t.Fatalf("refused: %v", got.refused)
					}
				} else if len(got.refused) != 1 || got.refused[0] != a.why {
					t.Fatalf("refused for %v, want %v", got.refused, a.why)
				}
				for _, r := range got.requests {
					if strings.Contains(r.Target, "smuggled") && !wants(a.want, r) || r.Whole && a.why != framing.None && !wants(a.want, r) {
						t.Errorf("the server saw %+v", r)
					}
				}
				for i, want := range a.want {
					if len(got.requests) <= i || got.requests[i] != want {
						t.Fatalf("the server saw %+v, want %+v", got.requests, a.want)
					}
				}
				if a.why != framing.None && a.why < framing.Chunk {
					last := got.answer[strings.LastIndex(got.answer, "HTTP/1.1 "):]
					if !strings.HasPrefix(last, "HTTP/1.1 400 Bad Request\r\n") || !strings.HasSuffix(last, "400 Bad Request: "+a.why.Text()+"\n") {
						t.Errorf("answered %q", got.answer)
					}
				}
			})
		}
	}
}

func wants(all []request, r request) bool {
	for _, w := range all {
		if w == r {
			return true
		}
	}
	return false
}
