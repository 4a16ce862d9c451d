// Command inside is the app of the driver's tests: it tells how it finds itself within its
// container, and misbehaves there on demand.
//
// It listens on -listen, or else on port PORT of ADDR (default 127.0.0.1), and with -also on
// a second address. With IGNORE_SIGTERM set it does not end on SIGTERM.
//
//	/args       its arguments, one a line
//	/env        the value of the variable name=
//	/file       the content of path=; with text= it writes that first
//	/ids        "UID GID PID"
//	/lookup     the addresses of host=
//	/mount      "TYPE OPTIONS" of the mount at path=
//	/processes  "PID PARENT STATE" of each process that it sees
//	/orphan     starts a process whose parent ends at once; answers its PID, and it ends after for=
//	/child      starts a process that takes mb= of memory and ends; answers how it ended
//	/take       takes mb= of memory for good
//	/burn       works for for= on one processor
//	/used       its seconds of processor time so far
//	/exit       ends with code=
//	/sleep      answers after for=
//	/sleeping   how many of those are running
//	/log        writes text= to its output
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if role := os.Getenv("INSIDE_ROLE"); role != "" {
		play(role)
		return
	}
	listen := flag.String("listen", "", "address to listen on")
	also := flag.String("also", "", "second address to listen on")
	flag.Parse()
	if *listen == "" {
		host := os.Getenv("ADDR")
		if host == "" {
			host = "127.0.0.1"
		}
		*listen = net.JoinHostPort(host, os.Getenv("PORT"))
	}
	if err := run(*listen, *also); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func run(listen, also string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("IGNORE_SIGTERM") != "" {
		ctx = context.Background()
	}
	server := &http.Server{Handler: routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	for _, address := range []string{listen, also} {
		if address == "" {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(l) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return server.Shutdown(ctx)
}

// answer makes a handler of a function that answers with text.
func answer(f func(r *http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := f(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, text)
	}
}

func routes() http.Handler {
	mux := http.NewServeMux()
	for path, f := range map[string]func(r *http.Request) (string, error){
		"/":          func(*http.Request) (string, error) { return "inside\n", nil },
		"/args":      func(*http.Request) (string, error) { return strings.Join(os.Args[1:], "\n"), nil },
		"/env":       func(r *http.Request) (string, error) { return os.Getenv(r.FormValue("name")), nil },
		"/file":      file,
		"/ids":       func(*http.Request) (string, error) { return fmt.Sprint(os.Getuid(), os.Getgid(), os.Getpid()), nil },
		"/lookup":    lookup,
		"/mount":     mount,
		"/processes": processes,
		"/orphan":    orphan,
		"/child":     child,
		"/take":      func(r *http.Request) (string, error) { return "", take(r.FormValue("mb")) },
		"/burn":      burn,
		"/used":      used,
		"/exit":      exit,
		"/sleep":     sleep,
		"/sleeping":  func(*http.Request) (string, error) { return strconv.Itoa(int(sleeping.Load())), nil },
		"/log":       func(r *http.Request) (string, error) { return "", logLine(r.FormValue("text")) },
	} {
		mux.HandleFunc(path, answer(f))
	}
	return mux
}

func file(r *http.Request) (string, error) {
	path := r.FormValue("path")
	if text := r.FormValue("text"); text != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	content, err := os.ReadFile(path)
	return string(content), err
}

func lookup(r *http.Request) (string, error) {
	addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.FormValue("host"))
	return strings.Join(addresses, " "), err
}

func mount(r *http.Request) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	found := "none"
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == r.FormValue("path") {
			found = f[2] + " " + f[3] // The last one is on top.
		}
	}
	return found, err
}

func processes(*http.Request) (string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	var out strings.Builder
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended.
		}
		// "12 (name) S 1 …"; the name may have spaces.
		pid, rest, _ := strings.Cut(string(stat), " ")
		if i := strings.LastIndex(rest, ")"); i >= 0 {
			if f := strings.Fields(rest[i+1:]); len(f) > 1 {
				fmt.Fprintln(&out, pid, f[1], f[0])
			}
		}
	}
	return out.String(), err
}

// self is a process of this program in another role.
func self(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "INSIDE_ROLE="+role)
	return cmd
}

func orphan(r *http.Request) (string, error) {
	out, err := self("parent", r.FormValue("for")).Output()
	return string(out), err
}

func child(r *http.Request) (string, error) {
	var stderr bytes.Buffer
	cmd := self("eater", r.FormValue("mb"))
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return err.Error(), nil
	}
	return "ended well", nil
}

func play(role string) {
	arg := os.Args[1]
	switch role {
	case "parent":
		cmd := self("sleeper", arg)
		if err := cmd.Start(); err != nil {
			os.Exit(1)
		}
		fmt.Print(cmd.Process.Pid)
	case "sleeper":
		d, _ := time.ParseDuration(arg)
		time.Sleep(d)
	case "eater":
		if take(arg) != nil {
			os.Exit(1)
		}
	}
}

// taken is never freed.
var taken [][]byte

func take(mb string) error {
	n, err := strconv.Atoi(mb)
	if err != nil {
		return err
	}
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		taken = append(taken, b)
	}
	return nil
}

func burn(r *http.Request) (string, error) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		return "", err
	}
	end, n := time.Now().Add(d), 0
	for time.Now().Before(end) {
		n++
	}
	return strconv.Itoa(n), nil
}

func used(*http.Request) (string, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	d := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64), err
}

func exit(r *http.Request) (string, error) {
	code, err := strconv.Atoi(r.FormValue("code"))
	if err == nil {
		os.Exit(code)
	}
	return "", err
}

// sleeping counts the running requests of /sleep.
var sleeping atomic.Int32

func sleep(r *http.Request) (string, error) {
	sleeping.Add(1)
	defer sleeping.Add(-1)
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(d):
		return "slept", nil
	case <-r.Context().Done():
		return "", errors.New("the caller is gone")
	}
}

func logLine(text string) error {
	_, err := fmt.Println(text)
	return err
}
