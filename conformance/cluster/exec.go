package cluster

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
)

const (
	execProtocol = "v4.channel.k8s.io"
	opening      = 10 * time.Second
)

// serveExec runs a command inside a Pod, as the kubelet does (SPDY, remotecommand's protocol of version 4: a
// stream each for output, errors, and how it ended).
func (c *Cluster) serveExec(writer http.ResponseWriter, request *http.Request) {
	pod := c.named(writer, request)
	if pod == nil {
		return
	}
	command, err := pod.command(request.URL.Query()["command"])
	if err != nil {
		refuse(writer, errors.NewBadRequest(err.Error()))
		return
	}
	if _, err := httpstream.Handshake(request, writer, []string{execProtocol}); err != nil {
		refuse(writer, errors.NewBadRequest(err.Error()))
		return
	}
	opened := make(chan httpstream.Stream, 3)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(
		writer, request,
		func(stream httpstream.Stream, _ <-chan struct{}) error {
			opened <- stream
			return nil
		},
	)
	if connection == nil {
		return // it has been answered
	}
	defer connection.Close()
	streams := map[string]httpstream.Stream{}
	for len(streams) < cap(opened) {
		select {
		case stream := <-opened:
			streams[stream.Headers().Get(corev1.StreamType)] = stream
		case <-time.After(opening):
			return
		}
	}
	command.Stdout, command.Stderr = streams[corev1.StreamTypeStdout], streams[corev1.StreamTypeStderr]
	_ = json.NewEncoder(streams[corev1.StreamTypeError]).Encode(ended(command.Run())) // the client may be gone
	for _, stream := range streams {
		_ = stream.Close()
	}
}

func ended(err error) metav1.Status {
	if err == nil {
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	status := metav1.Status{
		Status: metav1.StatusFailure, Message: err.Error(), Reason: "NonZeroExitCode", Details: &metav1.StatusDetails{},
	}
	if exit, ok := err.(*exec.ExitError); ok {
		status.Details.Causes = []metav1.StatusCause{
			{Type: "ExitCode", Message: strconv.Itoa(exit.ExitCode())},
		}
	}
	return status
}
