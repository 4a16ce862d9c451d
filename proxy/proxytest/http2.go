package proxytest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Fields are a header or trailers on the wire of HTTP/2: names and values in turn, names in
// lower case, pseudo-headers first.
type Fields []string

// HTTP2Answer is the answer to one request.
type HTTP2Answer struct {
	Header   map[string]string // With ":status"; the last value of several.
	Informed map[string]string // The fields of an informational answer.
	Trailer  map[string]string
	Body     string
	Reset    bool // The stream or the connection was reset.
}

// HTTP2Attacks are HTTP/2 requests that would become different requests if they were written
// as HTTP/1.1, by their flaw.
func HTTP2Attacks() map[string]Fields {
	get := func(path string, more ...string) Fields {
		return append(Fields{":method", "GET", ":scheme", "http", ":authority", "h", ":path", path}, more...)
	}
	return map[string]Fields{
		"a fragment":                      get("/x#frag"),
		"a space":                         get("/x HTTP/1.1"),
		"a tab":                           get("/x\ty"),
		"GET *":                           get("*"),
		"an absolute target":              get("http://other/x"),
		"no slash":                        get("x"),
		"content_length":                  get("/x", "content_length", "5"),
		"Content_Length in part":          get("/x", "content_length", "0"),
		"transfer_encoding":               get("/x", "transfer_encoding", "chunked"),
		"another host":                    get("/x", "host", "other"),
		"CONNECT":                         {":method", "CONNECT", ":authority", "h:80"},
		"a method of two words":           {":method", "GET /y", ":scheme", "http", ":authority", "h", ":path", "/x"},
		"a method with the end of a line": {":method", "GET\r\n", ":scheme", "http", ":authority", "h", ":path", "/x"},
	}
}

// AskHTTP2 sends one request over a new connection, with a body and trailers if there are
// any, and reads the answer. It sends the fields unchecked.
func AskHTTP2(c net.Conn, header Fields, body string, trailers Fields) (HTTP2Answer, error) {
	var a HTTP2Answer
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return a, fmt.Errorf("send preface: %w", err)
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	if err := f.WriteSettings(); err != nil {
		return a, fmt.Errorf("send settings: %w", err)
	}
	alone := body == "" && len(trailers) == 0
	if err := writeFields(f, enc, &block, header, alone); err != nil {
		return a, err
	}
	if body != "" {
		if err := f.WriteData(1, len(trailers) == 0, []byte(body)); err != nil {
			return a, fmt.Errorf("send body: %w", err)
		}
	}
	if len(trailers) > 0 {
		if err := writeFields(f, enc, &block, trailers, true); err != nil {
			return a, err
		}
	}
	return a, a.read(f)
}

func writeFields(f *http2.Framer, enc *hpack.Encoder, block *bytes.Buffer, fields Fields, end bool) error {
	block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return fmt.Errorf("encode %s: %w", fields[i], err)
		}
	}
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	if err != nil {
		return fmt.Errorf("send header: %w", err)
	}
	return nil
}

// read reads frames until the stream ends.
func (a *HTTP2Answer) read(f *http2.Framer) error {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			a.Reset = true
			return fmt.Errorf("read answer: %w", err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				if err := f.WriteSettingsAck(); err != nil {
					return fmt.Errorf("acknowledge settings: %w", err)
				}
			}
			continue
		case *http2.MetaHeadersFrame:
			a.record(frame)
		case *http2.DataFrame:
			a.Body += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			a.Reset = true
			return nil
		default:
			continue
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return nil
		}
	}
}

func (a *HTTP2Answer) record(frame *http2.MetaHeadersFrame) {
	fields := map[string]string{}
	for _, f := range frame.Fields {
		fields[f.Name] = f.Value
	}
	switch {
	case a.Header != nil:
		a.Trailer = fields
	case strings.HasPrefix(fields[":status"], "1"):
		a.Informed = fields
	default:
		a.Header = fields
	}
}
