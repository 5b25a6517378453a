//! The number of a quantity, without its format.

use std::{cmp::Ordering, ops::Neg};

/// `digits` times ten to the power of `exponent`. Each number has one form: its digits do not end in 0, and 0 has the exponent 0.
/// The exponent is never below that of a nano.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Amount {
    digits: i128,
    exponent: i32,
}

impl Amount {
    /// The power of ten of a nano, the finest that a quantity keeps.
    pub(super) const NANO: i32 = -9;
    /// The most that Go reads behind a binary suffix: 2^63 - 1.
    pub(super) const BINARY_MOST: i128 = i64::MAX as i128;

    /// `digits` times ten to the power of `exponent`; what is finer than a nano is rounded up, away from zero.
    pub(super) fn rounded_up(digits: i128, exponent: i32) -> Self {
        if exponent < Self::NANO {
            Self::exact(divided_up(digits, Self::NANO.saturating_sub(exponent)), Self::NANO)
        } else {
            Self::exact(digits, exponent)
        }
    }

    /// As [`Amount::rounded_up`], but at the nearest nano; half a nano, and whatever would become 0, is rounded up.
    pub(super) fn nearest(digits: i128, exponent: i32) -> Self {
        if exponent >= Self::NANO {
            return Self::exact(digits, exponent);
        }
        match 10_i128.checked_pow(Self::NANO.saturating_sub(exponent).unsigned_abs()) {
            Some(power) => {
                let (whole, rest) = (digits / power, digits % power);
                let is_up = whole == 0 || rest.unsigned_abs() >= power.unsigned_abs() / 2;
                Self::exact(if is_up { whole + digits.signum() } else { whole }, Self::NANO)
            }
            // The half of such a power is more than any digits.
            None => Self::exact(digits.signum(), Self::NANO),
        }
    }

    fn exact(mut digits: i128, mut exponent: i32) -> Self {
        if digits == 0 {
            return Self::default();
        }
        while digits % 10 == 0 {
            digits /= 10;
            exponent = exponent.saturating_add(1);
        }
        Self { digits, exponent }
    }

    /// The sum; `None` from 2^127 nanos on.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let nanos = self.in_powers(Self::NANO)?.checked_add(other.in_powers(Self::NANO)?)?;
        Some(Self::exact(nanos, Self::NANO))
    }

    /// Whether this is more than `factor` times `other`, all of one sign; `None` where that product has too many digits to tell.
    pub(super) fn exceeds(self, factor: Self, other: Self) -> Option<bool> {
        let digits = other.digits.checked_mul(factor.digits)?;
        // The product may be finer than a nano: it is compared and not kept.
        Some(self > Self::exact(digits, other.exponent.saturating_add(factor.exponent)))
    }

    pub(super) fn is_zero(self) -> bool {
        self.digits == 0
    }

    pub(super) fn is_negative(self) -> bool {
        self.digits < 0
    }

    /// The digits, followed by as many zeros as bring the exponent down to the multiple of three below it, or to `most`: digits,
    /// number of zeros, exponent.
    pub(super) fn by_thousands(self, most: i32) -> (i128, i32, i32) {
        let exponent = (self.exponent - self.exponent.rem_euclid(3)).min(most);
        (self.digits, self.exponent - exponent, exponent)
    }

    /// The whole number that this is, if it is one, and below 2^127.
    pub(super) fn whole(self) -> Option<i128> {
        let power = 10_i128.checked_pow(self.exponent.try_into().ok()?)?;
        self.digits.checked_mul(power)
    }

    /// How often ten to the power of `exponent` goes into this, rounded up, away from zero; `None` from 2^127 on.
    pub(super) fn in_powers(self, exponent: i32) -> Option<i128> {
        let shifted = self.exponent.saturating_sub(exponent);
        match u32::try_from(shifted) {
            Ok(zeros) => self.digits.checked_mul(10_i128.checked_pow(zeros)?),
            Err(_) => Some(divided_up(self.digits, -shifted)),
        }
    }
}

/// `digits` over ten to the power of `power`, which is positive, rounded up, away from zero.
fn divided_up(digits: i128, power: i32) -> i128 {
    let Some(divisor) = 10_i128.checked_pow(power.unsigned_abs()) else { return digits.signum() };
    let rest = digits % divisor;
    digits / divisor + rest.signum()
}

impl Neg for Amount {
    type Output = Self;

    fn neg(self) -> Self {
        Self { digits: -self.digits, ..self }
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.digits.signum().cmp(&other.digits.signum()) {
            Ordering::Equal if self.digits < 0 => magnitudes(other, self),
            Ordering::Equal => magnitudes(self, other),
            unequal => unequal,
        }
    }
}

/// Compares two numbers of one sign without it: by the places of their first digits, then digit by digit.
fn magnitudes(one: &Amount, other: &Amount) -> Ordering {
    let place = |amount: &Amount| {
        let digits = amount.digits.unsigned_abs().checked_ilog10().unwrap_or_default();
        i64::from(digits) + i64::from(amount.exponent)
    };
    let least = one.exponent.min(other.exponent);
    let digits = |amount: &Amount| {
        let zeros = amount.exponent.saturating_sub(least).unsigned_abs();
        10_u128.checked_pow(zeros).and_then(|power| amount.digits.unsigned_abs().checked_mul(power))
    };
    place(one).cmp(&place(other)).then_with(|| match (digits(one), digits(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        // Zeros take it beyond 2^128, where the other, which has none to add, is not.
        (None, _) => Ordering::Greater,
        (_, None) => Ordering::Less,
    })
}
