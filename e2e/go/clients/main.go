// Asks for metrics as real consumers do: with the clients of k8s.io/metrics.
package main

import (
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/client/clientset/versioned"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"
)

var (
	_ = versioned.NewForConfig
	_ = custom_metrics.NewForConfig
	_ = external_metrics.NewForConfig
	_ = clientcmd.BuildConfigFromFlags
	_ = discovery.NewDiscoveryClient
	_ = restmapper.NewDiscoveryRESTMapper
)

func main() {}
