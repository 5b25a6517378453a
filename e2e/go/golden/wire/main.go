// Writes the documents that the adapter's tests compare with, byte by byte.
package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/yaml"
)

func main() {
	text, _ := yaml.Marshal(v1beta2.MetricValue{DescribedObject: v1.ObjectReference{Name: "p"}})
	fmt.Println(string(text))
}
