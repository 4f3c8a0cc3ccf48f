package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"holdmetrics/tools/release/legal"
)

// materials writes the bill of materials of a program: the modules that it states to be
// made of, with their checksums and licences.
func (r *release) materials(p legal.Program, t legal.Target, program string, modules []*legal.Module) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	sum, err := sumOf(program)
	if err != nil {
		return err
	}
	main := cdx.Component{
		BOMRef: purl(info.Main.Path, r.version), Type: cdx.ComponentTypeApplication, Name: p.Name, Version: r.version,
		PackageURL: purl(info.Main.Path, r.version), Licenses: licences([]string{"Apache-2.0"}),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
		Properties: &[]cdx.Property{{Name: "holdmetrics:commit", Value: r.commit}, {Name: "holdmetrics:target", Value: t.String()}, {Name: "holdmetrics:go", Value: info.GoVersion}},
	}
	version := strings.TrimPrefix(info.GoVersion, "go")
	components := []cdx.Component{{
		BOMRef: purl("std", version), Type: cdx.ComponentTypeLibrary, Name: "std", Version: version, PackageURL: purl("std", version),
		Licenses: licences(licensesOf(modules, "std")),
	}}
	uses := []string{purl("std", version)}
	for _, d := range info.Deps {
		if d.Path == legal.Product { // of this repository, and so of the same version
			components = append(components, cdx.Component{
				BOMRef: purl(d.Path, r.version), Type: cdx.ComponentTypeLibrary, Name: d.Path, Version: r.version, PackageURL: purl(d.Path, r.version), Licenses: licences([]string{"Apache-2.0"}),
			})
			uses = append(uses, purl(d.Path, r.version))
			continue
		}
		if d.Replace != nil {
			d = d.Replace
		}
		hash, err := hashOf(d.Sum)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Path, err)
		}
		components = append(components, cdx.Component{
			BOMRef: purl(d.Path, d.Version), Type: cdx.ComponentTypeLibrary, Name: d.Path, Version: d.Version, PackageURL: purl(d.Path, d.Version),
			Licenses: licences(licensesOf(modules, d.Path)), Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hash}},
		})
		uses = append(uses, purl(d.Path, d.Version))
	}
	bom := cdx.NewBOM()
	// The same program has the same number, whenever its bill is written.
	bom.SerialNumber = "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(sum)).String()
	bom.Metadata = &cdx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &uses}}
	out, err := os.Create(filepath.Join(r.out, r.name(p, t, ".cdx.json")))
	if err != nil {
		return err
	}
	return errors.Join(cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom), out.Close())
}

// purl returns the package URL of a module.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}

// hashOf returns the SHA-256 of a sum as go.sum has it, in hexadecimal.
func hashOf(sum string) (string, error) {
	text, ok := strings.CutPrefix(sum, "h1:")
	if !ok {
		return "", fmt.Errorf("the program has no checksum of it, but %q", sum)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	return hex.EncodeToString(raw), err
}

func licensesOf(modules []*legal.Module, path string) []string {
	i := slices.IndexFunc(modules, func(m *legal.Module) bool { return m.Path == path })
	if i < 0 {
		return nil
	}
	return modules[i].Licenses
}

func licences(names []string) *cdx.Licenses {
	var all cdx.Licenses
	for _, name := range names {
		all = append(all, cdx.LicenseChoice{License: &cdx.License{ID: name}})
	}
	return &all
}
