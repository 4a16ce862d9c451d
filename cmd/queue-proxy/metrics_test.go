package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/wadi-run/wadi/internal/freeport"
)

// Metrics have the names, units and help that Prometheus's conventions ask for.
func TestCommand_Metrics(t *testing.T) {
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	metrics := fmt.Sprintf("127.0.0.1:%d", ports[0])
	cmd := exec.Command(binary(t))
	cmd.Env = append(environ(metrics, "127.0.0.1:0"), "WADI_ACCESS_LOG=true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // It was killed.
	}()
	var text string
	for end := time.Now().Add(time.Minute); text == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + metrics + "/metrics"); err == nil {
			b, _ := io.ReadAll(res.Body) // Missing metrics fail below.
			text = string(b)
			_ = res.Body.Close()
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{
		`wadi_queue_requests_total{class="2xx"} 0`, `wadi_queue_refusals_total{reason="queue_full"} 0`, "wadi_queue_request_duration_seconds_count 0",
		"wadi_queue_wait_duration_seconds_count 0", "wadi_queue_in_flight_requests 0", "wadi_queue_waiting_requests 0", "wadi_queue_ready 0", `wadi_queue_responses_total{class="5xx",revision="a-00001",service="a"} 0`,
		`wadi_queue_response_start_duration_seconds_bucket{revision="a-00001",service="a",le="2.5"} 0`, "wadi_access_log_dropped_total 0",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("there is no %s in:\n%s", want, text)
		}
	}
}
