//! Money of the chain, and other numbers that are too large for 64 bits.

use bigdecimal::{BigDecimal, Zero};
use kv_runtime::KvValue;

/// The digits of a column `numeric(38, 0)`.
const DIGITS_MAX: u64 = 38;

/// A whole number of at most 38 digits that is not negative, in the smallest unit of what it
/// counts. Stored as `numeric(38, 0)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, KvValue)]
pub struct Amount(BigDecimal);

/// A number that is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a whole number from zero on, of at most 38 digits")]
pub struct InvalidAmount;

impl TryFrom<BigDecimal> for Amount {
    type Error = InvalidAmount;

    // PostgreSQL would round a fraction off, and Redis would not: so neither gets one.
    fn try_from(number: BigDecimal) -> Result<Self, InvalidAmount> {
        // Of a number with a great exponent, the digits are not written out to be counted.
        let shortest = number.normalized();
        let behind = shortest.fractional_digit_count();
        let digits = shortest.digits().saturating_add_signed(behind.saturating_neg());
        if behind > 0 || digits > DIGITS_MAX || shortest < BigDecimal::zero() {
            return Err(InvalidAmount);
        }
        // One form of each, as the column has it: `1.00` is `1`.
        Ok(Self(shortest.with_scale(0)))
    }
}

impl Amount {
    /// What the two come to.
    ///
    /// # Errors
    /// [`InvalidAmount`] if that has more than 38 digits.
    pub fn plus(&self, other: &Self) -> Result<Self, InvalidAmount> {
        (&self.0 + &other.0).try_into()
    }
}

impl From<u64> for Amount {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl From<Amount> for BigDecimal {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_fits_its_column_as_it_is() {
        let amount = |text: &str| Amount::try_from(text.parse::<BigDecimal>().expect("a number"));
        let most = "9".repeat(38);
        for (text, expected) in
            [("0", "0"), ("0.0", "0"), ("7.00", "7"), ("1e37", &*format!("1{}", "0".repeat(37)))]
        {
            let number = BigDecimal::from(amount(text).expect(text));
            assert_eq!(number.to_string(), expected, "{text}");
        }
        assert_eq!(BigDecimal::from(amount(&most).expect("the most")).to_string(), most);
        let one = Amount::from(1);
        assert_eq!(Amount::from(6).plus(&one), amount("7"));
        assert_eq!(amount(&most).and_then(|most| most.plus(&one)), Err(InvalidAmount));
        for text in ["-1", "-1e37", "0.5", "7.01", "1e38", "1e999999999999", "1e-999999999999"] {
            assert_eq!(amount(text), Err(InvalidAmount), "{text}");
        }
    }
}
