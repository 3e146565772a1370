//! From what the user wrote to a value: checks every rule and fills in every default.

use proc_macro2::Ident;
use syn::{LitStr, Path};

use super::input::{ShapeInput, ValueInput, VariantInput};
use super::model::{Shape, TextEnum, Value, Variant};
use crate::diagnostics::Diagnostics;
use crate::naming::{snake_case, unraw};
use crate::validate::check_length;

/// Turns the input into a value, which is fit to expand only if nothing was reported.
pub(crate) fn validate(input: ValueInput, diagnostics: &mut Diagnostics) -> Value {
    let shape = match input.shape {
        ShapeInput::Newtype(newtype) => Shape::Newtype(newtype),
        ShapeInput::Enum { variants, pg_type, sql_type } => {
            check_not_empty(&input.ident, &variants, diagnostics);
            check_pg_type(pg_type.as_ref(), sql_type.as_ref(), diagnostics);
            Shape::Enum(TextEnum {
                variants: variants_of(&variants, diagnostics),
                pg_type: pg_type.map(|name| name.value()),
                sql_type,
            })
        }
        ShapeInput::Refused => {
            Shape::Enum(TextEnum { variants: Vec::new(), pg_type: None, sql_type: None })
        }
    };
    let runtime = input.runtime.unwrap_or_else(|| syn::parse_quote!(::kv_runtime));
    Value { ident: input.ident, runtime, shape }
}

fn check_not_empty(ident: &Ident, variants: &[VariantInput], diagnostics: &mut Diagnostics) {
    if variants.is_empty() {
        diagnostics.error(ident, "an enum without variants has no values to store");
    }
}

/// Diesel's type says how a statement is typed, the PostgreSQL type how the drainer's is: with
/// the first alone, rows would be written as text, and refused.
fn check_pg_type(pg_type: Option<&LitStr>, sql_type: Option<&Path>, diagnostics: &mut Diagnostics) {
    match pg_type.map(LitStr::value) {
        Some(name) if name.trim().is_empty() => diagnostics.error(pg_type, "the name is empty"),
        Some(name) => check_length(&name, pg_type, diagnostics),
        None => {}
    }
    if let (None, Some(sql_type)) = (pg_type, sql_type) {
        let message = "add `pg_type = \"…\"` with the type's name in PostgreSQL";
        diagnostics.error(sql_type, message);
    }
}

/// Every variant with its text, which must tell it from the others.
fn variants_of(inputs: &[VariantInput], diagnostics: &mut Diagnostics) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    for VariantInput { ident, rename } in inputs {
        let text =
            rename.as_ref().map_or_else(|| snake_case(&unraw(ident)), |rename| rename.value());
        if let Some(other) = variants.iter().find(|other| other.text == text) {
            let message = format!("`{}` and `{ident}` are both stored as `{text}`", other.ident);
            match rename {
                Some(rename) => diagnostics.error(rename, message),
                None => diagnostics.error(ident, message),
            }
        }
        if text.contains('\0') {
            diagnostics.error(rename, "PostgreSQL's text has no NUL character");
        }
        variants.push(Variant { ident: ident.clone(), text });
    }
    variants
}
