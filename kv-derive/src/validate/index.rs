//! The unique and the other indexes of a model.

use proc_macro2::Span;
use syn::LitStr;

use super::name::not_empty;
use super::positions;
use crate::attribute::FieldListInput;
use crate::diagnostics::Diagnostics;
use crate::input::{FieldInput, StructAttributes};
use crate::model::ModelIndex;
use crate::naming::unraw;

const ID_IS_UNIQUE: &str = "the id is unique already; remove `unique`";
const ID_IS_INDEXED: &str = "the id is indexed already; remove `index`";

/// An index, and where it was written.
struct Declared {
    index: ModelIndex,
    at: Span,
}

/// The unique ones and the others, those of single fields first.
pub(super) fn indexes(
    attributes: &StructAttributes,
    inputs: &[FieldInput],
    id: &[usize],
    diagnostics: &mut Diagnostics,
) -> (Vec<ModelIndex>, Vec<ModelIndex>) {
    let mut unique: Vec<Declared> = Vec::new();
    let mut indexes: Vec<Declared> = Vec::new();
    for (at, field) in inputs.iter().enumerate() {
        let single = |span| Declared { index: index(vec![at], None, inputs), at: span };
        match (field.unique, field.index) {
            (Some(_), Some(span)) => {
                let message = "a unique field is indexed already; remove `index`";
                diagnostics.push(syn::Error::new(span, message));
            }
            (Some(span), None) if id == [at] => {
                diagnostics.push(syn::Error::new(span, ID_IS_UNIQUE));
            }
            (None, Some(span)) if id == [at] => {
                diagnostics.push(syn::Error::new(span, ID_IS_INDEXED));
            }
            (Some(span), None) => unique.push(single(span)),
            (None, Some(span)) => indexes.push(single(span)),
            (None, None) => {}
        }
    }
    for given in &attributes.unique {
        let Some(declared) = of_struct(given, inputs, diagnostics) else { continue };
        if is_id(&declared.index, id) {
            diagnostics.error(&given.at, ID_IS_UNIQUE);
        } else {
            add(&mut unique, declared, "unique", diagnostics);
        }
    }
    for given in &attributes.indexes {
        let Some(declared) = of_struct(given, inputs, diagnostics) else { continue };
        // Another order finds other rows fast.
        if declared.index.fields == id && declared.index.when.is_none() {
            diagnostics.error(&given.at, ID_IS_INDEXED);
        } else {
            add(&mut indexes, declared, "index", diagnostics);
        }
    }
    check_names(&unique, &indexes, diagnostics);
    check_not_both(&unique, &indexes, diagnostics);
    let plain = |all: Vec<Declared>| all.into_iter().map(|declared| declared.index).collect();
    (plain(unique), plain(indexes))
}

fn index(fields: Vec<usize>, when: Option<String>, inputs: &[FieldInput]) -> ModelIndex {
    let names: Vec<String> = fields.iter().map(|&at| unraw(&inputs[at].ident)).collect();
    ModelIndex { name: names.join("_and_"), fields, when }
}

/// An index that is given at the struct; `None` if not all of its fields are known.
fn of_struct(
    given: &FieldListInput,
    inputs: &[FieldInput],
    diagnostics: &mut Diagnostics,
) -> Option<Declared> {
    let fields = positions(&given.fields, inputs, diagnostics);
    let when = given.text.as_ref().filter(|when| not_empty(when, diagnostics)).map(LitStr::value);
    let are_known = fields.len() == given.fields.len();
    are_known.then(|| Declared { index: index(fields, when, inputs), at: given.at.span() })
}

/// Whether it makes the id unique, of all rows: in whatever order it has its fields.
fn is_id(index: &ModelIndex, id: &[usize]) -> bool {
    index.when.is_none()
        && index.fields.len() == id.len()
        && index.fields.iter().all(|at| id.contains(at))
}

fn add(all: &mut Vec<Declared>, new: Declared, attribute: &str, diagnostics: &mut Diagnostics) {
    let is_twice = |other: &Declared| {
        let (index, other) = (&new.index, &other.index);
        // One of all rows is also one of some.
        let is_of_same_rows =
            index.when == other.when || index.when.is_none() || other.when.is_none();
        index.fields == other.fields && is_of_same_rows
    };
    if all.iter().any(is_twice) {
        let message = format!("`{attribute}` of the same fields is given twice; remove one");
        diagnostics.push(syn::Error::new(new.at, message));
        return;
    }
    all.push(new);
}

/// The names of the fields make those of the repository's methods, which indexes of all rows have.
fn check_names(unique: &[Declared], indexes: &[Declared], diagnostics: &mut Diagnostics) {
    let of_all_rows = |declared: &&Declared| declared.index.when.is_none();
    let found: Vec<_> = unique.iter().filter(of_all_rows).collect();
    let listed: Vec<_> = indexes.iter().filter(of_all_rows).collect();
    if let Some(hidden) = found.iter().find(|declared| declared.index.name == "id") {
        let message = "`find_by_id` of a repository takes the whole id, and hides the method of \
                       this field; rename the field, and keep its column with \
                       `#[kv(column = \"id\")]`";
        diagnostics.push(syn::Error::new(hidden.at, message));
    }
    for (prefix, all) in [("find", found), ("list", listed)] {
        for (at, Declared { index, at: span }) in all.iter().enumerate() {
            let is_alike = |other: &&Declared| {
                other.index.name == index.name && other.index.fields != index.fields
            };
            if all[..at].iter().any(is_alike) {
                let message = format!(
                    "the fields of another index make `{prefix}_by_{}` as well; rename one of them",
                    index.name
                );
                diagnostics.push(syn::Error::new(*span, message));
            }
        }
    }
}

/// What makes fields unique also indexes them.
fn check_not_both(unique: &[Declared], indexes: &[Declared], diagnostics: &mut Diagnostics) {
    for Declared { index, at } in indexes {
        let covers = |unique: &Declared| {
            let unique = &unique.index;
            unique.fields == index.fields && (unique.when.is_none() || unique.when == index.when)
        };
        if unique.iter().any(covers) {
            let message = "these fields are unique already, which indexes them; remove `index`";
            diagnostics.push(syn::Error::new(*at, message));
        }
    }
}
