use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// What k8s.io/apimachinery makes of texts and numbers; e2e/go/golden/quantities prints it.
#[derive(Deserialize)]
struct Golden {
    parsed: Vec<Parsed>,
    formatted: Vec<Formatted>,
    compared: Vec<Compared>,
    floats: Vec<Float>,
    decimals: Vec<Decimal>,
}

#[derive(Deserialize)]
struct Parsed {
    text: String,
    error: Option<String>,
    #[serde(default)]
    format: String,
    #[serde(default)]
    canonical: String,
    kept: Option<String>,
    exact: Option<String>,
    units: Option<String>,
    milli: Option<String>,
}

#[derive(Deserialize)]
struct Formatted {
    text: String,
    format: String,
    canonical: String,
    exact: Option<String>,
}

#[derive(Deserialize)]
struct Compared {
    one: String,
    other: String,
    order: i8,
}

#[derive(Deserialize)]
struct Float {
    float: String,
    canonical: String,
    exact: Option<String>,
}

#[derive(Deserialize)]
struct Decimal {
    digits: i64,
    exponent: i8,
    canonical: String,
    exact: Option<String>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/quantities.json")).unwrap()
}

fn parse(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn format(name: &str) -> QuantityFormat {
    match name {
        "DecimalSI" => QuantityFormat::DecimalSi,
        "BinarySI" => QuantityFormat::BinarySi,
        "DecimalExponent" => QuantityFormat::DecimalExponent,
        other => panic!("{other}"),
    }
}

/// Is printed as Go prints it; where Go's text reads as another number than the exact one, ours reads as that.
fn assert_prints(quantity: Quantity, canonical: &str, exact: Option<&str>, row: &str) {
    match exact {
        None => assert_eq!(quantity.to_string(), canonical, "{row}"),
        Some(exact) => {
            assert_ne!(parse(canonical), quantity, "{row}");
            assert_eq!(parse(exact), quantity, "{row}");
            assert_eq!(parse(&quantity.to_string()), quantity, "{row}: {quantity}");
        }
    }
}

#[test]
fn texts_are_what_they_are_to_go() {
    let rows = golden().parsed;
    assert!(rows.len() > 800);
    for row in rows {
        let text = row.text.as_str();
        let quantity = match (text.parse::<Quantity>(), row.error) {
            (Err(error), Some(expected)) => {
                assert_eq!(error.to_string(), expected, "{text:?}");
                continue;
            }
            (Ok(quantity), None) => quantity,
            (outcome, expected) => panic!("{text:?}: {outcome:?}, Go says {expected:?}"),
        };
        assert_eq!(quantity.format(), format(&row.format), "{text:?}");
        assert_prints(quantity, &row.canonical, row.exact.as_deref(), text);
        // Go hands out some texts as they came; they mean the same.
        assert_eq!(parse(&row.kept.unwrap_or(row.text.clone())), quantity, "{text:?}");
        let units = row.units.unwrap();
        let cut = if quantity < Quantity::default() { i64::MIN } else { i64::MAX };
        assert_eq!(quantity.units(), units.parse().unwrap_or(cut), "{text:?}");
        assert_eq!(quantity.milli(), row.milli.unwrap().parse().ok(), "{text:?}");
    }
}

#[test]
fn every_format_prints_as_in_go() {
    for row in golden().formatted {
        let quantity = parse(&row.text).with_format(format(&row.format));
        assert_prints(quantity, &row.canonical, row.exact.as_deref(), &format!("{} as {}", row.text, row.format));
    }
}

#[test]
fn amounts_compare_as_in_go() {
    for Compared { one, other, order } in golden().compared {
        assert_eq!(parse(&one).cmp(&parse(&other)) as i8, order, "{one} and {other}");
        assert_eq!(parse(&other).cmp(&parse(&one)) as i8, -order, "{other} and {one}");
    }
}

#[test]
fn floats_carry_no_binary_noise() {
    for row in golden().floats {
        let quantity = Quantity::float(row.float.parse().unwrap()).unwrap();
        assert_prints(quantity, &row.canonical, row.exact.as_deref(), &row.float);
    }
    for other in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Quantity::float(other), Err(InvalidQuantity::NotFinite(other.to_string())));
    }
}

#[test]
fn decimals_lose_nothing_above_a_nano() {
    for row in golden().decimals {
        let quantity = Quantity::decimal(row.digits, row.exponent);
        assert_prints(quantity, &row.canonical, row.exact.as_deref(), &format!("{}e{}", row.digits, row.exponent));
    }
}

#[test]
fn beyond_exa_the_digits_grow() {
    assert_eq!(parse("1e21").with_format(QuantityFormat::DecimalSi).to_string(), "1000E");
    assert_eq!(Quantity::float(1.25e24).unwrap().to_string(), "1250000E");
    assert_eq!(Quantity::decimal(-1, 127).to_string(), format!("-1{}E", "0".repeat(109)));
}

#[test]
fn what_would_lose_digits_is_refused() {
    let nines = "9".repeat(38);
    assert_eq!(parse(&format!("{nines}000")).to_string(), format!("{nines}k"));
    assert_eq!(parse(&format!("0.{nines}1")).to_string(), "1");
    assert_eq!(parse(&format!("0.{}1", "0".repeat(400))).to_string(), "1n");
    assert_eq!(parse("7.99999999999999Ei").units(), 9_223_372_036_854_764_279);
    assert_eq!(parse(&format!("{nines}99999999Ei")).to_string(), "9223372036854775807");
    for text in [format!("{nines}1"), format!("{nines}1.5"), format!("1.{nines}Ei"), "1e1000".into(), "1e-1000".into()]
    {
        assert_eq!(text.parse::<Quantity>(), Err(InvalidQuantity::Size), "{text}");
    }
}

#[test]
fn what_the_controller_reads_is_told_while_it_is_true() {
    for (text, milli) in [
        ("1500m", Some(1500)),
        ("1u", Some(1)),
        ("-1u", Some(-1)),
        ("9223372036854775807m", Some(i64::MAX)),
        ("-9223372036854775808m", Some(i64::MIN)),
        ("9223372036854775808m", None),
        ("1e300", None),
    ] {
        assert_eq!(parse(text).milli(), milli, "{text}");
    }
}

fn any_format() -> impl Strategy<Value = QuantityFormat> {
    prop_oneof![Just(QuantityFormat::DecimalSi), Just(QuantityFormat::BinarySi), Just(QuantityFormat::DecimalExponent)]
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    let amount = prop_oneof![
        (any::<i64>(), any::<i8>()).prop_map(|(digits, exponent)| Quantity::decimal(digits, exponent)),
        (-5000..5000_i64, -12..12_i8).prop_map(|(digits, exponent)| Quantity::decimal(digits, exponent)),
        (any::<i32>(), 0..32_u32).prop_map(|(digits, shift)| Quantity::integer(i64::from(digits) << shift)),
        prop::num::f64::NORMAL.prop_map(|value| Quantity::float(value).unwrap()),
    ];
    (amount, any_format()).prop_map(|(quantity, format)| quantity.with_format(format))
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(quantity in any_quantity()) {
        let printed = quantity.to_string();
        prop_assert_eq!(parse(&printed), quantity);
        prop_assert!(!printed.contains('.') && !printed.starts_with('+'), "{}", printed);
        // Canonical: printing it again, in the same format, changes nothing.
        prop_assert_eq!(parse(&printed).with_format(quantity.format()).to_string(), printed);
    }

    #[test]
    fn the_suffix_is_the_largest_that_loses_nothing(quantity in any_quantity()) {
        let printed = quantity.with_format(QuantityFormat::DecimalSi).to_string();
        let thousands = printed.trim_end_matches(char::is_alphabetic).ends_with("000");
        prop_assert!(!thousands || printed.ends_with('E'), "{}", printed);
    }

    #[test]
    fn order_is_that_of_the_numbers(one in (any::<i64>(), -9..9_i8), other in (any::<i64>(), -9..9_i8)) {
        // In nanos, exactly.
        let nanos = |(digits, exponent): (i64, i8)| i128::from(digits) * 10_i128.pow((exponent + 9).unsigned_abs().into());
        let quantity = |(digits, exponent)| Quantity::decimal(digits, exponent);
        prop_assert_eq!(quantity(one).cmp(&quantity(other)), nanos(one).cmp(&nanos(other)));
    }

    #[test]
    fn order_is_total(one in any_quantity(), other in any_quantity(), third in any_quantity()) {
        let mut sorted = [one, other, third];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
        prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        prop_assert_eq!(one == other, one.cmp(&other).is_eq());
    }

    #[test]
    fn rounding_is_away_from_zero(digits in any::<i64>(), exponent in -9..0_i8) {
        let quantity = Quantity::decimal(digits, exponent);
        let units = i128::from(quantity.units());
        let divisor = 10_i128.pow(exponent.unsigned_abs().into());
        prop_assert!(units.abs() * divisor >= i128::from(digits).abs());
        prop_assert!((units.abs() - 1) * divisor < i128::from(digits).abs() || digits == 0);
        prop_assert_eq!(units.signum(), i128::from(digits.signum()));
    }

    #[test]
    fn floats_are_within_half_a_nano(value in -1e6..1e6_f64) {
        let nanos = Quantity::float(value).unwrap().with_format(QuantityFormat::DecimalExponent).to_string();
        prop_assert!((nanos.parse::<f64>().unwrap() - value).abs() <= 0.5e-9 + value.abs() * f64::EPSILON);
    }

    #[test]
    fn no_text_is_too_odd(text in "[-+.0-9eEinumkKMGTP x½]{0,12}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(parse(&quantity.to_string()), quantity);
        }
    }
}
