// Package conformance runs the Gateway API's conformance suite (gateway-api.sigs.k8s.io, "Conformance") against
// a Marline mesh that runs without Kubernetes. `run` in this directory starts the mesh and calls it.
package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"marline.io/marline/conformance/cluster"
)

func TestConformance(t *testing.T) {
	kubeconfig := os.Getenv("MARLINE_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("MARLINE_KUBECONFIG names no mesh; see `run`")
	}
	marline, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	stand, config, err := cluster.Start(cluster.Options{
		Marline: marline,
		Images: map[string]string{
			"echo-basic":    os.Getenv("MARLINE_ECHO_BASIC"),
			"echo-advanced": os.Getenv("MARLINE_ECHO_ADVANCED"),
			"coredns":       os.Getenv("MARLINE_COREDNS"),
		},
		Directory: t.TempDir(),
		Mesh: cluster.Mesh{
			Run:      []string{os.Getenv("MARLINE"), "--home", filepath.Dir(kubeconfig), "run"},
			Records:  filepath.Join(filepath.Dir(kubeconfig), "run", "w"),
			Includes: func(namespace string) bool { return strings.HasPrefix(namespace, suite.MeshNamespace) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stand.Close)

	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(kubeconfigOf(config.Host), path); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	options := conformance.DefaultOptions(t)
	options.Implementation = confv1.Implementation{
		Organization: "marline",
		Project:      "marline",
		URL:          "https://marline.io",
		Version:      os.Getenv("MARLINE_VERSION"),
		Contact:      []string{"https://marline.io"},
	}
	options.UsableNetworkAddresses = addresses("127.77.255.1")
	options.UnusableNetworkAddresses = addresses("192.0.2.1") // TEST-NET-1 (RFC 5737)
	conformance.RunConformanceWithOptions(t, options)
}

func addresses(value string) []gatewayv1.GatewaySpecAddress {
	kind := gatewayv1.IPAddressType
	return []gatewayv1.GatewaySpecAddress{{Type: &kind, Value: value}}
}

func kubeconfigOf(host string) clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters["mesh"] = &clientcmdapi.Cluster{Server: host}
	config.Contexts["mesh"] = &clientcmdapi.Context{Cluster: "mesh"}
	config.CurrentContext = "mesh"
	return *config
}
