package main

import (
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	customv1beta2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// Item is one value of any of the groups, as its client read it. Fields that the group does not have are absent.
type Item struct {
	Kind       string            `json:"kind,omitempty"`
	APIVersion string            `json:"apiVersion,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Name       string            `json:"name,omitempty"`
	Metric     string            `json:"metric,omitempty"`
	Selector   string            `json:"selector,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Value      string            `json:"value,omitempty"`
	// WindowSeconds is absent when the server says nothing of it.
	WindowSeconds *float64 `json:"windowSeconds,omitempty"`
	// AgeSeconds is how long ago the value was taken, by the server's clock.
	AgeSeconds float64 `json:"ageSeconds"`
	// Usage is of a node, or of each container of a pod.
	Usage map[string]map[string]string `json:"usage,omitempty"`
}

// Failure is an error as a consumer tells them apart.
type Failure struct {
	// Reason is what the Is... functions of apierrors look at; empty for an error that is not the server's.
	Reason  string `json:"reason"`
	Code    int32  `json:"code"`
	Message string `json:"message"`
}

func failure(err error) *Failure {
	if err == nil {
		return nil
	}
	failure := &Failure{Reason: string(apierrors.ReasonForError(err)), Message: err.Error()}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		failure.Code = status.Status().Code
	}
	return failure
}

func customItems(list *customv1beta2.MetricValueList) []Item {
	items := []Item{}
	for _, value := range list.Items {
		items = append(items, customItem(&value)...)
	}
	return items
}

func customItem(value *customv1beta2.MetricValue) []Item {
	object := value.DescribedObject
	return []Item{{
		Kind:          object.Kind,
		APIVersion:    object.APIVersion,
		Namespace:     object.Namespace,
		Name:          object.Name,
		Metric:        value.Metric.Name,
		Selector:      selectorText(value.Metric.Selector),
		Value:         value.Value.String(),
		WindowSeconds: seconds(value.WindowSeconds),
		AgeSeconds:    age(value.Timestamp),
	}}
}

func externalItems(list *externalv1beta1.ExternalMetricValueList) []Item {
	items := []Item{}
	for _, value := range list.Items {
		items = append(items, Item{
			Metric:        value.MetricName,
			Labels:        value.MetricLabels,
			Value:         value.Value.String(),
			WindowSeconds: seconds(value.WindowSeconds),
			AgeSeconds:    age(value.Timestamp),
		})
	}
	return items
}

func podItem(pod *v1beta1.PodMetrics) Item {
	containers := map[string]map[string]string{}
	for _, container := range pod.Containers {
		containers[container.Name] = usage(container.Usage)
	}
	window := pod.Window.Seconds()
	return Item{
		Namespace:     pod.Namespace,
		Name:          pod.Name,
		Labels:        pod.Labels,
		WindowSeconds: &window,
		AgeSeconds:    age(pod.Timestamp),
		Usage:         containers,
	}
}

func nodeItem(node *v1beta1.NodeMetrics) Item {
	window := node.Window.Seconds()
	return Item{
		Name:          node.Name,
		Labels:        node.Labels,
		WindowSeconds: &window,
		AgeSeconds:    age(node.Timestamp),
		Usage:         map[string]map[string]string{"node": usage(node.Usage)},
	}
}

func selectorText(selector *metav1.LabelSelector) string {
	if selector == nil {
		return ""
	}
	return metav1.FormatLabelSelector(selector)
}

func seconds(window *int64) *float64 {
	if window == nil {
		return nil
	}
	seconds := float64(*window)
	return &seconds
}

func age(taken metav1.Time) float64 { return time.Since(taken.Time).Seconds() }
