//! How the value of one field is written as text, and read back.
//!
//! A value has one text form, the same in the row's Redis hash, in the queue's
//! entry and as the parameter of a statement: a person can read it in
//! `redis-cli`, and PostgreSQL casts it to the column's type. NULL is the
//! absence of the text.

mod array;
#[cfg(feature = "chrono")]
mod chrono;
mod number;
mod text;
#[cfg(feature = "time")]
mod time;
#[cfg(feature = "uuid")]
mod uuid;

pub use array::{KvElement, KvScalar};
pub use number::KvNumber;
pub use text::KvText;
#[cfg(feature = "uuid")]
pub use uuid::new_uuid;

use crate::model::{ColumnType, NumericBounds};

/// Whether [`KvValue::encode`] wrote a value or found NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsNull {
    /// The value is NULL; nothing was written.
    Yes,
    /// The value's text was written.
    No,
}

/// Why a value cannot be written as text, or a text cannot be read as a value.
///
/// It never carries the value itself, so that it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The field is not nullable, but there is no value.
    #[error("it is NULL, but the field is not an `Option`")]
    UnexpectedNull,
    /// The text is not one of this type.
    #[error("its text is not a valid {expected}")]
    Invalid {
        /// The type that was expected.
        expected: &'static str,
    },
    /// PostgreSQL cannot hold this value.
    #[error("PostgreSQL cannot store it: {reason}")]
    Unsupported {
        /// What stands in the way, and what to do.
        reason: &'static str,
    },
    /// The field's column would round it, or refuse it.
    #[error("its column is `{bounds}`, which does not keep all of its digits")]
    OutOfBounds {
        /// How many digits the column keeps.
        bounds: NumericBounds,
    },
}

/// A type that a field of a model can have.
///
/// Implemented here for the scalar types, `String`, `Vec<u8>`, `[u8; N]`, `Vec` of a
/// scalar, `Option` of each, `serde_json::Value`, and, by feature, the types of
/// `uuid`, `chrono`, `time`, `rust_decimal` and `bigdecimal`. For enums and
/// newtypes of your own, derive it:
///
/// ```
/// # use kv_runtime::KvValue;
/// #[derive(Debug, Clone, Copy, PartialEq, KvValue)]
/// enum Status {
///     Active,
///     #[kv(rename = "on_hold")]
///     Held,
/// }
///
/// #[derive(Debug, Clone, PartialEq, KvValue)]
/// struct Reference(String);
///
/// let mut text = String::new();
/// Status::Held.encode(&mut text)?;
/// assert_eq!(text, "on_hold");
/// assert_eq!(Reference::decode(Some("AB-12"))?, Reference("AB-12".into()));
/// # Ok::<(), kv_runtime::ValueError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a `KvModel`",
    label = "not a `KvValue`",
    note = "derive `KvValue` for an enum or a newtype of your own; \
            the types of `uuid`, `chrono`, `time`, `rust_decimal` and `bigdecimal` \
            need the feature of that name of `kv-runtime`"
)]
pub trait KvValue: Sized {
    /// The type of the column that holds the value.
    const TYPE: ColumnType;
    /// Whether the value can be NULL: true for `Option` alone.
    const NULLABLE: bool = false;
    /// Whether equal values have one text, so that the value can be a part of an id: a row is found
    /// by the text of its id. It is false for floats, decimal numbers and JSON, of which equal ones
    /// can be written in several ways.
    const HAS_ONE_TEXT: bool = !matches!(
        Self::TYPE,
        ColumnType::Real | ColumnType::Double | ColumnType::Numeric | ColumnType::Jsonb
    );
    /// The type of a value that is not NULL: what is in the `Option`, and of any other type
    /// that type itself. Queries compare a field with it.
    type NotNull: KvValue;

    /// Appends the value's text to `out`.
    ///
    /// # Errors
    /// [`ValueError::Unsupported`] where PostgreSQL could not hold the value.
    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError>;

    /// Reads the value from its text, `None` being NULL.
    ///
    /// # Errors
    /// [`ValueError::Invalid`] or [`ValueError::UnexpectedNull`].
    fn decode(text: Option<&str>) -> Result<Self, ValueError>;
}

impl<T: KvValue> KvValue for Option<T> {
    const TYPE: ColumnType = {
        assert!(!T::NULLABLE, "an `Option` of an `Option` cannot be stored: NULL has no levels");
        T::TYPE
    };
    const NULLABLE: bool = true;
    const HAS_ONE_TEXT: bool = T::HAS_ONE_TEXT;
    type NotNull = T;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        match self {
            Some(value) => value.encode(out),
            None => Ok(IsNull::Yes),
        }
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        match text {
            Some(text) => T::decode(Some(text)).map(Some),
            None => Ok(None),
        }
    }
}

/// The text of a value that must not be NULL.
pub(crate) fn required(text: Option<&str>) -> Result<&str, ValueError> {
    text.ok_or(ValueError::UnexpectedNull)
}

/// Appends what formats itself without failing.
pub(crate) fn write_display(out: &mut String, value: impl std::fmt::Display) -> IsNull {
    use std::fmt::Write;
    // Writing to a `String` fails only where the value's own `Display` does.
    let _ = write!(out, "{value}");
    IsNull::No
}
