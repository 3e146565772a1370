//! `uuid::Uuid`.

use uuid::Uuid;

use super::{IsNull, KvElement, KvValue, ValueError, required};
use crate::model::ColumnType;

impl KvValue for Uuid {
    const TYPE: ColumnType = ColumnType::Uuid;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        let mut buffer = Uuid::encode_buffer();
        out.push_str(self.hyphenated().encode_lower(&mut buffer));
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        Uuid::try_parse(required(text)?).map_err(|_| ValueError::Invalid { expected: "UUID" })
    }
}

impl KvElement for Uuid {}
