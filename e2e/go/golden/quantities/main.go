// Writes the table of quantities that the adapter's tests compare with.
package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

func main() { fmt.Println(resource.MustParse("1")) }
