//! Text to quantity, by the grammar of `ParseQuantity` of Go, which takes more than its documentation says: where digits are
//! missing, as in `m`, it reads 0.

use std::{ops::RangeInclusive, str::FromStr};

use super::{Amount, InvalidQuantity, Quantity, QuantityFormat};

/// The exponents that a text can have. Go has no limit but its time.
const EXPONENTS: RangeInclusive<i32> = -999..=999;
/// Below it one more digit fits, so that there are 38: each number of 38 digits is below 2^127.
const ROOM: i128 = 10_i128.pow(37);

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        if text.is_empty() {
            return Err(InvalidQuantity::Grammar);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        let (factor, format) = read_suffix(suffix)?;
        // Go looks for digits where it has to round alone.
        if whole.is_empty() && fraction.is_empty() && matches!(factor, Factor::Ten(exponent) if exponent < Amount::NANO)
        {
            return Err(InvalidQuantity::Number);
        }
        let decimal = Decimal::read(whole, fraction);
        let magnitude = match factor {
            Factor::Ten(exponent) => decimal.times_power_of_ten(exponent)?,
            Factor::Two(shift) => decimal.times_power_of_two(shift)?,
        };
        let is_fraction = magnitude > Amount::default() && magnitude < Amount::rounded_up(1, 0);
        Ok(Self {
            amount: if negative { -magnitude } else { magnitude },
            format: if format == QuantityFormat::BinarySi && is_fraction { QuantityFormat::DecimalSi } else { format },
        })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What a suffix multiplies by: ten or two to a power.
#[derive(Debug, Clone, Copy)]
enum Factor {
    Ten(i32),
    Two(u32),
}

fn read_suffix(suffix: &str) -> Result<(Factor, QuantityFormat), InvalidQuantity> {
    let letters = suffix.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let digits = letters.strip_prefix(['+', '-']).unwrap_or(letters);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidQuantity::Grammar);
    }
    let decimal = |exponent| Ok((Factor::Ten(exponent), QuantityFormat::DecimalSi));
    let binary = |shift| Ok((Factor::Two(shift), QuantityFormat::BinarySi));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(InvalidQuantity::Suffix)?;
            let exponent: i64 = exponent.parse().map_err(|_| InvalidQuantity::Suffix)?;
            let exponent = i32::try_from(exponent).ok().filter(|exponent| EXPONENTS.contains(exponent));
            Ok((Factor::Ten(exponent.ok_or(InvalidQuantity::Size)?), QuantityFormat::DecimalExponent))
        }
    }
}

/// A number without its sign: `digits` times ten to the power of `exponent`.
struct Decimal {
    digits: i128,
    exponent: i32,
    /// Whether more digits than fit followed, and not zeros alone.
    is_cut: bool,
}

impl Decimal {
    fn read(whole: &str, fraction: &str) -> Self {
        let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
        let mut read = Self { digits: 0, exponent: -length(fraction), is_cut: false };
        for digit in whole.bytes().chain(fraction.bytes()) {
            if read.digits < ROOM {
                read.digits = read.digits * 10 + i128::from(digit - b'0');
            } else {
                read.exponent += 1;
                read.is_cut |= digit != b'0';
            }
        }
        read
    }

    fn times_power_of_ten(self, exponent: i32) -> Result<Amount, InvalidQuantity> {
        let exponent = self.exponent.saturating_add(exponent);
        if self.is_cut && exponent > Amount::NANO {
            return Err(InvalidQuantity::Size);
        }
        // What was cut is finer than a nano: one in the last place makes it round up as well.
        Ok(Amount::rounded_up(self.digits + i128::from(self.is_cut), exponent))
    }

    /// Cut to the most that Go reads behind a binary suffix.
    fn times_power_of_two(self, shift: u32) -> Result<Amount, InvalidQuantity> {
        let most = Amount::rounded_up(Amount::BINARY_MOST, 0);
        // First, because such digits may be too many to multiply.
        if Amount::rounded_up(self.digits, self.exponent) > Amount::rounded_up((Amount::BINARY_MOST >> shift) + 1, 0) {
            return Ok(most);
        }
        let digits = self.digits.checked_mul(1 << shift).filter(|_| !self.is_cut).ok_or(InvalidQuantity::Size)?;
        Ok(Amount::rounded_up(digits, self.exponent).min(most))
    }
}
