package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

func serveHTTP(port string, encrypted bool) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Addr:              ":" + port,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, port) }),
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
	}
	if !encrypted {
		return server.ListenAndServe()
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	return server.ListenAndServeTLS("", "")
}

func answer(writer http.ResponseWriter, request *http.Request, port string) {
	address, _, _ := net.SplitHostPort(request.RemoteAddr)
	for _, field := range [][2]string{
		{"ServiceVersion", os.Getenv("VERSION")},
		{"ServicePort", port},
		{"Host", request.Host},
		{"URL", request.URL.String()},
		{"Method", request.Method},
		{"Proto", request.Proto},
		{"IP", address},
		{"Hostname", hostname()},
	} {
		fmt.Fprintf(writer, "%s=%s\n", field[0], field[1])
	}
	for name, values := range request.Header {
		for _, value := range values {
			fmt.Fprintf(writer, "RequestHeader=%s:%s\n", name, value)
		}
	}
}

// hostname is the Pod's name.
func hostname() string {
	if told := os.Getenv("HOSTNAME"); told != "" {
		return told
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func serveTCP(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection) // the peer may be gone
		}()
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{"echo"},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}, err
}
