// Package containers gives end-to-end tests a Docker engine, registries and images of
// their own, all on this machine: nothing is pulled from an outside registry.
//
// It promises that Stop and Close leave no process, mount or folder behind. It refuses to
// use an engine that runs already: what others made there is not the tests' to see.
package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wadi-run/wadi/test/harness"
)

// ErrNoEngine: no engine can run here. The error around it says why.
var ErrNoEngine = errors.New("no Docker engine can run here")

// Engine is a Docker engine of the tests' own. It has no bridge and writes no firewall
// rules: networks are Nomad's.
type Engine struct {
	Dir string // All its state.

	cmd  *exec.Cmd
	log  buffer
	done chan struct{} // Closed when the process has ended.
}

// StartEngine returns when the engine answers. It runs until Stop, even after ctx has
// ended. The environment is added to its own. An error is [ErrNoEngine] where none can run.
func StartEngine(ctx context.Context, environment ...string) (*Engine, error) {
	dockerd, err := findEngine()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "wadi-docker-") // Short: sockets are in it.
	if err != nil {
		return nil, fmt.Errorf("start a Docker engine: %w", err)
	}
	e := &Engine{Dir: dir, done: make(chan struct{})}
	e.cmd = exec.Command(dockerd, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", e.Endpoint(), "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	// An engine that is slow to answer is made to write its stacks, into TMPDIR.
	e.cmd.Env = append(append(os.Environ(), environment...), "TMPDIR="+dir)
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a Docker engine: %w", err), os.RemoveAll(dir))
	}
	err = harness.Eventually(ctx, 2*time.Minute, func() error {
		select {
		case <-e.done:
			return harness.Final(errors.New("it ended"))
		default:
		}
		_, err := e.Docker(ctx, "version")
		return err
	})
	if err != nil {
		log := e.Log(20)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start a Docker engine: %w\n%s", err, log), e.Stop(stop))
	}
	return e, nil
}

func findEngine() (dockerd string, err error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: this is %s, not Linux", ErrNoEngine, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: it needs root", ErrNoEngine)
	}
	for _, program := range []string{"dockerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: no %s on PATH (package docker.io)", ErrNoEngine, program)
		}
	}
	return exec.LookPath("dockerd")
}

// start runs the engine's process. It ends by itself when this process dies: the kernel
// then sends the signal, at the death of the thread that started the child, so one thread
// waits for it.
func (e *Engine) start() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(e.done)
		e.cmd.SysProcAttr = dieWithParent()
		err := e.cmd.Start()
		started <- err
		if err == nil {
			_ = e.cmd.Wait() // Its log says why it ended.
		}
	}()
	return <-started
}

// Endpoint is the engine's address, as DOCKER_HOST and Nomad's plugin take it.
func (e *Engine) Endpoint() string { return "unix://" + filepath.Join(e.Dir, "d.sock") }

// Docker runs the docker command on the engine and returns its standard output.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	return e.docker(ctx, nil, args...)
}

func (e *Engine) docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", append([]string{"--host", e.Endpoint()}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	// The user's own configuration must not matter: it may have credentials, or another
	// context.
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+e.Dir, "DOCKER_CONTEXT=")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// Load puts an image into the engine without a registry.
func (e *Engine) Load(ctx context.Context, ref string, image v1.Image) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeArchive(w, ref, image)) }()
	defer r.Close()
	_, err := e.docker(ctx, r, "load")
	return err
}

// Log is the last lines of the engine's log.
func (e *Engine) Log(lines int) string {
	all := strings.Split(strings.TrimSpace(e.log.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Stop ends the engine with its containers, by force when ctx or 30 s end, and removes what
// it made.
func (e *Engine) Stop(ctx context.Context) error {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // Fails only if it has ended.
	select {
	case <-e.done:
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
	}
	_ = e.cmd.Process.Kill() // The same.
	<-e.done
	return errors.Join(unmountBelow(e.Dir), os.RemoveAll(e.Dir))
}

// unmountBelow unmounts what a killed engine has left mounted.
func unmountBelow(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("find the engine's mounts: %w", err)
	}
	var errs []error
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			errs = append(errs, unmount(f[1]))
		}
	}
	return errors.Join(errs...)
}

// buffer is a bytes.Buffer that a process writes while a test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // Guarded by mu.
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
