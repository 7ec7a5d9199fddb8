// Package cluster stands in for the half of a Kubernetes cluster that runs workloads, and that a mesh of local
// processes does not have: Deployments, Pods, their logs, commands that are executed in them, and the EndpointSlices
// of Services that select them.
//
// It is a proxy in front of Marline's API server. What is asked about those kinds it answers itself; everything
// else, which is everything that the conformance suite is about, goes to Marline as it came. A Pod is a process
// in a network namespace of its own, on a bridge; a Pod of the mesh is one that `marline run` starts behind a sidecar.
package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options say where everything is.
type Options struct {
	// Marline is the way to the API server under test.
	Marline *rest.Config
	// Images are the programs that stand for container images, by the image's name without registry and tag.
	Images map[string]string
	// Directory is for the files of Pods; it is the caller's to remove.
	Directory string
	// Mesh says which Pods are workloads of the mesh.
	Mesh Mesh
}

// Cluster is one that runs.
type Cluster struct {
	options Options
	client  *kubernetes.Clientset
	network *network
	proxy   *httputil.ReverseProxy
	server  *httptest.Server
	context context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	lock        sync.Mutex
	deployments map[types.NamespacedName]*deployment
	changed     chan struct{}
}

type deployment struct {
	object appsv1.Deployment
	pods   []*pod
}

// Start serves until Close. The Config that it returns leads to the whole cluster.
func Start(options Options) (*Cluster, *rest.Config, error) {
	config := rest.CopyConfig(options.Marline)
	config.ContentType = "application/json"
	config.QPS = -1 // as often as need be
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("Marline's kubeconfig: %w", err)
	}
	transport, err := rest.TransportFor(options.Marline)
	if err != nil {
		return nil, nil, fmt.Errorf("Marline's kubeconfig: %w", err)
	}
	target, err := url.Parse(options.Marline.Host)
	if err != nil {
		return nil, nil, fmt.Errorf("Marline's address: %w", err)
	}
	network, err := makeNetwork()
	if err != nil {
		return nil, nil, err
	}
	c := &Cluster{
		options:     options,
		client:      client,
		network:     network,
		deployments: map[types.NamespacedName]*deployment{},
		changed:     make(chan struct{}, 1),
	}
	c.context, c.stop = context.WithCancel(context.Background())
	c.proxy = &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // watches
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			if discovery(request.In.URL.Path) {
				// In the form that is easy to add to.
				request.Out.Header.Set("Accept", "application/json")
				request.Out.Header.Del("Accept-Encoding")
			}
		},
		ModifyResponse: extendDiscovery,
	}
	c.server = httptest.NewServer(c.handler())
	c.running.Add(1)
	go c.followServices()
	return c, &rest.Config{Host: c.server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, nil
}

// Close ends all Pods.
func (c *Cluster) Close() {
	c.lock.Lock()
	for key := range c.deployments {
		c.remove(key)
	}
	c.lock.Unlock()
	c.stop()
	c.running.Wait()
	c.server.Close()
	c.network.remove()
}

// pods of a namespace ("": of all) that the selector fits.
func (c *Cluster) pods(namespace string, fits func(*corev1.Pod) bool) []*pod {
	c.lock.Lock()
	defer c.lock.Unlock()
	var found []*pod
	for key, item := range c.deployments {
		if namespace != "" && key.Namespace != namespace {
			continue
		}
		for _, pod := range item.pods {
			if object := pod.object(); fits(&object) {
				found = append(found, pod)
			}
		}
	}
	slices.SortFunc(found, func(one, other *pod) int { return strings.Compare(one.name, other.name) })
	return found
}

// put makes a Deployment what it is to be. A template that differs means other Pods.
func (c *Cluster) put(object appsv1.Deployment) error {
	key := types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
	c.lock.Lock()
	defer c.lock.Unlock()
	if known, ok := c.deployments[key]; ok && equal(known.object.Spec, object.Spec) {
		known.object = object
		return nil
	}
	c.remove(key)
	made := &deployment{object: object}
	replicas := 1
	if object.Spec.Replicas != nil {
		replicas = int(*object.Spec.Replicas)
	}
	for range replicas {
		pod, err := c.startPod(&object)
		if err != nil {
			return err
		}
		made.pods = append(made.pods, pod)
	}
	c.deployments[key] = made
	return nil
}

// remove ends a Deployment's Pods; the caller holds the lock.
func (c *Cluster) remove(key types.NamespacedName) bool {
	known, ok := c.deployments[key]
	if !ok {
		return false
	}
	for _, pod := range known.pods {
		pod.stop()
	}
	delete(c.deployments, key)
	c.touch()
	return true
}

// touch says that the set of Pods, or their readiness, has changed.
func (c *Cluster) touch() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *Cluster) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/apps/v1", c.serveAppsResources)
	for _, scope := range []string{"", "/namespaces/{namespace}"} {
		mux.HandleFunc("/apis/apps/v1"+scope+"/deployments", c.serveDeployments)
		mux.HandleFunc("GET /api/v1"+scope+"/pods", c.servePods)
		mux.HandleFunc("GET /api/v1"+scope+"/serviceaccounts", c.serveServiceAccounts)
	}
	mux.HandleFunc("/apis/apps/v1/namespaces/{namespace}/deployments/{name}", c.serveDeployment)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}", c.servePod)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}/log", c.serveLog)
	mux.HandleFunc("/api/v1/namespaces/{namespace}/pods/{name}/exec", c.serveExec)
	mux.Handle("/", c.proxy)
	return mux
}

func discovery(path string) bool {
	return path == "/api" || path == "/apis" || path == "/api/v1"
}

// image is the program for a container image.
func (c *Cluster) image(reference string) (string, error) {
	name := reference[strings.LastIndex(reference, "/")+1:]
	name, _, _ = strings.Cut(name, ":")
	program, ok := c.options.Images[name]
	if !ok {
		return "", fmt.Errorf("there is no program for the image %s", reference)
	}
	return program, nil
}
