package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// startAlone has Docker create and start the containers of an instance, without Nomad: the
// pause container first, the others at once. It removes them, and returns how long the start
// took.
func (b boxed) startAlone(ctx context.Context, k kind) (took time.Duration, err error) {
	d := newEngineClient(b.engine.Endpoint())
	var ids []string
	defer func() {
		for _, id := range ids {
			err = errors.Join(err, d.call(ctx, http.MethodDelete, "/containers/"+id+"?force=true", nil, nil))
		}
	}()
	ids = make([]string, len(k.first)+len(k.rest))
	network := "host"
	began := time.Now()
	for i, image := range k.first {
		if ids[i], err = d.start(ctx, image, "none"); err != nil {
			return 0, err
		}
		network = "container:" + ids[i]
	}
	var g errgroup.Group
	for i, image := range k.rest {
		g.Go(func() (err error) {
			ids[len(k.first)+i], err = d.start(ctx, image, network)
			return err
		})
	}
	err = g.Wait()
	took = time.Since(began)
	ids = compact(ids)
	return took, err
}

func compact(ids []string) (out []string) {
	for _, id := range ids {
		if id != "" {
			out = append(out, id)
		}
	}
	return out
}

// engineClient calls the API of an engine.
type engineClient struct{ client *http.Client }

func newEngineClient(endpoint string) engineClient {
	path := strings.TrimPrefix(endpoint, "unix://")
	var d net.Dialer
	return engineClient{&http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// start makes a container of an image and starts it.
func (e engineClient) start(ctx context.Context, image, network string) (id string, err error) {
	config := map[string]any{"Image": image, "HostConfig": map[string]any{"NetworkMode": network}}
	switch image {
	case imageProxy: // Without its settings it would end at once.
		config["Cmd"] = []string{"-pause"}
	case imageApp:
		config["Env"] = []string{"PORT=0"}
	}
	var made struct{ ID string }
	if err := e.call(ctx, http.MethodPost, "/containers/create", config, &made); err != nil {
		return "", err
	}
	return made.ID, e.call(ctx, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
}

func (e engineClient) call(ctx context.Context, method, path string, body, out any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		data = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("docker: %s %s: status %d: %s", method, path, res.StatusCode, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	return err
}
