package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
)

// contender is a proxy in a process of its own.
type contender struct {
	label, addr string
	host        string        // The Host it serves; empty: any.
	cmd         *exec.Cmd     // Nil: not started here.
	output      *bytes.Buffer // Read only after stop.
	pids        []int         // Of the process and its workers.
	besides     []int         // Other processes on the request's way, measured apart.
}

// missingError says that a program is not installed.
type missingError struct{ program, remedy string }

func (e *missingError) Error() string { return e.program + " is not installed: " + e.remedy }

// program finds an executable on PATH, or in /usr/sbin, which may not be on a user's PATH.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return "", &missingError{name, "apt-get install haproxy nginx-light"}
	}
	return path, nil
}

// start runs the contender of a label in front of the origin.
func (p *plane) start(ctx context.Context, label string, more ...string) (*contender, error) {
	ports, err := freeport.Ports(3)
	if err != nil {
		return nil, err
	}
	c := &contender{label: label, addr: local(ports[0]), output: &bytes.Buffer{}}
	c.cmd, err = p.command(ctx, label, ports, more)
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", label, err)
	}
	if err := c.ready(ctx); err != nil {
		err = errors.Join(err, c.stop())
		return nil, fmt.Errorf("%w\n%s", err, c.output)
	}
	c.pids, err = family(c.cmd.Process.Pid)
	return c, err
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (p *plane) command(ctx context.Context, label string, ports []int, more []string) (*exec.Cmd, error) {
	switch label {
	case labelHAProxy:
		path, file, err := p.configured("haproxy", haproxyConfig, local(ports[0]))
		return exec.Command(path, "-db", "-f", file), err
	case labelNginx:
		path, file, err := p.configured("nginx", nginxConfig, local(ports[0]))
		return exec.Command(path, "-e", "stderr", "-p", p.dir, "-c", file), err
	case labelEnvoy:
		tools, _ := toolchain.Locate(ctx) // Other missing tools do not matter here.
		if tools.Envoy == "" {
			return nil, &missingError{"Envoy", "make tools"}
		}
		file, err := p.configure("envoy", envoyConfig, strconv.Itoa(ports[0]))
		return exec.Command(tools.Envoy, "-c", file, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"), err
	case labelReverse, labelPooled, labelFront:
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command := map[string]string{labelReverse: reverseProxyCommand, labelPooled: pooledProxyCommand, labelFront: frontCommand}[label]
		return exec.Command(self, command, local(ports[0]), p.origin), nil
	}
	bin, err := p.b.binary("queue-proxy")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin)
	cmd.Env = append([]string{
		"WADI_SERVICE=" + planeService, "WADI_REVISION=" + planeRevision, "WADI_INSTANCE=" + planeService, "WADI_TARGET=" + p.origin, "WADI_LOG_LEVEL=error",
		"WADI_LISTEN=" + local(ports[0]), "WADI_ADMIN=" + local(ports[1]), "WADI_METRICS=" + local(ports[2]),
	}, more...)
	if label == labelLimit {
		cmd.Env = append(cmd.Env, "WADI_CONCURRENCY_LIMIT=100")
	}
	return cmd, nil
}

// configured finds a program and writes its configuration.
func (p *plane) configured(name, config, listen string) (path, file string, err error) {
	if path, err = program(name); err != nil {
		return "", "", err
	}
	file, err = p.configure(name, config, listen)
	return path, file, err
}

func (p *plane) configure(name, config, listen string) (string, error) {
	file := filepath.Join(p.dir, name+"-"+strings.ReplaceAll(listen, ":", "-")+".yaml") // Envoy requires that suffix.
	host, port, err := net.SplitHostPort(p.origin)
	if err != nil {
		return "", fmt.Errorf("origin: %w", err)
	}
	text := strings.NewReplacer("LISTEN", listen, "ORIGINHOST", host, "ORIGINPORT", port, "ORIGIN", p.origin, "DIR", p.dir).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return file, nil
}

// One thread each: that is their lowest cost per request.
const (
	haproxyConfig = `global
  nbthread 1
  no strict-limits
  maxconn 15000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind LISTEN
  option forwardfor
  default_backend out
backend out
  server origin ORIGIN pool-max-conn 256
`
	envoyConfig = `static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: LISTEN}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: origin}}]}]}
          http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
  clusters:
  - name: origin
    connect_timeout: 5s
    load_assignment: {cluster_name: origin, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: ORIGINHOST, port_value: ORIGINPORT}}}}]}]}
`
	nginxConfig = `daemon off;
worker_processes 1;
user root;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections 15000; }
http {
  access_log off;
  client_body_temp_path DIR/nginx-body;
  proxy_temp_path DIR/nginx-proxy;
  fastcgi_temp_path DIR/nginx-fastcgi;
  uwsgi_temp_path DIR/nginx-uwsgi;
  scgi_temp_path DIR/nginx-scgi;
  client_max_body_size 0;
  keepalive_requests 100000000;
  upstream origin {
    server ORIGIN;
    keepalive 256;
    keepalive_requests 100000000;
  }
  server {
    listen LISTEN;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }
  }
}
`
)

// ready waits until a request is answered.
func (c *contender) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		cl, err := newClient(ctx, c.addr, 1)
		if err == nil {
			err = cl.conns[0].fire(shot{head: "GET / HTTP/1.1\r\nHost: " + planeHost + "\r\n\r\n"})
			cl.close()
		}
		if err == nil {
			return nil
		}
		if wadi.Sleep(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("wait for %s: %w", c.label, err)
		}
	}
}

// sumCPU is the CPU time of several processes.
func sumCPU(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		d, err := harness.CPUTime(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// stop ends the process, and kills it if that takes long.
func (c *contender) stop() error {
	if c.cmd == nil {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", c.label, err)
	}
	kill := time.AfterFunc(stopContender, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	err := c.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) { // A signal ends it as usual.
		err = nil
	}
	return err
}

const stopContender = 5 * time.Second

// family is a process and its children.
func family(pid int) ([]int, error) {
	all := []int{pid}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		b, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // It has ended meanwhile.
		}
		_, after, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				all = append(all, child)
			}
		}
	}
	return all, nil
}
