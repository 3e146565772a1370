//! Amounts of money as JSON numbers, digit by digit.

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount that is a number in JSON and never a float on its way there: `19.90` comes as `19.90`
/// and goes as `19.90`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount(pub Decimal);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let number = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text)
        } else {
            Decimal::from_str_exact(text)
        };
        number.map(Self).map_err(|_| D::Error::custom("an amount is a number of up to 28 digits"))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_and_go_as_they_are() {
        for text in ["19.90", "0.1", "12345678901234567890.12345678", "7", "-1.50"] {
            let amount: Amount = serde_json::from_str(text).expect("a number");
            assert_eq!(serde_json::to_string(&amount).expect("a number"), text);
        }
        let amount: Amount = serde_json::from_str("1.25e3").expect("a number");
        assert_eq!(amount.0, Decimal::from(1_250));
    }

    #[test]
    fn what_is_no_number_or_too_long_is_refused() {
        for text in [r#""19.90""#, "true", "null", "[1]", "0.12345678901234567890123456789"] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }
}
