package activator_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
)

// BenchmarkWaiter measures what one waiting request costs in memory of the agent:
// heap and stacks, connection included, over plain HTTP/1.1. The client's socket
// is in it too.
func BenchmarkWaiter(b *testing.B) {
	const n = 1000
	for b.Loop() {
		g := newRig(b, settings())
		addr := g.srv.Listener.Addr().String()
		before := inUse()
		conns := make([]net.Conn, n)
		for i := range conns {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
		}
		for _, c := range conns {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: hello.wadi.localhost\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"); err != nil {
				b.Fatal(err)
			}
		}
		g.waiting(b, n)
		b.ReportMetric(float64(inUse()-before)/n/1024, "KiB/waiter")
		g.stop()
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkWarm is the way of a request that finds a ready instance.
func BenchmarkWarm(b *testing.B) {
	for _, instances := range []int{1, 10} {
		b.Run(fmt.Sprint(instances), func(b *testing.B) {
			g := newRig(b, settings())
			for i := range instances {
				be := newBackend(b, fmt.Sprint("alloc-", i))
				be.app = func(http.ResponseWriter, *http.Request) { be.set(func(be *backend) { be.requests = nil }) }
				g.place(be.ep)
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := g.get(b); got.status != 200 {
					b.Fatal(got)
				}
			}
		})
	}
}
