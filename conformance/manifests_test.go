package conformance

import (
	"bytes"
	"io"
	"io/fs"
	"strings"
	"testing/fstest"
)

const base = "base/manifests.yaml"

// needsDNS is the test that asks the DNS server of the suite's manifests, which comes in an image of its own:
// here Pods are processes of the suite's echo server.
const needsDNS = "UDPRoute"

// withoutDNS is the suite's manifests without that server, for which the suite would wait in vain.
type withoutDNS struct{ fs.FS }

func (m withoutDNS) Open(name string) (fs.File, error) {
	if name != base {
		return m.FS.Open(name)
	}
	file, err := m.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	var kept [][]byte
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		if !strings.Contains(string(document), "name: coredns\n") {
			kept = append(kept, document)
		}
	}
	filtered := fstest.MapFS{base: &fstest.MapFile{Data: bytes.Join(kept, []byte("\n---\n"))}}
	return filtered.Open(base)
}
