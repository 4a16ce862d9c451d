package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"

	"github.com/wadi-run/wadi"
)

// probeJob is a job that doesn't exist: a call about it reveals rights, and changes
// nothing.
const probeJob = "wadi.rights.probe"

// MaySubmit is nil if the token may submit jobs in namespace, ErrForbidden if not. A
// namespace that doesn't exist looks permitted.
func (c *Client) MaySubmit(ctx context.Context, token, namespace string) error {
	req := map[string]any{"JobID": probeJob, "JobVersion": 0, "Stable": true}
	var out struct{ JobModifyIndex uint64 }
	_, err := c.api().Raw().Write("/v1/job/"+probeJob+"/stable", req, &out, c.write(ctx, token, namespace))
	// Nomad checks rights first, so "not found" is a yes.
	code, body, ok := response(err)
	if ok && code == http.StatusInternalServerError && strings.HasPrefix(body, "job ") && strings.HasSuffix(body, "not found") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for submit-job in %s: %w", namespace, translate(err))
	}
	return nil
}

// impossibleIndex is an index that no job has: a registration at it fails after Nomad has
// checked everything else, and changes nothing.
const impossibleIndex = math.MaxInt64

// MayRegister is nil if the token may register this job, ErrForbidden if not. Unlike
// [Client.PlanJob] it covers the rights to the job's volumes, which Nomad's plan does not
// check.
func (c *Client) MayRegister(ctx context.Context, token string, job json.RawMessage) error {
	_, err := c.RegisterAt(ctx, token, job, impossibleIndex)
	if errors.Is(err, wadi.ErrConflict) {
		return nil
	}
	if err == nil {
		return errors.New("nomad took a registration at an impossible index")
	}
	return fmt.Errorf("ask for the rights of the job: %w", err)
}

// MayRead is nil if the token may read jobs in namespace, ErrForbidden if not.
func (c *Client) MayRead(ctx context.Context, token, namespace string) error {
	_, err := c.Job(ctx, token, namespace, probeJob)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("ask for read-job in %s: %w", namespace, err)
	}
	return nil
}

// MayList is nil if the token may list jobs in namespace, ErrForbidden if not.
func (c *Client) MayList(ctx context.Context, token, namespace string) error {
	var some []struct{ ID string }
	if _, err := c.api().Raw().Query("/v1/jobs?per_page=1", &some, c.query(ctx, token, namespace)); err != nil {
		return fmt.Errorf("ask for list-jobs in %s: %w", namespace, translate(err))
	}
	return nil
}

// MayReadNodes is nil if the token may read Nomad's nodes, ErrForbidden if not.
func (c *Client) MayReadNodes(ctx context.Context, token string) error {
	var some []struct{ ID string }
	if _, err := c.api().Raw().Query("/v1/nodes?per_page=1", &some, c.query(ctx, token, "")); err != nil {
		return fmt.Errorf("ask for node:read: %w", translate(err))
	}
	return nil
}

// MayScale is nil if the token may scale jobs in namespace, ErrForbidden if not.
func (c *Client) MayScale(ctx context.Context, token, namespace string) error {
	req := map[string]any{"Count": 0, "Target": map[string]string{"Group": wadi.GroupInstance}}
	var out struct{ EvalID string }
	_, err := c.api().Raw().Write("/v1/job/"+probeJob+"/scale", req, &out, c.write(ctx, token, namespace))
	if err = translate(err); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("ask for scale-job in %s: %w", namespace, err)
	}
	return nil
}

// Readable returns the namespaces in which the token may read jobs. If there are none, the
// error wraps ErrForbidden for an unknown token, and for an anonymous caller that may not
// read the default namespace.
func (c *Client) Readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error) {
	out, err := c.readable(withoutRetry(ctx), token, namespaces)
	if err != nil || len(out) > 0 {
		return out, err
	}
	if _, err := c.Known(ctx, token); err != nil {
		return nil, err
	}
	return c.readable(withoutRetry(ctx), token, namespaces) // The token may have been unknown before.
}

func (c *Client) readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, ns := range namespaces {
		switch err := c.MayRead(ctx, token, ns); {
		case err == nil:
			out[ns] = true
		case !errors.Is(err, wadi.ErrForbidden):
			return nil, err
		}
	}
	return out, nil
}

// Known reports whether Nomad has ACLs. The error wraps ErrForbidden if Nomad does not
// know the token, or if there is no token and the anonymous caller may not read the
// default namespace.
func (c *Client) Known(ctx context.Context, token string) (acls bool, err error) {
	self, err := c.self(ctx, token)
	if self.noACLs {
		return false, nil
	}
	code, body, answered := response(err)
	if answered && token != "" && !isSecret(token) {
		switch { // It may be a workload identity, which is none of the stored tokens.
		case code == http.StatusNotFound:
			return true, nil
		case code == http.StatusInternalServerError && sentinel(code, body) == nil:
			return true, errUnknownToken // With the text of Nomad's other answers.
		}
	}
	if err == nil && token == "" {
		return true, c.MayRead(ctx, token, defaultNamespace)
	}
	switch err = translate(err); {
	case errors.Is(err, wadi.ErrForbidden) && !strings.Contains(err.Error(), "ACL token"):
		// Any token may read itself, but this endpoint says "Permission denied" for an
		// unknown token.
		return true, errUnknownToken
	case err != nil:
		return true, fmt.Errorf("read the token: %w", err)
	}
	return true, nil
}

// tokenNotFound is Nomad's text for a token that it does not know.
const tokenNotFound = "ACL token not found"

var errUnknownToken = fmt.Errorf("%w: %s", wadi.ErrForbidden, tokenNotFound)

// secret is the form of the tokens that Nomad stores. Nomad also accepts workload
// identities.
var secret = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func isSecret(token string) bool { return secret.MatchString(token) }

// Nomad's answers without ACLs: an error, or this accessor for any token.
const (
	aclsDisabled     = "ACL support disabled"
	aclsDisabledSelf = "acls-disabled"
)

// tokenInfo describes a token.
type tokenInfo struct {
	AccessorID, Name string
	noACLs           bool // There are no tokens: Nomad has no ACLs.
}

// self reads a token's description. The error is Nomad's own.
func (c *Client) self(ctx context.Context, token string) (self tokenInfo, err error) {
	_, err = c.api().Raw().Query("/v1/acl/token/self", &self, c.query(ctx, token, ""))
	_, body, ok := response(err)
	self.noACLs = ok && strings.Contains(body, aclsDisabled) || err == nil && self.AccessorID == aclsDisabledSelf
	return self, err
}

// ACLs reports whether Nomad has ACLs.
func (c *Client) ACLs(ctx context.Context) (bool, error) {
	self, err := c.self(ctx, c.Token())
	if _, _, answered := response(err); err != nil && !answered {
		return true, fmt.Errorf("ask whether nomad has ACLs: %w", translate(err))
	}
	return !self.noACLs, nil // Any other answer is one about tokens.
}

// defaultNamespace exists in every Nomad.
const defaultNamespace = "default"

// TokenName is the name of a token, for people; empty if it has none or can't be read.
func (c *Client) TokenName(ctx context.Context, token string) string {
	self, err := c.self(ctx, token)
	if err != nil || self.noACLs {
		return ""
	}
	return self.Name
}

// MayAdminister is nil if the token may administer Nomad's agents (agent:write, or a
// management token), ErrForbidden if not. Without ACLs no caller may: all callers look
// alike.
func (c *Client) MayAdminister(ctx context.Context, token string) error {
	self, err := c.self(ctx, token)
	if self.noACLs {
		return fmt.Errorf("%w: nomad has no ACLs, so a token proves nothing", wadi.ErrForbidden)
	}
	if err != nil {
		return fmt.Errorf("read the token: %w", translate(err))
	}
	// Of all calls that need this right this is the cheapest, and it changes nothing.
	body, err := c.api().Raw().Response("/v1/agent/pprof/cmdline", c.query(ctx, token, ""))
	if err != nil {
		return fmt.Errorf("ask for agent:write: %w", translate(err))
	}
	_ = body.Close() // The body is not needed.
	return nil
}

// Leader returns the address of Nomad's leader; ErrUnavailable if there is none.
func (c *Client) Leader(ctx context.Context) (string, error) {
	var leader string
	_, err := c.api().Raw().Query("/v1/status/leader", &leader, c.query(ctx, c.Token(), ""))
	switch {
	case err != nil:
		return "", fmt.Errorf("ask for nomad's leader: %w", translate(err))
	case leader == "":
		return "", fmt.Errorf("%w: nomad has no leader", wadi.ErrUnavailable)
	}
	return leader, nil
}

// Health is nil while Nomad answers and has a leader.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.Leader(ctx)
	return err
}
