package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mesh says how Pods become workloads of the mesh.
type Mesh struct {
	// Run is the command that starts a workload: `marline --home HOME run`.
	Run []string
	// Records is where every workload of the mesh says how it is.
	Records string
	// Includes says whether the Pods of a namespace are workloads of the mesh.
	Includes func(namespace string) bool
}

// record is the part that matters here of what a workload says of itself.
type record struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Address   string `json:"address"`
	AppPid    int    `json:"appPid"`
	Ready     bool   `json:"ready"`
}

// meshed is the command that starts a Pod behind a sidecar.
func (p *pod) meshed(life context.Context, object *corev1.Pod, program []string) (*exec.Cmd, error) {
	app := object.Labels["app"]
	words := append([]string{}, p.cluster.options.Mesh.Run...)
	words = append(words, "--namespace", object.Namespace, "--name", object.Name, "--service", app)
	if version := object.Labels["version"]; version != "" {
		words = append(words, "--version", version)
	}
	ports := served(program[1:])
	for _, port := range ports {
		words = append(words, "--port", port)
	}
	// It would make the Service that the suite is about to make.
	services := p.cluster.client.CoreV1().Services(object.Namespace)
	for len(ports) > 0 {
		if _, err := services.Get(life, app, metav1.GetOptions{}); err == nil {
			break
		}
		if err := wait(life, polling); err != nil {
			return nil, err
		}
	}
	words = append(append(words, "--"), program...)
	command := exec.Command(words[0], words[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return command, nil
}

// served are the ports of the image `echo-advanced`, which its arguments say, as NAME:PORT.
func served(arguments []string) []string {
	var ports []string
	encrypted := map[string]bool{}
	for _, argument := range arguments {
		if port, ok := strings.CutPrefix(argument, "--tls="); ok {
			encrypted[port] = true
		}
	}
	for _, argument := range arguments {
		name, port, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
		switch {
		case name == "port" && encrypted[port]:
			ports = append(ports, "https:"+port)
		case name == "port":
			ports = append(ports, "http:"+port)
		case name == "tcp" || name == "grpc":
			ports = append(ports, name+":"+port)
		}
	}
	return ports
}

// becomeReadyInMesh waits until the workload says that it is ready.
func (p *pod) becomeReadyInMesh(life context.Context) {
	for life.Err() == nil {
		if found := p.record(); found != nil && found.Ready {
			p.lock.Lock()
			p.pid = found.AppPid
			p.state.Status.PodIP = found.Address
			p.state.Status.PodIPs = []corev1.PodIP{{IP: found.Address}}
			p.lock.Unlock()
			p.ready(true)
			return
		}
		_ = wait(life, polling)
	}
}

func (p *pod) record() *record {
	paths, _ := filepath.Glob(filepath.Join(p.cluster.options.Mesh.Records, "*", "workload.json"))
	object := p.object()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		var found record
		if json.Unmarshal(data, &found) == nil && found.Name == object.Name && found.Namespace == object.Namespace {
			return &found
		}
	}
	return nil
}

// command is one that runs inside the Pod: in its network and with its names.
func (p *pod) command(words []string) (*exec.Cmd, error) {
	p.lock.Lock()
	pid := p.pid
	p.lock.Unlock()
	if len(words) == 0 || words[0] != "client" || pid == 0 {
		return nil, fmt.Errorf("%q cannot be run here: there is only `client`, in Pods of the mesh", words)
	}
	object := p.object()
	program, err := p.cluster.image(object.Spec.Containers[0].Image)
	if err != nil {
		return nil, err
	}
	inside := append([]string{"-t", strconv.Itoa(pid), "-n", "-m", "--", program}, words...)
	return exec.Command("nsenter", inside...), nil
}
