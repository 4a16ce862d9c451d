package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In an instance's network the real nft keeps a neighbour out but at the ports that are
// meant for it, wherever the app listens and after a restart too; a connection that the
// app had before goes on.
func TestCommand_Shield(t *testing.T) {
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil || os.Geteuid() != 0 {
			t.Skip("it takes root, ip and nft")
		}
	}
	bin, done := binary(t), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For good: the thread ends with the goroutine.
		done <- shielded(bin)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a neighbour dials.
const (
	instanceName = "0b6a1c52-shield-test"
	instanceAddr = "10.255.77.2"
	neighbour    = "10.255.77.1"
)

// shielded makes a network for an instance beside a new one of this thread's.
func shielded(bin string) error {
	inside, err := newNetwork()
	if err != nil {
		return err
	}
	defer inside.Close()
	outside, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return err
	}
	defer outside.Close()
	peer, err := net.Listen("tcp4", neighbour+":0")
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	for _, port := range []string{"8080", "25000", "9100", "9200"} {
		l, err := net.Listen("tcp4", "0.0.0.0:"+port)
		if err != nil {
			return err
		}
		defer l.Close()
	}
	early, err := net.DialTimeout("tcp4", peer.Addr().String(), 5*time.Second)
	if err != nil {
		return fmt.Errorf("the app dials: %w", err)
	}
	defer early.Close()
	if err := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	theirs, err := peer.Accept()
	if err != nil {
		return err
	}
	defer theirs.Close()
	for _, port := range []string{"8080", "9200"} {
		if err := knock(port, true); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	for _, when := range []string{"started", "started again"} {
		if err := shieldedOnce(bin, theirs, early); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	if err := knock("8080", false); err != nil {
		return fmt.Errorf("while it is dead: %w", err)
	}
	return nil
}

// shieldedOnce runs a queue-proxy until it was tried.
func shieldedOnce(bin string, theirs, early net.Conn) error {
	cmd := exec.Command("ip", "netns", "exec", instanceName, bin)
	cmd.Env = append(environ("0.0.0.0:9090", "127.0.0.1:8012"), "WADI_ADMIN=127.0.0.1:8022", "WADI_TARGET=127.0.0.1:8080",
		"WADI_ENVOY=127.0.0.1:25000", "WADI_INSTANCE="+instanceName, "WADI_SHIELD=true", "NOMAD_PORT_extra=9100", "PATH="+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := readyAndShielded(); err != nil {
		return err
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		return err
	}
	_ = early.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := early.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("what the app has dialed before: %w", err)
	}
	for port, open := range map[string]bool{"8080": false, "9200": false, "25000": true, "9100": true, "9090": true} {
		if err := knock(port, open); err != nil {
			return err
		}
	}
	rules, err := exec.Command("ip", "netns", "exec", instanceName, "nft", "list", "ruleset").CombinedOutput()
	if err != nil || strings.Count(string(rules), "tcp dport") != 1 {
		return fmt.Errorf("the rules are %v %s", err, rules)
	}
	return nil
}

// newNetwork moves this thread into a network and mounts of its own, and makes a
// network for an instance beside it.
func newNetwork() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make a namespace: %w", err)
	}
	err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("none", "/run", "tmpfs", 0, ""))
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	for _, args := range []string{
		"netns add " + instanceName,
		"link add wadi0 type veth peer name eth0 netns " + instanceName,
		"addr add " + neighbour + "/24 dev wadi0",
		"link set wadi0 up",
		"-n " + instanceName + " addr add " + instanceAddr + "/24 dev eth0",
		"-n " + instanceName + " link set eth0 up",
		"-n " + instanceName + " link set lo up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return os.Open(fmt.Sprintf("/proc/self/task/%d/root/run/netns/%s", unix.Gettid(), instanceName))
}

// knock dials a port of the instance as a neighbour does.
func knock(port string, open bool) error {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort(instanceAddr, port), 2*time.Second)
	if err == nil {
		_ = conn.Close() // Nothing was sent.
	}
	var late net.Error
	if open && err != nil || !open && !(errors.As(err, &late) && late.Timeout()) {
		return fmt.Errorf("a neighbour dials %s, open: %t: %v", port, open, err)
	}
	return nil
}

// readyAndShielded waits until the instance is ready. It asks on one connection after
// the other, which this thread makes.
func readyAndShielded() error {
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp4", instanceAddr+":9090", 2*time.Second)
		if err != nil {
			last = err
			continue
		}
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		}}
		res, err := client.Get("http://instance/v1/stats")
		if err != nil {
			last = err
			continue
		}
		_ = res.Body.Close()
		if bare, wide := res.Header.Get("Wadi-Unshielded"), res.Header.Get("Wadi-Wide"); bare+wide != "" {
			return fmt.Errorf("it says that it is not shielded: %q, wide at %q", bare, wide)
		}
		if res.Header.Get("Wadi-Ready") == "true" {
			return nil
		}
		last = fmt.Errorf("not ready: %v", res.Header)
	}
	return last
}
