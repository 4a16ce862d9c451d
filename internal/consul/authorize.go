package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Right is a right in Consul, for instance write on the key wadi/x.
type Right struct {
	Resource, Segment, Access string
	Allow                     bool `json:",omitempty"` // Of the answer; Consul refuses it in a question.
}

// maxRights bounds the rights of one question to Consul.
const maxRights = 64

// Lacks returns the rights that the agent's own token does not have. Without ACLs it lacks
// none.
func (c *Client) Lacks(ctx context.Context, rights []Right) ([]Right, error) {
	var lacking []Right
	for len(rights) > 0 {
		some := rights[:min(len(rights), maxRights)]
		rights = rights[len(some):]
		got, err := c.authorize(ctx, c.conn().token, some)
		if err != nil {
			return nil, Wrap("read the rights of the agent's token", err)
		}
		for i, r := range got {
			if !r.Allow {
				lacking = append(lacking, some[i])
			}
		}
	}
	return lacking, nil
}

// authorize asks Consul which of the rights a token has. Without ACLs it has all.
func (c *Client) authorize(ctx context.Context, token string, rights []Right) ([]Right, error) {
	body, err := json.Marshal(rights)
	if err != nil {
		return nil, err
	}
	answer, err := c.post(ctx, "/v1/internal/acl/authorize", token, body)
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized && strings.Contains(status.Body, "ACL support disabled") {
		all := make([]Right, len(rights))
		for i, r := range rights {
			all[i] = Right{r.Resource, r.Segment, r.Access, true}
		}
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	var got []Right
	if err := json.Unmarshal(answer, &got); err != nil || len(got) != len(rights) {
		return nil, errNotUnderstood
	}
	for i, r := range got {
		if r.Resource != rights[i].Resource || r.Segment != rights[i].Segment || r.Access != rights[i].Access {
			got[i].Allow = false // The answer is about another right.
		}
	}
	return got, nil
}

var errNotUnderstood = errors.New("consul's answer is not understood")

// NodeOf returns the name of the node of Consul's agent, from one of its checks; empty if
// the agent does not have the check, or the token may not read it.
func (c *Client) NodeOf(ctx context.Context, checkID string) (string, error) {
	checks, err := c.api().Agent().ChecksWithFilterOpts(fmt.Sprintf("CheckID == %q", checkID), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return "", Wrap("read consul's checks", err)
	}
	if check := checks[checkID]; check != nil {
		return check.Node, nil
	}
	return "", nil
}
