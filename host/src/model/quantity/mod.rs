//! Kubernetes quantities: parse and print as k8s.io/apimachinery `pkg/api/resource` does.
//!
//! Every number that a plugin can give is kept to the nano, whatever its size. Go keeps such numbers too, but from 10^21 on it
//! finds no decimal suffix for a round one and prints none, so that its reader takes 10^21 for 1; here the suffix stays `E`.

mod amount;
mod parse;
mod print;

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use amount::Amount;

/// A decimal number to nine digits after the point, rounded up, away from zero, and how it is printed. Quantities compare by
/// their amounts alone, as `Quantity.Cmp` of Go: `64Mi` equals `67108864`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    amount: Amount,
    format: QuantityFormat,
}

/// How a quantity is printed (`resource.Format` of Go).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuantityFormat {
    /// With powers of 1000 from `n` to `E`, as in `2500m`.
    #[default]
    DecimalSi,
    /// With powers of 1024 from `Ki` to `Ei`, as in `64Mi`. What is below 1024 or no whole number is printed as
    /// [`QuantityFormat::DecimalSi`], and so is what would have a suffix beyond 2^63 - 1, where Go cuts what it reads.
    BinarySi,
    /// With an exponent that is a multiple of three, as in `12e6`.
    DecimalExponent,
}

/// Why a text or number is no quantity; the first three in the words of Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// A character where the grammar has no place for it.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Grammar,
    /// No digits.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// A suffix of none of the three formats.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// An exponent or a precision that Go would take, at any price.
    #[error("quantities must have at most 38 significant digits, and an exponent from -999 to 999")]
    Size,
    /// NaN or an infinity.
    #[error("{0} is not a number that Kubernetes can carry; answer `unavailable` where there is no value")]
    NotFinite(String),
}

impl Quantity {
    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self::decimal(value, 0)
    }

    /// `digits` times ten to the power of `exponent`.
    pub fn decimal(digits: i64, exponent: i8) -> Self {
        Amount::rounded_up(digits.into(), exponent.into()).into()
    }

    /// The shortest decimal that reads back as `value`, at the nearest nano, so that binary noise (0.1 + 0.2) does not show; but 0
    /// for 0 alone. An error for NaN and infinities.
    pub fn float(value: f64) -> Result<Self, InvalidQuantity> {
        let (digits, exponent) = shortest(value).ok_or_else(|| InvalidQuantity::NotFinite(value.to_string()))?;
        Ok(Amount::nearest(digits, exponent).into())
    }

    /// The same amount in another format: metrics-server prints memory in [`QuantityFormat::BinarySi`].
    #[must_use]
    pub fn with_format(self, format: QuantityFormat) -> Self {
        Self { format, ..self }
    }

    /// How it is printed.
    pub fn format(self) -> QuantityFormat {
        self.format
    }

    /// The sum, in this one's format; `None` from about 10^29 on.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self { amount: self.amount.plus(other.amount)?, ..self })
    }

    /// Whether one of the two is more than `factor` times the other, or below 0 where the other is above. Never of 0, which no
    /// factor leads to or from.
    pub fn is_beyond_factor(self, other: Self, factor: Self) -> bool {
        let (one, other, factor) = (self.amount, other.amount, factor.amount);
        if one.is_zero() || other.is_zero() {
            return false;
        }
        if one.is_negative() != other.is_negative() {
            return true;
        }
        let magnitude = |amount: Amount| if amount.is_negative() { -amount } else { amount };
        let (one, other) = (magnitude(one), magnitude(other));
        one.max(other).exceeds(factor, one.min(other)).unwrap_or(true)
    }

    /// The amount in whole units, rounded up, away from zero, and kept within an `i64` (`Quantity.Value` of Go, which answers some
    /// other number for what an int64 can't hold).
    pub fn units(self) -> i64 {
        let most = if self.amount.is_negative() { i64::MIN } else { i64::MAX };
        self.amount.in_powers(0).and_then(|units| units.try_into().ok()).unwrap_or(most)
    }

    /// The amount in thousandths, rounded up, away from zero: what the HPA controller reckons with (`Quantity.MilliValue` of Go).
    /// `None` for what an `i64` can't hold, where the controller reads 0 or the low 64 bits: from 9223372036854775.808 units on.
    pub fn milli(self) -> Option<i64> {
        self.amount.in_powers(-3)?.try_into().ok()
    }
}

/// The fewest digits that read back as `value`, and their power of ten; `None` for NaN and infinities.
fn shortest(value: f64) -> Option<(i128, i32)> {
    // The standard library finds them, and prints them as in `-1.25e-7`.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: i32 = exponent.parse().ok()?;
    Some((format!("{whole}{fraction}").parse().ok()?, exponent - i32::try_from(fraction.len()).ok()?))
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Self {
        Self { amount, format: QuantityFormat::default() }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.amount == other.amount
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.cmp(&other.amount)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.amount.hash(state);
    }
}

#[cfg(test)]
mod tests;
