package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// allocationLabel is on every container that Nomad's driver makes.
const allocationLabel = "com.hashicorp.nomad.alloc_id"

// RemoveContainers removes all containers of allocations, running or not, and their
// anonymous volumes. Others are left alone.
func (e *Engine) RemoveContainers(ctx context.Context, allocations []string) error {
	var all []struct {
		ID     string
		Labels map[string]string
	}
	q := url.Values{"all": {"true"}, "filters": {`{"label":["` + allocationLabel + `"]}`}}
	if err := e.call(ctx, http.MethodGet, "/containers/json?"+q.Encode(), nil, &all); err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range all {
		if !slices.Contains(allocations, c.Labels[allocationLabel]) {
			continue
		}
		err := e.call(ctx, http.MethodDelete, "/containers/"+url.PathEscape(c.ID)+"?force=true&v=true", nil, nil)
		if err != nil && !isStatus(err, http.StatusNotFound) {
			errs = append(errs, fmt.Errorf("remove container %.12s: %w", c.ID, err))
		}
	}
	return errors.Join(errs...)
}

// MakeImage makes an image of one static program and its arguments. An image that had the
// name before is without a name then.
func (e *Engine) MakeImage(ctx context.Context, repository, tag string, program []byte, args ...string) error {
	archive, err := layer(program)
	if err != nil {
		return fmt.Errorf("make image %s: %w", repository, err)
	}
	entrypoint, err := json.Marshal(append([]string{"/" + programName}, args...))
	if err != nil {
		return err
	}
	q := url.Values{"fromSrc": {"-"}, "repo": {repository}, "tag": {tag}, "changes": {"ENTRYPOINT " + string(entrypoint)}}
	err = e.call(ctx, http.MethodPost, "/images/create?"+q.Encode(), archive, nil)
	if err == nil { // The engine begins its answer before it knows whether it can.
		err = e.call(ctx, http.MethodGet, "/images/"+repository+":"+tag+"/json", nil, nil)
	}
	if err != nil {
		return fmt.Errorf("make image %s: %w", repository, err)
	}
	return nil
}

// RemoveImage removes an image of that name, if there is one.
func (e *Engine) RemoveImage(ctx context.Context, name string) error {
	err := e.call(ctx, http.MethodDelete, "/images/"+name+"?force=true", nil, nil)
	if err != nil && !isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

const programName = "program"

// layer is a file system with nothing but a program.
func layer(program []byte) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: programName, Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	return &b, w.Close()
}
