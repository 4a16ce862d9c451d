package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/accesslog"
)

// safe is a buffer that two may use.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// written is what a log of these entries is.
func written(entries ...accesslog.Entry) string {
	var out safe
	l := accesslog.New(&out)
	for i := range entries {
		l.Write(&entries[i])
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.Run(ctx)
	return out.String()
}

func TestLog_Line(t *testing.T) {
	got := written(accesslog.Entry{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6789000, time.FixedZone("", 3600)), Method: "POST", Host: "hello.example.com", Path: "/a%2Fb",
		Protocol: "HTTP/1.1", Status: 200, BytesIn: 5, BytesOut: 7, Duration: 1500 * time.Millisecond, Wait: time.Second,
		Service: "hello", Revision: "hello-00001", Instance: "abc", Retries: 1, Code: "queue_full", Caller: "web",
		Peer: "192.0.2.1:99", Trace: "0af7651916cd43dd8448eb211c80319c",
		Cold: []accesslog.Phase{{Name: "queue", Took: time.Millisecond}, {Name: "start", Took: 2 * time.Millisecond}},
	})
	want := `{"time":"2026-01-02T02:04:05.006789Z","method":"POST","host":"hello.example.com","path":"/a%2Fb","protocol":"HTTP/1.1",` +
		`"status":200,"bytes_in":5,"bytes_out":7,"duration_seconds":1.500000,"wait_seconds":1.000000,"service":"hello","revision":"hello-00001",` +
		`"instance":"abc","error":"queue_full","caller":"web","peer":"192.0.2.1:99","trace_id":"0af7651916cd43dd8448eb211c80319c","retries":1,` +
		`"cold":{"queue_seconds":0.001000,"start_seconds":0.002000}}` + "\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	got = written(accesslog.Entry{Time: time.Unix(0, 0)})
	want = `{"time":"1970-01-01T00:00:00.000000Z","method":"","host":"","path":"","protocol":"","status":0,"bytes_in":0,"bytes_out":0,` +
		`"duration_seconds":0.000000,"wait_seconds":0.000000}` + "\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("empty (-want +got):\n%s", d)
	}
}

// attacks are texts that try to end a line, or to control a reader's terminal.
var attacks = []string{
	"/\n{\"status\":200}", "/\r\n", "/\x00", "/\"},{\"a\":\"", "/\\", "/\\\"", "\x1b[2J\x1b]0;pwned\a", "\x7f", "\u009b31m", "\u0085",
	"\u2028\u2029", "\u202egnp.exe", "\u2066\u200f\ufeff", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "é世界🙂", strings.Repeat("é", 5000), strings.Repeat("\x01", 9000),
}

// sound reports what is wrong with the line of an entry with these texts.
func sound(method, host, path string) string {
	line := written(accesslog.Entry{Method: method, Host: host, Path: path, Status: 404})
	body, ok := strings.CutSuffix(line, "\n")
	if !ok || strings.ContainsFunc(body, func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\u00ad' && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}) || !utf8.ValidString(line) {
		return "not one printable line"
	}
	var got struct {
		Method, Host, Path string
		Status             int
	}
	dec := json.NewDecoder(strings.NewReader(line))
	if err := dec.Decode(&got); err != nil {
		return err.Error()
	}
	if dec.More() || got.Status != 404 {
		return "more than one request"
	}
	for in, out := range map[string]string{method: got.Method, host: got.Host, path: got.Path} {
		// Invalid UTF-8 is replaced, and a long text is cut.
		if want := strings.ToValidUTF8(in, "�"); len(in) <= 4<<10 && utf8.ValidString(in) && out != want {
			return "got " + out
		}
		if len(out) > 3*(4<<10)+len("…") {
			return "not cut"
		}
	}
	return ""
}

func TestLog_NobodyForgesALine(t *testing.T) {
	for _, a := range attacks {
		if wrong := sound(a, a, a); wrong != "" {
			t.Errorf("%.40q: %s", a, wrong)
		}
	}
}

func FuzzLog(f *testing.F) {
	for _, a := range attacks {
		f.Add("GET", "a.example", a)
	}
	f.Fuzz(func(t *testing.T, method, host, path string) {
		if wrong := sound(method, host, path); wrong != "" {
			t.Errorf("%q %q %q: %s", method, host, path, wrong)
		}
	})
}

// stuck takes a line and then no other until it is let go.
type stuck struct {
	safe
	began, letGo chan struct{}
	once         sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.began) })
	<-s.letGo
	return s.safe.Write(p)
}

func TestLog_SlowWriterHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{began: make(chan struct{}), letGo: make(chan struct{})}
		l := accesslog.New(out)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.Run(ctx); close(ended) }()
		e := accesslog.Entry{Method: "GET", Path: "/" + strings.Repeat("x", 1000)}
		l.Write(&e)
		<-out.began
		const all = 5000
		for range all {
			l.Write(&e) // A Write that waits would be a deadlock.
		}
		close(out.letGo)
		cancel()
		<-ended
		lines := strings.Count(out.String(), "\n")
		if dropped := int(l.Dropped()); dropped == 0 || lines+dropped != all+1 || out.b.Len() > 2<<20 {
			t.Errorf("%d lines, %d bytes, %d dropped of %d", lines, out.b.Len(), dropped, all+1)
		}
	})
}

func TestLog_StuckWriterDoesNotKeepTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{began: make(chan struct{}), letGo: make(chan struct{})}
		l := accesslog.New(out)
		l.Write(&accesslog.Entry{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begun := time.Now()
		l.Run(ctx)
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("waited %v for a writer that is stuck", took)
		}
		close(out.letGo)
		synctest.Wait()
	})
}

func TestLog_WritesEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safe
		l := accesslog.New(&out)
		go l.Run(t.Context())
		l.Write(&accesslog.Entry{Path: "/1"})
		time.Sleep(1100 * time.Millisecond)
		if got := out.String(); !strings.Contains(got, "/1") {
			t.Errorf("after a second: %q", got)
		}
	})
}

func TestLog_ManyWriters(t *testing.T) {
	var out safe
	l := accesslog.New(&out)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { l.Run(ctx); close(ended) }()
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			for range 100 {
				l.Write(&accesslog.Entry{Path: "/" + strings.Repeat("y", 100), Status: 200})
			}
		})
	}
	g.Wait()
	cancel()
	<-ended
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("broken line %q", line)
		}
	}
	if len(lines)+int(l.Dropped()) != 800 || l.Dropped() > 0 {
		t.Errorf("%d lines, %d dropped", len(lines), l.Dropped())
	}
}

func TestLog_WriteAllocatesNothing(t *testing.T) {
	var out safe
	l := accesslog.New(&out)
	e := accesslog.Entry{Method: "GET", Host: "a.example", Path: "/", Cold: []accesslog.Phase{{Name: "queue"}}}
	for range 2000 {
		l.Write(&e) // The buffer has grown beyond what is measured.
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx)
	got := testing.AllocsPerRun(1000, func() { l.Write(&e) })
	if got > 0 {
		t.Errorf("%v allocations for a line", got)
	}
}

func TestTraceID(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for in, want := range map[string]string{
		good: "0af7651916cd43dd8448eb211c80319c", "cc" + good[2:] + "-more": "0af7651916cd43dd8448eb211c80319c",
		"": "", "00": "", good[:54]: "", "ff" + good[2:]: "", strings.ToUpper(good): "", strings.Replace(good, "-", "_", 1): "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "", "00-\"af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "",
	} {
		if got := accesslog.TraceID(http.Header{"Traceparent": {in}}); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := accesslog.TraceID(http.Header{"Traceparent": {good, good}}); got != "" {
		t.Errorf("of two: %q", got)
	}
}
