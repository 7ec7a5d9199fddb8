package cluster

import (
	"fmt"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

const (
	managedBy   = "endpointslice.kubernetes.io/managed-by"
	managerName = "marline-conformance"
	resync      = 200 * time.Millisecond
)

// followServices keeps an EndpointSlice for each Service with a selector, as the controller of a cluster does.
func (c *Cluster) followServices() {
	defer c.running.Done()
	written := map[types.NamespacedName]*discoveryv1.EndpointSlice{}
	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		select {
		case <-c.context.Done():
			return
		case <-c.changed:
		case <-tick.C:
		}
		services, err := c.client.CoreV1().Services("").List(c.context, metav1.ListOptions{})
		if err != nil {
			continue // Marline is not there yet, or no longer
		}
		c.writeSlices(services.Items, written)
	}
}

func (c *Cluster) writeSlices(services []corev1.Service, written map[types.NamespacedName]*discoveryv1.EndpointSlice) {
	there := map[types.NamespacedName]bool{}
	for _, service := range services {
		// Workloads of the mesh register themselves.
		if len(service.Spec.Selector) == 0 || c.options.Mesh.Includes(service.Namespace) {
			continue
		}
		key := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		there[key] = true
		slice := c.slice(&service)
		if known, ok := written[key]; ok && equal(known, slice) {
			continue
		}
		if err := c.writeSlice(slice); err != nil {
			log.Printf("the EndpointSlice of %s: %v", key, err)
			continue
		}
		written[key] = slice
	}
	for key, slice := range written {
		if there[key] {
			continue
		}
		slices := c.client.DiscoveryV1().EndpointSlices(key.Namespace)
		err := slices.Delete(c.context, slice.Name, metav1.DeleteOptions{})
		if err == nil || errors.IsNotFound(err) {
			delete(written, key)
		}
	}
}

func (c *Cluster) slice(service *corev1.Service) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:      service.Name + "-pods",
			Namespace: service.Namespace,
			Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name, managedBy: managerName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, port := range service.Spec.Ports {
		target := port.TargetPort.IntVal
		if target == 0 {
			target = port.Port
		}
		protocol := port.Protocol
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: &port.Name, Port: &target, Protocol: &protocol, AppProtocol: port.AppProtocol,
		})
	}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	fits := func(pod *corev1.Pod) bool { return selector.Matches(labels.Set(pod.Labels)) }
	for _, pod := range c.pods(service.Namespace, fits) {
		object := pod.object()
		ready := object.Status.Phase == corev1.PodRunning
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{object.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: object.Namespace, Name: object.Name},
		})
	}
	return slice
}

func (c *Cluster) writeSlice(slice *discoveryv1.EndpointSlice) error {
	slices := c.client.DiscoveryV1().EndpointSlices(slice.Namespace)
	_, err := slices.Create(c.context, slice, metav1.CreateOptions{})
	if !errors.IsAlreadyExists(err) {
		return err
	}
	known, err := slices.Get(c.context, slice.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	known.Endpoints, known.Ports = slice.Endpoints, slice.Ports
	_, err = slices.Update(c.context, known, metav1.UpdateOptions{})
	return err
}
