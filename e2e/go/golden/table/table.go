// Package table prints the tables of golden files: JSON with a row on a line, in ASCII, so that each difference can be seen.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Section is the rows under a name.
type Section struct {
	name string
	rows []any
}

// Of makes a section of rows.
func Of[Row any](name string, rows []Row) Section {
	section := Section{name: name}
	for _, row := range rows {
		section.rows = append(section.rows, row)
	}
	return section
}

// Print prints sections as one object.
func Print(sections ...Section) {
	var names []string
	for _, section := range sections {
		var lines []string
		for _, row := range section.rows {
			lines = append(lines, "  "+line(row))
		}
		names = append(names, fmt.Sprintf("%q: [\n%s\n]", section.name, strings.Join(lines, ",\n")))
	}
	fmt.Printf("{\n%s\n}\n", strings.Join(names, ",\n"))
}

func line(row any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row); err != nil {
		panic(err)
	}
	var ascii strings.Builder
	for _, char := range strings.TrimSuffix(text.String(), "\n") {
		if char < 0x7f {
			ascii.WriteRune(char)
			continue
		}
		for _, unit := range utf16.Encode([]rune{char}) {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return ascii.String()
}
