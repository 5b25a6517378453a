// Asks for metrics as real consumers do, with the clients of k8s.io/metrics: reads questions from standard input and writes what
// each client made of the answers to standard output, both as JSON. What is right is for the reader to say.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Question names a client and what it is to ask for.
type Question struct {
	// Client is custom (the version that discovery prefers, as the HPA controller does), custom/v1beta1, custom/v1beta2, external,
	// pods or nodes.
	Client string `json:"client"`
	// Namespace is empty for what has none.
	Namespace string `json:"namespace"`
	// Kind is that of the described objects, as Deployment.apps.
	Kind string `json:"kind"`
	// Name is that of one object; without it, Selector chooses among all.
	Name string `json:"name"`
	// Selector is of labels of objects; for external metrics, of labels of series.
	Selector string `json:"selector"`
	Metric   string `json:"metric"`
	// MetricSelector is of labels of series.
	MetricSelector string `json:"metricSelector"`
}

// Answer is what the client gave, and what came over the wire.
type Answer struct {
	Items []Item   `json:"items"`
	Error *Failure `json:"error,omitempty"`
	Wire  []Wire   `json:"wire"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "who asks, and where")
	contentType := flag.String("content-type", "", "what the clients prefer; empty leaves it to them")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = *contentType
	var questions []Question
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&questions); err != nil {
		return fmt.Errorf("the questions are not a list of them: %w", err)
	}
	answers, err := ask(config, questions)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func ask(config *rest.Config, questions []Question) ([]Answer, error) {
	recorder := &recorder{}
	config.Wrap(recorder.wrap)
	clients, err := newClients(config)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, 0, len(questions))
	for _, question := range questions {
		recorder.reset()
		items, err := clients.ask(question)
		answers = append(answers, Answer{Items: items, Error: failure(err), Wire: recorder.seen()})
	}
	return answers, nil
}
