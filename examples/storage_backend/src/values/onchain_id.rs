//! Ids that the chain gives.

use std::fmt;
use std::str::FromStr;

use kv_runtime::{ColumnType, IsNull, KvElement, KvText, KvValue, ValueError};

/// The 32 bytes by which the chain knows a provider or a bucket. Stored as people read it: as
/// text, `0x` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OnchainId(pub [u8; 32]);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of the chain is `0x` and 64 hexadecimal digits in lower case")]
pub struct InvalidOnchainId;

impl fmt::Display for OnchainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OnchainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OnchainId {
    type Err = InvalidOnchainId;

    fn from_str(text: &str) -> Result<Self, InvalidOnchainId> {
        // Two texts of one id would be two unique values: there is one.
        let digits = text.strip_prefix("0x").ok_or(InvalidOnchainId)?;
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.bytes().all(is_digit) {
            return Err(InvalidOnchainId);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = &digits[2 * at..2 * at + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidOnchainId)?;
        }
        Ok(Self(bytes))
    }
}

// By hand, because what is stored is not what is in it.
impl KvValue for OnchainId {
    const TYPE: ColumnType = ColumnType::Text;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        out.push_str(&self.to_string());
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        let text = text.ok_or(ValueError::UnexpectedNull)?;
        text.parse().map_err(|_| ValueError::Invalid { expected: "id of the chain" })
    }
}

impl KvElement for OnchainId {}

impl KvText for OnchainId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = OnchainId(std::array::from_fn(|at| u8::try_from(at * 7).expect("below 256")));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 66);
        let other = id.to_string().replace('a', "A");
        assert_ne!(other, id.to_string());
        for text in [&other, "", "0x", &id.to_string()[2..], &format!("{id}0"), "0xéé"] {
            assert_eq!(text.parse::<OnchainId>(), Err(InvalidOnchainId), "{text}");
        }
    }
}
