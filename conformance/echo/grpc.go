package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "sigs.k8s.io/gateway-api/conformance/echo-basic/grpcechoserver"
)

const patience = 10 * time.Second

// echoServer answers calls of the suite's own echo service.
type echoServer struct {
	pb.UnimplementedGrpcEchoServer
}

func (echoServer) Echo(context.Context, *pb.EchoRequest) (*pb.EchoResponse, error) {
	return &pb.EchoResponse{Assertions: &pb.Assertions{Context: &pb.Context{Pod: hostname()}}}, nil
}

func serveGRPC(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterGrpcEchoServer(server, echoServer{})
	return server.Serve(listener)
}

// callGRPC makes calls, and prints what answered as if it were HTTP, which is how the suite reads it.
func callGRPC(url string, count int) error {
	target := strings.TrimSuffix(strings.TrimPrefix(url, "grpc://"), "/")
	connection, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := pb.NewGrpcEchoClient(connection)
	for number := range count {
		call, cancel := context.WithTimeout(context.Background(), patience)
		response, err := client.Echo(call, &pb.EchoRequest{})
		cancel()
		if err != nil {
			return err
		}
		fmt.Printf("[%d] Url=%s\n[%d] StatusCode=%d\n", number, url, number, http.StatusOK)
		fmt.Printf("[%d body] Hostname=%s\n\n", number, response.GetAssertions().GetContext().GetPod())
	}
	return nil
}
