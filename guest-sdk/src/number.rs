//! Numbers: from Rust's own, and from text without losing a digit.

use std::str::FromStr;

use crate::{Number, Quantity};

/// Why a text is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNumberError {
    /// It has no digits, or something among them.
    #[error("`{0}` is no number; write a Kubernetes quantity such as 42, 2500m, 1.5Gi or 1e3")]
    NotANumber(String),
    /// What stands behind the digits is not a suffix of Kubernetes quantities.
    #[error(
        "`{text}` ends in `{suffix}`; a quantity's suffix is one of n u m k M G T P E Ki Mi Gi Ti Pi Ei or e with an exponent"
    )]
    UnknownSuffix {
        /// The whole text.
        text: String,
        /// Its end.
        suffix: String,
    },
    /// It has more digits, or a larger exponent, than a quantity can hold.
    #[error("`{0}` is out of range; a quantity holds 18 significant digits and powers of ten up to 127")]
    OutOfRange(String),
}

/// A Kubernetes quantity as text (k8s.io/apimachinery resource.ParseQuantity): `42`, `-0.5`, `2500m`, `1.5Gi`, `1e3`. A
/// fraction with more digits than a quantity holds is rounded away from zero; nothing else is rounded.
impl FromStr for Quantity {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, ParseNumberError> {
        let not_a_number = || ParseNumberError::NotANumber(text.to_owned());
        let out_of_range = || ParseNumberError::OutOfRange(text.to_owned());

        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (decimal, suffix) = unsigned.split_at(end);
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(not_a_number());
        }
        let fraction = fraction.trim_end_matches('0');
        let mut digits: i128 = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            let digit = digit.to_digit(10).ok_or_else(not_a_number)?;
            digits = digits.checked_mul(10).and_then(|d| d.checked_add(digit.into())).ok_or_else(out_of_range)?;
        }
        let (factor, suffix_exponent) = scale(suffix)
            .ok_or_else(|| ParseNumberError::UnknownSuffix { text: text.to_owned(), suffix: suffix.to_owned() })?;
        let digits = digits.checked_mul(if negative { -factor } else { factor }).ok_or_else(out_of_range)?;
        let fraction_digits = i32::try_from(fraction.len()).map_err(|_| out_of_range())?;
        let exponent = suffix_exponent.checked_sub(fraction_digits).ok_or_else(out_of_range)?;
        Quantity::fit(digits, exponent).ok_or_else(out_of_range)
    }
}

impl Quantity {
    /// `digits` times ten to the power of `exponent`, in the record's range. Where the digits are too many, the last of a
    /// fraction are rounded away from zero, as Kubernetes rounds; a whole number that does not fit is none.
    pub fn fit(mut digits: i128, mut exponent: i32) -> Option<Self> {
        if digits == 0 {
            return Some(Self { digits: 0, exponent: 0 });
        }
        loop {
            if let (Ok(digits), Ok(exponent)) = (i64::try_from(digits), i8::try_from(exponent)) {
                return Some(Self { digits, exponent });
            }
            if exponent > i32::from(i8::MAX) {
                digits = digits.checked_mul(10)?;
                exponent -= 1;
                continue;
            }
            let remainder = digits % 10;
            if remainder != 0 && exponent >= 0 {
                return None;
            }
            digits = digits / 10 + remainder.signum();
            exponent += 1;
        }
    }
}

/// As [`Quantity`] is read; a whole number that fits becomes an integer.
impl FromStr for Number {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, ParseNumberError> {
        let quantity: Quantity = text.parse()?;
        let whole = u32::try_from(quantity.exponent)
            .ok()
            .and_then(|exponent| quantity.digits.checked_mul(10_i64.checked_pow(exponent)?));
        Ok(whole.map_or(Number::Exact(quantity), Number::Integer))
    }
}

impl Number {
    /// The nearest float, for reckoning; what is answered should stay in its own form.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Integer(value) => value as f64,
            Number::Float(value) => value,
            // The standard library reads decimals to the nearest float; multiplying by a power of ten would not.
            Number::Exact(Quantity { digits, exponent }) => format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::Integer(value)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Number::Integer(value.into())
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Number::Integer(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::Float(value)
    }
}

impl From<Quantity> for Number {
    fn from(value: Quantity) -> Self {
        Number::Exact(value)
    }
}

/// A suffix's factor and its power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 0));
    match suffix {
        "" => Some((1, 0)),
        "n" => Some((1, -9)),
        "u" => Some((1, -6)),
        "m" => Some((1, -3)),
        "k" => Some((1, 3)),
        "M" => Some((1, 6)),
        "G" => Some((1, 9)),
        "T" => Some((1, 12)),
        "P" => Some((1, 15)),
        "E" => Some((1, 18)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => Some((1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(digits: i64, exponent: i8) -> Quantity {
        Quantity { digits, exponent }
    }

    #[test]
    fn every_suffix_reads_exactly() {
        for (text, expected) in [
            ("0", exact(0, 0)),
            ("-0.000", exact(0, 0)),
            ("42", exact(42, 0)),
            ("+42", exact(42, 0)),
            ("-0.50", exact(-5, -1)),
            (".5", exact(5, -1)),
            ("5.", exact(5, 0)),
            ("7n", exact(7, -9)),
            ("7u", exact(7, -6)),
            ("2500m", exact(2500, -3)),
            ("1.5k", exact(15, 2)),
            ("1M", exact(1, 6)),
            ("1G", exact(1, 9)),
            ("1T", exact(1, 12)),
            ("1P", exact(1, 15)),
            ("1E", exact(1, 18)),
            ("1Ki", exact(1024, 0)),
            ("1.5Mi", exact(15_728_640, -1)),
            ("1Gi", exact(1 << 30, 0)),
            ("1Ti", exact(1 << 40, 0)),
            ("1Pi", exact(1 << 50, 0)),
            ("-4Ei", exact(-(4 << 60), 0)),
            ("1e3", exact(1, 3)),
            ("12E-2", exact(12, -2)),
            ("9223372036854775807", exact(i64::MAX, 0)),
            ("100000000000000000000", exact(1_000_000_000_000_000_000, 2)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        parsed: Vec<Row>,
    }

    /// What k8s.io/apimachinery makes of a text; the adapter's tests compare with the same table.
    #[derive(serde::Deserialize)]
    struct Row {
        text: String,
        error: Option<String>,
        #[serde(default)]
        canonical: String,
        #[serde(default)]
        milli: String,
    }

    #[test]
    fn texts_read_as_in_kubernetes_or_not_at_all() {
        /// Behind a binary suffix Go cuts a number to this.
        const MOST: &str = "9223372036854775807";
        let golden: Golden =
            serde_json::from_str(include_str!("../../host/tests/golden/quantities.json")).expect("a golden table");
        for Row { text, error, canonical, milli } in golden.parsed {
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            match (text.parse::<Quantity>(), error) {
                (Err(_), Some(_)) => {}
                // Go takes missing digits for 0.
                (Err(ParseNumberError::NotANumber(_)), None) => {
                    assert!(!text.starts_with(|c: char| c.is_ascii_digit()) && milli == "0", "{text}");
                }
                (Err(ParseNumberError::OutOfRange(_)), None) => {
                    assert!(digits > 15 || text.contains(['e', 'E']) || canonical.ends_with(MOST), "{text}");
                }
                // What is longer may be rounded here already.
                (Ok(quantity), None) if milli.len() <= 18 && !canonical.ends_with(MOST) => {
                    assert_eq!(thousandths(quantity), milli.parse().ok(), "{text}");
                }
                (Ok(_), None) => {}
                (outcome, error) => panic!("{text}: {outcome:?}, Go says {error:?}"),
            }
        }
    }

    /// Rounded up, away from zero; `None` beyond 2^127.
    fn thousandths(Quantity { digits, exponent }: Quantity) -> Option<i128> {
        let power = 10_i128.checked_pow((i32::from(exponent) + 3).unsigned_abs());
        let digits = i128::from(digits);
        if exponent >= -3 {
            return digits.checked_mul(power?);
        }
        let Some(power) = power else { return Some(digits.signum()) };
        Some(digits / power + (digits % power).signum())
    }

    #[test]
    fn a_fraction_rounds_away_from_zero_only_where_it_must() {
        assert_eq!("12345678901.123456789012".parse(), Ok(exact(1_234_567_890_112_345_679, -8)));
        assert_eq!("0.1234567890123".parse(), Ok(exact(1_234_567_890_123, -13)));
        assert_eq!("0.12345678901234567890123".parse(), Ok(exact(1_234_567_890_123_456_790, -19)));
        assert_eq!("1e-200".parse(), Ok(exact(1, -128)));
        assert_eq!("-1e-200".parse(), Ok(exact(-1, -128)));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_the_text() {
        for text in ["", "-", ".", "x", "1.2.3", "--1", "NaN", "1,5"] {
            let error = text.parse::<Quantity>().unwrap_err();
            assert!(!matches!(error, ParseNumberError::OutOfRange(_)), "{text}: {error}");
            assert!(error.to_string().starts_with(&format!("`{text}`")), "{error}");
        }
        for text in ["1 k", "1K", "1kk", "1e", "1e1.5", "1mi"] {
            assert!(matches!(text.parse::<Quantity>(), Err(ParseNumberError::UnknownSuffix { .. })), "{text}");
        }
        for text in ["12345678901234567891", "1e400", "1e99999999999", &"9".repeat(60)] {
            assert!(
                matches!(
                    text.parse::<Quantity>(),
                    Err(ParseNumberError::OutOfRange(_) | ParseNumberError::UnknownSuffix { .. })
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn whole_numbers_become_integers() {
        assert_eq!("3k".parse(), Ok(Number::Integer(3_000)));
        assert_eq!("10E".parse(), Ok(Number::Exact(exact(10, 18))));
        assert_eq!("0.1".parse(), Ok(Number::Exact(exact(1, -1))));
    }

    #[test]
    fn floats_are_the_nearest() {
        assert_eq!(Number::Exact(exact(1, -1)).to_f64(), 0.1);
        assert_eq!(Number::Exact(exact(3, -1)).to_f64(), 0.3);
        assert_eq!(Number::Integer(7).to_f64(), 7.0);
    }
}
