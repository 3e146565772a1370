//! Names: of tables, columns and types in PostgreSQL, of keys and fields in Redis.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{LitStr, Path};

use crate::attribute::TextOrPath;
use crate::diagnostics::Diagnostics;
use crate::input::StructAttributes;
use crate::naming::unraw;

/// PostgreSQL's own bound, as it is mostly built.
const SQL_NAME_BYTES_MAX: usize = 63;

/// The table's name, and the path of its `table!` if that is how it is given.
pub(super) fn table(
    attributes: &StructAttributes,
    ident: &Ident,
    struct_name: &str,
    diagnostics: &mut Diagnostics,
) -> (String, Option<Path>) {
    let given_name = attributes.table_name.as_ref().filter(|name| is_table_name(name, diagnostics));
    let path = match &attributes.table {
        Some(TextOrPath::Path(path)) => path,
        name => {
            if let Some(table_name) = &attributes.table_name {
                let message = "`table_name` goes with the path of a `table!`; \
                               without one, write the name as `table = \"…\"`";
                diagnostics.error(table_name, message);
            }
            return match name {
                Some(TextOrPath::Text(name)) => {
                    is_table_name(name, diagnostics);
                    (name.value(), None)
                }
                _ => {
                    let name = format!("{struct_name}s");
                    check_length(&name, ident, diagnostics);
                    (name, None)
                }
            };
        }
    };
    let last = path.segments.last().map(|segment| &segment.ident);
    if last.is_some_and(|last| last == "table") && path.segments.len() > 1 {
        let message = "name the module that `table!` makes, without `::table`";
        diagnostics.error(path, message);
    }
    let name = given_name.map(LitStr::value).or_else(|| last.map(unraw)).unwrap_or_default();
    if given_name.is_none() {
        check_length(&name, path, diagnostics);
    }
    (name, Some(path.clone()))
}

/// Whether a table's name can be taken apart at its dot: that of its schema, and its own.
fn is_table_name(name: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    if !not_empty(name, diagnostics) {
        return false;
    }
    let text = name.value();
    let parts: Vec<&str> = text.split('.').collect();
    let is_name = |part: &&str| !part.is_empty() && part.trim() == *part;
    if parts.len() > 2 || text.contains("::") || !parts.iter().all(is_name) {
        let message = "write the table's name as SQL has it, such as `bookings` or \
                       `app.bookings`; the path of a `diesel::table!` stands without quotes";
        diagnostics.error(name, message);
        return false;
    }
    parts.into_iter().for_each(|part| check_length(part, name, diagnostics));
    true
}

/// PostgreSQL cuts off what is longer, so that the table, column or type would not be found under
/// its name, or two would have the same.
pub(crate) fn check_length(name: &str, at: impl ToTokens, diagnostics: &mut Diagnostics) {
    let bytes = name.len();
    if bytes > SQL_NAME_BYTES_MAX {
        let message = format!(
            "PostgreSQL keeps {SQL_NAME_BYTES_MAX} bytes of a name, and `{name}` has {bytes}; \
             shorten it"
        );
        diagnostics.error(at, message);
    }
}

pub(super) fn not_empty(name: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    let is_empty = name.value().trim().is_empty();
    if is_empty {
        diagnostics.error(name, "the name is empty");
    }
    !is_empty
}

/// A key's prefix or a queue's name: it is a part of every key, where `:{}` and the like
/// have a meaning.
pub(super) fn key_part(
    given: Option<&LitStr>,
    attribute: &str,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let literal = given?;
    let text = literal.value();
    let is_allowed = |character: char| character.is_alphanumeric() || "_-".contains(character);
    if text.is_empty() || !text.chars().all(is_allowed) {
        let message = format!("`{attribute}` is made of letters, digits, `_` and `-`");
        diagnostics.error(literal, message);
    }
    Some(text)
}

/// The names with an `@` are those of the row's own bookkeeping.
pub(super) fn check_hash_name(literal: &LitStr, diagnostics: &mut Diagnostics) {
    let name = literal.value();
    let is_separator = |character: char| character.is_whitespace() || character == ',';
    if name.is_empty() || name.starts_with('@') || name.contains(is_separator) {
        let message = "a field's name in Redis is not empty, does not begin with `@`, \
                       and has no white space or comma";
        diagnostics.error(literal, message);
    }
}
