//go:build e2e

package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// pausedEnv makes this test binary a leader that goes on writing after a pause.
const pausedEnv = "WADI_TEST_PAUSED_LEADER"

func TestMain(m *testing.M) {
	if url := os.Getenv(pausedEnv); url != "" {
		leadOn(url)
		return
	}
	os.Exit(m.Run())
}

func present(url, name string) (*store.Store, *consul.Presence) {
	c, err := consul.New(consul.Config{Address: url})
	if err != nil {
		panic(err)
	}
	return store.New(c, "wadi", name, hclog.NewNullLogger()), &consul.Presence{
		Client: c, Service: consul.AgentRegistration(name, "127.0.0.1", 4747, nil), Log: hclog.NewNullLogger(),
	}
}

// leadOn leads, and does not notice the end of its term while it is paused. On a command it
// writes on, and prints the result of each write.
func leadOn(url string) {
	s, p := present(url, "paused")
	go func() { _ = p.Run(context.Background()) }()
	_ = p.Elect(context.Background(), s.LeaderKey(), "paused", func(_ context.Context, term *consul.Term) error {
		ctx := context.Background() // Its end would tell.
		w := s.Writer(term.Lock)
		_, err := w.Load(ctx, "hello")
		if err = errors.Join(err, w.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "ready"}), term.Confirm(ctx)); err != nil {
			panic(err)
		}
		fmt.Println("leading")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		for what, err := range map[string]error{
			"certain": term.Certain(), "confirm": term.Confirm(ctx),
			"status": w.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "failed"}),
			"state":  w.PutState(ctx, "hello", wadi.State{}), "route": w.PutRoute(ctx, route("hello", 1)),
			"revision": w.DeleteRevision(ctx, "hello", "hello-00001"),
		} {
			fmt.Println(what, errors.Is(err, wadi.ErrNotLeading), err)
		}
		os.Exit(0)
		return nil
	})
}

// A leader that is stopped for longer than its check lasts writes nothing when it
// goes on: neither over what the next one wrote nor where there was nothing.
func TestDeposed_PausedLeader(t *testing.T) {
	a := consultest.StartAgent(t, false)
	submit(t, open(t, a.URL), "hello", 1, 0)
	limit, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	old := exec.CommandContext(limit, os.Args[0])
	old.Env = append(os.Environ(), pausedEnv+"="+a.URL)
	old.Stderr = os.Stderr
	old.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, inErr := old.StdinPipe()
	out, outErr := old.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Process.Kill(); _ = old.Wait() }()
	said := bufio.NewScanner(out)
	if !said.Scan() || said.Text() != "leading" {
		t.Fatalf("the leader says %q", said.Text())
	}
	if err := old.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	s, p := present(a.URL, "next")
	ctx, cancel := context.WithCancel(t.Context())
	gone, leads := make(chan struct{}), make(chan *consul.Term, 1)
	go func() { _ = p.Run(ctx) }()
	go func() {
		defer close(gone)
		_ = p.Elect(ctx, s.LeaderKey(), "next", func(ctx context.Context, term *consul.Term) error {
			leads <- term
			<-ctx.Done()
			return nil
		})
	}()
	defer func() { cancel(); <-gone }()
	var term *consul.Term
	select {
	case term = <-leads:
	case <-time.After(3 * time.Minute):
		t.Fatal("nobody leads in place of the paused one")
	}
	w := s.Writer(term.Lock)
	if _, err := w.Load(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := w.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "pending"}); err != nil {
		t.Fatal(err)
	}
	_, err := io.WriteString(in, "go on\n")
	if err = errors.Join(err, old.Process.Signal(syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if !said.Scan() {
			t.Fatalf("the paused leader ended early: %v", said.Err())
		}
		if what, refused, _ := strings.Cut(said.Text(), " "); !strings.HasPrefix(refused, "true ") {
			t.Errorf("%s of the paused leader: %s; want it refused", what, refused)
		}
	}
	st, err := s.Writer(term.Lock).Load(ctx, "hello")
	if err != nil || st.Status.Phase != "pending" || len(st.State.Revisions) > 0 || st.Route.Service != "" || len(st.Revisions) != 1 {
		t.Errorf("stored is %+v, %v; want it as the next leader wrote it", st, err)
	}
	if err := w.PutState(ctx, "hello", wadi.State{}); err != nil {
		t.Errorf("the next leader: %v", err)
	}
}
