package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// inventory is what is in an image, by what the Go compiler has noted in each program: its
// modules, with versions and checksums, and Go's own library.
func (o options) inventory(name, platform string, files []string) ([]byte, error) {
	p := parts[name]
	modules := map[string]cyclonedx.Component{}
	for _, f := range files {
		info, err := buildinfo.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read what is in %s: %w", f, err)
		}
		std := library("std", info.GoVersion, "")
		modules[std.BOMRef] = std
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			c := library(d.Path, d.Version, d.Sum)
			modules[c.BOMRef] = c
		}
	}
	all := make([]cyclonedx.Component, 0, len(modules))
	refs := make([]string, 0, len(modules))
	for _, c := range modules {
		all = append(all, c)
		refs = append(refs, c.BOMRef)
	}
	slices.SortFunc(all, func(a, b cyclonedx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	slices.Sort(refs)

	bom := cyclonedx.NewBOM()
	itself := cyclonedx.Component{
		BOMRef: "image:" + p.title + "@" + o.version + "?platform=" + url.QueryEscape(platform),
		Type:   cyclonedx.ComponentTypeContainer, Name: p.title, Version: o.version, Description: p.description,
		Licenses:           &cyclonedx.Licenses{{License: &cyclonedx.License{ID: license}}},
		ExternalReferences: &[]cyclonedx.ExternalReference{{Type: cyclonedx.ERTypeVCS, URL: source}},
	}
	bom.Metadata = &cyclonedx.Metadata{Timestamp: o.created.Format(time.RFC3339), Component: &itself}
	bom.Components = &all
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: itself.BOMRef, Dependencies: &refs}}
	// The number is of the content: the same image has the same.
	first, err := encode(bom)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = serial(first)
	return encode(bom)
}

func encode(bom *cyclonedx.BOM) ([]byte, error) {
	var buf bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&buf, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6)
	return buf.Bytes(), err
}

// library is a module of Go. Its sum is that of go.sum: "h1:" and SHA-256 of a list of its
// files' checksums.
func library(path, version, sum string) cyclonedx.Component {
	purl := "pkg:golang/" + path + "@" + url.QueryEscape(version)
	c := cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(raw) == sha256.Size {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
	}
	return c
}

// serial is a UUID of the kind for own schemes (8), made of content.
func serial(content []byte) string {
	h := sha256.Sum256(content)
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
