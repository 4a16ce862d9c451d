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
	"strings"
)

// allocationLabel is on every container that Nomad's driver makes.
const allocationLabel = "com.hashicorp.nomad.alloc_id"

// Owner tells containers of one cluster from those of others. Nomad forgets an allocation,
// and so do its folders, while the engine is away and keeps the container.
type Owner struct {
	Allocations []string // Their IDs.
	Image       string   // Containers of it are the cluster's.
	Dir         string   // Containers with a folder below it are.
}

// container is one that Nomad has made.
type container struct {
	ID, Image string
	Labels    map[string]string
	Mounts    []struct{ Source string }
}

func (o Owner) owns(c container) bool {
	return slices.Contains(o.Allocations, c.Labels[allocationLabel]) || o.Image != "" && c.Image == o.Image ||
		o.Dir != "" && slices.ContainsFunc(c.Mounts, func(m struct{ Source string }) bool { return strings.HasPrefix(m.Source, o.Dir+"/") })
}

// RemoveContainers removes all of an owner's containers, running or not, and their
// anonymous volumes. Others are left alone, and those that Nomad has not made.
func (e *Engine) RemoveContainers(ctx context.Context, owner Owner) error {
	var all []container
	q := url.Values{"all": {"true"}, "filters": {`{"label":["` + allocationLabel + `"]}`}}
	if err := e.call(ctx, http.MethodGet, "/containers/json?"+q.Encode(), nil, &all); err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range all {
		if !owner.owns(c) {
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
