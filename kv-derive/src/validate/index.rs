//! The unique and the other indexes of a model.

use syn::LitStr;

use super::{not_empty, positions};
use crate::attribute::FieldListInput;
use crate::diagnostics::Diagnostics;
use crate::input::{FieldInput, StructAttributes};
use crate::model::ModelIndex;
use crate::naming::unraw;

/// The unique ones and the others, those of single fields first.
pub(super) fn indexes(
    attributes: &StructAttributes,
    inputs: &[FieldInput],
    id: &[usize],
    diagnostics: &mut Diagnostics,
) -> (Vec<ModelIndex>, Vec<ModelIndex>) {
    let mut unique: Vec<ModelIndex> = Vec::new();
    let mut indexes: Vec<ModelIndex> = Vec::new();
    for (at, field) in inputs.iter().enumerate() {
        let single = || ModelIndex { name: unraw(&field.ident), fields: vec![at], when: None };
        match (field.unique, field.index) {
            (Some(_), Some(span)) => {
                let message = "a unique field is indexed already; remove `index`";
                diagnostics.push(syn::Error::new(span, message));
            }
            (Some(span), None) if id == [at] => {
                let message = "the id is unique already; remove `unique`";
                diagnostics.push(syn::Error::new(span, message));
            }
            (None, Some(span)) if id == [at] => {
                let message = "the id is indexed already; remove `index`";
                diagnostics.push(syn::Error::new(span, message));
            }
            (Some(_), None) => unique.push(single()),
            (None, Some(_)) => indexes.push(single()),
            (None, None) => {}
        }
    }
    for given in &attributes.unique {
        add(&mut unique, given, inputs, diagnostics);
    }
    for given in &attributes.indexes {
        add(&mut indexes, given, inputs, diagnostics);
    }
    for index in &unique {
        check_not_both(index, &attributes.indexes, inputs, &mut indexes, diagnostics);
    }
    (unique, indexes)
}

fn add(
    indexes: &mut Vec<ModelIndex>,
    given: &FieldListInput,
    inputs: &[FieldInput],
    diagnostics: &mut Diagnostics,
) {
    let fields = positions(&given.fields, inputs, diagnostics);
    let names: Vec<String> = fields.iter().map(|&at| unraw(&inputs[at].ident)).collect();
    let name = names.join("_and_");
    if indexes.iter().any(|other| other.name == name) {
        let message = format!("`{}` of the same fields is given twice; remove one", given.at);
        diagnostics.error(&given.at, message);
        return;
    }
    let when = given.text.as_ref().filter(|when| not_empty(when, diagnostics)).map(LitStr::value);
    indexes.push(ModelIndex { name, fields, when });
}

/// Both would be found by functions of the same name.
fn check_not_both(
    unique: &ModelIndex,
    given: &[FieldListInput],
    inputs: &[FieldInput],
    indexes: &mut Vec<ModelIndex>,
    diagnostics: &mut Diagnostics,
) {
    let Some(at) = indexes.iter().position(|index| index.name == unique.name) else { return };
    let index = indexes.remove(at);
    let is_it = |given: &&FieldListInput| {
        let names: Vec<String> = given.fields.iter().map(unraw).collect();
        names.join("_and_") == index.name
    };
    let message = "these fields are unique already, which indexes them";
    match (given.iter().find(is_it), index.fields.as_slice()) {
        (Some(given), _) => diagnostics.error(&given.at, message),
        (None, &[field]) => {
            if let Some(span) = inputs[field].index {
                diagnostics.push(syn::Error::new(span, message));
            }
        }
        // Several fields are given at the struct alone.
        (None, _) => {}
    }
}
