//! Quantity to text, in the canonical form of `CanonicalizeBytes` of Go: no fraction, and the largest suffix that loses nothing.
//! Nothing is allocated.

use std::fmt;

use super::{Amount, Quantity, QuantityFormat};

/// From the largest decimal suffix on, digits grow.
const EXA: i32 = 18;

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            QuantityFormat::DecimalSi => decimal(self.amount, formatter),
            QuantityFormat::BinarySi => match binary_whole(self.amount) {
                Some(whole) => binary(whole, formatter),
                None => decimal(self.amount, formatter),
            },
            QuantityFormat::DecimalExponent => exponential(self.amount, formatter),
        }
    }
}

fn decimal(amount: Amount, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let exponent = digits_by_thousands(amount, EXA, formatter)?;
    formatter.write_str(match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        EXA => "E",
        _ => "",
    })
}

fn exponential(amount: Amount, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match digits_by_thousands(amount, i32::MAX, formatter)? {
        0 => Ok(()),
        exponent => write!(formatter, "e{exponent}"),
    }
}

/// Prints the digits, and tells which exponent belongs behind them.
fn digits_by_thousands(amount: Amount, most: i32, formatter: &mut fmt::Formatter<'_>) -> Result<i32, fmt::Error> {
    let (digits, zeros, exponent) = amount.by_thousands(most);
    write!(formatter, "{digits}")?;
    for _ in 0..zeros {
        formatter.write_str("0")?;
    }
    Ok(exponent)
}

/// The number if it is one for this format. Go would cut what it reads behind a binary suffix.
fn binary_whole(amount: Amount) -> Option<i128> {
    let most = Amount::BINARY_MOST.unsigned_abs();
    let is_read = |whole: &i128| whole % 1024 != 0 || whole.unsigned_abs() <= most;
    amount.whole().filter(|whole| whole.unsigned_abs() >= 1024).filter(is_read)
}

fn binary(mut digits: i128, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut suffix = "";
    for larger in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
        if digits % 1024 != 0 {
            break;
        }
        digits /= 1024;
        suffix = larger;
    }
    write!(formatter, "{digits}{suffix}")
}
