//! How many digits a column of decimal numbers keeps.

use std::fmt;

/// The bounds of a column `numeric(precision, scale)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumericBounds {
    /// How many digits there are.
    pub precision: u16,
    /// How many of them stand behind the point.
    pub scale: u16,
}

impl NumericBounds {
    /// How many digits stand before the point.
    pub(crate) fn whole_digits(self) -> u16 {
        self.precision.saturating_sub(self.scale)
    }

    /// Whether a number keeps all of its digits there: PostgreSQL rounds off the last ones, and
    /// refuses a number with too many of the first.
    pub(crate) fn fits(self, number: &str) -> bool {
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
        let (before, behind) = (before.trim_start_matches('0'), behind.trim_end_matches('0'));
        let is_plain = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
        is_plain(before)
            && is_plain(behind)
            && before.len() <= usize::from(self.whole_digits())
            && behind.len() <= usize::from(self.scale)
    }
}

impl fmt::Display for NumericBounds {
    /// The type as SQL writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "numeric({}, {})", self.precision, self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::NumericBounds;

    #[test]
    fn a_number_fits_where_it_keeps_all_of_its_digits() {
        let bounds = NumericBounds { precision: 5, scale: 2 };
        assert_eq!(bounds.to_string(), "numeric(5, 2)");
        for number in ["0", "-0", "999.99", "-999.99", "000123", "1.500", "0.01", ".5"] {
            assert!(bounds.fits(number), "{number}");
        }
        for number in ["1000", "-1000", "0.001", "999.995", "1e2", "NaN", "Infinity", "1-", "+1"] {
            assert!(!bounds.fits(number), "{number}");
        }
        let fractions = NumericBounds { precision: 2, scale: 2 };
        assert!(fractions.fits("0.99") && !fractions.fits("1"));
    }
}
