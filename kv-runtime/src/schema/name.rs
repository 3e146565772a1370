//! Names in SQL.

use crate::model::{FNV_BASIS, IndexDescriptor, ModelDescriptor, ReferenceDescriptor, fnv};

/// PostgreSQL cuts off what is longer, so that two names may become one.
const NAME_BYTES_MAX: usize = 63;

/// A name as SQL quotes it, part by part: `app.bookings` is `"app"."bookings"`.
pub(crate) fn quote(name: &str) -> String {
    name.split('.').map(quote_one).collect::<Vec<_>>().join(".")
}

/// A name of one part, whatever it holds.
pub(crate) fn quote_one(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The schema, if one is named, and the table.
pub(crate) fn split(table: &str) -> (Option<&str>, &str) {
    match table.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table),
    }
}

/// Some columns of a model, quoted.
pub(crate) fn columns(model: &ModelDescriptor, positions: &[usize]) -> String {
    let columns = positions.iter().map(|&at| quote_one(model.columns[at].column));
    columns.collect::<Vec<_>>().join(", ")
}

/// What PostgreSQL calls the index of the primary key.
pub(crate) fn pkey_name(model: &ModelDescriptor) -> String {
    fit(format!("{}_pkey", split(model.table).1))
}

/// What the index is called that a unique attribute makes.
pub(crate) fn unique_name(model: &ModelDescriptor, index: &IndexDescriptor) -> String {
    name_among(model, model.unique, index, "key")
}

/// What the index is called that an index attribute makes.
pub(crate) fn index_name(model: &ModelDescriptor, index: &IndexDescriptor) -> String {
    name_among(model, model.indexes, index, "idx")
}

/// The name that the columns make, unless one of the indexes before has it: two may be of other
/// rows, or the columns `a` and `b` of the one be `a_b` of the other.
fn name_among(
    model: &ModelDescriptor,
    all: &[IndexDescriptor],
    index: &IndexDescriptor,
    suffix: &str,
) -> String {
    let name = name_of_columns(model, index.columns, suffix);
    let mut before = all.iter().take_while(|other| *other != index);
    if !before.any(|other| name_of_columns(model, other.columns, suffix) == name) {
        return name;
    }
    let hash = fnv(FNV_BASIS, index.name.as_bytes());
    let hash = fnv(hash, index.when.unwrap_or_default().as_bytes()) as u32;
    fit(format!("{name}_{hash:08x}"))
}

/// What a foreign key is called.
pub(crate) fn reference_name(model: &ModelDescriptor, reference: &ReferenceDescriptor) -> String {
    name_of_columns(model, reference.columns, "fkey")
}

/// What a condition is called: it goes with its text, so that another one has another name.
pub(crate) fn check_name(model: &ModelDescriptor, check: &str) -> String {
    let (_, table) = split(model.table);
    let hash = fnv(FNV_BASIS, check.as_bytes()) as u32;
    fit(format!("{table}_check_{hash:08x}"))
}

/// `bookings_reference_key`, as PostgreSQL would call it.
fn name_of_columns(model: &ModelDescriptor, positions: &[usize], suffix: &str) -> String {
    let (_, table) = split(model.table);
    let columns: Vec<&str> = positions.iter().map(|&at| model.columns[at].column).collect();
    fit(format!("{table}_{}_{suffix}", columns.join("_")))
}

/// The name, or as much of it as PostgreSQL keeps, with something in place of the rest.
fn fit(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let hash = format!("_{:08x}", fnv(FNV_BASIS, name.as_bytes()) as u32);
    let mut end = NAME_BYTES_MAX - hash.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_parts_are_quoted_by_themselves() {
        assert_eq!(quote("app.bookings"), "\"app\".\"bookings\"");
        assert_eq!(quote_one("a\"b.c"), "\"a\"\"b.c\"");
    }

    #[test]
    fn long_names_that_differ_stay_apart() {
        let long = "é".repeat(40);
        let (first, second) = (fit(format!("{long}_a_key")), fit(format!("{long}_b_key")));
        assert_ne!(first, second);
        assert!(first.len() <= NAME_BYTES_MAX && second.len() <= NAME_BYTES_MAX);
        assert_eq!(fit("a_key".to_owned()), "a_key");
    }
}
