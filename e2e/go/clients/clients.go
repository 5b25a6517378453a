package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	customv1beta1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	customv1beta2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/clientset/versioned"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"
)

// clients are those of k8s.io/metrics, made as kube-controller-manager makes them for the HPA controller.
type clients struct {
	custom   map[string]custom_metrics.CustomMetricsClient
	external external_metrics.ExternalMetricsClient
	resource versioned.Interface
}

func newClients(config *rest.Config) (*clients, error) {
	group, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(group))
	external, err := external_metrics.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	resource, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	preferred := custom_metrics.NewForConfig(config, mapper, custom_metrics.NewAvailableAPIsGetter(group))
	custom := map[string]custom_metrics.CustomMetricsClient{"custom": preferred}
	for _, version := range []schema.GroupVersion{customv1beta1.SchemeGroupVersion, customv1beta2.SchemeGroupVersion} {
		client, err := custom_metrics.NewForVersionForConfig(rest.CopyConfig(config), mapper, version)
		if err != nil {
			return nil, err
		}
		custom["custom/"+version.Version] = client
	}
	return &clients{custom: custom, external: external, resource: resource}, nil
}

func (c *clients) ask(question Question) ([]Item, error) {
	selector, err := labels.Parse(question.Selector)
	if err != nil {
		return nil, err
	}
	series, err := labels.Parse(question.MetricSelector)
	if err != nil {
		return nil, err
	}
	switch question.Client {
	case "external":
		list, err := c.external.NamespacedMetrics(question.Namespace).List(question.Metric, selector)
		return each(list, err, externalItems)
	case "pods":
		return c.pods(question)
	case "nodes":
		return c.nodes(question)
	}
	client, known := c.custom[question.Client]
	if !known {
		return nil, fmt.Errorf("there is no client %q", question.Client)
	}
	metrics := client.RootScopedMetrics()
	if question.Namespace != "" {
		metrics = client.NamespacedMetrics(question.Namespace)
	}
	kind := schema.ParseGroupKind(question.Kind)
	if question.Name != "" {
		value, err := metrics.GetForObject(kind, question.Name, question.Metric, series)
		return each(value, err, customItem)
	}
	list, err := metrics.GetForObjects(kind, selector, question.Metric, series)
	return each(list, err, customItems)
}

func (c *clients) pods(question Question) ([]Item, error) {
	pods := c.resource.MetricsV1beta1().PodMetricses(question.Namespace)
	if question.Name != "" {
		pod, err := pods.Get(context.Background(), question.Name, metav1.GetOptions{})
		return each(pod, err, func(pod *v1beta1.PodMetrics) []Item { return []Item{podItem(pod)} })
	}
	list, err := pods.List(context.Background(), metav1.ListOptions{LabelSelector: question.Selector})
	return each(list, err, func(list *v1beta1.PodMetricsList) []Item {
		items := []Item{}
		for _, pod := range list.Items {
			items = append(items, podItem(&pod))
		}
		return items
	})
}

func (c *clients) nodes(question Question) ([]Item, error) {
	nodes := c.resource.MetricsV1beta1().NodeMetricses()
	if question.Name != "" {
		node, err := nodes.Get(context.Background(), question.Name, metav1.GetOptions{})
		return each(node, err, func(node *v1beta1.NodeMetrics) []Item { return []Item{nodeItem(node)} })
	}
	list, err := nodes.List(context.Background(), metav1.ListOptions{LabelSelector: question.Selector})
	return each(list, err, func(list *v1beta1.NodeMetricsList) []Item {
		items := []Item{}
		for _, node := range list.Items {
			items = append(items, nodeItem(&node))
		}
		return items
	})
}

// each turns what a client gave into items; nothing of what comes with an error is looked at.
func each[T any](value T, err error, items func(T) []Item) ([]Item, error) {
	if err != nil {
		return nil, err
	}
	return items(value), nil
}

func usage(resources corev1.ResourceList) map[string]string {
	amounts := map[string]string{}
	for name, quantity := range resources {
		amounts[string(name)] = quantity.String()
	}
	return amounts
}
