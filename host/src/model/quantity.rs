//! Kubernetes quantities: parse and print as `resource.Quantity` of k8s.io/apimachinery does, to the nano.

use std::{fmt, str::FromStr};

/// Nanos of one.
const ONE: i128 = 1_000_000_000;
/// The largest amount that Go's Quantity keeps: 2^63 - 1 whole units; larger ones are cut to it.
const MAX: i128 = i64::MAX as i128 * ONE;

/// A decimal number to nine digits after the point, rounded up, away from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text or number is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not of the grammar.
    #[error(
        "`{0}` is not a Kubernetes quantity; write a number with an optional suffix, as in `2500m`, `1.5` or `64Mi`"
    )]
    Syntax(String),
    /// NaN or an infinity.
    #[error("{0} is not a number that Kubernetes can carry; answer `unavailable` where there is no value")]
    NotFinite(String),
}

impl Quantity {
    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self { nanos: i128::from(value) * ONE }
    }

    /// `digits` times ten to the power of `exponent`.
    pub fn decimal(digits: i128, exponent: i32) -> Self {
        let shift = exponent.saturating_add(9);
        let nanos = if shift >= 0 {
            // 10^39 is beyond i128, and beyond MAX for any digit but 0.
            let factor = 10_i128.checked_pow(shift.unsigned_abs());
            factor.and_then(|factor| digits.checked_mul(factor)).unwrap_or(digits.signum() * MAX)
        } else {
            match 10_i128.checked_pow(shift.unsigned_abs()) {
                Some(divisor) => divide_away_from_zero(digits, divisor),
                None => digits.signum(),
            }
        };
        Self { nanos: nanos.clamp(-MAX, MAX) }
    }

    /// The nano nearest to `value`, so that binary noise (0.1 + 0.2) does not show, but 0 for 0 alone; an error for NaN and
    /// infinities.
    pub fn float(value: f64) -> Result<Self, InvalidQuantity> {
        if !value.is_finite() {
            return Err(InvalidQuantity::NotFinite(value.to_string()));
        }
        // Printed to nine digits, exactly: a float times 1e9 would round twice.
        let text = format!("{value:.9}");
        let rounded = decimal_text(&text).map_or(value.signum() as i128 * MAX, |(digits, _)| digits);
        let nanos = if rounded == 0 && value != 0.0 { value.signum() as i128 } else { rounded };
        Ok(Self { nanos: nanos.clamp(-MAX, MAX) })
    }

    /// The amount in nanos.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The amount in whole units, rounded up, away from zero (`Quantity.Value` in Go).
    pub fn units(self) -> i64 {
        i64::try_from(divide_away_from_zero(self.nanos, ONE)).unwrap_or(if self.nanos < 0 {
            i64::MIN
        } else {
            i64::MAX
        })
    }
}

fn divide_away_from_zero(number: i128, divisor: i128) -> i128 {
    let rest = number % divisor;
    number / divisor + if rest == 0 { 0 } else { number.signum() }
}

/// The digits of `1.50` as 150 and its scale 2. `None` for anything but digits with at most one point, or too many digits.
fn decimal_text(text: &str) -> Option<(i128, i32)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits: i128 = 0;
    let mut scale: i32 = 0;
    for (position, character) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = i128::from(character.to_digit(10)?);
        digits = digits.checked_mul(10)?.checked_add(digit)?;
        if position >= whole.len() {
            scale += 1;
        }
    }
    Some((if negative { -digits } else { digits }, scale))
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    /// `<sign><digits><suffix>`: binary suffixes Ki to Ei, decimal ones n to E, or an exponent.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || InvalidQuantity::Syntax(text.to_owned());
        let split = text
            .char_indices()
            .find(|(position, character)| {
                !(character.is_ascii_digit() || *character == '.' || (*position == 0 && matches!(character, '+' | '-')))
            })
            .map_or(text.len(), |(position, _)| position);
        let (number, suffix) = text.split_at_checked(split).ok_or_else(syntax)?;
        let (digits, scale) = decimal_text(number).ok_or_else(syntax)?;
        let exponent = match suffix {
            "n" => -9,
            "u" => -6,
            "m" => -3,
            "" => 0,
            "k" => 3,
            "M" => 6,
            "G" => 9,
            "T" => 12,
            "P" => 15,
            "E" => 18,
            "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => return Ok(binary(digits, scale, suffix)),
            _ => {
                let power = suffix.strip_prefix(['e', 'E']).ok_or_else(syntax)?;
                power.parse::<i8>().map_err(|_| syntax())?.into()
            }
        };
        Ok(Self::decimal(digits, exponent - scale))
    }
}

fn binary(digits: i128, scale: i32, suffix: &str) -> Quantity {
    let shift = match suffix {
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        "Pi" => 50,
        _ => 60,
    };
    match digits.checked_mul(1_i128 << shift) {
        Some(digits) => Quantity::decimal(digits, -scale),
        None => Quantity { nanos: digits.signum() * MAX },
    }
}

impl fmt::Display for Quantity {
    /// The canonical decimal form: no fraction, and the largest suffix that loses no digit.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mantissa = self.nanos;
        let mut suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].into_iter();
        let mut suffix = suffixes.next().unwrap_or_default();
        if mantissa == 0 {
            return formatter.write_str("0");
        }
        while mantissa % 1000 == 0 {
            let Some(next) = suffixes.next() else { break };
            mantissa /= 1000;
            suffix = next;
        }
        write!(formatter, "{mantissa}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn texts_print_in_canonical_form() {
        for (text, expected) in [
            ("0", "0"),
            ("0m", "0"),
            ("10.5", "10500m"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("+1", "1"),
            (".5", "500m"),
            ("1.", "1"),
            ("1e3", "1k"),
            ("1E3", "1k"),
            ("1E", "1E"),
            ("-2500m", "-2500m"),
            ("64Mi", "67108864"),
            ("0.5Ki", "512"),
            ("0.0000000001", "1n"),
            ("-0.0000000001", "-1n"),
            ("1e100", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "-", ".", "1x", "1 ", "1.2.3", "1Mib", "e3", "1e", "--1", "1e999", "ten"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn floats_carry_no_binary_noise() {
        for (value, expected) in [
            (0.1, "100m"),
            (0.1 + 0.2, "300m"),
            (1e-12, "1n"),
            (2.5, "2500m"),
            (-0.0, "0"),
            (1e300, "9223372036854775807"),
        ] {
            assert_eq!(Quantity::float(value).unwrap().to_string(), expected, "{value}");
        }
        assert!(Quantity::float(f64::NAN).is_err());
        assert!(Quantity::float(f64::NEG_INFINITY).is_err());
    }

    #[test]
    fn decimals_saturate_and_round_away_from_zero() {
        assert_eq!(Quantity::decimal(2500, -3).to_string(), "2500m");
        assert_eq!(Quantity::decimal(1, -128).to_string(), "1n");
        assert_eq!(Quantity::decimal(-1, 127).to_string(), "-9223372036854775807");
        assert_eq!(Quantity::decimal(0, 127).to_string(), "0");
        assert_eq!(Quantity::integer(i64::MIN).units(), i64::MIN);
        assert_eq!(Quantity::decimal(15, -1).units(), 2);
    }
}
