// Writes host/tests/golden/resource.json: what pods and nodes use as Go's own packages write it, in JSON, YAML and protobuf. The
// adapter's tests make the same objects and compare byte by byte. Run with `go run ./golden/resource` in e2e/go.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// sample is one object in every encoding. Protobuf is base64, as encoding/json writes bytes.
type sample struct {
	Name     string `json:"name"`
	JSON     string `json:"json"`
	YAML     string `json:"yaml"`
	Protobuf []byte `json:"protobuf"`
}

var (
	// 2026-01-02T03:04:05Z, when the answer is made
	now = metav1.NewTime(time.Unix(1_767_323_045, 0).UTC())
	// 2026-01-02T03:03:45Z
	then = metav1.NewTime(time.Unix(1_767_323_025, 0).UTC())
)

func main() {
	scheme := runtime.NewScheme()
	utilruntime.Must(metrics.AddToScheme(scheme))
	codecs := serializer.NewCodecFactory(scheme)
	samples := []sample{
		write(codecs, "pods", &metrics.PodMetricsList{Items: []metrics.PodMetrics{web(), bare()}}),
		write(codecs, "no pods", &metrics.PodMetricsList{Items: []metrics.PodMetrics{}}),
		write(codecs, "pod", pointer(web())),
		write(codecs, "nodes", &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{node()}}),
		write(codecs, "node", pointer(node())),
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	utilruntime.Must(encoder.Encode(samples))
}

func web() metrics.PodMetrics {
	return metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-1", Namespace: "shop", CreationTimestamp: now, Labels: map[string]string{"app": "web", "a/empty": ""},
		},
		Timestamp: then,
		Window:    metav1.Duration{Duration: 90250 * time.Millisecond},
		Containers: []metrics.ContainerMetrics{
			{Name: "main", Usage: usage(resource.NewScaledQuantity(123_456_789, resource.Nano), 20<<20)},
			{Name: "proxy", Usage: usage(resource.NewScaledQuantity(0, resource.Nano), 1536)},
		},
	}
}

func bare() metrics.PodMetrics {
	return metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: "web-2", Namespace: "shop", CreationTimestamp: now},
		Timestamp:  then,
		Window:     metav1.Duration{Duration: 15 * time.Second},
		Containers: []metrics.ContainerMetrics{{Name: "main", Usage: usage(resource.NewScaledQuantity(500, resource.Milli), 0)}},
	}
}

func node() metrics.NodeMetrics {
	return metrics.NodeMetrics{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n1", CreationTimestamp: now, Labels: map[string]string{"kubernetes.io/os": "linux"},
		},
		Timestamp: then,
		Window:    metav1.Duration{Duration: time.Hour},
		Usage:     usage(resource.NewScaledQuantity(3, 0), 32_000_000_001),
	}
}

// usage is in the formats of metrics-server: cores in decimal, bytes in binary.
func usage(cpu *resource.Quantity, memory int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *cpu,
		corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
	}
}

func write(codecs serializer.CodecFactory, name string, object runtime.Object) sample {
	written := sample{Name: name}
	for _, info := range codecs.SupportedMediaTypes() {
		var bytes bytes.Buffer
		utilruntime.Must(codecs.EncoderForVersion(info.Serializer, metrics.SchemeGroupVersion).Encode(object, &bytes))
		switch info.MediaType {
		case runtime.ContentTypeJSON:
			written.JSON = bytes.String()
		case runtime.ContentTypeYAML:
			written.YAML = bytes.String()
		case runtime.ContentTypeProtobuf:
			written.Protobuf = bytes.Bytes()
		}
	}
	return written
}

func pointer[T any](value T) *T { return &value }
