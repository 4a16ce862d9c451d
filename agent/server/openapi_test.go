package server_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/api"
)

// openAPIDocument is what the tests read of the document.
type openAPIDocument struct {
	Paths      map[string]map[string]openAPIOperation
	Components struct{ Parameters map[string]openAPIParameter }
}

type openAPIOperation struct {
	OperationID string
	Parameters  []openAPIParameter
}

type openAPIParameter struct {
	Ref      string `json:"$ref"`
	Name, In string
}

func readOpenAPI(t *testing.T) openAPIDocument {
	t.Helper()
	var doc openAPIDocument
	if err := json.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// api/openapi.json describes every route with the parameters that it reads, and no others.
func TestOpenAPI_EveryRoute(t *testing.T) {
	doc := readOpenAPI(t)
	got, inPath := map[string][]string{}, map[string][]string{}
	ids := map[string]bool{}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			route := strings.ToUpper(method) + " " + path
			got[route] = nil
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s: operationId %q is empty or another's", route, op.OperationID)
			}
			ids[op.OperationID] = true
			for _, p := range op.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
					p = doc.Components.Parameters[name]
				}
				switch p.In {
				case "query":
					got[route] = append(got[route], p.Name)
				case "path":
					inPath[route] = append(inPath[route], p.Name)
				}
			}
			slices.Sort(got[route])
		}
	}
	_, s := newUnserved(t, nil)
	want := s.Routes()
	for route, query := range want {
		slices.Sort(query)
		var names []string
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(route, -1) {
			names = append(names, m[1])
		}
		if _, documented := got[route]; documented && !slices.Equal(names, inPath[route]) {
			t.Errorf("%s: the document has the path parameters %v", route, inPath[route])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes of the server (-), api/openapi.json (+):\n%s", diff)
	}
}

func TestOpenAPI_ServedToEveryCaller(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{})
	b.want(t, 401, "GET", "/v1/services", "")
	b.want(t, 200, "GET", "/v1/openapi.json", "", `"openapi":"3.1.0"`)
}

func TestQuery_UnknownParametersAreRefused(t *testing.T) {
	b := newBench(t, nil)
	for query, text := range map[string]string{
		"?follow=false&servce=hello":   `no parameter \"servce\"; it has service, index, follow`,
		"?follow=false&follow=true":    `\"follow\" is given 2 times`,
		"?service=":                    `\"service\" is empty`,
		"?follow=%zz":                  "the query can't be read",
		"?" + strings.Repeat("x", 999): "no parameter",
	} {
		b.want(t, 400, "GET", "/v1/events"+query, "", text)
	}
	b.want(t, 400, "GET", "/v1/agent/self?x=1", "", `no parameter \"x\"; it has none`)
}
