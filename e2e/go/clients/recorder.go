package main

import (
	"net/http"
	"strings"
	"sync"
)

// Wire is one exchange about metrics; those about discovery are left out.
type Wire struct {
	Path        string `json:"path"`
	Accept      string `json:"accept"`
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
}

// recorder notes what its transport carries.
type recorder struct {
	mutex     sync.Mutex
	exchanges []Wire
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return transport(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil && strings.Contains(request.URL.Path, "metrics.k8s.io/") {
			r.note(Wire{
				Path:        request.URL.RequestURI(),
				Accept:      request.Header.Get("Accept"),
				Status:      response.StatusCode,
				ContentType: response.Header.Get("Content-Type"),
			})
		}
		return response, err
	})
}

func (r *recorder) note(exchange Wire) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.exchanges = append(r.exchanges, exchange)
}

func (r *recorder) reset() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.exchanges = nil
}

// seen gives the exchanges since the last reset. The availability of a group version is discovery, not a metric.
func (r *recorder) seen() []Wire {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	seen := []Wire{}
	for _, exchange := range r.exchanges {
		if strings.Count(exchange.Path, "/") > 3 {
			seen = append(seen, exchange)
		}
	}
	return seen
}
