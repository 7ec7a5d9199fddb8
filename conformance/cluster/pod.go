package cluster

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

const (
	graceful = 30 * time.Second
	polling  = 50 * time.Millisecond
)

// pod is one process.
type pod struct {
	cluster *Cluster
	name    string
	address net.IP
	cancel  context.CancelFunc

	lock  sync.Mutex
	state corev1.Pod
	// pid is that of the application of a Pod of the mesh.
	pid   int
	lines []line
}

type line struct {
	at   time.Time
	text string
}

func (p *pod) object() corev1.Pod {
	p.lock.Lock()
	defer p.lock.Unlock()
	return *p.state.DeepCopy()
}

func (p *pod) stop() { p.cancel() }

// startPod begins the life of a Pod of a Deployment. It is ready some time later.
func (c *Cluster) startPod(of *appsv1.Deployment) (*pod, error) {
	address, err := c.network.take()
	if err != nil {
		return nil, err
	}
	template := of.Spec.Template
	// As a ReplicaSet names them: the suite takes them apart.
	name := fmt.Sprintf("%s-%s-%s", of.Name, hash(template), strings.ToLower(rand.Text()[:5]))
	made := &pod{cluster: c, name: name, address: address}
	made.state = corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			Namespace:         of.Namespace,
			Labels:            template.Labels,
			Annotations:       template.Annotations,
			UID:               uuid.NewUUID(),
			CreationTimestamp: metav1.Now(),
		},
		Spec: template.Spec,
		Status: corev1.PodStatus{
			Phase:  corev1.PodPending,
			PodIP:  address.String(),
			PodIPs: []corev1.PodIP{{IP: address.String()}},
		},
	}
	made.state.Spec.NodeName = "local"
	life, cancel := context.WithCancel(c.context)
	made.cancel = cancel
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		made.live(life)
	}()
	return made, nil
}

// live starts the Pod's process again whenever it ends, until the Pod is to go.
func (p *pod) live(context context.Context) {
	for context.Err() == nil {
		if err := p.once(context); err != nil && context.Err() == nil {
			p.say("error: " + err.Error())
		}
		p.ready(false)
		wait(context, time.Second)
	}
}

func (p *pod) once(context context.Context) error {
	object := p.object()
	if len(object.Spec.Containers) != 1 {
		return fmt.Errorf("a Pod with %d containers", len(object.Spec.Containers))
	}
	container := object.Spec.Containers[0]
	program, err := p.cluster.image(container.Image)
	if err != nil {
		return err
	}
	mounts, err := p.mount(context, &object)
	if err != nil {
		return err
	}
	arguments := mapped(append(container.Command, container.Args...), mounts)
	command := exec.Command(program, arguments...)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	inMesh := p.cluster.options.Mesh.Includes(object.Namespace)
	if inMesh {
		command, err = p.meshed(context, &object, append([]string{program}, arguments...))
		if err != nil {
			return err
		}
	}
	command.Env = append(os.Environ(), environment(&object, mounts)...)
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return err
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.read(output)
	}()
	if inMesh {
		go p.becomeReadyInMesh(context)
	} else {
		go p.becomeReady(context, command.Process.Pid)
	}
	go func() {
		select {
		case <-context.Done():
		case <-stopped:
			return
		}
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-stopped:
		case <-time.After(graceful):
			_ = command.Process.Kill()
		}
	}()
	<-stopped
	return command.Wait()
}

// becomeReady waits until the process listens somewhere; then it has its address.
func (p *pod) becomeReady(context context.Context, pid int) {
	if err := p.cluster.network.attach(pid, p.address); err != nil {
		p.say("error: " + err.Error())
		return
	}
	for context.Err() == nil && !listens(pid) {
		wait(context, polling)
	}
	if context.Err() == nil {
		p.ready(true)
	}
}

func (p *pod) ready(ready bool) {
	status, phase := corev1.ConditionFalse, corev1.PodPending
	if ready {
		status, phase = corev1.ConditionTrue, corev1.PodRunning
	}
	p.lock.Lock()
	p.state.Status.Phase = phase
	p.state.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	p.lock.Unlock()
	p.cluster.touch()
}

// listens says whether the network namespace of a process has a socket that listens, or is bound for UDP.
func listens(pid int) bool {
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return false
		}
		for _, text := range strings.Split(string(data), "\n")[1:] {
			fields := strings.Fields(text)
			if len(fields) > 3 && (fields[3] == "0A" || strings.HasPrefix(table, "udp")) {
				return true
			}
		}
	}
	return false
}

func (p *pod) read(output io.Reader) {
	scanner := bufio.NewScanner(output)
	for scanner.Scan() {
		p.say(scanner.Text())
	}
}

func (p *pod) say(text string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.lines = append(p.lines, line{time.Now(), text})
}

// log is what was said since a time.
func (p *pod) log(since time.Time) string {
	p.lock.Lock()
	defer p.lock.Unlock()
	var text strings.Builder
	for _, line := range p.lines {
		if !line.at.Before(since) {
			text.WriteString(line.text + "\n")
		}
	}
	return text.String()
}

// mount writes the Secrets and ConfigMaps that a Pod mounts into files, once they are there. Where a container
// would see them is not where they are, so what names those places is rewritten.
func (p *pod) mount(context context.Context, object *corev1.Pod) (map[string]string, error) {
	mounts := map[string]string{}
	for _, mount := range object.Spec.Containers[0].VolumeMounts {
		for _, volume := range object.Spec.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			directory := filepath.Join(p.cluster.options.Directory, object.Namespace, object.Name, volume.Name)
			if err := os.MkdirAll(directory, 0o700); err != nil {
				return nil, err
			}
			data, items, err := p.content(context, object.Namespace, &volume)
			if err != nil {
				return nil, err
			}
			for key, value := range data {
				name := key
				for _, item := range items {
					if item.Key == key {
						name = item.Path
					}
				}
				if err := os.WriteFile(filepath.Join(directory, name), value, 0o600); err != nil {
					return nil, err
				}
			}
			mounts[mount.MountPath] = directory
		}
	}
	return mounts, nil
}

// content waits for what a volume is made of, as the kubelet does.
func (p *pod) content(
	context context.Context, namespace string, volume *corev1.Volume,
) (map[string][]byte, []corev1.KeyToPath, error) {
	core := p.cluster.client.CoreV1()
	for {
		switch {
		case volume.Secret != nil:
			secret, err := core.Secrets(namespace).Get(context, volume.Secret.SecretName, metav1.GetOptions{})
			if err == nil {
				return secret.Data, volume.Secret.Items, nil
			}
		case volume.ConfigMap != nil:
			found, err := core.ConfigMaps(namespace).Get(context, volume.ConfigMap.Name, metav1.GetOptions{})
			if err == nil {
				data := map[string][]byte{}
				for key, value := range found.Data {
					data[key] = []byte(value)
				}
				return data, volume.ConfigMap.Items, nil
			}
		default:
			return nil, nil, fmt.Errorf("volume %s is neither a Secret nor a ConfigMap", volume.Name)
		}
		if err := wait(context, 4*polling); err != nil {
			return nil, nil, err
		}
	}
}

func environment(object *corev1.Pod, mounts map[string]string) []string {
	fields := map[string]string{"metadata.name": object.Name, "metadata.namespace": object.Namespace}
	made := []string{"HOSTNAME=" + object.Name}
	for _, variable := range object.Spec.Containers[0].Env {
		value := mapped([]string{variable.Value}, mounts)[0]
		if variable.ValueFrom != nil && variable.ValueFrom.FieldRef != nil {
			value = fields[variable.ValueFrom.FieldRef.FieldPath]
		}
		made = append(made, variable.Name+"="+value)
	}
	return made
}

func mapped(words []string, mounts map[string]string) []string {
	made := append([]string{}, words...)
	for index := range made {
		for path, directory := range mounts {
			made[index] = strings.ReplaceAll(made[index], path, directory)
		}
	}
	return made
}

func wait(context context.Context, duration time.Duration) error {
	select {
	case <-context.Done():
		return context.Err()
	case <-time.After(duration):
		return nil
	}
}

func hash(value any) string {
	encoded, _ := json.Marshal(value)
	return fmt.Sprintf("%.5x", sha256.Sum256(encoded))
}

func equal(one, other any) bool {
	left, _ := json.Marshal(one)
	right, _ := json.Marshal(other)
	return string(left) == string(right)
}
