package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
)

var (
	deploymentResource = schema.GroupResource{Group: "apps", Resource: "deployments"}
	podResource        = schema.GroupResource{Resource: "pods"}
)

func answer(writer http.ResponseWriter, code int, body any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(code)
	_ = json.NewEncoder(writer).Encode(body) // the client may be gone
}

func refuse(writer http.ResponseWriter, err error) {
	status, ok := err.(errors.APIStatus)
	if !ok {
		status = errors.NewInternalError(err)
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	answer(writer, int(body.Code), body)
}

// serveDeployments lists and creates.
func (c *Cluster) serveDeployments(writer http.ResponseWriter, request *http.Request) {
	switch request.Method {
	case http.MethodGet:
		list := appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DeploymentList"}}
		c.lock.Lock()
		for key, item := range c.deployments {
			if namespace := request.PathValue("namespace"); namespace == "" || namespace == key.Namespace {
				list.Items = append(list.Items, item.object)
			}
		}
		c.lock.Unlock()
		answer(writer, http.StatusOK, list)
	case http.MethodPost:
		c.write(writer, request, http.StatusCreated)
	default:
		refuse(writer, errors.NewMethodNotSupported(deploymentResource, request.Method))
	}
}

// serveDeployment gets, replaces and deletes one.
func (c *Cluster) serveDeployment(writer http.ResponseWriter, request *http.Request) {
	key := types.NamespacedName{Namespace: request.PathValue("namespace"), Name: request.PathValue("name")}
	c.lock.Lock()
	known, ok := c.deployments[key]
	if request.Method == http.MethodDelete && ok {
		c.remove(key)
	}
	c.lock.Unlock()
	switch {
	case !ok:
		refuse(writer, errors.NewNotFound(deploymentResource, key.Name))
	case request.Method == http.MethodPut:
		c.write(writer, request, http.StatusOK)
	case request.Method == http.MethodGet || request.Method == http.MethodDelete:
		answer(writer, http.StatusOK, known.object)
	default:
		refuse(writer, errors.NewMethodNotSupported(deploymentResource, request.Method))
	}
}

func (c *Cluster) write(writer http.ResponseWriter, request *http.Request, code int) {
	var object appsv1.Deployment
	if err := json.NewDecoder(request.Body).Decode(&object); err != nil {
		refuse(writer, errors.NewBadRequest(err.Error()))
		return
	}
	object.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	object.Namespace = request.PathValue("namespace")
	object.ResourceVersion = strconv.FormatInt(time.Now().UnixNano(), 10)
	if object.UID == "" {
		object.UID = uuid.NewUUID()
		object.CreationTimestamp = metav1.Now()
	}
	if err := c.put(object); err != nil {
		refuse(writer, err)
		return
	}
	answer(writer, code, object)
}

func (c *Cluster) servePods(writer http.ResponseWriter, request *http.Request) {
	selector, err := labels.Parse(request.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(writer, errors.NewBadRequest(err.Error()))
		return
	}
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	fits := func(pod *corev1.Pod) bool { return selector.Matches(labels.Set(pod.Labels)) }
	for _, pod := range c.pods(request.PathValue("namespace"), fits) {
		list.Items = append(list.Items, pod.object())
	}
	answer(writer, http.StatusOK, list)
}

// serveServiceAccounts: there are none, and whoever asks is told so.
func (c *Cluster) serveServiceAccounts(writer http.ResponseWriter, _ *http.Request) {
	kind := metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccountList"}
	answer(writer, http.StatusOK, corev1.ServiceAccountList{TypeMeta: kind})
}

// named finds the Pod of a request's path, and answers if there is none.
func (c *Cluster) named(writer http.ResponseWriter, request *http.Request) *pod {
	name := request.PathValue("name")
	fits := func(pod *corev1.Pod) bool { return pod.Name == name }
	if found := c.pods(request.PathValue("namespace"), fits); len(found) == 1 {
		return found[0]
	}
	refuse(writer, errors.NewNotFound(podResource, name))
	return nil
}

func (c *Cluster) servePod(writer http.ResponseWriter, request *http.Request) {
	if pod := c.named(writer, request); pod != nil {
		object := pod.object()
		object.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		answer(writer, http.StatusOK, object)
	}
}

func (c *Cluster) serveLog(writer http.ResponseWriter, request *http.Request) {
	pod := c.named(writer, request)
	if pod == nil {
		return
	}
	var since time.Time
	if text := request.URL.Query().Get("sinceTime"); text != "" {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			refuse(writer, errors.NewBadRequest(err.Error()))
			return
		}
		since = parsed
	}
	writer.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(writer, pod.log(since)) // the client may be gone
}

func (c *Cluster) serveAppsResources(writer http.ResponseWriter, _ *http.Request) {
	answer(writer, http.StatusOK, resources("apps/v1", resource("deployments", "Deployment")))
}

func resources(groupVersion string, items ...metav1.APIResource) metav1.APIResourceList {
	kind := metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}
	return metav1.APIResourceList{TypeMeta: kind, GroupVersion: groupVersion, APIResources: items}
}

func resource(plural, kind string) metav1.APIResource {
	verbs := metav1.Verbs{"get", "list", "create", "update", "delete"}
	return metav1.APIResource{
		Name: plural, SingularName: strings.ToLower(kind), Namespaced: true, Kind: kind, Verbs: verbs,
	}
}

// extendDiscovery adds what is served here to what Marline says it serves.
func extendDiscovery(response *http.Response) error {
	if response.Request.Method != http.MethodGet || response.StatusCode != http.StatusOK {
		return nil
	}
	var body any
	switch response.Request.URL.Path {
	case "/apis":
		groups := &metav1.APIGroupList{}
		if err := json.NewDecoder(response.Body).Decode(groups); err != nil {
			return fmt.Errorf("discovery: %w", err)
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"}
		groups.Groups = append(groups.Groups, metav1.APIGroup{
			Name: "apps", Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
		body = groups
	case "/api/v1":
		list := &metav1.APIResourceList{}
		if err := json.NewDecoder(response.Body).Decode(list); err != nil {
			return fmt.Errorf("discovery: %w", err)
		}
		list.APIResources = append(list.APIResources,
			resource("pods", "Pod"), resource("serviceaccounts", "ServiceAccount"))
		body = list
	default:
		return nil
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	response.Body = io.NopCloser(strings.NewReader(string(encoded)))
	response.ContentLength = int64(len(encoded))
	response.Header.Set("Content-Length", strconv.Itoa(len(encoded)))
	return nil
}
