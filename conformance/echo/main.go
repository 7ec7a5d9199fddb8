// Command echo stands in for the suite's image `echo-advanced`, which is Istio's echo application: what its Pods
// serve over HTTP and gRPC, and the `client` that tests of meshes execute in them. It speaks that application's text
// format, which the suite reads (sigs.k8s.io/gateway-api/conformance/utils/echo).
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "client" {
		err = call(os.Args[2:])
	} else {
		err = serve(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// words is a flag that may be given several times.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(value string) error {
	*w = append(*w, value)
	return nil
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	var ports, tls, tcp, grpc words
	flags.Var(&ports, "port", "a port for HTTP")
	flags.Var(&tls, "tls", "one of the ports that is for HTTPS")
	flags.Var(&tcp, "tcp", "a port for lines of text")
	flags.Var(&grpc, "grpc", "a port for gRPC")
	flags.String("crt", "", "where the image has a certificate; another is made")
	flags.String("key", "", "where the image has its key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	failed := make(chan error)
	for _, port := range ports {
		go func() { failed <- serveHTTP(port, port == tls.String()) }()
	}
	for _, port := range tcp {
		go func() { failed <- serveTCP(port) }()
	}
	for _, port := range grpc {
		go func() { failed <- serveGRPC(port) }()
	}
	return <-failed
}
