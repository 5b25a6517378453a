// Prints host/tests/golden/quantities.json: what k8s.io/apimachinery `pkg/api/resource` makes of texts and numbers. The same
// bytes at each run: what looks random comes from a fixed seed.
package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/inf.v0"
	"k8s.io/apimachinery/pkg/api/resource"

	"wasm-metrics-adapter.io/e2e/go/golden/table"
)

// parsed is what ParseQuantity makes of a text: an error, or a quantity.
type parsed struct {
	Text      string          `json:"text"`
	Error     string          `json:"error,omitempty"`
	Format    resource.Format `json:"format,omitempty"`
	Canonical string          `json:"canonical,omitempty"`
	// What String says where it is not the canonical form: Go hands out some texts as they came.
	Kept string `json:"kept,omitempty"`
	// The amount where the canonical form reads as another: Go has no suffix beyond E, and then prints none.
	Exact string `json:"exact,omitempty"`
	// The amount and a thousand times it, rounded up, away from zero, to a whole number.
	Units string `json:"units,omitempty"`
	Milli string `json:"milli,omitempty"`
	// What Value and MilliValue say where that is another number: they overflow an int64, and are wrong for some negative numbers.
	GoValue *int64 `json:"goValue,omitempty"`
	GoMilli *int64 `json:"goMilli,omitempty"`
}

// formatted is a quantity printed in a format that it was not parsed in.
type formatted struct {
	Text      string          `json:"text"`
	Format    resource.Format `json:"format"`
	Canonical string          `json:"canonical"`
	Exact     string          `json:"exact,omitempty"`
}

// compared is Cmp of two quantities.
type compared struct {
	One   string `json:"one"`
	Other string `json:"other"`
	Order int    `json:"order"`
}

// float is the canonical DecimalSI form of the shortest decimal that reads back as the float, at the nearest nano.
type float struct {
	Float     string `json:"float"`
	Canonical string `json:"canonical"`
	Exact     string `json:"exact,omitempty"`
}

// decimal is the canonical DecimalSI form of digits times ten to the power of exponent.
type decimal struct {
	Digits    int64  `json:"digits"`
	Exponent  int8   `json:"exponent"`
	Canonical string `json:"canonical"`
	Exact     string `json:"exact,omitempty"`
}

func main() {
	random := rand.New(rand.NewPCG(3, 36))
	texts := texts(random)
	var (
		parsedRows    []parsed
		formattedRows []formatted
		comparedRows  []compared
		floatRows     []float
		decimalRows   []decimal
	)
	var good []string
	for _, text := range texts {
		row := parse(text)
		parsedRows = append(parsedRows, row)
		if row.Error == "" {
			good = append(good, text)
		}
	}
	for _, text := range formattedTexts(good, random) {
		for _, format := range []resource.Format{resource.DecimalSI, resource.BinarySI, resource.DecimalExponent} {
			quantity := resource.MustParse(text)
			quantity.Format = format
			canonical, exact := canonical(&quantity)
			formattedRows = append(formattedRows, formatted{text, format, canonical, exact})
		}
	}
	for range 150 {
		one, other := good[random.IntN(len(good))], good[random.IntN(len(good))]
		comparedRows = append(comparedRows, compare(one, other))
	}
	for _, pair := range [][2]string{
		{"64Mi", "67108864"}, {"1k", "1e3"}, {"0", "0Ki"}, {"-0", "0"}, {"1Ki", "1k"}, {"-1", "-1n"}, {"1e300", "1e299"},
		{"1e20", "100E"}, {"-1e20", "1n"}, {"0.1", "100m"}, {"0.10000000001", "100m"}, {"1E", "1e18"},
	} {
		comparedRows = append(comparedRows, compare(pair[0], pair[1]))
	}
	for _, value := range floats(random) {
		floatRows = append(floatRows, ofFloat(value))
	}
	for _, digits := range []int64{0, 1, -1, 5, 25, 2500, 1000, 123456, 999999999, -42, math.MaxInt64, math.MinInt64} {
		for _, exponent := range []int8{-128, -27, -19, -18, -12, -10, -9, -8, -7, -6, -3, -2, -1, 0, 1, 2, 3, 5, 9, 18, 20, 21, 127} {
			quantity := resource.NewDecimalQuantity(*inf.NewDec(digits, inf.Scale(-int32(exponent))), resource.DecimalSI)
			quantity.RoundUp(resource.Nano)
			canonical, exact := canonical(quantity)
			decimalRows = append(decimalRows, decimal{digits, exponent, canonical, exact})
		}
	}
	table.Print(
		table.Of("parsed", parsedRows), table.Of("formatted", formattedRows), table.Of("compared", comparedRows),
		table.Of("floats", floatRows), table.Of("decimals", decimalRows),
	)
}

func parse(text string) parsed {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return parsed{Text: text, Error: err.Error()}
	}
	row := parsed{Text: text, Format: quantity.Format}
	row.Canonical, row.Exact = canonical(&quantity)
	if kept := quantity.String(); kept != row.Canonical {
		row.Kept = kept
	}
	// Each on its own copy: AsDec changes how a quantity is kept.
	value, milli := resource.MustParse(text), resource.MustParse(text)
	row.Units, row.GoValue = rounded(value.Value(), &value, 0)
	row.Milli, row.GoMilli = rounded(milli.MilliValue(), &milli, resource.Milli)
	return row
}

// canonical is the canonical form, and the amount in digits alone if that form reads as another.
func canonical(quantity *resource.Quantity) (string, string) {
	number, suffix := quantity.CanonicalizeBytes(nil)
	text := string(number) + string(suffix)
	read := resource.MustParse(text)
	if read.Cmp(*quantity) == 0 {
		return text, ""
	}
	return text, new(inf.Dec).Round(quantity.AsDec(), 0, inf.RoundExact).String()
}

// rounded is the quantity over ten to the power of scale as a whole number, and Go's answer if that is another.
func rounded(answer int64, quantity *resource.Quantity, scale resource.Scale) (string, *int64) {
	amount := new(inf.Dec).Set(quantity.AsDec())
	amount.SetScale(amount.Scale() + inf.Scale(scale))
	amount.Round(amount, 0, inf.RoundUp)
	if amount.Cmp(inf.NewDec(answer, 0)) != 0 {
		return amount.String(), &answer
	}
	return amount.String(), nil
}

func compare(one, other string) compared {
	first, second := resource.MustParse(one), resource.MustParse(other)
	return compared{one, other, first.Cmp(second)}
}

func ofFloat(value float64) float {
	shortest := strconv.FormatFloat(value, 'f', -1, 64)
	amount, ok := new(inf.Dec).SetString(shortest)
	if !ok {
		panic(shortest)
	}
	if amount.Scale() > 9 {
		nearest := new(inf.Dec).Round(amount, 9, inf.RoundHalfUp)
		if nearest.Sign() == 0 {
			nearest.Round(amount, 9, inf.RoundUp)
		}
		amount = nearest
	}
	canonical, exact := canonical(resource.NewDecimalQuantity(*amount, resource.DecimalSI))
	return float{strconv.FormatFloat(value, 'g', -1, 64), canonical, exact}
}

var suffixes = []string{
	"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e0", "e3", "E-2", "e+5", "e-9", "E20",
}

func texts(random *rand.Rand) []string {
	texts := []string{
		"0", "-0", "+0", "00", "0.0", "0Ki", "0e5", "000Mi", "0.000n", "1", "+1", "-1", "007", "1.", ".5", "-.5", "+.5", "1.500",
		"1.5000", "0.10", "100m", "1000m", "1500m", "1000", "1000000", "1100", "1e1", "1e2", "1e3", "1E3", "1e03", "1e+3", "1e-3",
		"12e6", "1500e-3", "1.5e1", "0.1e1", "64Mi", "1024Mi", "1536Mi", "1.5Gi", "0.5Ki", "0.0001Ki", "1.1Ki", "0.001Mi",
		"1000Ki", "1023Ki", "1024Ki", "-64Mi", "-1.5Gi", "-0.5Ki", "1Ei", "7Ei", "8Ei", "9Ei", "-9Ei", "100000000000Ei",
		"1023", "1024", "1025", "1E", "10E", "999E", "1000E", "1e18", "1e20", "1e21", "1e100", "1e300", "-1e300",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616",
		"9223372036854775", "9223372036854776", "9223372036854775807m", "9223372036854775808m", "9223372036854775807n",
		"123456789012345678", "1234567890123456789", "12345678901234567890", "1234567890.123456789", "12345678901234567890.123456789",
		"0.1", "0.01", "0.001", "0.0001", "0.000001", "0.000000001", "0.0000000001", "-0.0000000001", "1n", "0.1n", "0.9n", "1.1n",
		"-1.1n", "1e-9", "1e-10", "1e-20", "1.00000000000000000001", "0.1000000000000000000000000000000000001",
		"99999999999999999999999999999999999999", "1234567890123456789012345678.123456789",
		"-1.5", "-2500m", "-1m", "-1001m", "-1.0005", "-0.0005", "-0.00000000000000000001",
		"1000000000000000000000m", "999999999999999999999999999Ki", "1.25Ki", "3.0001Ti", "1e0", "5e00",
		// What the grammar in the documentation does not have, and Go takes.
		"-", "+", ".", "-.", "m", "k", "Ki", "-m", "+Mi", ".G", "E", "e3", "e-9", ".e-9",
		// What Go refuses.
		"", " ", " 1", "1 ", "1 k", "--1", "+-1", "1.2.3", "1..2", "1x", "x", "ten", "NaN", "Inf", "-inf", "0x10", "1_000", "1,5",
		"1kk", "1K", "1ki", "1mi", "1MI", "1Mib", "1i", "1N", "1U", "1g", "1e", "1e+", "1e-", "1E+", "1e1.5", "1e3k", "1ke3", "1m1",
		"1-1", "1+", "1-", "1EE", "1Ee3", "e-10", "-e-10", ".e-10", "+.e-12", "e", "1e99999999999999999999", "1\n", "1\t", "１", "1µ",
		"٣", "1é", "½", "1\u00a0", "quantities", "1kB", "5MB", "100%", "$5", "1e3e3",
	}
	for _, number := range []string{
		"1", "1.5", ".25", "10", "1000", "1024", "999", "1048576", "1234567.891", "-3", "-0.75", "0.0000001", "123456789012345678",
	} {
		for _, suffix := range suffixes {
			texts = append(texts, number+suffix)
		}
	}
	for range 250 {
		texts = append(texts, number(random)+suffixes[random.IntN(len(suffixes))])
	}
	const letters = "0123456789+-.eEinumkKMGTPx "
	for range 150 {
		var text strings.Builder
		for range 1 + random.IntN(6) {
			text.WriteByte(letters[random.IntN(len(letters))])
		}
		texts = append(texts, text.String())
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// number is a sign, up to 18 digits before the point and up to 12 after it.
func number(random *rand.Rand) string {
	text := []string{"", "", "-", "+"}[random.IntN(4)]
	for range 1 + random.IntN(18) {
		text += string(rune('0' + random.IntN(10)))
	}
	if random.IntN(2) == 0 {
		text += "."
		for range random.IntN(13) {
			text += string(rune('0' + random.IntN(10)))
		}
	}
	return text
}

func formattedTexts(good []string, random *rand.Rand) []string {
	texts := []string{
		"0", "1", "1000", "1023", "1024", "1025", "-1024", "1536", "1048576", "67108864", "1500m", "1024.5", "0.5", "1e18", "1Ei", "1n",
		"1000000", "1048577", "9223372036854775807", "-67108864", "1e21", "1e24", "1180591620717411303424", "-1023", "4096Ki",
	}
	for range 60 {
		texts = append(texts, good[random.IntN(len(good))])
	}
	return texts
}

func floats(random *rand.Rand) []float64 {
	point1, point2 := 0.1, 0.2
	floats := []float64{
		0, math.Copysign(0, -1), 0.1, point1 + point2, 0.3, 1, -1, 2.5, 1.0 / 3, 2.0 / 3, 1e-9, 1e-10, 4e-10, 5e-10, 6e-10, 1e-12, 5e-324,
		-1e-12, 1.5e-9, -2.5e-9, 0.0009765625, 0.00048828125, 100, 1000, 1e6, 123456789.123456789, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
		9007199254740991, 9007199254740993, 1e21, 1e22, 1e23, 1e29, 1e300, -1e300, math.MaxFloat64, math.MaxInt64, 4503599627370497.5,
		99.99, 0.7, 1.1, 1.005, 4.35, 1234.5678, 0.000123456789, 1e-5, 3.14159265358979,
	}
	for range 100 {
		floats = append(floats, math.Round(random.Float64()*1e6)/1e3, random.NormFloat64()*math.Pow10(random.IntN(24)-12))
	}
	return floats
}
