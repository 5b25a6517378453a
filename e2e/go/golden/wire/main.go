// Writes host/tests/golden/wire.json: objects of the served APIs as Go's own packages write them, in each encoding of the apiserver's
// serializer. The adapter's tests make the same objects and compare byte by byte. Run with `go run ./golden/wire` in e2e/go.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	custom1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	custom2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
)

// sample is one object in every encoding. Protobuf is base64, as encoding/json writes bytes.
type sample struct {
	Name     string `json:"name"`
	JSON     string `json:"json"`
	Pretty   string `json:"pretty"`
	YAML     string `json:"yaml"`
	Protobuf []byte `json:"protobuf,omitempty"`
}

var (
	// 2026-01-02T03:04:05Z
	then   = metav1.NewTime(time.Unix(1_767_323_045, 0).UTC())
	minute = int64(60)
	zero   = int64(0)
)

func main() {
	scheme := runtime.NewScheme()
	utilruntime.Must(custom1.AddToScheme(scheme))
	utilruntime.Must(custom2.AddToScheme(scheme))
	utilruntime.Must(external.AddToScheme(scheme))
	utilruntime.Must(apidiscovery.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	utilruntime.Must(metav1.AddMetaToScheme(scheme))
	codecs := serializer.NewCodecFactory(scheme)

	var samples []sample
	for _, object := range objects() {
		samples = append(samples, write(codecs, object.name, object.groupVersion, object.object))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	utilruntime.Must(encoder.Encode(samples))
}

func write(codecs serializer.CodecFactory, name string, groupVersion schema.GroupVersion, object runtime.Object) sample {
	written := sample{Name: name}
	for _, info := range codecs.SupportedMediaTypes() {
		text := func(serializer runtime.Serializer) []byte {
			var buffer bytes.Buffer
			utilruntime.Must(codecs.EncoderForVersion(serializer, groupVersion).Encode(object, &buffer))
			return buffer.Bytes()
		}
		switch info.MediaType {
		case runtime.ContentTypeJSON:
			written.JSON, written.Pretty = string(text(info.Serializer)), string(text(info.PrettySerializer))
		case runtime.ContentTypeYAML:
			written.YAML = string(text(info.Serializer))
		case runtime.ContentTypeProtobuf:
			// The apiserver never writes tables in protobuf: they have no generated code for it.
			if _, isTable := object.(*metav1.Table); !isTable {
				written.Protobuf = text(info.Serializer)
			}
		}
	}
	return written
}

type named struct {
	name         string
	groupVersion schema.GroupVersion
	object       runtime.Object
}

func objects() []named {
	v1 := schema.GroupVersion{Version: "v1"}
	all := []named{
		{"external: no values", external.SchemeGroupVersion, &external.ExternalMetricValueList{Items: []external.ExternalMetricValue{}}},
		{"external: values", external.SchemeGroupVersion, externalValues()},
		{"custom v1beta1: no values", custom1.SchemeGroupVersion, &custom1.MetricValueList{Items: []custom1.MetricValue{}}},
		{"custom v1beta2: no values", custom2.SchemeGroupVersion, &custom2.MetricValueList{Items: []custom2.MetricValue{}}},
	}
	for _, selector := range selectors() {
		all = append(all,
			named{"custom v1beta1: " + selector.name, custom1.SchemeGroupVersion, customV1Beta1(selector.selector)},
			named{"custom v1beta2: " + selector.name, custom2.SchemeGroupVersion, customV1Beta2(selector.selector)})
	}
	for _, status := range statuses() {
		all = append(all, named{"status: " + string(status.Reason) + " " + status.Message, v1, &status})
	}
	all = append(all,
		named{"resources", v1, resources()},
		named{"group", v1, ptr(group())},
		named{"groups", v1, &metav1.APIGroupList{Groups: []metav1.APIGroup{group()}}},
		named{"aggregated", apidiscovery.SchemeGroupVersion, aggregated()},
		named{"table: metadata", metav1.SchemeGroupVersion, table(&partial().Items[0], "p", "10500m")},
		named{"table: none", metav1.SchemeGroupVersion, table(nil, "n1", "42")},
		named{"partial metadata", metav1.SchemeGroupVersion, partial()},
	)
	return all
}

func ptr[T any](value T) *T { return &value }

// Every shape of labels, window, time and quantity.
func externalValues() *external.ExternalMetricValueList {
	value := func(quantity string, window *int64, time metav1.Time, labels map[string]string) external.ExternalMetricValue {
		return external.ExternalMetricValue{MetricName: "queue_ready", MetricLabels: labels, Timestamp: time, WindowSeconds: window, Value: resource.MustParse(quantity)}
	}
	return &external.ExternalMetricValueList{Items: []external.ExternalMetricValue{
		value("42", nil, then, map[string]string{}),
		value("10.5", &minute, then, map[string]string{"a": "", "b": "x<y>&z", "c/d": "ü\u2028 \"quoted\""}),
		value("-3", &zero, then, map[string]string{"no": "yes", "number": "0x1f", "time": "2026-01-02", "null": "~", "dash": "- x"}),
		value("1n", nil, metav1.NewTime(time.Unix(0, 0).UTC()), map[string]string{"lines": "a\nb"}),
		value("-1.5u", nil, metav1.Time{}, map[string]string{"key": "a: b", "other": "#c"}),
		value("9223372036854775807", nil, then, map[string]string{"k": "v"}),
		value("0", nil, then, map[string]string{"long": "words and words and words and words and words and words and words and words and words and words"}),
	}}
}

type namedSelector struct {
	name     string
	selector *metav1.LabelSelector
}

func selectors() []namedSelector {
	return []namedSelector{
		{"no selector", nil},
		{"labels", &metav1.LabelSelector{MatchLabels: map[string]string{"verb": "GET", "zone": ""}}},
		{"expressions", &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "code", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"500", "503"}},
			{Key: "gone", Operator: metav1.LabelSelectorOpDoesNotExist},
			{Key: "path", Operator: metav1.LabelSelectorOpExists},
			{Key: "verb", Operator: metav1.LabelSelectorOpIn, Values: []string{"GET", "PUT"}},
		}}},
		{"both", &metav1.LabelSelector{
			MatchLabels:      map[string]string{"verb": "GET"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "path", Operator: metav1.LabelSelectorOpExists}},
		}},
	}
}

// A pod and a node, whose reference has no namespace.
func references() []corev1.ObjectReference {
	return []corev1.ObjectReference{
		{Kind: "Pod", Namespace: "ns", Name: "p", APIVersion: "/v1"},
		{Kind: "Node", Name: "n1", APIVersion: "/v1"},
	}
}

func customV1Beta1(selector *metav1.LabelSelector) *custom1.MetricValueList {
	list := &custom1.MetricValueList{}
	for _, reference := range references() {
		list.Items = append(list.Items, custom1.MetricValue{
			DescribedObject: reference, MetricName: "qps", Timestamp: then, WindowSeconds: &minute, Value: resource.MustParse("10.5"), Selector: selector,
		})
	}
	return list
}

func customV1Beta2(selector *metav1.LabelSelector) *custom2.MetricValueList {
	list := &custom2.MetricValueList{}
	for _, reference := range references() {
		list.Items = append(list.Items, custom2.MetricValue{
			DescribedObject: reference, Metric: custom2.MetricIdentifier{Name: "qps", Selector: selector}, Timestamp: then, Value: resource.MustParse("10.5"),
		})
	}
	return list
}

func statuses() []metav1.Status {
	failure := func(code int32, reason metav1.StatusReason, message string, details *metav1.StatusDetails) metav1.Status {
		return metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message, Details: details}
	}
	return []metav1.Status{
		failure(400, metav1.StatusReasonBadRequest, "plugin shop/queue: it broke", nil),
		failure(401, metav1.StatusReasonUnauthorized, "Unauthorized", nil),
		failure(403, metav1.StatusReasonForbidden,
			`pods.custom.metrics.k8s.io "*" is forbidden: User "x" cannot get resource "pods/qps" in API group "custom.metrics.k8s.io" in the namespace "ns"`,
			&metav1.StatusDetails{Name: "*", Group: "custom.metrics.k8s.io", Kind: "pods"}),
		failure(403, metav1.StatusReasonForbidden, `forbidden: User "x" cannot get path "/x"`, &metav1.StatusDetails{}),
		failure(404, metav1.StatusReasonNotFound, "the server could not find the metric qps for pods", nil),
		failure(405, metav1.StatusReasonMethodNotAllowed, "the server does not allow this method on the requested resource", &metav1.StatusDetails{}),
		failure(405, metav1.StatusReasonMethodNotAllowed, `watch is not supported on resources of kind "*.external.metrics.k8s.io"`,
			&metav1.StatusDetails{Group: "external.metrics.k8s.io", Kind: "*"}),
		failure(406, metav1.StatusReasonNotAcceptable,
			"only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf", nil),
		failure(429, metav1.StatusReasonTooManyRequests, "plugin shop/queue: it broke", nil),
		failure(500, metav1.StatusReasonInternalError, "Internal error occurred: plugin shop/queue: it broke",
			&metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: "plugin shop/queue: it broke"}}}),
		failure(503, metav1.StatusReasonServiceUnavailable, "plugin shop/queue: it broke", nil),
		// As NewTimeoutError makes it.
		failure(504, metav1.StatusReasonTimeout, "Timeout: plugin shop/queue: it broke", &metav1.StatusDetails{}),
	}
}

func resources() *metav1.APIResourceList {
	return &metav1.APIResourceList{GroupVersion: "custom.metrics.k8s.io/v1beta2", APIResources: []metav1.APIResource{
		{Name: "nodes/load", Namespaced: false, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}},
		{Name: "pods/qps", Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}},
	}}
}

func group() metav1.APIGroup {
	version := func(version string) metav1.GroupVersionForDiscovery {
		return metav1.GroupVersionForDiscovery{GroupVersion: "custom.metrics.k8s.io/" + version, Version: version}
	}
	return metav1.APIGroup{
		Name:             "custom.metrics.k8s.io",
		Versions:         []metav1.GroupVersionForDiscovery{version("v1beta2"), version("v1beta1")},
		PreferredVersion: version("v1beta2"),
	}
}

func aggregated() *apidiscovery.APIGroupDiscoveryList {
	kind := func(kind string) *metav1.GroupVersionKind { return &metav1.GroupVersionKind{Kind: kind} }
	return &apidiscovery.APIGroupDiscoveryList{Items: []apidiscovery.APIGroupDiscovery{{
		ObjectMeta: metav1.ObjectMeta{Name: "custom.metrics.k8s.io"},
		Versions: []apidiscovery.APIVersionDiscovery{{
			Version:   "v1beta2",
			Freshness: apidiscovery.DiscoveryFreshnessCurrent,
			Resources: []apidiscovery.APIResourceDiscovery{{
				Resource: "pods", ResponseKind: kind(""), Scope: apidiscovery.ScopeNamespace, Verbs: []string{},
				Subresources: []apidiscovery.APISubresourceDiscovery{{Subresource: "qps", ResponseKind: kind("MetricValueList"), Verbs: []string{"get"}}},
			}},
		}},
	}}}
}

func metadata() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "p", Namespace: "ns", CreationTimestamp: then, Labels: map[string]string{"app": "web", "zone": ""}}
}

func partial() *metav1.PartialObjectMetadataList {
	return &metav1.PartialObjectMetadataList{Items: []metav1.PartialObjectMetadata{
		{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: metadata()},
		{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
	}}
}

func table(object runtime.Object, cells ...any) *metav1.Table {
	return &metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: "who"},
			{Name: "Value", Type: "string", Description: "how much"},
		},
		Rows: []metav1.TableRow{{Cells: cells, Object: runtime.RawExtension{Object: object}}},
	}
}
