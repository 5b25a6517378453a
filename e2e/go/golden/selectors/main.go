// Prints host/tests/golden/selectors.json: what k8s.io/apimachinery `pkg/labels` and `pkg/apis/meta/v1` make of label selectors.
// The same bytes at each run: what looks random comes from a fixed seed.
package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"wasm-metrics-adapter.io/e2e/go/golden/table"
)

// requirement is a labels.Requirement. `=`, `==` and `!=` are told apart from `in` and `notin` here.
type requirement struct {
	Key      string             `json:"key"`
	Operator selection.Operator `json:"operator"`
	Values   []string           `json:"values,omitempty"`
}

// parsed is what labels.Parse makes of a text: an error, or requirements and how they are printed.
type parsed struct {
	Text         string        `json:"text"`
	Error        string        `json:"error,omitempty"`
	Printed      string        `json:"printed,omitempty"`
	Requirements []requirement `json:"requirements,omitempty"`
	// What metav1.ParseToLabelSelector makes of a text that is a selector.
	LabelSelector      *metav1.LabelSelector `json:"labelSelector,omitempty"`
	LabelSelectorError string                `json:"labelSelectorError,omitempty"`
}

// validated is what labels.NewRequirement says to a requirement.
type validated struct {
	requirement
	Error string `json:"error,omitempty"`
}

// matched is whether a selector matches labels.
type matched struct {
	Text    string     `json:"text"`
	Labels  labels.Set `json:"labels"`
	Matches bool       `json:"matches"`
}

func main() {
	random := rand.New(rand.NewPCG(3, 36))
	var good []string
	var parsedRows []parsed
	for _, text := range texts(random) {
		row := parse(text)
		parsedRows = append(parsedRows, row)
		if row.Error == "" {
			good = append(good, text)
		}
	}
	table.Print(
		table.Of("parsed", parsedRows), table.Of("validated", validations()), table.Of("matched", matches(good, random)),
	)
}

func parse(text string) parsed {
	selector, err := labels.Parse(text)
	if err != nil {
		return parsed{Text: text, Error: err.Error()}
	}
	row := parsed{Text: text, Printed: selector.String()}
	requirements, _ := selector.Requirements()
	for _, one := range requirements {
		row.Requirements = append(row.Requirements, requirement{one.Key(), one.Operator(), one.Values().List()})
	}
	row.LabelSelector, err = metav1.ParseToLabelSelector(text)
	if err != nil {
		row.LabelSelectorError = err.Error()
	}
	return row
}

var keys = []string{
	"app", "a.b/c", "A-1_b.C", "example.com/name", "", "-a", "a-", "a b", "a,b", "é", "a\u0301b", "\u0301", "a\u00a0b", "a\u200bb", "日本",
	"🙂", "\ue000", "\U000e0001", "a\"b", `a\b`, "a\tb", "a\nb", "a\x01b", "a\x7fb", "a'b", "<nil>", "/", "/a", "a/", "a/b/c", "A/b", "a_b/c",
	"-a.b/c", "a..b/c", "a.-b/c", ".a/b", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("é", 32),
	strings.Repeat("a", 253) + "/b", strings.Repeat("a", 254) + "/b", strings.Repeat("a.", 126) + "b/c", strings.Repeat("A", 254) + "/",
	strings.Repeat("x", 300) + "/" + strings.Repeat("y", 300), strings.Repeat("-", 64),
}

var values = []string{
	"", "a", "A.b_c-d", "-a", "a-", "a b", "é", "\"", `\`, "a/b", "\u0301a", "日本", strings.Repeat("v", 63), strings.Repeat("v", 64),
	strings.Repeat("-", 64), "5", "-5", "+5", "05", "5.0", "9223372036854775807", "9223372036854775808", "0x5", "5_0", "\x02",
}

func texts(random *rand.Rand) []string {
	texts := []string{
		"", "  ", "\t\r\n", "x=a", "x==a", "x!=a", "x = a", " x == a ", "x\t!=\na", "x in (a)", "x in (b,a)", "x in (b,a,b)", "x notin (z,y)",
		"x notin ( z , y )", "x notin (a)", "x", "!x", "! x", " ! x ", "x>1", "x<1", "x > 1", "x<-1", "x>+1", "x>01", "x in ()", "x in (,)",
		"x in (a,)", "x in (,a)", "x in (a,,b)", "x in (,,)", "x notin ()", "x notin (,)", "x=", "x==", "x!=", "x=,y", "x= ,y", "x!=,!y",
		"in in (in)", "notin notin (notin)", "in", "notin", "!in", "notin=notin", "in=in", "in!=notin", "in,notin", "x in (in,notin)",
		"in in(in),notin notin(notin)", "exists", "gt>1", "a.b/c=d", "a.b/c in (d)", "z,a", "z=1,a=2,m", "x=a,x=a", "x=b,x=a", "x=a,x in (a)",
		"x=a,x!=a", "x,!x", "x in (a),x in (b)", "x>1,x<5", "x>1,x>2", "a,b,c,d,e,f", "x in(a)", "x notin(a)", "x=a,y==b,z!=c", "x in (a b)",
		"=", "==", "!=", "!", "!!x", "! !x", "!=a", "(", ")", ",", ">", "<", "()", "(a)", "x=a b", "x,", "x,,y", ",x", "x,y,", "x===y", "x=!y",
		"x!==y", "x=!", "x!", "x!y", "x(", "x)", "x in a", "x in", "x notin", "x in (", "x in (a", "x in (a,", "x in (=", "x in (a,=", "x in (a=",
		"x (a)", "x in (a))", "x in ((a))", "!x=a", "!x in (a)", "!x notin (a)", "!x>1", "x>a", "x>", "x<", "x>1.5", "x>1,", "x>9223372036854775808",
		"x><1", "x>=1", "x<=1", "x=>1", "x=a,=", "x=(a)", "x in [a]", "x in {a}", "x:a", "x=a;y=b", "x&y", "x|y", "x=a&y=b", "x y", "x y z",
		"x=a in (b)", "x in in (a)", "x notin in (a)", "x in notin", "x IN (a)", "x NOTIN (a)", "x Exists", "x exists", "x gt 1", "x=\"a\"",
		"x='a'", "x=a\u00a0", "x\u00a0=a", "x\u3000=a", "x\vy", "x\f=a", "x=\x01", "x=\x1b[31m", "x=\x7f", "x=\ufeff", "x=\ufffd", "x=%20",
		"metadata.name=web", "a/b/c=d", "/=a", "a/=b", "/a=b", "kubernetes.io/hostname in (n1,n2)", "x in (" + strings.Repeat("v,", 200) + "w)",
		"a=b,foo=bar,q in (x,y-1),r notin (z),s,!u", strings.Repeat("a=b,", 12) + "a=b",
		// A zero byte ends Go's text here and there.
		"\x00", "x\x00", "x=a\x00,y=b", "x=a,\x00y=b", "x\x00=a", "x in (a\x00)",
	}
	for _, key := range keys {
		texts = append(texts, key, "!"+key+"=a", key+" in (a,-)")
	}
	for _, value := range values {
		texts = append(texts, "x="+value, "x!="+value, "x in (b,"+value+")", "x>"+value, "x<"+value)
	}
	tokens := []string{"a", "b", "in", "notin", "(", ")", ",", "=", "==", "!=", "!", ">", "<", " ", "1", "x/y", "-", "a", "b", ",", " "}
	for range 400 {
		var text strings.Builder
		for range 1 + random.IntN(9) {
			text.WriteString(tokens[random.IntN(len(tokens))])
		}
		texts = append(texts, text.String())
	}
	for range 100 {
		texts = append(texts, selector(random))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// selector is a text that is one.
func selector(random *rand.Rand) string {
	var requirements []string
	for range 1 + random.IntN(3) {
		key := []string{"a", "b", "c", "n", "x.y/z"}[random.IntN(5)]
		value := func() string { return []string{"", "1", "2", "30", "v", "w"}[random.IntN(6)] }
		requirements = append(requirements, []string{
			key, "!" + key, key + "=" + value(), key + "==" + value(), key + "!=" + value(), key + " in (" + value() + "," + value() + ")",
			key + " notin (" + value() + "," + value() + ")", key + ">" + fmt.Sprint(random.IntN(40)), key + "<" + fmt.Sprint(random.IntN(40)),
		}[random.IntN(9)])
	}
	return strings.Join(requirements, ",")
}

func validations() []validated {
	operators := []selection.Operator{
		selection.In, selection.NotIn, selection.Exists, selection.DoesNotExist, selection.GreaterThan, selection.LessThan,
	}
	var rows []validated
	row := func(key string, operator selection.Operator, values ...string) {
		one := validated{requirement: requirement{key, operator, values}}
		if _, err := labels.NewRequirement(key, operator, values); err != nil {
			one.Error = err.Error()
		}
		rows = append(rows, one)
	}
	for _, operator := range operators {
		row("x", operator, []string{}...)
		row("x", operator, "1")
		row("x", operator, "1", "2")
		row("x", operator, "a", strings.Repeat("v", 64), "é\"")
		row("-", operator, "-")
		row("a/b/c", operator, "a b", "b c")
	}
	for _, key := range keys {
		row(key, selection.Exists, []string{}...)
	}
	for _, value := range values {
		row("x.y/z", selection.In, value)
		row("x", selection.LessThan, value)
	}
	return rows
}

func matches(texts []string, random *rand.Rand) []matched {
	sets := []labels.Set{
		{}, {"a": "1"}, {"a": ""}, {"a": "v", "b": "w"}, {"a": "2", "b": "30", "c": "v", "n": "12"}, {"n": "0"}, {"n": "-3"}, {"n": "+7"},
		{"n": "007"}, {"n": "1.5"}, {"n": "9223372036854775807"}, {"n": "9223372036854775808"}, {"x.y/z": "v", "n": "twelve"}, {"A": "1"},
		{"a": "not a label's value!", "b": "日本"},
	}
	always := []string{
		"", "a", "!a", "a=1", "a==1", "a!=1", "a=", "a!=", "a in (1,2)", "a notin (1,2)", "a in (,v)", "a notin (,v)", "n>1", "n<1", "n>11", "n<13",
		"n>0", "n<0", "a=1,a=2", "a,b", "a=v,b!=w", "a notin (v),!c", "n<9223372036854775807", "n>9223372036854775806",
	}
	var rows []matched
	row := func(text string, set labels.Set) {
		selector, err := labels.Parse(text)
		if err != nil {
			panic(err)
		}
		rows = append(rows, matched{text, set, selector.Matches(set)})
	}
	for _, text := range always {
		for _, set := range sets {
			row(text, set)
		}
	}
	for range 400 {
		row(texts[random.IntN(len(texts))], sets[random.IntN(len(sets))])
	}
	return rows
}
