//! The validated value: every text chosen.

use proc_macro2::Ident;
use syn::{Member, Path, Type};

/// What the expansion is made from.
pub(crate) struct Value {
    pub(crate) ident: Ident,
    /// Where the expansion finds `kv_runtime`.
    pub(crate) runtime: Path,
    pub(crate) shape: Shape,
}

/// What kind of type it is.
pub(crate) enum Shape {
    Enum(TextEnum),
    Newtype(Newtype),
}

/// An enum that is stored as text.
pub(crate) struct TextEnum {
    pub(crate) variants: Vec<Variant>,
    /// The PostgreSQL type; `text` if `None`.
    pub(crate) pg_type: Option<String>,
    /// Diesel's type for it; `Text` if `None`.
    pub(crate) sql_type: Option<Path>,
}

/// One variant and its text.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    pub(crate) text: String,
}

/// A struct that is stored as its only field.
pub(crate) struct Newtype {
    pub(crate) field: Member,
    pub(crate) ty: Type,
}
