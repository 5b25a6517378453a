// The sample adapter of sigs.k8s.io/custom-metrics-apiserver: its provider on its library, neither changed. Its own main opens
// port 8080 of every address for whoever writes values; here that port is a flag and on loopback, so that runs do not meet.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/emicklei/go-restful/v3"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/test-adapter/provider"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	adapter := &cmd.AdapterBase{Name: "test-adapter"}
	writePort := adapter.Flags().Int("write-port", 0, "loopback port at which values are written")
	if err := adapter.Flags().Parse(os.Args[1:]); err != nil {
		return err
	}
	client, err := adapter.DynamicClient()
	if err != nil {
		return err
	}
	mapper, err := adapter.RESTMapper()
	if err != nil {
		return err
	}
	metrics, values := provider.NewFakeProvider(client, mapper)
	adapter.WithCustomMetrics(metrics)
	adapter.WithExternalMetrics(metrics)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *writePort))
	if err != nil {
		return err
	}
	container := restful.NewContainer()
	container.Add(values)
	writes := &http.Server{Handler: container, ReadHeaderTimeout: 3 * time.Second}
	go func() {
		fmt.Fprintln(os.Stderr, "error: values can no longer be written:", writes.Serve(listener))
		os.Exit(1)
	}()
	return adapter.Run(context.Background())
}
